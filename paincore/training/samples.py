"""What one training is given: its task, its samples, their balanced order, and Mixup.

A sample is a row of frame numbers: one frame for ViT, four subsequent frames of one sequence for
ViViT, which takes the label of the last (the paper's section 3.1). Rows count in the frames table,
samples from 0 on. All randomness comes from a generator seeded by (seed, what it is for, fold), so
that a fold alone has the same random numbers as in a sweep.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paincore import PaincoreError
from paincore.files import engine, key_of
from paincore.folds.designs import Fold, check_leakage
from paincore.registration.store import FrameStore, open_store
from paincore.training.backbones import backbone_digest
from paincore.training.configuration import MIXUP_PROPORTION, Configuration

CLIP_LENGTH = {"vit": 1, "vivit": 4}
"""Frames of a sample, by model."""

REASONS = {
    "no_face": "the frame has no usable face",
    "no_label": "the frame has no pain label",
    "short": "too few frames come before it without a gap in its sequence",
    "broken": "a frame before it in its clip has no usable face",
    "stride": "between two clips that the stride keeps",
}
"""Why a frame is the last of no sample, in the order in which it is asked."""


class TrainingError(PaincoreError):
    """A training that cannot begin, or that failed."""


class SamplingError(TrainingError):
    """Samples that there are not, or an impossible setting."""


@dataclass(frozen=True)
class Task:
    """One training: everything that decides its numbers, and the kind of device it runs on."""

    store: FrameStore
    configuration: Configuration
    fold: Fold
    seed: int
    device: torch.device

    def generator(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose, such as "mixup", of this seed and fold."""
        return np.random.default_rng(self._entropy(purpose))

    def torch_generator(self, purpose: str) -> torch.Generator:
        """The same for PyTorch, on the CPU."""
        state = self._entropy(purpose).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    def _entropy(self, purpose: str) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, self.fold.number, *purpose.encode()])

    @cached_property
    def rests_on(self) -> dict:
        """What decides the numbers beside the configuration, as JSON can hold it."""
        fold, frames = self.fold, self.store.frames
        rows = np.concatenate([fold.train, [-1], fold.test]).astype("<i8").tobytes()
        labels = frames["pain"].fillna(False).to_numpy(bool).tobytes()
        return {
            "store": self.store.fingerprint,
            "design": fold.design,
            "fold": fold.number,
            "frames": sha256(rows + labels).hexdigest(),
            "seed": self.seed,
            "backbone": backbone_digest(self.configuration.backbone, self.seed),
            "device": self.device.type,
            **engine(),
        }

    @cached_property
    def key(self) -> str:
        """The run's name: 16 hexadecimal digits of the hash of all that decides its numbers."""
        return key_of(configuration=self.configuration.model_dump(mode="json"), **self.rests_on)

    @property
    def title(self) -> str:
        """For progress displays and errors."""
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.configuration.title}, {self.fold.design} fold {self.fold.number}{seed}"

    def __reduce__(self) -> tuple:
        """A task goes to a worker without its store's images: they are opened there."""
        store = self.store.folder.resolve(), self.store.threshold
        return _task_on_worker, (*store, self.configuration, self.fold, self.seed, self.device)


def _task_on_worker(folder: Path, threshold: float, *others: object) -> Task:
    return Task(_opened(folder, threshold), *others)


@lru_cache(maxsize=4)
def _opened(folder: Path, threshold: float) -> FrameStore:
    return open_store(folder, threshold)


def sample_rows(
    frames: pd.DataFrame, usable: np.ndarray, model: str, stride: int = 1
) -> np.ndarray:
    """Rows of the frames of each sample, int64 (M, F), F = 1 for "vit" and 4 for "vivit".

    `frames` is a frames table, `usable` bool (N,) tells which rows hold a face. All frames of a
    sample are usable and numbered without a gap, and the last, whose label counts, has a pain
    label. `stride` keeps every so many-th of the samples of each sequence, from its first on.
    Raises SamplingError where no sample is left. Source: section 3.1 of the paper.
    """
    fate = _fates(frames, usable, model, stride)
    last = np.flatnonzero(fate == "")
    if not len(last):
        counts = pd.Series(fate).value_counts().to_dict()
        raise SamplingError(
            f"no sample of {CLIP_LENGTH[model]} subsequent frames for {model} in {len(frames)} "
            f"frames ({counts}). Take longer sequences, or see why the frames are not usable."
        )
    return last[:, None] + np.arange(1 - CLIP_LENGTH[model], 1)


