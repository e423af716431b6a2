"""The parametric head: shape, action units, pose and camera of a synthetic face.

Head coordinates are in decimetres: x to the person's left, y up, z out of the face; the skull's
base is near (0, 6.2, 0.1). Pixel coordinates have x to the right, y down and the centre of the top
left pixel at (0, 0); depth is in pixels and grows towards the camera. Angles are in degrees: yaw
turns the nose to the picture's right, pitch turns it up, roll tilts the head clockwise as seen.
The data, `head.npz`, is made by `tools/make_head.py` from CC0 sources named in the data manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

QUANTUM = 1e-4  # dm per step of the stored int16 offsets
ORIGIN = np.array([0.0, 7.0, 0.0])  # dm, subtracted before the vertices were stored
PIVOT = np.array([0.0, 6.35, 0.25])  # dm, the point about which the head turns on the neck
CAMERA_DISTANCE = 10.0  # dm from the pivot
FOCAL = 3.4  # focal length in picture heights: a head fills about three quarters of the height
SKIN, EYE, TEETH, TONGUE, LASHES = range(5)

# The 66 AAM points are the 68 of Multi-PIE without the two inner mouth corners. Each is the vertex
# next to where a face landmark detector sees the point on an average neutral face, mirrored to the
# other side. They stay on the skin: at a large yaw the jaw's points do not slide to the outline.
# fmt: off
LANDMARK_VERTICES = (
    2348, 1795, 1692, 736, 1834, 915, 1530, 1887, 1890, 4163, 3819, 3226, 4113, 3065, 3977,
    4076, 4615, 211, 207, 206, 177, 208, 2592, 2562, 2590, 2591, 2595, 135, 164, 291, 294, 334,
    313, 312, 2685, 2705, 1672, 6, 2372, 74, 1606, 41, 2467, 4639, 2399, 3957, 2434, 3894, 1569,
    1948, 456, 455, 2824, 4220, 3858, 2842, 2850, 492, 486, 478, 472, 474, 2837, 2873, 540, 517,
)
# fmt: on


@dataclass(frozen=True)
class Head:
    """The mesh and its linear bases, V vertices, T triangles.

    vertices float32 (V, 3) in dm; triangles int32 (T, 3); parts uint8 (T,) material codes;
    lips, lids float32 (V,) in 0..1; au_offsets {number: float32 (V, 3)} at full intensity;
    axis_offsets float32 (A, 2, V, 3), towards +1 and towards -1, of the A named identity axes;
    macro_offsets {name: float32 (V, 3)} of ancestry, sex, age and weight.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    parts: np.ndarray
    lips: np.ndarray
    lids: np.ndarray
    au_offsets: Mapping[int, np.ndarray]
    axis_names: tuple[str, ...]
    axis_offsets: np.ndarray
    macro_offsets: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class View:
    """Where a head is, where it looks, how it is lit and the picture's size.

    yaw, pitch, roll, gaze and light angles in degrees; x, y shift of the head in picture heights;
    scale relative to the default distance; light_strength the share of directed light, 0..1;
    warmth -1 (blue) to 1 (orange); backdrop the number of the room behind the person; width, height
    in pixels.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0
    light_yaw: float = -25.0
    light_pitch: float = 30.0
    light_strength: float = 0.6
    warmth: float = 0.0
    backdrop: int = 0
    width: int = 320
    height: int = 240


@lru_cache(maxsize=1)
def load_head() -> Head:
    """The head of `head.npz`; read once per process."""
    with np.load(Path(__file__).with_name("head.npz"), allow_pickle=False) as stored:
        s = {name: stored[name] for name in stored.files}

    def offsets(name: str) -> np.ndarray:
        return s[name].astype(np.float32) * np.float32(QUANTUM)

    return Head(
        vertices=(offsets("vertices") + ORIGIN).astype(np.float32),
        triangles=s["triangles"].astype(np.int32),
        parts=s["parts"],
        lips=s["lips"].astype(np.float32) / 255,
        lids=s["lids"].astype(np.float32) / 255,
        au_offsets=dict(zip(s["au_numbers"].tolist(), offsets("au_offsets"), strict=True)),
        axis_names=tuple(s["axis_names"].tolist()),
        axis_offsets=offsets("axis_offsets"),
        macro_offsets=dict(zip(s["macro_names"].tolist(), offsets("macro_offsets"), strict=True)),
    )


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation matrix (3, 3) float64 that turns a frontal head by the angles, in degrees."""
    y, p, r = np.deg2rad([yaw, -pitch, -roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def turn(vertices: np.ndarray, view: View) -> np.ndarray:
    """Head coordinates (V, 3) after the head has turned, relative to the pivot, float64.

    The neck follows the head and the shoulders stay, by linear blend skinning on the height.
    """
    centred = vertices - PIVOT
    low, high = 5.45 - PIVOT[1], 6.35 - PIVOT[1]
    # Behind the jaw the neck reaches higher than the chin, so its weight counts the depth in.
    height = (
        load_head().vertices[:, 1] - PIVOT[1] + 0.35 * np.clip(load_head().vertices[:, 2], 0, 1)
    )
    weight = np.clip((height - low) / (high - low), 0, 1)
    weight = (weight * weight * (3 - 2 * weight))[:, None]
    turned = centred @ rotation(view.yaw, view.pitch, view.roll).T
    return weight * turned + (1 - weight) * (centred @ rotation(0.15 * view.yaw, 0, 0).T)


def to_pixels(turned: np.ndarray, view: View) -> np.ndarray:
    """Perspective projection of (V, 3) points relative to the pivot: x, y, depth in pixels."""
    focal = FOCAL * view.height * view.scale
    away = CAMERA_DISTANCE - turned[:, 2]
    x = (view.width - 1) / 2 + view.height * view.x + focal * turned[:, 0] / away
    eye_level = 0.90  # dm above the pivot, drawn a little above the picture's middle
    y = view.height * (0.46 + view.y) - 0.5 - focal * (turned[:, 1] - eye_level) / away
    return np.stack([x, y, turned[:, 2] * focal / CAMERA_DISTANCE], axis=1).astype(np.float32)


def project(vertices: np.ndarray, view: View) -> np.ndarray:
    """Pixel coordinates and depth, float32 (V, 3), of head coordinates (V, 3) seen in `view`."""
    return to_pixels(turn(vertices, view), view)


def landmarks66(projected: np.ndarray) -> np.ndarray:
    """The 66 AAM landmarks, (66, 2) in pixels, of the projected vertices (V, 3)."""
    return projected[list(LANDMARK_VERTICES), :2]
