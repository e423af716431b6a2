"""Regions of the face in which the action units of pain show, at fixed pixels of a frontal view.

They are outlines on MediaPipe's canonical face, by the numbers of its 468 vertices. Registration
puts that face at one place of every frontal view, so a region is the same pixels in every frame.
Regions do not overlap: of two that claim a pixel the earlier of `REGIONS` has it. What is left of
the face's oval is the rest of the face, what is left of the view is outside. Where AUs show follows
FACS (Ekman, Friesen & Hager 2002); the outlines are ours.
"""

import zipfile
from collections.abc import Iterable, Mapping
from functools import lru_cache

import cv2
import numpy as np

from paincore.manifest import fetch
from paincore.registration.frontal import view_points
from paincore.registration.landmarker import read_geometry

# fmt: off
REGIONS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "eyes": ((33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
             (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)),
    "orbit": ((143, 111, 117, 118, 119, 120, 121, 128, 245, 189, 221, 222, 223, 224, 225, 113),
              (372, 340, 346, 347, 348, 349, 350, 357, 465, 413, 441, 442, 443, 444, 445, 342)),
    "brow": ((70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 276, 283, 282, 295, 285, 8, 55, 65,
              52, 53, 46),),
    "nose": ((8, 193, 245, 128, 114, 217, 198, 209, 129, 98, 97, 2, 326, 327, 358, 429, 420, 437,
              343, 357, 465, 417),),
    "upper lip": ((129, 203, 206, 216, 61, 78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 291,
                   436, 426, 423, 358, 327, 326, 2, 97, 98),),
    "cheek": ((111, 117, 118, 119, 120, 121, 128, 114, 217, 198, 209, 129, 203, 206, 207, 187, 123,
               116),
              (340, 346, 347, 348, 349, 350, 357, 343, 437, 420, 429, 358, 423, 426, 427, 411, 352,
               345)),
}
"""Closed outlines by region; two where a region has two sides. The earlier has what both claim."""

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
REST, OUTSIDE = "rest of the face", "outside"
REGION_NAMES = (*REGIONS, REST, OUTSIDE)

AU_REGIONS = {4: ("brow",), 6: ("cheek", "orbit"), 7: ("orbit", "eyes"), 9: ("nose",),
              10: ("upper lip",), 43: ("eyes", "orbit")}
"""Where each action unit of PSPI shows."""
# fmt: on

FINE = 16  # pixels a side in which a patch is divided among regions


@lru_cache(maxsize=1)
def canonical_face() -> np.ndarray:
    """The vertices of the canonical face, float64 (468, 3) in cm, from the landmarker's bundle."""
    with zipfile.ZipFile(fetch("landmarker")) as files:
        return read_geometry(files.read("geometry_pipeline_metadata_landmarks.binarypb"))[0]


@lru_cache(maxsize=8)
def region_masks(size: int) -> dict[str, np.ndarray]:
    """Each of `REGION_NAMES`, in this order, in a frontal view of `size` pixels, bool (size, size):
    no two overlap, and together they are the whole view."""
    points = view_points(canonical_face(), size)[:, :2]
    free, found = np.ones((size, size), bool), {}
    for name, parts in {**REGIONS, REST: (OVAL,)}.items():
        filled = np.zeros((size, size), np.uint8)
        corners = [np.round(points[list(part)] * 16).astype(np.int32) for part in parts]
        cv2.fillPoly(filled, corners, 1, shift=4)
        found[name] = (filled > 0) & free
        free &= ~found[name]
    return found | {OUTSIDE: free}


@lru_cache(maxsize=8)
def coverage(patches: int) -> np.ndarray:
    """The proportion of each patch that belongs to each of `REGION_NAMES`: float64 (R, P, P)."""
    masks = np.stack(list(region_masks(patches * FINE).values()))
    return patch_proportions(masks, patches).astype(np.float64)


def patch_proportions(pixels: np.ndarray, side: int) -> np.ndarray:
    """The proportion of each patch's pixels that are True: float32 (..., P, P) of (..., S, S)."""
    patch = pixels.shape[-1] // side
    blocks = pixels.reshape(*pixels.shape[:-2], side, patch, side, patch)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)


def proportions(maps: np.ndarray) -> np.ndarray:
    """The proportion of each map's sum in each of `REGION_NAMES`: (..., R) of maps (..., F, P, P).

    A patch that lies in several regions is divided among them by area; frames of a clip are added.
    float64; a map that is 0 everywhere has NaN.
    """
    parts = np.einsum("...fij,rij->...r", maps.astype(np.float64), coverage(maps.shape[-1]))
    with np.errstate(invalid="ignore"):
        return parts / parts.sum(axis=-1, keepdims=True)


def areas(patches: int) -> np.ndarray:
    """The proportion of the view's area of each of `REGION_NAMES`, (R,): that of an even map."""
    return coverage(patches).mean(axis=(1, 2))


def times_even(maps: np.ndarray, regions: Iterable[str]) -> np.ndarray:
    """What maps (..., F, P, P) have in regions together, over what an even map has: (...,)."""
    places = [REGION_NAMES.index(name) for name in regions]
    return proportions(maps)[..., places].sum(axis=-1) / areas(maps.shape[-1])[places].sum()
