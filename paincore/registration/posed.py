"""The `landmarks` backend: the canonical face, posed so that it fits given 2D landmarks.

No network runs: the 66 AAM landmarks that UNBC ships give position, scale and pose, and the shape
is the canonical face's for everybody. For a corpus whose landmarks are better than a detector.
"""

import numpy as np

from paincore.registration.landmarker import Landmarker, points_68
from paincore.registration.mesh import FaceMesh

WITHOUT_INNER_CORNERS = [i for i in range(68) if i not in (60, 64)]  # 68 points -> the 66 of AAM


class PosedCanonicalFace:
    """Canonical faces posed by landmarks; the canonical face comes from the landmarker's bundle."""

    name = "landmarks"

    def __init__(self, landmarker: Landmarker) -> None:
        self.canonical = landmarker.canonical
        self.topology = landmarker.topology
        self.points = points_68(self.canonical)[WITHOUT_INNER_CORNERS]

    def __call__(
        self, images: list[np.ndarray], landmarks: list[np.ndarray | None]
    ) -> list[FaceMesh | None]:
        """The face of each image by its landmarks float (66, 2) in pixels; None without them."""
        return [None if marks is None else self.pose(np.asarray(marks)) for marks in landmarks]

    def pose(self, landmarks: np.ndarray) -> FaceMesh:
        """Fit scale, rotation and shift by least squares under weak perspective.

        The best affine map from canonical to image points, then the nearest scaled rotation.
        Raises ValueError where the landmarks are not 66 finite points.
        """
        if landmarks.shape != (66, 2) or not np.isfinite(landmarks).all():
            raise ValueError(f"landmarks are not 66 finite points: shape {landmarks.shape}")
        target = landmarks * [1, -1]  # y up, as canonical
        model_mean, image_mean = self.points.mean(0), target.mean(0)
        affine = np.linalg.lstsq(self.points - model_mean, target - image_mean, rcond=None)[0].T
        u, s, vt = np.linalg.svd(affine, full_matrices=False)
        rows = u @ vt
        rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
        posed = s.mean() * (self.canonical - model_mean) @ rotation.T
        posed[:, :2] += image_mean
        return FaceMesh((posed * [1, -1, 1]).astype(np.float32), score=1.0)