def unused_frames(
    frames: pd.DataFrame, usable: np.ndarray, model: str, stride: int = 1
) -> pd.DataFrame:
    """How many frames are the last of no sample, and why: reason, meaning, frames.

    With the number of `sample_rows` of the same arguments they add up to the table.
    """
    fate = pd.Series(_fates(frames, usable, model, stride))
    rows = [(reason, meaning, int((fate == reason).sum())) for reason, meaning in REASONS.items()]
    return pd.DataFrame(rows, columns=["reason", "meaning", "frames"])


def _fates(frames: pd.DataFrame, usable: np.ndarray, model: str, stride: int) -> np.ndarray:
    """For each row the first of `REASONS` against it as the end of a sample, or ""."""
    usable = np.asarray(usable, bool)
    sequence = [frames["subject"].to_numpy(), frames["sequence"].to_numpy()]
    gaps = frames.groupby(sequence)["frame"].diff().ne(1)
    # The first row of a stretch without gaps has place 0 in it, the next 1, and so on.
    place = frames.groupby(gaps.cumsum().to_numpy()).cumcount().to_numpy()
    faces = pd.Series(usable).rolling(CLIP_LENGTH[model], min_periods=1).min().to_numpy() > 0
    whole = place >= CLIP_LENGTH[model] - 1
    against = [~usable, frames["pain"].isna().to_numpy(), ~whole, ~faces]
    good = pd.Series(~np.any(against, axis=0))
    number = good.groupby(sequence).cumsum().to_numpy() - 1
    return np.select([*against, number % stride != 0], list(REASONS), default="")


@dataclass(frozen=True)
class FoldSamples:
    """The samples of a fold.

    `rows` int64 (M, F) are their frames, `pain` bool (M,) their true labels; `train` and `test` are
    sorted numbers of samples, `labels` bool (len(train),) is what is trained on: the true labels,
    but in a control. `left_out` counts the fold's frames that are the last of no sample.
    """

    rows: np.ndarray
    pain: np.ndarray
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    left_out: int


def fold_samples(task: Task) -> FoldSamples:
    """The samples of both sides of a fold, checked for leaks.

    Raises LeakageError, and TrainingError for a fold of another store or with an empty side.
    """
    store, fold, config = task.store, task.fold, task.configuration
    frames = store.frames
    usable = store.usable & frames["pain"].notna().to_numpy()
    both = np.concatenate([fold.train, fold.test])
    if not len(both) or both.max() >= len(frames) or not usable[both].all():
        raise TrainingError(
            f"fold {fold.number} of {fold.design} names frames that {store.folder} does not have, "
            "or that hold no face. Make the folds from the frames of this store."
        )
    rows = sample_rows(frames, store.usable, config.model, config.clip_stride)
    train, test = (np.flatnonzero(np.isin(rows[:, -1], side)) for side in (fold.train, fold.test))
    for side, found in (("train on", train), ("test on", test)):
        if not len(found):
            raise TrainingError(
                f"fold {fold.number} of {fold.design} has nothing to {side}: none of its frames "
                f"ends a sample of {config.model}. Take other folds or a smaller clip_stride."
            )
    if fold.design != "random_frames":  # this design leaks on purpose
        check_leakage(frames, fold, rows[np.concatenate([train, test])])
    pain = frames["pain"].fillna(False).to_numpy(bool)[rows[:, -1]]
    labels = pain[train]
    if config.shuffled_labels:
        people = frames["subject"].to_numpy()[rows[train, -1]]
        labels = _shuffled(
            labels, people, config.shuffled_labels, task.generator("shuffled labels")
        )
    return FoldSamples(rows, pain, train, test, labels, len(both) - len(train) - len(test))


