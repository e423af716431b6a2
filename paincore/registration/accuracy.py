"""How accurate registration is, and how much a turn of the head changes what it gives.

Landmark errors are mean 2D distances over the square root of the area of the box around the
corpus's own landmarks, in per cent: the error of Feng et al. 2018. The first 17 of the 66 landmarks
are left out: they lie on the jaw, whose outline is a matter of definition. The landmarks of a
synthetic corpus are true. Angles are in degrees.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from paincore.data.corpus import Corpus
from paincore.data.frames import KEYS
from paincore.data.tables import evenly_spaced
from paincore.registration.backends import Backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture, usable_landmarks
from paincore.registration.frame_store import FrameStore
from paincore.registration.frontal import FaceMesh, Frontal, crop
from paincore.registration.landmarker import WITHOUT_INNER_CORNERS, points_68
from paincore.style import Finding, finding, number
from synthpain.head import View, landmarks66, project
from synthpain.people import draw_people, face_vertices
from synthpain.render import Renderer

SEED = 100  # of the people who turn, whom no corpus has
JAW = 17  # the first of the 66 landmarks
ANGLES = ["yaw", "pitch", "roll"]
TURNS = (-75, -60, -45, -30, -15, 0, 15, 30, 45, 60, 75)  # degrees of yaw, of a synthetic face
EXPRESSION = {"au4": 4.0, "au6": 3.0, "au7": 3.0, "au9": 3.0, "au10": 3.0, "au25": 2.0}
"""What a synthetic face shows while it turns: pain, with open eyes."""


def find(corpus: Corpus, frames: pd.DataFrame, backend: Backend, size: int = 224) -> list[Face]:
    """What a backend finds in some rows of a table, in their order."""
    pictures = [read_picture(corpus.root, row, backend.name) for row in frames.itertuples()]
    return find_faces(pictures, backend, size)


def points_66(mesh: FaceMesh, backend: Backend) -> np.ndarray:
    """The 66 AAM landmarks, float (66, 2) in pixels, on a backend's mesh."""
    # PRNet is aligned by its 68 points, the others are all on the canonical face.
    dense = backend.name == "prnet"
    points = mesh.vertices[backend.topology.anchors] if dense else points_68(mesh.vertices)
    return points[WITHOUT_INNER_CORNERS, :2]


def landmark_error(points: np.ndarray, reference: np.ndarray) -> float:
    """Error in per cent of points (66, 2), without the jaw."""
    size = np.sqrt(np.ptp(reference, axis=0).prod())
    return 100 * np.linalg.norm(points - reference, axis=1)[JAW:].mean() / size


class Sample(NamedTuple):
    """Some frames of a corpus, registered again: `errors` has subject, yaw and landmark error of
    each frame with landmarks; mean frontal view and plain crop, uint8 (S, S, 3), of the `count`
    frames in which a face was found again."""

    errors: pd.DataFrame
    count: int
    mean_view: np.ndarray
    mean_crop: np.ndarray


def inspect(corpus: Corpus, store: FrameStore, backend: Backend, most: int = 240) -> Sample:
    """Register up to `most` frames of a store again, evenly spaced, for what it does not keep."""
    frames, size = evenly_spaced(store.faces, most), store.images.shape[1]
    errors, count, sums = [], 0, np.zeros((2, size, size, 3))
    for row in frames.itertuples():
        (face,) = find_faces([read_picture(corpus.root, row, backend.name)], backend, size)
        if face.view is None:  # its file has changed, or another processor has seen it
            continue
        count += 1
        plain = crop(face.picture.image, face.mesh, backend.topology, size)
        sums += np.stack([face.view.image, plain.image])
        reference, _ = usable_landmarks(corpus.root, row.landmarks, row.image)
        if reference is not None:
            error = landmark_error(points_66(face.mesh, backend), reference)
            errors.append((row.subject, row.yaw, error))
    table = pd.DataFrame(errors, columns=["subject", "yaw", "error"])
    return Sample(table, count, *np.round(sums / max(1, count)).astype(np.uint8))


