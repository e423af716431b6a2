"""Frames of a synthetic corpus rendered again with something changed: what causes a prediction.

The corpus knows what each frame was rendered from. A frame is rendered again with action units
(AUs) at the person's resting face, or with the head turned, and everything else as it was, the
camera's noise too: the same face, on the same day, that does not do this. It is then registered by
the store's backend and shrunk as a model's input is. Real corpora know no cause: there this fails
with a clear error. Registration finds the face anew, so what is measured includes that it moves a
little when an expression does.
"""

from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.cluster import connect, run
from paincore.data.corpus import Corpus, read_generator
from paincore.data.facs import LID_AUS, PSPI_AUS
from paincore.data.unbc import parse_landmarks
from paincore.registration.backends import TAKE_LANDMARKS, Backend, load_backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture
from paincore.registration.frame_store import FrameStore
from synthpain.again import Change, rendered_again
from synthpain.behaviour import DRAWN, HALF_CLOSED, Dials
from synthpain.corpus import Settings
from synthpain.layout import write_landmarks

ACTIVE = 1.0  # intensity from which a coder scores an AU (A, a trace)
MOVED = 4.0  # of 255, difference in luminance from which a pixel counts as moved
PAINLESS, NEUTRAL = Change(PSPI_AUS), Change(DRAWN)


class InterventionError(PaincoreError, ValueError):
    """A corpus that cannot be rendered again, or a change that there is not."""


class Rendered(NamedTuple):
    """K samples rendered again, F frames each, at S pixels.

    frames uint8 (K, F, S, S, 3), black where no face was found; moved bool (K, F, S, S): pixels of
    the unchanged frame's view that the change moves (see `render_again`), visible bool
    (K, F, S, S): those that show its face; whole bool (K,): a face was found in all frames.
    """

    frames: np.ndarray
    moved: np.ndarray
    visible: np.ndarray
    whole: np.ndarray


def active_aus(corpus: Corpus, rows: np.ndarray) -> list[tuple[int, ...]]:
    """The pain AUs that truly act in each of these frames, `rows` int64 (K,) of the corpus.

    Intensity of `ACTIVE` and more; for lids, more than half closed.
    """
    least = {au: HALF_CLOSED if au in LID_AUS else ACTIVE for au in PSPI_AUS}
    truth = corpus.truth.iloc[rows].to_dict("records")
    return [tuple(au for au in PSPI_AUS if one[f"au{au}"] >= least[au]) for one in truth]


def render_again(
    corpus: Corpus, store: FrameStore, rows: np.ndarray, changes: list[Change], size: int
) -> Rendered:
    """Render samples again, each with its change in all its frames, and register them.

    `rows` int64 (K, F) are the samples' rows of the store, `changes` K of them, `size` the side of
    a frame in pixels. A pixel has `moved` where
    luminance with and without the change differs by more than `MOVED` in the unchanged frame's view
    at `size`: both images are warped with the unchanged frame's mesh and taken with the same camera
    noise, which cancels but for rounding. Nothing has where the head is turned. Raises
    InterventionError for a corpus without truth and AUs that the generator has not.
    """
    settings, meta = settings_behind(corpus), store.meta
    if strange := {au for change in changes for au in change.removed} - set(DRAWN):
        raise InterventionError(f"The generator has no AU{min(strange)}; it has {DRAWN}.")
    each = [(int(row), change) for clip, change in zip(rows, changes, strict=True) for row in clip]
    wanted, kept = sorted(set(each)), ["image", "landmarks", "problem"]
    frames = corpus.truth.join(store.frames[kept]).loc[[row for row, _ in wanted]]
    frames = frames.assign(change=[change for _, change in wanted])
    # A task for each person, since making ready to render one takes as long as three frames.
    people = sorted((own for _, own in frames.groupby("subject")), key=len, reverse=True)
    render = partial(render_person, corpus.root, settings, meta["backend"], (meta["size"], size))
    named = ((f"frames to render, {number}", own) for number, own in enumerate(people))
    done = {}
    with connect() as client:
        for outcomes in run(client, render, named):
            done |= outcomes
    parts = (np.array(part) for part in zip(*(done[key] for key in each), strict=True))
    *images, found = (part.reshape(*np.shape(rows), *part.shape[1:]) for part in parts)
    return Rendered(*images, found.all(axis=1))


def settings_behind(corpus: Corpus) -> Settings:
    """What a synthetic corpus was made with. Raises InterventionError for a real one."""
    if corpus.truth is None:
        raise InterventionError(f"{corpus.root} does not know its causes. Take dataset=synthetic.")
    made = read_generator(corpus.root)
    made = {name: made[name] for name in made if name != "pixels_sha256"}
    return Settings(**made | {"dials": Dials(**made["dials"])})


backend_named = lru_cache(load_backend)


def render_person(
    root: Path, settings: Settings, backend: str, sizes: tuple[int, int], frames: pd.DataFrame
) -> dict[tuple[int, Change], tuple]:
    """What `Rendered` has of each of one person's frames, by the store's row and the change.

    `frames` are rows of truth with `change`, sorted by the store's row; `sizes` are the sides of
    the store's images and of what is asked for.
    """
    cv2.setNumThreads(1)
    outcomes, backend, again = {}, backend_named(backend), rendered_again(frames, settings)
    for row, group in frames.groupby(level=0):
        frame = group.iloc[0]
        pictures = [read_picture(root, frame, backend.name)]
        for change in group["change"]:
            image, points = next(again)
            takes = backend.name in TAKE_LANDMARKS  # as rounded as a corpus's files have them
            points = parse_landmarks(write_landmarks(points).encode()) if takes else None
            pictures.append(Picture(f"{frame['image']} rendered with {change}", image, points))
        unchanged, *faces = find_faces(pictures, backend, sizes[0])
        for change, face in zip(group["change"], faces, strict=True):
            outcomes[row, change] = _outcome(unchanged, face, change, backend, *sizes)
    return outcomes


def _outcome(
    unchanged: Face, face: Face, change: Change, backend: Backend, view: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """`Rendered.frames`, `moved` and `visible` of one frame, and whether it has a face."""
    before, image = unchanged.view, np.zeros((size, size, 3), np.uint8)
    moved = image.any(axis=-1)
    if not change.turn:
        after = backend.view(face.picture.image, unchanged.mesh, backend.topology, view)
        small = (shrunk(each.image, size).astype(np.float32) for each in (before, after))
        one, other = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in small)
        moved = np.abs(one - other) > MOVED
    visible = shrunk(before.visible.astype(np.float32), size) >= 0.5
    if face.view:
        image = shrunk(face.view.image, size)
    return image, moved, visible, bool(face.view)


def shrunk(image: np.ndarray, size: int) -> np.ndarray:
    """As `paincore.training.feed.images_at` shrinks a store."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
