"""From a face mesh to the canonical frontal view: align, rasterise, tell what was visible.

The paper turns PRNet's mesh to the canonical frontal view and rasterises it with Face3D (section
3.2). Here a weighted similarity takes the mesh's anchors to the canonical face, so that the same
patch shows the same part of the face in every frame; a z-buffer over the aligned mesh gives each
pixel of the view its place in the frame. What the camera did not see stays empty: filling it by
mirroring would invent an expression.

Vertices are in image pixels: x right, y down, the centre of the top left pixel at (0, 0), depth
towards the camera in pixels. Canonical coordinates are those of MediaPipe's canonical face, in cm:
x to the image's right, y up, z towards the camera.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numba
import numpy as np

from paincore.registration.raster import source_map
from synthpain.raster import vertex_normals

Images = list[np.ndarray]  # RGB uint8 (H, W, 3) each
Landmarks = Sequence[np.ndarray | None]  # of each image, (66, 2) in pixels

VIEW_SIDE = 19.5  # cm, what the frontal view shows: the canonical face is 17.7 high
CENTRE = (0.0, -1.2)  # cm, canonical x and y in the middle of the view: room for an open jaw
FACING = 0.12  # cosine between normal and camera below which skin is too oblique to be read
SOURCE_SIZE = 96  # pixels, side of the z-buffer in which the frame's own hidden parts are found
# Two pixels, 2 % of the face, are kept off the mesh's outline: it is known no better, and beyond it
# the background begins.
MARGIN = np.ones((5, 5), np.uint8)
BEHIND = np.float32(0.05)  # of the face's size: as far behind the nearest surface, skin is hidden
WINDOW, MAJORITY = (5, 5), 13  # pixels: what most of a window show, its middle does


@dataclass(frozen=True)
class FaceMesh:
    """One face: vertices float32 (V, 3), presence score 0..1, how many faces the image has, and,
    of FaceLandmarker, its points float32 (478, 3) in pixels of the network's crop, irises last."""

    vertices: np.ndarray
    score: float
    faces: int = 1
    crop_points: np.ndarray | None = None


@dataclass(frozen=True)
class Topology:
    """What all meshes of a backend have in common.

    triangles int32 (T, 3); anchors int (K,): the vertices that are aligned to the canonical points
    canonical float64 (K, 3), with weights float64 (K,).
    """

    triangles: np.ndarray
    anchors: np.ndarray
    canonical: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Frontal:
    """A frontal view of one face.

    image uint8 (S, S, 3), 0 where nothing was visible; visible bool (S, S); visible_share of the
    canonical face's pixels; yaw, pitch, roll in degrees, signs as in `synthpain.head`.
    """

    image: np.ndarray
    visible: np.ndarray
    visible_share: float
    yaw: float
    pitch: float
    roll: float


def similarity(points: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple:
    """Scale, rotation (D, D) and shift (D,) that take points (K, D) nearest to target (K, D) in
    weighted squares. Umeyama 1991, "Least-squares estimation of transformation parameters"."""
    w = weights / weights.sum()
    from_mean, to_mean = w @ points, w @ target
    a, b = points - from_mean, target - to_mean
    u, s, vt = np.linalg.svd((w[:, None] * b).T @ a)
    sign = np.ones(len(s))
    sign[-1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign) @ vt
    scale = (s * sign).sum() / (w @ (a**2).sum(1))
    return scale, rotation, to_mean - scale * rotation @ from_mean


def head_angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of a head turned by the matrix (3, 3) from the frontal view.

    The order is that of `synthpain.head.rotation`: yaw first, then pitch, then roll.
    """
    pitch = -math.asin(min(max(rotation[2, 1], -1), 1))
    yaw = math.atan2(-rotation[2, 0], rotation[2, 2])
    roll = -math.atan2(-rotation[0, 1], rotation[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def upright(vertices: np.ndarray) -> np.ndarray:
    """Image coordinates (V, 3) with y up instead of down: the canonical face's handedness."""
    return vertices * np.array([1.0, -1.0, 1.0])


def view_points(aligned: np.ndarray, size: int) -> np.ndarray:
    """Pixels and depth float32 (V, 3) in the frontal view of canonical coordinates (V, 3)."""
    scale = size / VIEW_SIDE
    x = (aligned[:, 0] - CENTRE[0]) * scale + (size - 1) / 2
    y = (size - 1) / 2 - (aligned[:, 1] - CENTRE[1]) * scale
    return np.stack([x, y, aligned[:, 2] * scale], 1).astype(np.float32)


def frontalise(image: np.ndarray, mesh: FaceMesh, topology: Topology, size: int = 224) -> Frontal:
    """The frontal view, `size` pixels square, of the face `mesh` in the RGB image (H, W, 3)."""
    points = upright(mesh.vertices.astype(np.float64))
    anchors = points[topology.anchors]
    scale, rotation, shift = similarity(anchors, topology.canonical, topology.weights)
    target = view_points(scale * points @ rotation.T + shift, size)
    low = np.clip(np.floor(target[:, :2].min(0)), 0, size).astype(int)
    high = np.clip(np.ceil(target[:, :2].max(0)) + 1, 0, size).astype(int)
    part = slice(low[1], high[1]), slice(low[0], high[0])  # of the view, where the face is
    target[:, :2] -= low
    view, visible = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), bool)
    view[part], visible[part], shown = render_mesh(image, mesh, topology, target, high - low)
    return Frontal(view, visible, shown, *head_angles(rotation.T))