def pose_errors(frames: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Subject, and measured − true yaw, pitch and roll, of registered frames of a synthetic
    corpus."""
    both = frames.merge(truth[KEYS + ANGLES], on=KEYS, suffixes=("", "_true"))
    errors = {angle: both[angle] - both[f"{angle}_true"] for angle in ANGLES}
    return pd.DataFrame({"subject": both["subject"]} | errors)


class TurnedHead(NamedTuple):
    """A synthetic face at one yaw: what was found, and the plain crop (None where no face was)."""

    person: int
    yaw: float
    face: Face
    crop: Frontal | None


def turned_heads(backend: Backend, people: int = 4, turns: tuple = TURNS) -> list[TurnedHead]:
    """Render people who hold one expression while they turn, and register every image.

    The light turns with them, so that nothing else changes. `people` are new ones, not those of
    the corpus; `turns` are degrees of yaw, 0 among them.
    """
    heads = []
    for index, person in enumerate(draw_people(people, SEED)):
        renderer, shape = Renderer(person), face_vertices(person, EXPRESSION)
        for yaw in turns:
            view = View(yaw=yaw, light_yaw=View.light_yaw + yaw)
            image = renderer.render(EXPRESSION, view, np.random.default_rng([SEED, index]))
            marks = landmarks66(project(shape, view))
            (face,) = find_faces([Picture(f"person {index} at {yaw}°", image, marks)], backend)
            plain = crop(image, face.mesh, backend.topology) if face.view else None
            heads.append(TurnedHead(index, yaw, face, plain))
    return heads


def turned_table(heads: list[TurnedHead]) -> pd.DataFrame:
    """A row for each image of `turned_heads` in which a face was found.

    Columns: person, yaw, and the mean absolute difference, in grey levels of 255, from the image of
    the same person at yaw 0, over the pixels in which both frontal views show the face: of plain
    crops ("plain crop") and of frontal views ("frontal view").
    """
    straight = {head.person: head for head in heads if head.yaw == 0}
    rows = []
    for person, yaw, face, plain in heads:
        ahead = straight[person]
        if plain and ahead.crop:
            shown = face.view.visible & ahead.face.view.visible
            pairs = (plain, ahead.crop), (face.view, ahead.face.view)
            changes = (a.image[shown].astype(float) - b.image[shown] for a, b in pairs)
            rows.append((person, yaw, *(np.abs(change).mean() for change in changes)))
    return pd.DataFrame(rows, columns=["person", "yaw", "plain crop", "frontal view"])


def registration_findings(
    corpus: Corpus, store: FrameStore, sample: Sample, turned: pd.DataFrame | None
) -> list[Finding]:
    """What chapter 02 found; `turned` is `turned_table`, None on a corpus of real people.

    Intervals are those of Student's t over people, of each person's mean.
    """
    count = Finding("frames registered", f"{store.usable.sum():,} of {len(store.frames):,}", "")
    errors = sample.errors.set_index("subject")
    rows = [("landmark error without the jaw (% of the face's size)", errors["error"], False)]
    if corpus.truth is not None:
        pose = pose_errors(store.faces, corpus.truth).set_index("subject")
        rows += [(f"{angle}, measured − true (°)", pose[angle], True) for angle in ANGLES]
    if turned is not None:
        by_30 = turned[turned["yaw"].abs() == 30].set_index("person")
        question = "change by a turn of 30°, plain crop − frontal view (grey levels)"
        rows.append((question, by_30["plain crop"] - by_30["frontal view"], True))
    return [count, *(_over_people(*row) for row in rows)]


def _over_people(question: str, values: pd.Series, compared: bool) -> Finding:
    """A finding of values whose index names people; `compared` with 0, it has a verdict."""
    means = values.groupby(level=0).mean()
    low, high = stats.t.interval(0.95, len(means) - 1, means.mean(), means.sem())
    found = finding(question, means.mean(), low, high, number)
    return found if compared else found._replace(verdict="")
