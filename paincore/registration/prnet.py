"""The paper's registration backend: PRNet, a dense face mesh by one network.

A square of the image around the face goes through resfcn256, which gives a position map: for each
of 256x256 points of the face's UV plane (row, column), its place in the square. The pixels of the
map that lie on the face are the mesh's vertices; neighbours in the map are neighbours on the face.
In the UV plane, as in a frontal image, the column grows to the right and the row downwards. The
network's z grows towards the camera, as it does here. Feng, Wu, Shao, Wang & Zhou 2018, "Joint 3D
face reconstruction and dense alignment with position map regression network", and their released
code, whose crop rules these are.

The network is here in PyTorch, with the padding of the TensorFlow operations: an encoder of ten
residual blocks takes an image to 1/32 of its size, a decoder of seventeen transposed convolutions
takes it back to three channels, the x, y and z of the face's points in UV order, by a sigmoid in
0..1. It is for inference alone: batch norm uses the stored statistics. The paper's section 3.2
registers faces with it.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from paincore.registration.checkpoint import read_tensors
from paincore.registration.frontal import FaceMesh, Images, Landmarks, Topology
from paincore.registration.landmarker import points_68

MAP_SIDE = 256  # pixels, side of the network's input and of the position map
REACH = 1.1 * MAP_SIDE  # pixels of the square, where the network's output is 1
# Side of the square over the mean side of the box, and shift downwards over that side: of the box
# around landmarks, and of a face detector's, which ends above the chin.
AROUND_LANDMARKS, AROUND_DETECTION = (1.6, 0.0), (1.58, 0.14)

STILL_POINTS = (*range(27, 36), 36, 39, 42, 45)
"""Of the 68, nose and corners of the eyes, which hardly move with the expression: alignment rests
on these, lest an open mouth tilt the frontal view."""

ENCODER = 5 * (2, 1)
DECODER = (1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1)
"""Stride of each residual block, and of each transposed convolution."""
BATCH_NORM = ("moving_mean", "moving_variance", "gamma", "beta")


class Crop(NamedTuple):
    """A square of the image that the network sees: left and top edge and side, in pixels."""

    left: float
    top: float
    side: int

    @property
    def scale(self) -> float:
        """Pixels of the network's input per pixel of the image."""
        return (MAP_SIDE - 1) / self.side


def crop_around(box: np.ndarray, growth: float, shift: float) -> Crop:
    """A square of `growth` times the mean side of a box (4,), left, top, right and bottom in image
    pixels, `shift` times that side below its middle."""
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

    def __init__(self, index: Path, face_list: Path, keypoint_list: Path, landmarker, device: str):
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
            return crop_around(np.concatenate([points.min(0), points.max(0)]), *AROUND_LANDMARKS)
        boxes, _ = self.landmarker.detect(image)
        return crop_around(boxes[0], *AROUND_DETECTION) if len(boxes) else None

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


class Resfcn256:
    """The network with the tensors of a checkpoint, float32, by TensorFlow's names.

    `tensors` has kernels as (y, x, in, out), or (y, x, out, in) where they are transposed.
    """

    def __init__(self, tensors: dict[str, np.ndarray | Tensor], device: str = "cpu") -> None:
        self.tensors = {name: torch.as_tensor(t, device=device) for name, t in tensors.items()}
        for name, kernel in self.tensors.items():
            if kernel.ndim == 4:
                self.tensors[name] = kernel.permute(3, 2, 0, 1).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in 0..1, H and W multiples of 32, to position maps of that shape."""
        x = self.convolved(x, "resfcn256/Conv")
        for number, stride in enumerate(ENCODER):
            x = self.residual(x, numbered("resBlock", number), stride)
        for number, stride in enumerate(DECODER):
            x = torch.relu(x) if number else x
            x = self.transposed(x, numbered("Conv2d_transpose", number), stride)
        return torch.sigmoid(x)

    def residual(self, x: Tensor, block: str, stride: int) -> Tensor:
        """A bottleneck; at stride 2, where the shape changes, with a 1x1 convolution beside it."""
        kept = self.convolution(x, f"{block}/shortcut", stride) if stride > 1 else x
        x = self.convolved(x, f"{block}/Conv")
        x = self.convolved(x, f"{block}/Conv_1", stride)
        x = self.convolution(x, f"{block}/Conv_2") + kept
        return torch.relu(self.normed(x, block))

    def convolved(self, x: Tensor, scope: str, stride: int = 1) -> Tensor:
        """Convolution, batch norm, ReLU."""
        return torch.relu(self.normed(self.convolution(x, scope, stride), scope))

    def convolution(self, x: Tensor, scope: str, stride: int = 1) -> Tensor:
        """Convolution without bias, 4x4 or 1x1, padded as TensorFlow's SAME."""
        kernel = self.tensors[f"{scope}/weights"]
        # SAME pads an odd total by one more at the right and at the bottom.
        before, after = (1, 3 - stride) if kernel.shape[-1] == 4 else (0, 0)
        x = functional.pad(x, (before, after, before, after))
        return functional.conv2d(x, kernel, stride=stride)

    def transposed(self, x: Tensor, scope: str, stride: int) -> Tensor:
        """4x4 transposed convolution without bias, padded as TensorFlow's SAME, and batch norm."""
        height, width = (side * stride for side in x.shape[2:])
        kernel = self.tensors[f"{scope}/weights"]
        x = functional.conv_transpose2d(x, kernel, stride=stride, padding=1)
        return self.normed(x[..., :height, :width], scope)  # at stride 1 one more comes out

    def normed(self, x: Tensor, scope: str) -> Tensor:
        """Batch norm by the stored statistics."""
        mean, variance, gamma, beta = (self.tensors[f"{scope}/BatchNorm/{n}"] for n in BATCH_NORM)
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)  # TensorFlow's eps


def numbered(scope: str, number: int) -> str:
    """TensorFlow's name of the scope that was opened for the `number`-th time, from 0."""
    return f"resfcn256/{scope}_{number}" if number else f"resfcn256/{scope}"
