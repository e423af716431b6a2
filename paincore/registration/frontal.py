"""From a face mesh to the canonical frontal view: align, rasterise, tell what was visible.

The paper turns PRNet's mesh to the canonical frontal view and rasterises it with Face3D (section
3.2). Here a weighted similarity takes the mesh's anchors to the canonical face, so that the same
patch shows the same part of the face in every frame; a z-buffer over the aligned mesh gives each
pixel of the view its place in the frame. What the camera did not see stays empty: filling it by
mirroring would invent an expression. Used by chapter 02.
"""

from dataclasses import dataclass

import cv2
import numba
import numpy as np

from paincore.raster import rasterise, vertex_normals
from paincore.registration.mesh import FaceMesh, Topology

VIEW_SIDE = 19.5  # cm, what the frontal view shows: the canonical face is 17.7 high
CENTRE = (0.0, -1.2)  # cm, canonical x and y in the middle of the view: room for an open jaw
FACING = 0.15  # cosine between normal and camera below which skin is too oblique to be read
SOURCE_SIZE = 192  # pixels, side of the z-buffer in which the frame's own hidden parts are found
SILHOUETTE = np.ones((5, 5), np.uint8)  # kept away from its outline, where the background begins
BEHIND = 0.03  # of the face's size: as far behind the nearest surface, a point is hidden


@dataclass(frozen=True)
class Frontal:
    """A frontal view of one face.

    image uint8 (S, S, 3), 0 where nothing was visible; visible bool (S, S); visible_share of the
    canonical face's pixels; yaw, pitch, roll in degrees, signs as in `paincore.synthetic.head`.
    """

    image: np.ndarray
    visible: np.ndarray
    visible_share: float
    yaw: float
    pitch: float
    roll: float


def similarity(
    points: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (D, D) and shift (D,) that take points (K, D) nearest to target (K, D) in
    weighted squares. Umeyama 1991, "Least-squares estimation of transformation parameters"."""
    share = weights / weights.sum()
    from_mean, to_mean = share @ points, share @ target
    a, b = points - from_mean, target - to_mean
    u, s, vt = np.linalg.svd((share[:, None] * b).T @ a)
    sign = np.ones(len(s))
    sign[-1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign) @ vt
    scale = (s * sign).sum() / (share @ (a**2).sum(1))
    return scale, rotation, to_mean - scale * rotation @ from_mean


def head_angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of a head turned by the matrix (3, 3) from the frontal view.

    The order is that of `paincore.synthetic.head.rotation`: yaw first, then pitch, then roll.
    """
    pitch = -np.arcsin(np.clip(rotation[2, 1], -1, 1))
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    roll = -np.arctan2(-rotation[0, 1], rotation[1, 1])
    return tuple(float(a) for a in np.rad2deg([yaw, pitch, roll]))


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
    aligned = scale * points @ rotation.T + shift
    nearest, weights, _ = rasterise(view_points(aligned, size), topology.triangles, size, size)
    seen = source_view(mesh.vertices)
    _, _, depth = rasterise(seen, topology.triangles, SOURCE_SIZE, SOURCE_SIZE)
    inner = cv2.erode(np.isfinite(depth).astype(np.float32), SILHOUETTE, borderValue=0)
    normals = vertex_normals(points.astype(np.float32), topology.triangles)
    x, y, shown = look_up(
        nearest, weights, topology.triangles, mesh.vertices, normals, seen, depth, inner
    )
    height, width = image.shape[:2]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    face = nearest >= 0
    # The median takes single pixels out of the border between seen and hidden, and puts others in.
    visible = face & inside & (cv2.medianBlur(shown, 5) > 0)
    view = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    view *= visible[..., None]
    return Frontal(view, visible, float(visible.sum() / face.sum()), *head_angles(rotation.T))


@numba.njit(cache=True, error_model="numpy")
def look_up(nearest, weights, triangles, vertices, normals, seen, depth, inner):
    """Where each pixel of the view lies in the frame, x and y float32 (S, S), and whether the
    camera saw it there, uint8 (S, S): not too oblique, off the outline, and nothing before it.

    `seen` (V, 3) is the mesh in the square whose nearest depth and inside are `depth`, `inner`.
    """
    size, last = nearest.shape[0], depth.shape[0] - 1
    x = np.full((size, size), np.float32(-1))
    y = np.full((size, size), np.float32(-1))
    shown = np.zeros((size, size), np.uint8)
    for i in range(size):
        for j in range(size):
            t = nearest[i, j]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v = weights[i, j, 0], weights[i, j, 1]
            w = 1 - u - v
            x[i, j] = u * vertices[a, 0] + v * vertices[b, 0] + w * vertices[c, 0]
            y[i, j] = u * vertices[a, 1] + v * vertices[b, 1] + w * vertices[c, 1]
            if u * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2] <= FACING:
                continue
            column = u * seen[a, 0] + v * seen[b, 0] + w * seen[c, 0]
            row = u * seen[a, 1] + v * seen[b, 1] + w * seen[c, 1]
            z = u * seen[a, 2] + v * seen[b, 2] + w * seen[c, 2]
            r, k = min(max(int(row + 0.5), 0), last), min(max(int(column + 0.5), 0), last)
            shown[i, j] = inner[r, k] > 0 and z > depth[r, k] - BEHIND * (last + 1)
    return x, y, shown


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


def source_view(vertices: np.ndarray) -> np.ndarray:
    """Vertices float32 (V, 3) scaled into a square of SOURCE_SIZE pixels, whatever the frame's."""
    low = vertices[:, :2].min(0)
    scale = (SOURCE_SIZE - 4) / (vertices[:, :2].max(0) - low).max()
    moved = (vertices - np.append(low, 0)) * scale
    return (moved + np.array([2, 2, 0])).astype(np.float32)
