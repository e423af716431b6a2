"""The most even way to deal subjects to folds, by an exact search.

Every group of subjects that could be a fold is listed, with its pain frames, its frames and its
proportion of pain frames. A partition takes groups until each subject is in exactly one: first a
group of the subject with most pain frames, then one of the subject with most among those left, and
so on. A branch ends where it exceeds a limit on a range, because we know what the remaining folds
hold on average: some fold holds at least that, and some fold at most. Limits rise from 0; the first
limit that a partition keeps is tightened until no partition keeps it, which proves the optimum. A
search that tries too many groups ends with the best partition found, and says what is proven.

For 25 subjects in five folds there are 53,130 groups, and most searches take a few seconds.
"""

import warnings
from contextlib import suppress
from itertools import combinations
from math import comb, inf

import numpy as np

from paincore import PaincoreError

MEASURES = {"pain frames": 1.0, "frames": 1.0, "proportion of pain": 0.001}
"""Whose range over folds is minimised, the first first; the first limit above 0 that is tried."""

GROWTH = 1.5  # of a limit that no partition keeps
ROUNDING = 1e-9  # of a proportion
MOST_GROUPS = 1_000_000  # all are listed in memory; 30 subjects in five folds have fewer, 35 more
MOST_TRIED = 20_000_000  # groups, ten seconds: counted, so that the same folds come out everywhere


class FoldError(PaincoreError):
    """Folds that cannot be made of these subjects."""


class _Stopped(Exception):
    """A search has tried all the groups that it may."""


def most_even_partition(frames: np.ndarray, pain: np.ndarray, folds: int) -> np.ndarray:
    """Equally many subjects a fold with the smallest range of pain frames; among those partitions,
    of frames; among those, of the proportion of pain. A range is the largest fold's value minus
    the smallest fold's.

    `frames` and `pain` int (S,) count each subject's. Returns int64 (folds, S / folds), each row
    sorted, and rows by their first subject; of several optima always the same one. Ranges of counts
    are exact, of proportions within 1e-8. Where `MOST_TRIED` groups prove no optimum, the best
    partition found is returned with a warning that says what is proven. Raises FoldError where none
    is found, and for more subjects than can be listed.
    """
    size, one = len(frames) // folds, np.ones(len(frames))
    if comb(len(frames), size) > MOST_GROUPS:
        raise FoldError(f"{len(frames)} subjects are too many: take the design pair_and_shuffle.")
    order = np.lexsort([-frames, -pain])
    groups = np.array(list(combinations(range(len(frames)), size)))
    ratios = np.array([[size * pain, size * frames, pain], [one, one, frames]])[:, :, order]
    limits, found, left = [], None, [MOST_TRIED]
    for name, step in MEASURES.items():
        limits.append(0.0)
        search = _Search(groups, ratios[:, : len(limits)], folds, left)
        while not search.finds_within(limits) and left[0] >= 0:
            limits[-1] = max(GROWTH * limits[-1], limits[-1] + step)
        if left[0] < 0 and search.found is None:  # any partition, made more even for a while
            left[0] = MOST_TRIED // 10
            search.finds_within([*limits[:-1], inf])
        found = search.found or found
        if found is None:
            raise FoldError("no even folds are found: take the design pair_and_shuffle.")
        if left[0] < 0:
            reached = np.ptp(search.values[-1, np.isin(search.groups, found)])
            warnings.warn(
                f"These folds may not be the most even. Their range of {name} is {reached:g}; "
                f"it is proven that none has less than {search.least:g}.",
                stacklevel=2,
            )
            break
        limits[-1] = search.range
    members = [[one for one in range(len(frames)) if group >> one & 1] for group in found]
    return np.array(sorted(sorted(order[group].tolist()) for group in members))


class _Search:
    """A search over groups (G), each a number whose bits are its subjects, by M measures.

    `left` holds how many groups may still be tried, and is counted down.

    A measure is a ratio of two sums over subjects, `ratios` (2, M, S). Over one group it is this
    fold's value, and over several groups the mean of their values.
    """

    def __init__(self, groups: np.ndarray, ratios: np.ndarray, folds: int, left: list[int]):
        self.sums, self.total = ratios[:, :, groups].sum(-1), ratios.sum(-1)
        self.values = self.sums[0] / self.sums[1]
        self.known = [np.unique([-inf, *values, inf]) for values in self.values]
        self.groups, self.first = (1 << groups).sum(1), groups[:, 0]
        # Subjects with equal counts are interchangeable: a group takes the earlier ones first.
        alike = (ratios[0, :, :, None] == ratios[0, :, None]).all(0)
        twins = (np.tril(alike, -1) << np.arange(len(alike))).sum(1)
        self.before = np.bitwise_or.reduce(twins[groups], axis=1) & ~self.groups
        self.folds, self.subjects, self.left = folds, len(alike), left
        self.least = 0.0  # range in the last measure that is known to be needed

    def finds_within(self, limits: list[float]) -> bool:
        """Whether a partition keeps the limits; `found` has the smallest `range` in the last."""
        self.limits, self.found, self.range = np.array(limits) + ROUNDING, None, inf
        ends = np.full(len(limits), inf), np.full(len(limits), -inf)
        fits = (self._ranges(slice(None), self.total, *ends) <= self.limits[:, None]).all(0)
        self.places = [np.flatnonzero(fits & (self.first == one)) for one in range(self.subjects)]
        with suppress(_Stopped):
            self._extend([], self.total, *ends)
            if self.found is None:
                self.least = limits[-1]
        return self.found is not None

    def _ranges(self, places, left: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The smallest ranges (M, n) of a partition with one of these groups beside those taken.

        `low` and `high` (M,) are the lowest and highest values taken, `left` (2, M) sums over the
        subjects who are not.
        """
        values = self.values[:, places]
        part, whole = left[:, :, None] - self.sums[:, :, places]
        above, below = np.empty(values.shape), np.empty(values.shape)
        for m, (known, mean) in enumerate(zip(self.known, part / whole, strict=True)):
            # Of the folds that remain, one has a value at or above the mean, and one at or below.
            above[m] = known[np.searchsorted(known, mean - ROUNDING)]
            below[m] = known[np.searchsorted(known, mean + ROUNDING, "right") - 1]
        highest = np.maximum(np.maximum(values, above), high[:, None])
        return highest - np.minimum(np.minimum(values, below), low[:, None])

    def _extend(self, taken: list[int], left, low, high) -> None:
        """Try every partition with the groups `taken`; each one found tightens the last limit."""
        free = 2**self.subjects - 1 - sum(taken)
        places = self.places[(free & -free).bit_length() - 1]
        places = places[(self.groups[places] & ~free | self.before[places] & free) == 0]
        self.left[0] -= 100 + len(places)  # a branch without groups takes its time too
        if self.left[0] < 0:
            raise _Stopped
        ranges = self._ranges(places, left, low, high)
        fits = (ranges <= self.limits[:, None]).all(0)
        places, ranges = places[fits], ranges[-1, fits]
        for at in np.argsort(ranges, kind="stable"):
            if ranges[at] > self.limits[-1]:
                return
            place, group = places[at], int(self.groups[places[at]])
            if len(taken) == self.folds - 2:
                self.found, self.range = [*taken, group, free - group], float(ranges[at])
                self.limits[-1] = self.range - (0.5 if len(self.limits) < 3 else 4 * ROUNDING)
                return
            value = self.values[:, place]
            lower, higher = np.minimum(low, value), np.maximum(high, value)
            self._extend([*taken, group], left - self.sums[:, :, place], lower, higher)
