"""The paper's registration backend: PRNet, a dense face mesh by one network.

A square of the image around the face goes through resfcn256, which gives a position map: for each
of 256x256 points of the face's UV plane (row, column), its place in the square. The pixels of the
map that lie on the face are the mesh's vertices; neighbours in the map are neighbours on the face.
In the UV plane, as in a frontal picture, the column grows to the right and the row downwards. The
network's z grows towards the camera, as it does here. Feng et al. 2018 (see `resfcn`) and their
released code, whose crop rules these are. Used by chapter 02.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from paincore.registration.checkpoint import CheckpointError
from paincore.registration.mesh import FaceMesh, Topology
from paincore.registration.resfcn import Resfcn256, convert, load

SIZE = 256  # pixels, side of the network's picture and of the position map
REACH = 1.1 * SIZE  # pixels of the square, where the network's output is 1
LANDMARK_CROP = 1.6  # side of the square over the mean side of the box around landmarks
DETECTOR_CROP = 1.58  # the same for a face detector's box, which ends above the chin
DETECTOR_SHIFT = 0.14  # of that box's mean side, downwards

INDEX = "256_256_resfcn256_weight.index"
VALUES = "256_256_resfcn256_weight.data-00000-of-00001"
CONVERTED = "resfcn256.safetensors"
FACE_VERTICES = "face_ind.txt"
FACE_VERTEX_COUNT = 43_867
KEYPOINTS = "uv_kpt_ind.txt"
INSTRUCTIONS = (
    "PRNet's weights are not passed on here. Get the checkpoint through the link in the README of "
    f"github.com/yfeng95/PRNet, and put into one folder {INDEX}, {VALUES}, and, from Data/uv-data "
    f"of that repository, {FACE_VERTICES} and {KEYPOINTS}."
)

STILL_POINTS = (*range(27, 36), 36, 39, 42, 45)
"""Of the 68, nose and corners of the eyes, which hardly move with the expression: alignment rests
on these, lest an open mouth tilt the frontal view."""


@dataclass(frozen=True)
class Crop:
    """A square of the image that the network sees: left and top edge and side, in pixels."""

    left: float
    top: float
    side: int

    @property
    def scale(self) -> float:
        """Pixels of the network's picture per pixel of the image."""
        return (SIZE - 1) / self.side


def crop_around_landmarks(points: np.ndarray) -> Crop:
    """The square for a face with landmarks (K, 2 or more) in image pixels."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return _crop(np.concatenate([low, high]), LANDMARK_CROP, 0.0)


def crop_around_detection(box: np.ndarray) -> Crop:
    """The square for a face in a detector's box (4,): left, top, right, bottom in image pixels."""
    return _crop(np.asarray(box), DETECTOR_CROP, DETECTOR_SHIFT)


def _crop(box: np.ndarray, growth: float, shift: float) -> Crop:
    mean_side = (box[2:] - box[:2]).mean()
    side = int(mean_side * growth) if np.isfinite(box).all() else 0
    if side < 1:
        raise ValueError(f"no face fits into the box {box.tolist()} (left, top, right, bottom)")
    centre = (box[:2] + box[2:]) / 2 + np.array([0, shift * mean_side])
    left, top = centre - side / 2
    return Crop(float(left), float(top), side)


