"""How well registration does, and how steady its pictures are. Used by chapter 02.

Landmark errors are mean 2D distances over the square root of the area of the box around the
corpus's own landmarks, in per cent: the error of Feng et al. 2018. Of the 66 landmarks the first 17
lie on the jaw, and where the jaw's outline runs is a matter of definition: errors are given with
and without them. The landmarks of a synthetic corpus are true. Angles are in degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from paincore.data.corpus import Corpus
from paincore.data.frames import KEYS
from paincore.registration.backends import Backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture, usable_landmarks
from paincore.registration.framestore import FrameStore
from paincore.registration.frontal import Frontal, crop
from paincore.registration.landmarker import points_68
from paincore.registration.mesh import FaceMesh
from paincore.registration.posed import WITHOUT_INNER_CORNERS
from synthpain.head import View, landmarks66, project
from synthpain.people import draw_people, face_vertices
from synthpain.render import Renderer

JAW = 17  # the first of the 66 landmarks
ANGLES = ["yaw", "pitch", "roll"]
YAW_BINS = (0, 10, 20, 30, 45, 60, 90)  # degrees, either way
TURNS = (-75, -60, -45, -30, -15, 0, 15, 30, 45, 60, 75)  # degrees of yaw, of a drawn face
EXPRESSION = {"au4": 4.0, "au6": 3.0, "au7": 3.0, "au9": 3.0, "au10": 3.0, "au25": 2.0}
"""What a drawn face shows while it turns: pain, with open eyes."""


def find(corpus: Corpus, frames: pd.DataFrame, backend: Backend, size: int = 224) -> list[Face]:
    """What a backend finds in some rows of a table, in their order. Chapter 02."""
    pictures = [read_picture(corpus.root, row, backend.name) for row in frames.itertuples()]
    return find_faces(pictures, backend, size)


def points_66(mesh: FaceMesh, backend: Backend) -> np.ndarray:
    """The 66 AAM landmarks, float (66, 2) in pixels, on a backend's mesh."""
    # PRNet is aligned by its 68 points, the others are all on the canonical face.
    dense = backend.name == "prnet"
    points = mesh.vertices[backend.topology.anchors] if dense else points_68(mesh.vertices)
    return points[WITHOUT_INNER_CORNERS, :2]


