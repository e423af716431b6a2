"""What one training is: a configuration, a fold, a seed and a store, and the name they give a run.

Every random draw of a training has a generator seeded by (seed, what it is for, fold), so that a
fold alone draws as the same fold does in a sweep.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch

from paincore import PaincoreError
from paincore.files import engine, key_of
from paincore.folds.designs import Fold, check_leakage
from paincore.registration.store import FrameStore
from paincore.training import backbones as encoders
from paincore.training import samples as sampling
from paincore.training.configuration import Configuration


class TrainingError(PaincoreError):
    """A training that cannot be begun, or that failed."""


@dataclass(frozen=True)
class Task:
    """One training: everything that decides its numbers, and the kind of device it runs on."""

    store: FrameStore
    configuration: Configuration
    fold: Fold
    seed: int
    device: torch.device

    def generator(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose, such as "draws", of this seed and fold."""
        return np.random.default_rng(self._entropy(purpose))

    def torch_generator(self, purpose: str) -> torch.Generator:
        """The same for PyTorch, on the CPU."""
        state = self._entropy(purpose).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    def _entropy(self, purpose: str) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, self.fold.number, *purpose.encode()])

    @cached_property
    def backbone(self) -> str:
        """The fingerprint of the weights that the training begins with."""
        return encoders.fingerprint(self.configuration.backbone, self.seed)

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
            "backbone": self.backbone,
            "device": self.device.type,
            **engine(),
        }

    @property
    def key(self) -> str:
        """The run's name: 16 hexadecimal digits of the hash of all that decides its numbers."""
        return key_of(configuration=self.configuration.model_dump(mode="json"), **self.rests_on)


@dataclass(frozen=True)
class Samples:
    """The samples of a fold, numbered from 0 on.

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


def select(task: Task) -> Samples:
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
    rows = sampling.samples(frames, store.usable, config.model, config.clip_stride)
    train, test = (np.flatnonzero(np.isin(rows[:, -1], side)) for side in (fold.train, fold.test))
    for side, found in (("train on", train), ("test on", test)):
        if not len(found):
            raise TrainingError(
                f"fold {fold.number} of {fold.design} has nothing to {side}: none of its frames "
                f"ends a sample of {config.model}. Take other folds or a smaller clip_stride."
            )
    if fold.design != "random_frames":  # chapter 03 leaks on purpose
        check_leakage(frames, fold, rows[np.concatenate([train, test])])
    pain = frames["pain"].fillna(False).to_numpy(bool)[rows[:, -1]]
    labels = pain[train]
    if config.shuffled_labels:
        rng = task.generator("shuffled labels")
        people = frames["subject"].to_numpy()[rows[train, -1]]
        alike = people if config.shuffled_labels == "within_subjects" else np.zeros(len(train))
        for one in np.unique(alike):
            labels[alike == one] = rng.permutation(labels[alike == one])
    return Samples(rows, pain, train, test, labels, len(both) - len(train) - len(test))
