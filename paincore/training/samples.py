"""What a training step sees: samples, balanced draws from them, and Mixup.

A sample is a row of frame numbers: one frame for ViT, four subsequent frames of one sequence for
ViViT, which takes the label of the last (the paper's section 3.1). Rows count in the frames table,
draws count in the samples. All randomness comes from the generator that a caller hands in.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from paincore import PaincoreError

CLIP = {"vit": 1, "vivit": 4}
"""Frames of a sample, by model."""

REASONS = {
    "no_face": "the frame has no usable face",
    "no_label": "the frame has no pain label",
    "short": "too few frames come before it without a gap in its sequence",
    "broken": "a frame before it in its clip has no usable face",
    "stride": "between two clips that the stride keeps",
}
"""Why a frame is the last of no sample, in the order in which it is asked."""


class SamplingError(PaincoreError):
    """Samples that cannot be drawn from, or an impossible setting."""


class ClipError(SamplingError):
    """A frames table without a single sample."""


@dataclass(frozen=True)
class Draws:
    """Training samples in the order in which they are seen, each mixed from two or alone.

    `first` and `second` are int64 (n,) numbers of samples; `weight` float32 (n,) is Mixup's λ, the
    share of `first`: 1 where a draw is unmixed, and `second` is `first` there. `left_out` counts
    draws that were chosen for mixing, but whose subject has frames of one class only.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    left_out: int

    @classmethod
    def unmixed(cls, draws: np.ndarray) -> "Draws":
        """Draws int64 (n,) without Mixup."""
        return cls(draws, draws.copy(), np.ones(len(draws), np.float32), 0)


def samples(frames: pd.DataFrame, usable: np.ndarray, model: str, stride: int = 1) -> np.ndarray:
    """Rows of the frames of each sample, int64 (M, F), F = 1 for "vit" and 4 for "vivit".

    `frames` is a frames table, `usable` bool (N,) tells which rows hold a face. All frames of a
    sample are usable and numbered without a gap, and the last, whose label counts, has a pain
    label. `stride` keeps every so many-th of the samples of each sequence, from its first on.
    Raises ClipError where no sample is left, SamplingError for another model or stride. The
    paper's section 3.1; used by chapters 03 and 04.
    """
    fate = _fates(frames, usable, model, stride)
    last = np.flatnonzero(fate == "")
    if not len(last):
        counts = pd.Series(fate).value_counts().to_dict()
        raise ClipError(
            f"no sample of {CLIP[model]} subsequent frames for {model} in {len(frames)} frames "
            f"({counts}). Take longer sequences, or see why the store's frames are not usable."
        )
    return last[:, None] + np.arange(1 - CLIP[model], 1)


def left_out(frames: pd.DataFrame, usable: np.ndarray, model: str, stride: int = 1) -> pd.DataFrame:
    """How many frames are the last of no sample, and why: reason, meaning, frames.

    With the number of `samples` of the same arguments they add up to the table. Chapter 04.
    """
    fate = pd.Series(_fates(frames, usable, model, stride))
    rows = [(reason, meaning, int((fate == reason).sum())) for reason, meaning in REASONS.items()]
    return pd.DataFrame(rows, columns=["reason", "meaning", "frames"])


def _fates(frames: pd.DataFrame, usable: np.ndarray, model: str, stride: int) -> np.ndarray:
    """For each row the first of `REASONS` against it as the end of a sample, or ""."""
    if model not in CLIP:
        raise SamplingError(f"no model {model!r}; there are {', '.join(CLIP)}")
    if stride < 1:
        raise SamplingError(f"a stride of {stride} keeps nothing: take 1 or more")
    follows = (
        (frames["subject"] == frames["subject"].shift())
        & (frames["sequence"] == frames["sequence"].shift())
        & (frames["frame"].diff() == 1)
    ).to_numpy()
    usable = np.asarray(usable, bool)
    whole, faces = np.ones(len(frames), bool), usable.copy()
    for back in range(CLIP[model] - 1):
        whole &= _earlier(follows, back)
        faces &= _earlier(usable, back + 1)
    against = [~usable, frames["pain"].isna().to_numpy(), ~whole, ~faces]
    good = pd.Series(~np.any(against, axis=0))
    number = good.groupby([frames["subject"].to_numpy(), frames["sequence"].to_numpy()]).cumsum()
    against.append((number.to_numpy() - 1) % stride != 0)
    return np.select(against, list(REASONS), default="")


def _earlier(flags: np.ndarray, rows: int) -> np.ndarray:
    """The flag of the row so many rows before each; False where there is none."""
    return np.concatenate([np.zeros(min(rows, len(flags)), bool), flags])[: len(flags)]


def balanced_draws(pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many draws as samples, with replacement, int64 (n,): each class half of them on average.

    `pain` bool (n,) labels the samples. Raises SamplingError where a class is empty. The paper
    over-samples pain (section 3.1), the released notebook to one half; used by chapter 04.
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


def mix(
    draws: np.ndarray,
    pain: np.ndarray,
    subjects: np.ndarray,
    alpha: float,
    rng: np.random.Generator,
    rows: str = "random",
    share: float = 0.2,
) -> Draws:
    """Mix some draws with a random sample of the same subject and the other class.

    `draws` int64 (n,) count in the samples, which `pain` bool (m,) and `subjects` (m,) label. λ ~
    Beta(alpha, alpha). `rows` "random" mixes exactly round(share x n) draws; "every_fifth" follows
    the released notebook: whatever draw is of a sample whose number is a multiple of five, but not
    0. The notebook leaves out the one subject that it knows to have one class; here every such
    subject is, and its draws are counted. Raises SamplingError for alpha <= 0 and unknown `rows`.
    The paper's sections 3.3 and 4.4, Zhang et al. 2017; used by chapters 04 and 05.
    """
    if not 0 < alpha < math.inf:
        raise SamplingError(f"mixup_alpha {alpha} is no Beta distribution's: take a positive one")
    if rows == "random":
        chosen = np.sort(rng.choice(len(draws), size=round(share * len(draws)), replace=False))
    elif rows == "every_fifth":
        chosen = np.flatnonzero((draws % 5 == 0) & (draws > 0))
    else:
        raise SamplingError(f"mixup rows {rows!r}: there are random and every_fifth")
    subject, names = pd.factorize(np.asarray(subjects))
    group = 2 * subject + np.asarray(pain, bool)
    members = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=2 * len(names))
    starts = np.cumsum(sizes) - sizes
    other = group[draws[chosen]] ^ 1  # the same subject's other class
    possible = sizes[other] > 0
    mixed, other = chosen[possible], other[possible]
    result = Draws.unmixed(draws)
    result.second[mixed] = members[starts[other] + rng.integers(sizes[other])]
    result.weight[mixed] = rng.beta(alpha, alpha, len(mixed))
    return Draws(result.first, result.second, result.weight, int((~possible).sum()))
