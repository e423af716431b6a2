"""Frames of a synthetic corpus rendered again with something changed: what causes a prediction.

The corpus knows what each frame was rendered from. A frame is rendered again with action units
(AUs) at the person's resting face, or with the head turned, and everything else as it was, the
camera's noise too: the same face, on the same day, that does not do this. It is then registered by
the store's backend and shrunk as a model's input is. Real corpora know no cause: there this fails
with a clear error. Registration finds the face anew, so what is measured includes that it moves a
little when an expression does.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.cluster import connect, run
from paincore.data.corpus import Corpus, read_generator
from paincore.data.facs import LID_AUS, PSPI_AUS
from paincore.data.labels import parse_landmarks
from paincore.registration.backends import TAKE_LANDMARKS, Backend, load_backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture
from paincore.registration.store import FrameStore, store_fingerprint
from synthpain.again import Change, rendered_again
from synthpain.behaviour import DRAWN, HALF_CLOSED, Dials
from synthpain.corpus import GENERATOR_VERSION, Settings
from synthpain.layout import write_landmarks

ACTIVE = 1.0  # intensity from which a coder scores an AU (A, a trace)
MOVED = 4.0  # of 255, difference in luminance from which a pixel counts as moved
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
UNCHANGED, PAINLESS, NEUTRAL = Change(), Change(PSPI_AUS), Change(DRAWN)


class InterventionError(PaincoreError, ValueError):
    """A frame that cannot be rendered again, or a change that there is not."""


class Rendered(NamedTuple):
    """K samples rendered again, F frames each, at S pixels.

    frames uint8 (K, F, S, S, 3), black where no face was found; moved bool (K, F, S, S): pixels of
    the unchanged frame's view that the change moves (see `render_again`), visible bool
    (K, F, S, S): those that show its face; problems, str (K, F): why no face was found, else "".
    """

    frames: np.ndarray
    moved: np.ndarray
    visible: np.ndarray
    problems: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """Which samples have a face in all their frames, bool (K,)."""
        return (self.problems == "").all(axis=1)

    def check_some_left(self, kept: np.ndarray) -> None:
        """Raises InterventionError where of the samples, `kept` bool (K,), none is left."""
        if not kept.any():
            reason = next(filter(None, self.problems.flat))
            raise InterventionError(f"No sample shows a face once it is changed. {reason}")


def active_aus(corpus: Corpus, rows: np.ndarray) -> list[tuple[int, ...]]:
    """The pain AUs that truly act in each of these frames, `rows` int64 (K,) of the corpus.

    Intensity of `ACTIVE` and more; for lids, more than half closed.
    """
    truth = corpus.truth.iloc[rows]
    least = {au: HALF_CLOSED if au in LID_AUS else ACTIVE for au in PSPI_AUS}
    acts = np.stack([truth[f"au{au}"].to_numpy() >= least[au] for au in PSPI_AUS], axis=1)
    return [tuple(np.array(PSPI_AUS)[one].tolist()) for one in acts]


def render_again(
    corpus: Corpus,
    store: FrameStore,
    rows: np.ndarray,
    changes: Sequence[Change],
    size: int,
    workers: int | None = None,
) -> Rendered:
    """Render samples again, each with its change in all its frames, and register them.

    `rows` int64 (K, F) are the samples' rows of the store, `changes` K of them, `size` the side of
    a frame in pixels; `workers`: processes (None: one for each core). A pixel has `moved` where
    luminance with and without the change differs by more than `MOVED` in the unchanged frame's view
    at `size`: both images are warped with the unchanged frame's mesh and taken with the same camera
    noise, which cancels but for rounding. Nothing has where the head is turned. Raises
    InterventionError for a corpus without truth, a store of another corpus and AUs that the
    generator has not.
    """
    settings, meta = settings_of(corpus), store.meta
    if store.fingerprint != store_fingerprint(corpus, meta["backend"], meta["size"]):
        raise InterventionError(f"{store.folder} was not registered from {corpus.root}.")
    if strange := {au for change in changes for au in change.removed} - set(DRAWN):
        raise InterventionError(f"The generator has no AU{min(strange)}; it has {DRAWN}.")
    if not len(rows):
        raise InterventionError("There is no sample to render again.")
    each = [(int(row), change) for clip, change in zip(rows, changes, strict=True) for row in clip]
    wanted, kept = sorted(set(each)), ["image", "landmarks", "problem"]
    frames = corpus.truth.join(store.frames[kept]).loc[[row for row, _ in wanted]]
    frames = frames.assign(change=[change for _, change in wanted])
    # A task for each person, since making ready to render one takes as long as three frames.
    people = sorted((own for _, own in frames.groupby("subject")), key=len, reverse=True)
    sides = (meta["size"], size)
    tasks = [RenderTask(corpus.root, meta["backend"], *sides, settings, own) for own in people]
    named = [(f"frames to render, {number}", task) for number, task in enumerate(tasks)]
    done = {}
    with connect(workers=workers) as client:
        for outcomes in run(client, render_person, named):
            done |= outcomes
    parts = (np.array(part) for part in zip(*(done[key] for key in each), strict=True))
    return Rendered(*(part.reshape(*np.shape(rows), *part.shape[1:]) for part in parts))


def settings_of(corpus: Corpus) -> Settings:
    """What a synthetic corpus was made with. Raises InterventionError for one that cannot be
    rendered again: a real one, or one of another version of the generator."""
    if corpus.truth is None:
        raise InterventionError(
            f"{corpus.root} ({corpus.dataset.title}) does not know what its frames were caused by: "
            "only a synthetic corpus can be rendered again. Take dataset=synthetic."
        )
    made = read_generator(corpus.root)
    if made["version"] != GENERATOR_VERSION:
        raise InterventionError(
            f"{corpus.root} was rendered by version {made['version']} of the generator, this is "
            f"version {GENERATOR_VERSION}. Make the corpus again."
        )
    made = {name: made[name] for name in made if name != "pixels_sha256"}
    return Settings(**made | {"dials": Dials(**made["dials"])})


class RenderTask(NamedTuple):
    """Frames of one person: rows of truth, with `change`, sorted by the store's row.

    `view` is the side of the store's images, `size` that of what is asked for.
    """

    corpus: Path
    backend: str
    view: int
    size: int
    settings: Settings
    frames: pd.DataFrame


_loaded = lru_cache(load_backend)


def render_person(task: RenderTask) -> dict[tuple[int, Change], tuple]:
    """What `Rendered` has of each of one person's frames, by the store's row and the change."""
    cv2.setNumThreads(1)
    outcomes, backend, again = {}, _loaded(task.backend), rendered_again(task.frames, task.settings)
    for row, group in task.frames.groupby(level=0):
        frame = group.iloc[0]
        pictures = [read_picture(task.corpus, frame, backend.name)]
        for change in group["change"]:
            image, points = next(again)
            takes = backend.name in TAKE_LANDMARKS  # as rounded as a corpus's files have them
            points = parse_landmarks(write_landmarks(points).encode()) if takes else None
            name = f"{frame['sequence']}, frame {frame['frame']}, rendered again with {change}"
            pictures.append(Picture(name, image, points))
        unchanged, *faces = find_faces(pictures, backend, task.view)
        for change, face in zip(group["change"], faces, strict=True):
            outcomes[row, change] = _outcome(unchanged, face, change, backend, task)
    return outcomes


def _outcome(
    unchanged: Face, face: Face, change: Change, backend: Backend, task: RenderTask
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    size, before = task.size, unchanged.view
    black = np.zeros((size, size, 3), np.uint8)
    moved = visible = black.any(axis=-1)
    if before is None:  # found when the store was made, and not any more
        return black, moved, visible, unchanged.problem
    if not change.turn:
        after = backend.view(face.picture.image, unchanged.mesh, backend.topology, task.view)
        small = (shrunk(view.image, size).astype(np.float32) for view in (before, after))
        one, other = (image @ LUMINANCE for image in small)
        moved = np.abs(one - other) > MOVED
    visible = shrunk(before.visible.astype(np.float32), size) >= 0.5
    return (
        black if face.view is None else shrunk(face.view.image, size),
        moved,
        visible,
        face.problem,
    )


def shrunk(image: np.ndarray, size: int) -> np.ndarray:
    """As `paincore.training.feed.images_at` shrinks a store."""
    if size == len(image):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
