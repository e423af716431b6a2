"""Drawing frames again with a change, and registering them: the work of
`paincore.attention.interventions`.

Apart from it, since this is all that worker processes need.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from paincore.cluster import connect, run
from paincore.data.labels import parse_landmarks
from paincore.registration.backends import TAKE_LANDMARKS, Backend, load_backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture
from synthpain.behaviour import drawn
from synthpain.corpus import VIEW, Settings, renderer_of, temperaments
from synthpain.head import View, landmarks66, project
from synthpain.layout import write_landmarks
from synthpain.people import face_vertices
from synthpain.plan import Sequence
from synthpain.render import develop
from synthpain.temperament import generator

MOVED = 4.0  # of 255, difference in luminance from which a pixel counts as moved
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
NOTHING = np.zeros((1, 1, 3), np.float32)


class Change(NamedTuple):
    """What is changed: AUs that are put to rest, and degrees by which the head turns to the
    picture's right and bows, as `Dials.pain_pose` has it. Without either, nothing is."""

    removed: tuple[int, ...] = ()
    turn: float = 0.0

    def __str__(self) -> str:
        said = [f"without AU{au}" for au in self.removed]
        said += [f"turned by {self.turn:g} degrees"] if self.turn else []
        return ", ".join(said) or "unchanged"


class Job(NamedTuple):
    """Frames of one person, one for each change, sorted; `frames` are rows of truth with the
    picture's name, `view` is the side of the store's pictures, `size` that of what is asked for."""

    corpus: str
    backend: str
    view: int
    size: int
    settings: Settings
    sequences: dict[str, Sequence]
    frames: pd.DataFrame
    changes: list[Change]


class Outcome(NamedTuple):
    """One frame drawn again; `problem` says why there is no face."""

    picture: np.ndarray
    moved: np.ndarray
    visible: np.ndarray
    problem: str


def redrawn(jobs: list[Job], workers: int | None) -> dict[tuple[int, Change], Outcome]:
    """Outcomes by the store's row and the change, of all jobs, over `workers` processes."""
    done = {}
    longest = sorted(jobs, key=lambda job: -len(job.changes))
    tasks = ((f"frames to redraw, {number}", job) for number, job in enumerate(longest))
    with connect(workers=workers) as client:
        for outcomes in run(client, redraw, tasks):
            done |= outcomes
    return done


def redraw(job: Job) -> dict[tuple[int, Change], Outcome]:
    """All changes of one person's frames."""
    cv2.setNumThreads(1)
    outcomes = {}
    backend = _loaded(job.backend)
    for name, frames in _changed(job).groupby("sequence", sort=False):
        sequence = job.sequences[name]
        camera = generator(job.settings.seed, "camera", sequence.subject, sequence.number)
        taken = 0
        for row, group in frames.groupby(level=0):
            number = int(group["frame"].iloc[0])
            for _ in range(number - 1 - taken):
                develop(NOTHING, camera)  # noise comes frame after frame: that of those between
            taken = number - 1
            original = read_picture(Path(job.corpus), group.iloc[0], backend.name)
            again = [
                _picture(job, sequence.subject, one, camera, backend)
                for one in group.to_dict("records")
            ]
            unchanged, *faces = find_faces([original, *again], backend, job.view)
            for change, face in zip(group["change"], faces, strict=True):
                outcomes[row, change] = _outcome(unchanged, face, change, backend, job)
    return outcomes


@lru_cache
def _loaded(name: str) -> Backend:
    return load_backend(name)


def _changed(job: Job) -> pd.DataFrame:
    """The job's frames as they are to be drawn: the truth changed, the face on top of the person's
    own at rest; with `change`, so that a row stands once for each change."""
    truth = job.frames.copy()
    turned = np.array([change.turn for change in job.changes])
    truth["yaw"], truth["pitch"] = truth["yaw"] + turned, truth["pitch"] - turned
    for au in {au for change in job.changes for au in change.removed}:
        truth[f"au{au}"] = truth[f"au{au}"].where([au not in one.removed for one in job.changes], 0)
    settings = job.settings
    person = next(iter(job.sequences.values())).subject
    rest = temperaments(settings.subjects, settings.seed)[person].rest
    face = drawn(truth, rest)
    truth[face.columns] = face
    truth["change"] = job.changes
    return truth


def _picture(
    job: Job, subject: int, frame: dict, camera: np.random.Generator, backend: Backend
) -> Picture:
    """A frame's picture, taken with the noise that comes next from `camera`, which stays so."""
    settings = job.settings
    renderer = renderer_of(settings.subjects, settings.seed, subject)
    size = {"width": settings.width, "height": settings.height}
    view = View(**{name: frame[name] for name in VIEW}, **size)
    picture = renderer.render(frame, view, copy.deepcopy(camera))
    points = None
    if backend.name in TAKE_LANDMARKS:  # as rounded as a corpus's files have them
        exact = landmarks66(project(face_vertices(renderer.person, frame), view))
        points = parse_landmarks(write_landmarks(exact).encode())
    name = f"{frame['sequence']}, frame {frame['frame']}, drawn again ({frame['change']})"
    return Picture(name, picture, points)


def _outcome(unchanged: Face, face: Face, change: Change, backend: Backend, job: Job) -> Outcome:
    if unchanged.view is None:  # found when the store was made, and not any more
        nothing = np.zeros((job.size, job.size), bool)
        return Outcome(np.zeros((*nothing.shape, 3), np.uint8), nothing, nothing, unchanged.problem)
    before = unchanged.view
    moved = np.zeros((job.size, job.size), bool)
    if not change.turn:
        after = backend.view(face.picture.image, unchanged.mesh, backend.topology, job.view)
        pictures = (shrunk(one.image, job.size) for one in (before, after))
        one, other = (picture.astype(np.float32) @ LUMINANCE for picture in pictures)
        moved = np.abs(one - other) > MOVED
    visible = shrunk(before.visible.astype(np.float32), job.size) >= 0.5
    if face.view is None:
        return Outcome(np.zeros((job.size, job.size, 3), np.uint8), moved, visible, face.problem)
    return Outcome(shrunk(face.view.image, job.size), moved, visible, "")


def shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    """As `paincore.training.feed.images_at` shrinks a store."""
    if size == len(picture):
        return picture
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