def cut(image: np.ndarray, crop: Crop) -> np.ndarray:
    """The crop of an RGB image uint8 (H, W, 3) as the network takes it: float32 (256, 256, 3) in
    0..1, bilinear, black beyond the image."""
    to_crop = np.array([[1, 0, -crop.left], [0, 1, -crop.top]]) * crop.scale
    picture = image.astype(np.float32) / 255
    return cv2.warpAffine(picture, to_crop, (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def to_image(positions: np.ndarray, crop: Crop) -> np.ndarray:
    """Points (V, 3) in pixels of the crop's picture, to image pixels."""
    return positions / crop.scale + np.array([crop.left, crop.top, 0.0])


def grid_triangles(face: np.ndarray) -> np.ndarray:
    """Triangles int32 (T, 3) between the vertices: two for each square of four neighbours.

    `face` (V,) holds the vertices' places in the position map, row by row. Triangles are wound
    anticlockwise as seen in a frontal picture, so that with y up their normals face the camera.
    """
    number = np.full(SIZE * SIZE, -1, np.int32)
    number[face] = np.arange(len(face))
    grid = number.reshape(SIZE, SIZE)
    corners = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -1)
    squares = corners[(corners >= 0).all(-1)]
    return np.concatenate([squares[:, [0, 1, 2]], squares[:, [0, 2, 3]]])


def read_face_vertices(path: Path) -> np.ndarray:
    """Places (V,) of the face's vertices in the position map, from `face_ind.txt`."""
    face = _read_numbers(path, SIZE * SIZE)
    if face.shape != (FACE_VERTEX_COUNT,) or (np.diff(face) <= 0).any():
        raise CheckpointError(
            f"{path} does not list {FACE_VERTEX_COUNT} places in ascending order. {INSTRUCTIONS}"
        )
    return face


def read_keypoints(path: Path, face: np.ndarray) -> np.ndarray:
    """Vertex numbers (68,) of the 68 keypoints, from `uv_kpt_ind.txt`: their columns, then rows."""
    numbers = _read_numbers(path, SIZE)
    if numbers.shape != (2, 68) or not np.isin(numbers[1] * SIZE + numbers[0], face).all():
        raise CheckpointError(f"{path} does not list 68 points of the face. {INSTRUCTIONS}")
    return np.searchsorted(face, numbers[1] * SIZE + numbers[0])


def _read_numbers(path: Path, end: int) -> np.ndarray:
    """Whole numbers from 0 to below `end` in a text file."""
    try:
        numbers = np.loadtxt(path)
    except ValueError as fault:
        raise CheckpointError(f"{path} is damaged: {fault}. {INSTRUCTIONS}") from fault
    if not ((numbers >= 0) & (numbers < end) & (numbers % 1 == 0)).all():
        raise CheckpointError(
            f"{path} holds other than whole numbers from 0 to {end - 1}. {INSTRUCTIONS}"
        )
    return numbers.astype(np.intp)


def open_network(folder: Path) -> tuple[Resfcn256, str]:
    """The network with the folder's weights, converted if they are not yet, and the SHA-256 of the
    checkpoint's index. Raises CheckpointError if a file is absent or not PRNet's."""
    converted, index = folder / CONVERTED, folder / INDEX
    checkpoint = () if converted.exists() else (INDEX, VALUES)
    absent = [n for n in (*checkpoint, FACE_VERTICES, KEYPOINTS) if not (folder / n).exists()]
    if absent:
        raise CheckpointError(f"{folder} lacks {', '.join(absent)}. {INSTRUCTIONS}")
    if checkpoint:
        convert(index, converted)
    network, source = load(converted)
    if index.exists() and hashlib.sha256(index.read_bytes()).hexdigest() != source:
        raise CheckpointError(
            f"{converted} was made from another checkpoint than {index}. Delete it: it is made "
            "anew."
        )
    return network, source


class PRNet:
    """PRNet with the weights that the user gives in a folder.

    `folder` holds the four released files (see INSTRUCTIONS); the checkpoint is converted there
    once. `canonical` (68, 3): the 68 points on the canonical face, in cm. `device`: a PyTorch one.
    `fingerprint` is the SHA-256 of the checkpoint's index. Raises CheckpointError, which names the
    file, if the folder lacks one or it is not PRNet's.
    """

    name = "prnet"

    def __init__(self, folder: Path, canonical: np.ndarray, device: str = "cpu") -> None:
        self.network, self.fingerprint = open_network(folder)
        self.device = torch.device(device)
        self.network.to(self.device)
        self.face = read_face_vertices(folder / FACE_VERTICES)
        anchors = read_keypoints(folder / KEYPOINTS, self.face)
        weights = np.zeros(len(anchors))
        weights[list(STILL_POINTS)] = 1
        self.topology = Topology(grid_triangles(self.face), anchors, canonical, weights)

    def __call__(self, images: list[np.ndarray], crops: list[Crop]) -> list[FaceMesh]:
        """One mesh for each RGB image (H, W, 3) uint8 and its crop; all go through in one batch.

        The score is 1, since PRNet does not judge whether there is a face: whoever found it does.
        """
        if not images:
            return []
        pictures = np.stack([cut(i, c) for i, c in zip(images, crops, strict=True)])
        positions = REACH * self.position_maps(pictures).reshape(len(images), -1, 3)
        return [
            FaceMesh(to_image(p[self.face], crop).astype(np.float32), score=1.0)
            for p, crop in zip(positions, crops, strict=True)
        ]

    def position_maps(self, pictures: np.ndarray) -> np.ndarray:
        """The network's output (N, 256, 256, 3) in 0..1 for pictures of the same shape."""
        batch = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)
        # On a GPU, TF32 would round to a thousandth, a quarter of a pixel in the map, and some of
        # cuDNN's transposed convolutions add up in any order.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            maps = self.network(batch)
        return maps.permute(0, 2, 3, 1).cpu().numpy()