def render_mesh(
    image: np.ndarray, mesh: FaceMesh, topology: Topology, target: np.ndarray, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The mesh's skin rendered where `target` float32 (V, 3) has its vertices, in an image of
    `extent` (width, height): the image, where it is visible, and the proportion that is."""
    normals = vertex_normals(upright(mesh.vertices).astype(np.float32), topology.triangles)
    values = np.column_stack([mesh.vertices, normals[:, 2]])
    place, depth, facing = source_map(target, topology.triangles, values, extent[0], extent[1])
    corner, zoom = source_square(mesh.vertices)
    square = (mesh.vertices - corner) * zoom
    itself = np.column_stack([square, square[:, 2]])
    _, surface, _ = source_map(square, topology.triangles, itself, SOURCE_SIZE, SOURCE_SIZE)
    inner = cv2.erode((surface > -np.inf).view(np.uint8), MARGIN, borderValue=0)
    surface[inner == 0] = np.inf
    inside, shown = seen(place, depth, facing, image.shape[:2], corner, zoom, surface)
    # The majority takes single pixels out of the border between seen and hidden, or puts them in.
    around = cv2.boxFilter(shown, -1, WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
    visible = inside & (around >= MAJORITY)
    # OpenCV samples four channels in less than half the time of three.
    image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    view = cv2.remap(image, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    view = cv2.copyTo(cv2.cvtColor(view, cv2.COLOR_RGBA2RGB), visible.view(np.uint8))
    return view, visible, np.count_nonzero(visible) / np.count_nonzero(depth > -np.inf)


@numba.njit(cache=True, error_model="numpy")
def seen(place, depth, facing, frame, corner, zoom, surface):
    """Which pixels of the view lie inside the frame, bool (H, W), and which of them the camera saw,
    uint8 (H, W): not too oblique, off the outline, and nothing before them.

    `frame` is the frame's height and width; `corner` and `zoom` take the mesh into the square whose
    nearest depth is `surface`, infinite at the outline and beyond.
    """
    inside = np.zeros(depth.shape, np.bool_)
    shown = np.zeros(depth.shape, np.uint8)
    left, top, right, bottom = corner[0], corner[1], np.float32(frame[1]), np.float32(frame[0])
    zero, half, one, facing_us = np.float32(0), np.float32(0.5), np.float32(1), np.float32(FACING)
    behind = BEHIND * np.float32(surface.shape[0])
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            x, y, z = place[i, j, 0], place[i, j, 1], depth[i, j]
            if z == -np.inf or x < zero or y < zero or x > right - one or y > bottom - one:
                continue
            inside[i, j] = True
            # Unsigned, or the access would first ask whether an index counts from the end.
            row = np.uintp(int((y - top) * zoom + half))
            column = np.uintp(int((x - left) * zoom + half))
            near = z * zoom > surface[row, column] - behind
            shown[i, j] = facing[i, j] > facing_us and near
    return inside, shown


def crop(image: np.ndarray, mesh: FaceMesh, topology: Topology, size: int = 224) -> Frontal:
    """The plain aligned crop: moved, turned in the plane and scaled, but not frontalised.

    The baseline that shows what registration buys; the face lies where the frontal view has it.
    """
    points = upright(mesh.vertices.astype(np.float64))[topology.anchors]
    _, rotation, _ = similarity(points, topology.canonical, topology.weights)
    target = view_points(topology.canonical, size)[:, :2].astype(np.float64)
    from_frame = mesh.vertices[topology.anchors, :2].astype(np.float64)
    scale, turn, shift = similarity(from_frame, target, topology.weights)
    to_view = np.column_stack([scale * turn, shift])
    view = cv2.warpAffine(image, to_view, (size, size), flags=cv2.INTER_LINEAR)
    whole = np.full(image.shape[:2], 255, np.uint8)
    visible = cv2.warpAffine(whole, to_view, (size, size), flags=cv2.INTER_NEAREST) > 0
    return Frontal(view, visible, float(visible.mean()), *head_angles(rotation.T))


def source_square(vertices: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Corner float32 (3,) and zoom that put a mesh (V, 3) into a square of SOURCE_SIZE pixels,
    whatever the frame's size, with a border of two."""
    low, high = vertices[:, :2].min(0), vertices[:, :2].max(0)
    zoom = np.float32((SOURCE_SIZE - 5) / (high - low).max())
    return np.append(low - 2 / zoom, 0).astype(np.float32), zoom
