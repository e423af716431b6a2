"""What one training is given: its task, its samples, their balanced order, and Mixup.

A sample is a row of frame numbers: one frame for ViT, four subsequent frames of one sequence for
ViViT, which takes the label of the last (the paper's section 3.1). Rows count in the frames table,
samples from 0 on. All randomness comes from a generator seeded by (seed, what it is for, fold), so
that a fold alone has the same random numbers as in a sweep.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from paincore import PaincoreError
from paincore.files import engine, key_of
from paincore.folds.designs import Fold, check_leakage
from paincore.registration.frame_store import FrameStore, open_store
from paincore.training.backbones import backbone_digest
from paincore.training.configuration import EPOCHS, MIXUP_PROPORTION, Configuration

CLIP_LENGTH = {"vit": 1, "vivit": 4}
"""Frames of a sample, by model."""

REASONS = (
    "the frame has no usable face",
    "the frame has no pain label",
    "too few frames come before it without a gap in its sequence",
    "a frame before it in its clip has no usable face",
    "between two clips that the stride keeps",
)
"""Why a frame is the last of no sample, in the order in which it is asked."""


class TrainingError(PaincoreError):
    """A training that cannot begin, or that failed."""


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
        fold = self.fold
        return {
            "store": self.store.fingerprint,
            "design": fold.design,
            "fold": fold.number,
            "frames": self._labelled(np.concatenate([fold.train, [-1], fold.test])),
            "seed": self.seed,
            "backbone": backbone_digest(self.configuration.backbone, self.seed),
            "device": self.device.type,
            **engine(),
        }

    @property
    def corpus(self) -> str:
        """The digest of all labels and of the frames of both sides, which folds of one design
        share."""
        return self._labelled(np.union1d(self.fold.train, self.fold.test))

    def _labelled(self, rows: np.ndarray) -> str:
        labels = self.store.frames["pain"].fillna(False).to_numpy(bool)
        return sha256(rows.astype("<i8").tobytes() + labels.tobytes()).hexdigest()

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


_opened = lru_cache(maxsize=4)(open_store)


def sample_rows(frames: pd.DataFrame, usable: np.ndarray, model: str, stride=1) -> np.ndarray:
    """Rows of the frames of each sample, int64 (M, F), F = 1 for "vit" and 4 for "vivit".

    `frames` is a frames table, `usable` bool (N,) tells which rows hold a face. All frames of a
    sample are usable and numbered without a gap, and the last, whose label counts, has a pain
    label. `stride` keeps every so many-th of the samples of each sequence, from its first on.
    Raises TrainingError where no sample is left. Source: section 3.1 of the paper.
    """
    against = reasons_against(frames, usable, model, stride)
    last = np.flatnonzero(against == "")
    if not len(last):
        counts = pd.Series(against).value_counts().to_dict()
        raise TrainingError(f"no sample for {model} in {len(frames)} frames: {counts}.")
    return last[:, None] + np.arange(1 - CLIP_LENGTH[model], 1)


def reasons_against(frames: pd.DataFrame, usable: np.ndarray, model: str, stride=1) -> np.ndarray:
    """The first of `REASONS` why a row is the last of no sample, str (N,); "" where it is.

    The arguments are those of `sample_rows`.
    """
    sequence = [frames["subject"].to_numpy(), frames["sequence"].to_numpy()]
    gaps = frames.groupby(sequence)["frame"].diff().ne(1)
    # The first row of a stretch without gaps has place 0 in it, the next 1, and so on.
    place = frames.groupby(gaps.cumsum().to_numpy()).cumcount().to_numpy()
    faces = pd.Series(usable).rolling(CLIP_LENGTH[model], min_periods=1).min().to_numpy() > 0
    whole = place >= CLIP_LENGTH[model] - 1
    against = [~usable, frames["pain"].isna().to_numpy(), ~whole, ~faces]
    good = pd.Series(~np.any(against, axis=0))
    number = good.groupby(sequence).cumsum().to_numpy() - 1
    return np.select([*against, number % stride != 0], REASONS, default="")


class FoldSamples(NamedTuple):
    """The samples of a fold.

    `rows` int64 (M, F) are their frames, `pain` bool (M,) their true labels; `train` and `test` are
    sorted numbers of samples, `labels` bool (len(train),) is what is trained on: the true labels,
    but in a control.
    """

    rows: np.ndarray
    pain: np.ndarray
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def fold_samples(task: Task) -> FoldSamples:
    """The samples of both sides of a fold, checked for leaks.

    Raises LeakageError, and TrainingError for a fold of another store or with an empty side.
    """
    store, fold, config = task.store, task.fold, task.configuration
    frames = store.frames
    usable = store.usable & frames["pain"].notna().to_numpy()
    both = np.concatenate([fold.train, fold.test])
    name = f"fold {fold.number} of {fold.design}"
    if not np.isin(both, np.flatnonzero(usable)).all():
        wrong = f"{name} names frames without face or label in {store.folder}"
        raise TrainingError(f"{wrong}. Make the folds from the frames of this store.")
    rows = sample_rows(frames, store.usable, config.model, config.clip_stride)
    train, test = (np.flatnonzero(np.isin(rows[:, -1], side)) for side in (fold.train, fold.test))
    if not len(train) or not len(test):
        counts = f"{len(train)} samples of {config.model} to train on and {len(test)} to test on"
        raise TrainingError(f"{name} has {counts}. Take other folds or a smaller clip_stride.")
    if fold.design != "random_frames":  # this design leaks on purpose
        check_leakage(frames, fold, rows[np.concatenate([train, test])])
    pain = frames["pain"].fillna(False).to_numpy(bool)[rows[:, -1]]
    labels = pain[train]
    if config.shuffled_labels:
        people = frames["subject"].to_numpy()[rows[train, -1]]
        groups = people if config.shuffled_labels == "within_subjects" else np.zeros(len(people))
        rng = task.generator("shuffled labels")
        for one in np.unique(groups):
            labels[groups == one] = rng.permutation(labels[groups == one])
    return FoldSamples(rows, pain, train, test, labels)


def balanced_sample(pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many numbers of samples as `pain` has, with replacement, int64 (n,), half of them pain.

    `pain` bool (n,) labels the samples; each class is half of the result on average. Raises
    TrainingError where a class is empty. The paper over-samples pain (section 3.1), the released
    notebook to one half.
    """
    count = int(pain.sum())
    if count in (0, len(pain)):
        wrong = f"{count} of {len(pain)} training samples are pain: a class is empty"
        raise TrainingError(f"{wrong}. Take other folds or another threshold of pain.")
    weights = np.where(pain, 0.5 / count, 0.5 / (len(pain) - count))
    return rng.choice(len(pain), size=len(pain), p=weights)


