"""Frames of a synthetic corpus drawn again with something changed: what truly causes a prediction.

The corpus knows what each frame was drawn from. A frame is drawn again with action units (AUs) at
the person's resting face, or with the head turned, and everything else as it was, the camera's
noise too: the same face, on the same day, that does not do this. It is then registered by the
store's backend and shrunk as a model's input is. Real corpora know no cause: there this fails with
a clear error. Registration finds the face anew, so what is measured includes that it moves a
little when an expression does. Chapter 07.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.attention.redrawing import Change, Job, redrawn
from paincore.data.corpus import Corpus, read_generator
from paincore.data.facs import LID_AUS, PSPI_AUS
from paincore.data.frames import KEYS
from paincore.registration.store import FrameStore, store_fingerprint
from synthpain.behaviour import DRAWN, HALF_CLOSED, Dials
from synthpain.corpus import GENERATOR_VERSION, Settings
from synthpain.plan import plan_sequences

ACTIVE = 1.0  # intensity from which a coder scores an AU (A, a trace)


class InterventionError(PaincoreError, ValueError):
    """A frame that cannot be drawn again, or a change that there is not."""


UNCHANGED, PAINLESS, NEUTRAL = Change(), Change(PSPI_AUS), Change(DRAWN)


@dataclass(frozen=True)
class Rendered:
    """K samples drawn again, F frames each, at S pixels.

    frames uint8 (K, F, S, S, 3), black where no face was found; found bool (K, F); moved bool
    (K, F, S, S): pixels of the unchanged frame's view that the change moves (see `render_again`),
    visible bool (K, F, S, S): those that show its face; lost: a sentence for each frame on which no
    face was found.
    """

    frames: np.ndarray
    found: np.ndarray
    moved: np.ndarray
    visible: np.ndarray
    lost: tuple[str, ...]

    @property
    def whole(self) -> np.ndarray:
        """Which samples have a face in all their frames, bool (K,)."""
        return self.found.all(axis=1)

    def of(self, places: np.ndarray) -> "Rendered":
        """Some of the samples; `lost` stays that of all."""
        parts = (each[places] for each in (self.frames, self.found, self.moved, self.visible))
        return Rendered(*parts, self.lost)


def check_some_left(kept: np.ndarray, again: Rendered) -> None:
    """Raises InterventionError where of the samples drawn again, `kept` bool, none is left."""
    if not kept.any():
        raise InterventionError(
            f"None of {len(kept)} samples that were drawn again shows a face in all its frames: "
            f"{'; '.join(again.lost[:1]) or 'there were none'}."
        )


def examined(samples: pd.DataFrame, at_most: int, pain: bool = True) -> np.ndarray:
    """The samples that are looked into: of each subject at most so many, spread evenly in order.

    `samples` has a row for each test sample, in order of time, with `subject` and `pain`; of a
    subject's n samples of this label, the (i + 1/2) n / k-th for i below k = min(n, `at_most`).
    Sorted int64 (K,); nothing is drawn by chance. Chapter 07.
    """
    chosen = []
    of_label = np.flatnonzero(samples["pain"].to_numpy(bool) == pain)
    subjects = samples["subject"].to_numpy()[of_label]
    for subject in pd.unique(subjects):
        own = of_label[subjects == subject]
        count = min(len(own), at_most)
        chosen.append(own[((np.arange(count) + 0.5) * len(own) / max(count, 1)).astype(int)])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def active_aus(corpus: Corpus, rows: np.ndarray) -> list[tuple[int, ...]]:
    """The pain AUs that truly act in each of these frames, `rows` int64 (K,) of the corpus.

    Intensity of `ACTIVE` and more; for lids, more than half closed. Chapter 07.
    """
    truth = _truth(corpus).iloc[rows]
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
    """Draw samples again, each with its change in all its frames, and register them.

    `rows` int64 (K, F) are the samples' rows of the store, `changes` K of them, `size` the side of
    a frame in pixels; `workers`: processes (None: one for each core). A pixel has `moved` where
    luminance with and without the change differs by more than `redrawing.MOVED` in the unchanged
    frame's view at `size`: both pictures are warped with the unchanged frame's mesh and taken with
    the same camera noise, which cancels but for rounding. Nothing has where the head is turned.
    Raises InterventionError for a corpus without truth, a store of another corpus, frames without a
    usable face and AUs that are not drawn. Chapter 07.
    """
    rows = np.asarray(rows)
    settings, truth = settings_of(corpus), _truth(corpus)
    _check(corpus, store, rows, changes)
    wanted = {(int(row), change) for clip, change in zip(rows, changes, strict=True)
              for row in clip}  # fmt: skip
    jobs = list(_jobs(corpus, store, truth, settings, sorted(wanted), size))
    done = redrawn(jobs, workers)
    each = [done[int(row), change] for clip, change in zip(rows, changes, strict=True)
            for row in clip]  # fmt: skip
    shape, lost = (*rows.shape, size, size), sorted(place for place in done if done[place].problem)
    return Rendered(
        np.array([one.picture for one in each], np.uint8).reshape(*shape, 3),
        np.array([not one.problem for one in each], bool).reshape(rows.shape),
        np.array([one.moved for one in each], bool).reshape(shape),
        np.array([one.visible for one in each], bool).reshape(shape),
        tuple(done[place].problem for place in lost),
    )


def settings_of(corpus: Corpus) -> Settings:
    """What a synthetic corpus was made with. Raises InterventionError for one that cannot be drawn
    again: a real one, or one of another version of the generator."""
    _truth(corpus)
    made = read_generator(corpus.root)
    if made["version"] != GENERATOR_VERSION:
        raise InterventionError(
            f"{corpus.root} was drawn by version {made['version']} of the generator, this is "
            f"version {GENERATOR_VERSION}. Make the corpus again."
        )
    made = {name: made[name] for name in made if name != "pixels_sha256"}
    return Settings(**made | {"dials": Dials(**made["dials"])})


def _truth(corpus: Corpus) -> pd.DataFrame:
    if corpus.truth is None:
        raise InterventionError(
            f"{corpus.root} ({corpus.dataset.title}) does not know what its frames were caused by: "
            "only a synthetic corpus can be drawn again. Take dataset=synthetic."
        )
    return corpus.truth


def _check(corpus: Corpus, store: FrameStore, rows: np.ndarray, changes: Sequence[Change]) -> None:
    meta = store.meta
    if store.fingerprint != store_fingerprint(corpus, meta["backend"], meta["size"]):
        raise InterventionError(f"{store.folder} was not registered from {corpus.root}.")
    if rows.ndim != 2 or len(rows) != len(changes):
        raise InterventionError(
            f"rows are {rows.shape} for {len(changes)} changes: a row (F,) for each change."
        )
    strange = {au for change in changes for au in change.removed} - set(DRAWN)
    if strange:
        raise InterventionError(
            f"AU{min(strange)} is not drawn; there are {', '.join(map(str, DRAWN))}."
        )
    if not corpus.truth[KEYS].equals(store.frames[KEYS]):
        raise InterventionError(f"{corpus.root}/Truth is not of the same frames as its labels.")
    bad = rows[~store.usable[rows]]
    if len(bad):
        frame = store.frames.iloc[bad[0]]
        raise InterventionError(
            f"{frame['sequence']}, frame {frame['frame']}, has no usable face ({frame['state']}): "
            "take frames that are ok."
        )


def _jobs(
    corpus: Corpus,
    store: FrameStore,
    truth: pd.DataFrame,
    settings: Settings,
    wanted: list[tuple[int, Change]],
    size: int,
) -> Iterator[Job]:
    """A job for each person: making ready to draw one takes as long as three frames."""
    planned = plan_sequences(settings.frames, settings.subjects, settings.seed)
    sequences = {sequence.name: sequence for sequence in planned}
    rows = np.array([row for row, _ in wanted], np.int64)
    people = store.frames["subject"].to_numpy()[rows]
    needed = truth.join(store.frames[["image", "landmarks", "problem"]])
    for person in pd.unique(people):
        own = [wanted[place] for place in np.flatnonzero(people == person)]
        frames = needed.loc[[row for row, _ in own]]
        yield Job(
            str(corpus.root),
            store.meta["backend"],
            store.meta["size"],
            size,
            settings,
            {name: sequences[name] for name in frames["sequence"].unique()},
            frames,
            [change for _, change in own],
        )