def landmark_error(points: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Errors in per cent of points (66, 2) without the jaw (49 points) and with it (66)."""
    size = np.sqrt(np.ptp(reference, axis=0).prod())
    distances = 100 * np.linalg.norm(points - reference, axis=1) / size
    return distances[JAW:].mean(), distances.mean()


@dataclass(frozen=True)
class Sample:
    """Some frames of a corpus, looked at closely.

    `errors`, a row a frame with usable landmarks: yaw, `inner` and `all`, the landmark errors.
    Means over `count` frames of frontal views and of plain crops, float (S, S, 3), black where
    there is no frame. `lost` says of each further frame why no face is found in it any more.
    """

    errors: pd.DataFrame
    count: int
    lost: tuple[str, ...]
    mean_view: np.ndarray
    mean_crop: np.ndarray


def inspect(corpus: Corpus, store: FrameStore, backend: Backend, most: int = 240) -> Sample:
    """Register up to `most` frames of a store again, spread evenly, and keep what it does not.

    A file that has changed since, or another processor, can lose a face: such frames are listed
    and not counted. Used by chapter 02, for the meshes.
    """
    frames = store.frames[store.usable]
    chosen = np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)
    size = store.images.shape[1]
    views, crops = np.zeros((2, size, size, 3))
    errors, lost = [], []
    for row in frames.iloc[chosen].itertuples():
        (face,) = find_faces([read_picture(corpus.root, row, backend.name)], backend, size)
        if face.view is None:
            lost.append(face.problem)
            continue
        views += face.view.image
        crops += crop(face.picture.image, face.mesh, backend.topology, size).image
        reference, _ = usable_landmarks(corpus.root, row.landmarks, row.image)
        if reference is not None:
            errors.append((row.yaw, *landmark_error(points_66(face.mesh, backend), reference)))
    count = len(chosen) - len(lost)
    table = pd.DataFrame(errors, columns=["yaw", "inner", "all"], dtype=float)
    mean_view, mean_crop = views / max(1, count), crops / max(1, count)
    return Sample(table, count, tuple(lost), mean_view, mean_crop)


def by_yaw(errors: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table with a column yaw, in bins of |yaw| that occur: adds the column `bin`."""
    names = [f"{a}-{b}°" for a, b in pairwise(YAW_BINS)]
    bins = pd.cut(errors["yaw"].abs(), YAW_BINS, labels=names, right=False)
    return errors.assign(bin=bins.cat.remove_unused_categories())


def pose_errors(frames: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Measured less true yaw, pitch and roll of registered frames. Synthetic only; chapter 02."""
    both = frames.merge(truth[KEYS + ANGLES], on=KEYS, suffixes=("", "_true"))
    return pd.DataFrame({angle: both[angle] - both[f"{angle}_true"] for angle in ANGLES})


@dataclass(frozen=True)
class TurnedHead:
    """A drawn face at one yaw: the frame, its 66 true landmarks, what was found, and the plain crop
    (None where no face was)."""

    person: int
    yaw: float
    frame: np.ndarray
    landmarks: np.ndarray
    face: Face
    crop: Frontal | None


def turned_heads(
    backend: Backend, people: int = 4, turns: Sequence[float] = TURNS, seed: int = 100
) -> list[TurnedHead]:
    """Draw people who hold one expression while they turn, and register every frame.

    The light turns with them, so that nothing else changes. `people` are drawn anew, not those of
    the corpus; `turns` are degrees of yaw, 0 among them. Chapter 02.
    """
    heads = []
    for number, person in enumerate(draw_people(people, seed)):
        renderer, shape = Renderer(person), face_vertices(person, EXPRESSION)
        for yaw in turns:
            view = View(yaw=yaw, light_yaw=View.light_yaw + yaw)
            frame = renderer.render(EXPRESSION, view, np.random.default_rng([seed, number]))
            landmarks = landmarks66(project(shape, view))
            picture = Picture(f"person {number} at {yaw}°", frame, landmarks)
            (face,) = find_faces([picture], backend)
            plain = crop(frame, face.mesh, backend.topology) if face.view else None
            heads.append(TurnedHead(number, yaw, frame, landmarks, face, plain))
    return heads


def turned_table(heads: list[TurnedHead], backend: Backend) -> pd.DataFrame:
    """A row for each drawn face in which a face was found.

    Columns: person, yaw, `inner` (landmark error in per cent), yaw_error in degrees, and the mean
    absolute difference, in grey levels of 255, from the same face at yaw 0: of frontal views where
    both show the face (`view`), of plain crops there (`crop_face`) and in all (`crop`). Chapter 02.
    """
    straight = {head.person: head for head in heads if head.yaw == 0}
    rows = []
    for head in heads:
        ahead = straight[head.person]
        if not (head.crop and ahead.crop):
            continue
        shown = head.face.view.visible & ahead.face.view.visible
        rows.append(
            {
                "person": head.person,
                "yaw": head.yaw,
                "inner": landmark_error(points_66(head.face.mesh, backend), head.landmarks)[0],
                "yaw_error": head.face.view.yaw - head.yaw,
                "view": _difference(head.face.view, ahead.face.view, shown),
                "crop_face": _difference(head.crop, ahead.crop, shown),
                "crop": _difference(head.crop, ahead.crop, head.crop.visible & ahead.crop.visible),
            }
        )
    columns = ["person", "yaw", "inner", "yaw_error", "view", "crop_face", "crop"]
    return pd.DataFrame(rows, columns=columns)


def _difference(one: Frontal, other: Frontal, shown: np.ndarray) -> float:
    return np.abs(one.image[shown].astype(float) - other.image[shown]).mean()
