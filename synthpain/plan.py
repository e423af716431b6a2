"""Which sequences a synthetic corpus has: whose, under what names, how long, and what is broken.

UNBC-McMaster's 25 people have 2 to 16 sequences of 48 to 683 frames, 242 on average, and 7 black
frames. A corpus of that size follows this; a smaller one keeps the people and shortens sequences.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import brentq

from synthpain.temperament import generator

MEAN_LENGTH = 242  # frames of an UNBC sequence
SHORTEST, LONGEST = 48 / MEAN_LENGTH, 683 / MEAN_LENGTH  # relative to the mean
SPREAD = 0.5  # of the logarithm of lengths
TESTS = tuple(product((1, 2), "aefi"))  # trial and active movement; each for both limbs
MOST = 2 * len(TESTS)  # sequences of one person
BLACK, FRAMES_A_FAULT = 7, 1000  # black frames at most; one black and one damaged in so many


@dataclass(frozen=True)
class Sequence:
    """One sequence: `subject` counts from 0, `number` within the subject; its first `black` frames
    are black, the pictures of `damaged` (frame numbers from 1) are cut short."""

    subject: int
    number: int
    test: str
    frames: int
    black: int = 0
    damaged: tuple[int, ...] = ()

    @property
    def subject_name(self) -> str:
        return f"sy{self.subject + 1:03d}"

    @property
    def name(self) -> str:
        return self.subject_name + self.test

    @property
    def path(self) -> str:
        """Folder below each tree of the corpus, such as 001-sy001/sy001t1aaaff."""
        return f"{self.subject + 1:03d}-{self.subject_name}/{self.name}"

    @property
    def affected(self) -> bool:
        return not self.test.endswith("unaff")


def plan_sequences(frames: int, subjects: int, seed: int) -> list[Sequence]:
    """The sequences of a corpus of exactly `frames` frames, sorted by subject and number.

    Raises ValueError if there are fewer frames than subjects.
    """
    if not 1 <= subjects <= frames:
        raise ValueError(
            f"{frames} frames cannot show {subjects} subjects: one frame each at least"
        )
    rng = generator(seed, "plan")
    total = max(subjects, round(frames / MEAN_LENGTH), min(2 * subjects, frames // 12))
    counts = draw_counts(min(total, MOST * subjects), subjects, rng)
    lengths = iter(draw_lengths(frames, sum(counts), rng))
    black = min(BLACK, math.ceil(frames / FRAMES_A_FAULT))
    dark = rng.integers(sum(counts))
    damaged = rng.choice(frames, math.ceil(frames / FRAMES_A_FAULT), replace=False)
    sequences, first = [], 0
    for subject, count in enumerate(counts):
        for number, test in enumerate(draw_tests(count, rng)):
            length = next(lengths)
            inside = sorted(int(d) - first + 1 for d in damaged if first <= d < first + length)
            night = min(black, length) if len(sequences) == dark else 0
            damage = tuple(frame for frame in inside if frame > night)
            sequences.append(Sequence(subject, number, test, length, night, damage))
            first += length
    return sequences


def draw_counts(total: int, subjects: int, rng: np.random.Generator) -> list[int]:
    """How many sequences each subject has, two at least where there are enough, `total` in all."""
    counts = np.full(subjects, min(2, total // subjects))
    weights = rng.lognormal(0, 0.5, subjects)
    while counts.sum() < total:
        chances = weights * (counts < MOST)
        counts[rng.choice(subjects, p=chances / chances.sum())] += 1
    return counts.tolist()


def draw_lengths(frames: int, count: int, rng: np.random.Generator) -> list[int]:
    """`count` lengths that sum to `frames`, between SHORTEST and LONGEST of their mean."""
    mean = frames / count
    weights = rng.lognormal(0, SPREAD, count) * mean

    def scaled(factor: float) -> np.ndarray:
        return np.clip(factor * weights, max(1, SHORTEST * mean), LONGEST * mean)

    exact = scaled(brentq(lambda factor: scaled(factor).sum() - frames, 1e-3, 1e3))
    ends = np.round(np.cumsum(exact)).astype(int)
    ends[-1] = frames
    return np.diff(ends, prepend=0).tolist()


def draw_tests(count: int, rng: np.random.Generator) -> list[str]:
    """Name endings of one subject's sequences: affected and unaffected limb of each test drawn."""
    tests = [TESTS[i] for i in rng.permutation(len(TESTS))]
    names = [f"t{trial}a{move}{limb}" for trial, move in tests for limb in ("aff", "unaff")]
    return names[:count]
