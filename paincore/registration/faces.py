"""From images to registered faces: reading, finding, viewing, and why there is none.

An image without a usable face is not an error: it has a state, a word of `FACE_STATES` or, in a
corpus, of `paincore.data.frames.STATES`, and a sentence that names its file.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from paincore import PaincoreError
from paincore.data.unbc import CorpusError, read_landmarks
from paincore.registration.backends import TAKE_LANDMARKS, Backend
from paincore.registration.frontal import FaceMesh, Frontal

BLACK = 12  # of 255: a frame with no pixel above it was recorded with the lens closed
PRESENT = 0.5  # presence score from which a face counts as found
EXTREME_YAW = 50.0  # degrees beyond which frontal views are poor: flagged, not dropped

POSE = ("yaw", "pitch", "roll", "visible_share")

FACE_STATES = {
    "undecodable": "the image cannot be decoded",
    "black": "the image is black",
    "bad_landmarks": "the landmark file does not hold 66 points that fit a face",
    "no_face": "the backend found no face",
    "low_presence": f"the best face has a presence score below {PRESENT}",
}
"""What registration adds to the states of `paincore.data.frames`, and what it means."""


class RegistrationError(PaincoreError):
    """An image on which registration fails in a way that it has no state for."""


@dataclass(frozen=True)
class Picture:
    """An image to register: RGB uint8 (H, W, 3), or None with the state and sentence that say
    why; landmarks float (66, 2) in pixels, if a backend wants them and they are there."""

    name: str
    image: np.ndarray | None
    landmarks: np.ndarray | None = None
    state: str = "ok"
    problem: str = ""


@dataclass(frozen=True)
class Face:
    """What registration found in an image; mesh and view are None where there is no face.

    A face of a state other than "ok" has no view. `view` is a crop for the backend `none`.
    """

    picture: Picture
    mesh: FaceMesh | None
    view: Frontal | None
    state: str
    problem: str

    @property
    def measures(self) -> dict:
        """The columns that registration adds to the frames table.

        score 0..1, faces (how many the detector saw), yaw, pitch and roll in degrees,
        visible_share 0..1, extreme_yaw; NaN, 0 and False where there is no face.
        """
        score, faces = getattr(self.mesh, "score", np.nan), getattr(self.mesh, "faces", 0)
        pose = {name: getattr(self.view, name, np.nan) for name in POSE}
        extreme = abs(pose["yaw"]) > EXTREME_YAW
        return {"score": score, "faces": faces} | pose | {"extreme_yaw": extreme}


def find_faces(pictures: list[Picture], backend: Backend, size: int = 224) -> list[Face]:
    """The largest face of each picture, its view `size` pixels square.

    Raises RegistrationError naming the images if the backend fails on them.
    """
    usable = [p for p in pictures if p.state == "ok"]
    try:
        meshes = iter(backend.find([p.image for p in usable], [p.landmarks for p in usable]))
        each = [next(meshes) if p.state == "ok" else None for p in pictures]
        return [_face(p, mesh, backend, size) for p, mesh in zip(pictures, each, strict=True)]
    except Exception as fault:  # a backend's libraries have errors of their own
        among = ", ".join(p.name for p in usable)
        reason = f"{type(fault).__name__}: {fault}"
        raise RegistrationError(f"{backend.name} failed on one of {among}: {reason}") from fault


def _face(picture: Picture, mesh: FaceMesh | None, backend: Backend, size: int) -> Face:
    if picture.state != "ok":
        return Face(picture, None, None, picture.state, picture.problem)
    if mesh is None:
        return Face(picture, None, None, "no_face", f"{picture.name}: no face found")
    if not mesh.score >= PRESENT:
        problem = f"{picture.name}: presence score {mesh.score:.3f}, below {PRESENT}"
        return Face(picture, mesh, None, "low_presence", problem)
    return Face(picture, mesh, backend.view(picture.image, mesh, backend.topology, size), "ok", "")


def read_picture(root: Path, row: object, backend: str) -> Picture:
    """The image of a row of the frames table with what the backend needs.

    A row that has a state other than "ok" keeps it; an image that cannot be used gets one.
    """
    name = str(row.image)
    if row.state != "ok":
        return Picture(name, None, None, row.state, row.problem)
    try:
        image = decode(np.fromfile(root / name, np.uint8))
    except OSError as fault:
        return Picture(name, None, None, "unreadable", f"{name}: {fault.strerror}")
    if image is None:
        return Picture(name, None, None, "undecodable", f"{name}: cannot be decoded")
    if image.max() <= BLACK:
        return Picture(name, None, None, "black", f"{name}: no pixel is above {BLACK} of 255")
    landmarks, problem = None, ""
    if backend in TAKE_LANDMARKS:
        landmarks, problem = usable_landmarks(root, row.landmarks, name)
    if backend == "landmarks" and landmarks is None:
        return Picture(name, None, None, "bad_landmarks", problem)
    return Picture(name, image, landmarks)


def usable_landmarks(root: Path, path: str | None, name: str) -> tuple[np.ndarray | None, str]:
    """The landmarks (66, 2) in a file of the frames table, or None and the reason."""
    if not isinstance(path, str):
        return None, f"{name}: has no landmark file"
    try:
        landmarks = read_landmarks(root, path)
    except CorpusError as fault:
        return None, str(fault)
    extents = np.linalg.svd(landmarks - landmarks.mean(0), compute_uv=False)
    if extents[1] < 1:
        return None, f"{path}: the landmarks lie in a line or a point"
    return landmarks, ""


def decode(content: np.ndarray) -> np.ndarray | None:
    """A file's bytes as RGB uint8 (H, W, 3), be it grey, 16-bit or transparent; None if it cannot
    be decoded."""
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    except cv2.error:  # larger than OpenCV is willing to decode
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
