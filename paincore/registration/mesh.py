"""What a registration backend gives: a face's mesh in the image, and how that mesh is built.

Vertices are in image pixels: x right, y down, the centre of the top left pixel at (0, 0), depth
towards the camera in pixels. Canonical coordinates are those of MediaPipe's canonical face, in cm:
x to the picture's right, y up, z towards the camera.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FaceMesh:
    """One face: vertices float32 (V, 3), presence score 0..1, and how many faces the image has."""

    vertices: np.ndarray
    score: float
    faces: int = 1


@dataclass(frozen=True)
class Topology:
    """What all meshes of a backend share.

    triangles int32 (T, 3); anchors int (K,): the vertices that are aligned to the canonical points
    canonical float64 (K, 3), with weights float64 (K,).
    """

    triangles: np.ndarray
    anchors: np.ndarray
    canonical: np.ndarray
    weights: np.ndarray