def _shuffled(
    labels: np.ndarray, people: np.ndarray, how: str, rng: np.random.Generator
) -> np.ndarray:
    """Labels permuted among all people ("all"), or among each person's samples."""
    groups = people if how == "within_subjects" else np.zeros(len(labels))
    for one in np.unique(groups):
        labels[groups == one] = rng.permutation(labels[groups == one])
    return labels


def balanced_sample(pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many numbers of samples as `pain` has, with replacement, int64 (n,), half of them pain.

    `pain` bool (n,) labels the samples; each class is half of the result on average. Raises
    SamplingError where a class is empty. The paper over-samples pain (section 3.1), the released
    notebook to one half.
    """
    pain = np.asarray(pain, bool)
    count = int(pain.sum())
    if count in (0, len(pain)):
        raise SamplingError(
            f"{count} of {len(pain)} training samples are pain: a class is empty and cannot be "
            "balanced. Use folds that leave both classes in training, or another threshold of pain."
        )
    weights = np.where(pain, 0.5 / count, 0.5 / (len(pain) - count))
    return rng.choice(len(pain), size=len(pain), p=weights)


@dataclass(frozen=True)
class TrainingOrder:
    """Samples in the order in which a training sees them, each blended with another or alone.

    `first` and `second` are int64 (n,) numbers of training samples; `weight` float32 (n,) is
    Mixup's λ, the proportion of `first`: 1 where a sample is alone, and `second` is `first` there.
    `left_out` counts those chosen for Mixup whose subject has samples of one class only.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    left_out: int = 0

    @classmethod
    def unmixed(cls, first: np.ndarray) -> "TrainingOrder":
        """The order of samples int64 (n,) without Mixup."""
        return cls(first, first.copy(), np.ones(len(first), np.float32))


def mix(
    order: np.ndarray,
    pain: np.ndarray,
    subjects: np.ndarray,
    alpha: float,
    rng: np.random.Generator,
    rows: str = "random",
    proportion: float = MIXUP_PROPORTION,
) -> TrainingOrder:
    """Mixup: blend some samples with a random one of the same subject and the other class.

    `order` int64 (n,) are numbers of samples, which `pain` bool (m,) and `subjects` (m,) label. λ ~
    Beta(alpha, alpha). `rows` "random" chooses exactly round(proportion x n) places of the order;
    "every_fifth" follows the released notebook: wherever the sample's number is a multiple of five,
    but not 0. The notebook leaves out the one subject that it knows to have one class; here every
    such subject is left out and counted. Raises SamplingError for alpha <= 0 and unknown `rows`.
    Source: sections 3.3 and 4.4 of the paper, Zhang et al. 2017.
    """
    if not 0 < alpha < math.inf:
        raise SamplingError(f"mixup_alpha {alpha} is no Beta distribution's: take a positive one")
    if rows == "random":
        size = round(proportion * len(order))
        chosen = np.sort(rng.choice(len(order), size=size, replace=False))
    elif rows == "every_fifth":
        chosen = np.flatnonzero((order % 5 == 0) & (order > 0))
    else:
        raise SamplingError(f"mixup rows {rows!r}: there are random and every_fifth")
    subject, names = pd.factorize(np.asarray(subjects))
    group = 2 * subject + np.asarray(pain, bool)
    members = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=2 * len(names))
    starts = np.cumsum(sizes) - sizes
    other = group[order[chosen]] ^ 1  # the same subject's other class
    possible = sizes[other] > 0
    mixed, other = chosen[possible], other[possible]
    second, weight = order.copy(), np.ones(len(order), np.float32)
    second[mixed] = members[starts[other] + rng.integers(sizes[other])]
    weight[mixed] = rng.beta(alpha, alpha, len(mixed))
    return TrainingOrder(order, second, weight, int((~possible).sum()))