class TrainingOrder(NamedTuple):
    """Samples in the order in which a training sees them, each blended with another or alone.

    `first` and `second` are int64 (n,) numbers of training samples; `weight` float32 (n,) is
    Mixup's λ, the proportion of `first`: 1 where a sample is alone, and `second` is `first` there.
    `left_out` counts those chosen for Mixup whose subject has samples of one class only.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    left_out: int = 0


def mix(
    order: np.ndarray, pain: np.ndarray, subjects: np.ndarray, alpha: float, rng, rows="random"
) -> TrainingOrder:
    """Mixup: blend some samples with a random one of the same subject and the other class.

    `order` int64 (n,) are numbers of samples, which `pain` bool (m,) and `subjects` (m,) label. λ ~
    Beta(alpha, alpha). `rows` "random" chooses a fifth of the places of the order; "every_fifth"
    follows the released notebook: wherever the sample's number is a multiple of five, but not 0.
    The notebook leaves out the one subject that it knows to have one class; here every such subject
    is left out and counted. Source: sections 3.3 and 4.4 of the paper, Zhang et al. 2017.
    """
    if rows == "random":
        size = round(MIXUP_PROPORTION * len(order))
        chosen = np.sort(rng.choice(len(order), size=size, replace=False))
    else:
        chosen = np.flatnonzero((order % 5 == 0) & (order > 0))
    subject, names = pd.factorize(subjects)
    group = 2 * subject + pain
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


def training_order(task: Task, samples: FoldSamples) -> TrainingOrder:
    """The order in which the training sees its samples, which count in `samples.train`."""
    config = task.configuration
    generators = [task.generator(f"draws {epoch}") for epoch in range(EPOCHS)]
    order = np.concatenate([balanced_sample(samples.labels, one) for one in generators])
    if config.mixup_alpha is None:
        return TrainingOrder(order, order, np.ones(len(order), np.float32))
    subjects = task.store.frames["subject"].to_numpy()[samples.rows[samples.train, -1]]
    rng, rows = task.generator("mixup"), config.rules.mixup_rows
    return mix(order, samples.labels, subjects, config.mixup_alpha, rng, rows)
