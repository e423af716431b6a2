"""The paper's registration backend: PRNet, a dense face mesh by one network.

A square of the image around the face goes through resfcn256, which gives a position map: for each
of 256x256 points of the face's UV plane (row, column), its place in the square. The pixels of the
map that lie on the face are the mesh's vertices; neighbours in the map are neighbours on the face.
In the UV plane, as in a frontal image, the column grows to the right and the row downwards. The
network's z grows towards the camera, as it does here. Feng et al. 2018 (see `resfcn`) and their
released code, whose crop rules these are.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from paincore.registration.checkpoint import read_tensors
from paincore.registration.frontal import FaceMesh, Images, Landmarks, Topology
from paincore.registration.landmarker import Landmarker, points_68
from paincore.registration.resfcn import Resfcn256

MAP_SIDE = 256  # pixels, side of the network's input and of the position map
REACH = 1.1 * MAP_SIDE  # pixels of the square, where the network's output is 1
LANDMARK_CROP = 1.6  # side of the square over the mean side of the box around landmarks
DETECTOR_CROP = 1.58  # the same for a face detector's box, which ends above the chin
DETECTOR_SHIFT = 0.14  # of that box's mean side, downwards

STILL_POINTS = (*range(27, 36), 36, 39, 42, 45)
"""Of the 68, nose and corners of the eyes, which hardly move with the expression: alignment rests
on these, lest an open mouth tilt the frontal view."""


class Crop(NamedTuple):
    """A square of the image that the network sees: left and top edge and side, in pixels."""

    left: float
    top: float
    side: int

    @property
    def scale(self) -> float:
        """Pixels of the network's input per pixel of the image."""
        return (MAP_SIDE - 1) / self.side


def crop_around_landmarks(points: np.ndarray) -> Crop:
    """The square for a face with landmarks (K, 2) in image pixels."""
    return crop_around(np.concatenate([points.min(0), points.max(0)]), LANDMARK_CROP, shift=0.0)


def crop_around_detection(box: np.ndarray) -> Crop:
    """The square for a face in a detector's box (4,): left, top, right, bottom in image pixels."""
    return crop_around(box, DETECTOR_CROP, DETECTOR_SHIFT)


def crop_around(box: np.ndarray, growth: float, shift: float) -> Crop:
    """A square of `growth` times the box's mean side, `shift` times that side below its middle."""
    mean_side = (box[2:] - box[:2]).mean()
    side = int(mean_side * growth)
    left, top = (box[:2] + box[2:]) / 2 + np.array([0, shift * mean_side]) - side / 2
    return Crop(float(left), float(top), side)


def cut(image: np.ndarray, crop: Crop) -> np.ndarray:
    """The crop of an RGB image uint8 (H, W, 3) as the network takes it: float32 (256, 256, 3) in
    0..1, bilinear, black beyond the image."""
    to_crop = np.array([[1, 0, -crop.left], [0, 1, -crop.top]]) * crop.scale
    scaled = image.astype(np.float32) / 255
    return cv2.warpAffine(scaled, to_crop, (MAP_SIDE, MAP_SIDE), flags=cv2.INTER_LINEAR)


def to_image(positions: np.ndarray, crop: Crop) -> np.ndarray:
    """Points (V, 3) in pixels of the network's input, to image pixels."""
    return positions / crop.scale + np.array([crop.left, crop.top, 0.0])


def grid_triangles(face: np.ndarray) -> np.ndarray:
    """Triangles int32 (T, 3) between the vertices: two for each square of four neighbours.

    `face` (V,) holds the vertices' places in the position map, row by row. Triangles are wound
    anticlockwise as seen in a frontal image, so that with y up their normals face the camera.
    """
    number = np.full(MAP_SIDE * MAP_SIDE, -1, np.int32)
    number[face] = np.arange(len(face))
    grid = number.reshape(MAP_SIDE, MAP_SIDE)
    corners = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -1)
    squares = corners[(corners >= 0).all(-1)]
    return np.concatenate([squares[:, [0, 1, 2]], squares[:, [0, 2, 3]]])


class PRNet:
    """PRNet with the weights and lists that the user gives.

    `index` is the checkpoint's, its values lie beside it; `face_list` has the places (V,) of the
    face's vertices in the position map, row by row, and `keypoint_list` (2, 68) the columns and
    rows of the 68 points; `landmarker` finds faces and has the canonical one; `device` is a PyTorch
    one. Raises CheckpointError where the checkpoint is damaged.
    """

    def __init__(
        self, index: Path, face_list: Path, keypoint_list: Path, landmarker: Landmarker, device: str
    ) -> None:
        self.network, self.device = Resfcn256(read_tensors(index), device), device
        self.landmarker, self.face = landmarker, np.loadtxt(face_list).astype(np.intp)
        columns, rows = np.loadtxt(keypoint_list).astype(np.intp)
        anchors = np.searchsorted(self.face, rows * MAP_SIDE + columns)
        weights = np.zeros(len(anchors))
        weights[list(STILL_POINTS)] = 1
        canonical = points_68(landmarker.canonical)
        self.topology = Topology(grid_triangles(self.face), anchors, canonical, weights)

    def __call__(self, images: Images, landmarks: Landmarks) -> list[FaceMesh | None]:
        """The face of each image by its landmarks (66, 2), or where there are none the largest that
        the landmarker detects; None where there is neither. All go through in one batch.

        The score is 1, since PRNet does not judge whether there is a face: whoever found it does.
        """
        crops = [self.crop_of(*pair) for pair in zip(images, landmarks, strict=True)]
        squares = [cut(i, crop) for i, crop in zip(images, crops, strict=True) if crop]
        maps = iter(self.position_maps(np.stack(squares)) if squares else ())
        return [self.mesh(next(maps), crop) if crop else None for crop in crops]

    def crop_of(self, image: np.ndarray, points: np.ndarray | None) -> Crop | None:
        """The square of an image that the network sees; None where no face is."""
        if points is not None:
            return crop_around_landmarks(points)
        boxes, _ = self.landmarker.detect(image)
        return crop_around_detection(boxes[0]) if len(boxes) else None

    def mesh(self, position_map: np.ndarray, crop: Crop) -> FaceMesh:
        """The mesh in image pixels of the network's output (256, 256, 3) for a crop."""
        places = REACH * position_map.reshape(-1, 3)[self.face]
        return FaceMesh(to_image(places, crop).astype(np.float32), score=1.0)

    def position_maps(self, squares: np.ndarray) -> np.ndarray:
        """The network's output (N, 256, 256, 3) in 0..1 for squares of the same shape."""
        batch = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2)
        # On a GPU, TF32 would round to a thousandth, a quarter of a pixel in the map, and some of
        # cuDNN's transposed convolutions add up in any order.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            maps = self.network(batch)
        return maps.permute(0, 2, 3, 1).cpu().numpy()
