"""The most even way to share out subjects between folds, as a mixed-integer program.

Every group of subjects that could be a fold is a column, and columns are chosen so that each
subject is in exactly one: a set partition (Balas & Padberg, SIAM Review 18, 1976), solved by HiGHS
through `scipy.optimize.milp`. Written so, folds have no numbers whose exchange would be another
solution, and the pain share of a fold is a constant of its column: there is no ratio to make
linear.

There are 53,130 groups of five out of 25. Most of them can be ruled out before HiGHS begins: a
bound on the spread is raised step by step, and at each step only those columns enter that could be
in a partition of at most this spread. The first step that has a solution has the best one.

Arrays: groups int64 (G, m), the subjects' numbers in each; counts int64 (S,), each subject's frames
or pain frames; values (G,), a group's frames, pain frames or pain share.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array, eye_array, hstack

from paincore import PaincoreError

MOST_GROUPS = 1_000_000  # all are listed in memory; 30 subjects in five folds have fewer, 35 more
GROWTH = 1.25  # in columns from one step to the next, lest steps are many
SECONDS = 900  # for one program; most take less than one
ROUNDING = 0.5  # of limits on whole numbers: HiGHS needs room about what it found
OPTIMAL, INFEASIBLE = 0, 2  # what scipy's status says


class PartitionError(PaincoreError):
    """A partition that cannot be found, or not be proven the best."""


@dataclass(frozen=True)
class Columns:
    """The groups that may still be chosen: subjects (G, m) and values (G,) of each measure."""

    groups: np.ndarray
    values: dict[str, np.ndarray]
    subjects: int

    @property
    def folds(self) -> int:
        return self.subjects // self.groups.shape[1]

    def only(self, which: np.ndarray) -> "Columns":
        values = {name: value[which] for name, value in self.values.items()}
        return Columns(self.groups[which], values, self.subjects)

    def find(self, partition: np.ndarray) -> np.ndarray | None:
        """Positions of a partition's groups, None if one of them is not here."""
        keys = {tuple(group): place for place, group in enumerate(self.groups.tolist())}
        places = [keys.get(tuple(group)) for group in np.sort(partition, axis=1).tolist()]
        return None if None in places else np.array(places)


def most_even_partition(
    frames: np.ndarray, pain: np.ndarray, folds: int, start: np.ndarray
) -> np.ndarray:
    """Equal numbers of subjects a fold, with the smallest spread of pain frames, then of frames,
    then of pain share; spread is the largest fold's less the smallest's.

    `frames` and `pain` int (S,) count each subject's; `start` int (folds, S / folds) is any
    partition, taken where it is already as good as can be. Returns int64 (folds, S / folds), each
    row sorted, and rows by their first subject. Raises PartitionError with what was proven if HiGHS
    stops before the end, and for more subjects than can be listed. Chapter 03.
    """
    size = len(frames) // folds
    if comb(len(frames), size) > MOST_GROUPS:
        raise PartitionError(
            f"{len(frames)} subjects form more than {MOST_GROUPS:,} groups of {size}, too many to "
            "list. Take the design pair_and_shuffle."
        )
    groups = np.array(list(combinations(range(len(frames)), size)))
    frames, pain = np.asarray(frames, np.int64), np.asarray(pain, np.int64)
    values = {"pain": pain[groups].sum(1), "frames": frames[groups].sum(1)}
    columns = Columns(groups, values | {"share": values["pain"] / values["frames"]}, len(frames))
    limits: dict[str, float] = {}
    for measure, counts in (("pain", pain), ("frames", frames), ("share", None)):
        chosen = _least_spread(columns, measure, counts, limits, start)
        start = columns.groups[chosen]
        limits[measure] = np.ptp(columns.values[measure][chosen])
        if counts is not None:
            columns = columns.only(possible(columns.groups, counts, limits[measure]))
    return start[np.argsort(start[:, 0])]


def _least_spread(
    columns: Columns, measure: str, counts: np.ndarray | None, limits: dict, start: np.ndarray
) -> np.ndarray:
    """Positions of the columns of the best partition in `measure`, within `limits` on others.

    `counts` are each subject's; None is a measure that does not add up, where all columns enter.
    """
    values = columns.values[measure]
    spread = 0 if counts is None else lower_bound(columns.groups, counts)
    known = columns.find(start)
    if known is not None and np.ptp(values[known]) <= spread:
        return known
    tried, step = 0, 0
    every = 0 if counts is None else len(possible(columns.groups, counts, counts.sum()))
    while tried < every:
        places = possible(columns.groups, counts, spread + step)
        if len(places) > min(GROWTH * tried, every - 1):
            chosen = _solve(columns.only(places), limits, measure, spread, spread + step)
            if chosen is not None:
                return places[chosen]
            tried, spread, step = len(places), spread + step + 1, 0
        else:
            step += max(1, step // 4)
    return _solve(columns, limits, measure, spread, np.inf)


def lower_bound(groups: np.ndarray, counts: np.ndarray) -> int:
    """The smallest spread that `possible` does not rule out: no partition has less."""
    too_small, large = -1, 1
    while not len(possible(groups, counts, large)):
        too_small, large = large, 2 * large
    while large - too_small > 1:
        middle = (large + too_small) // 2
        if len(possible(groups, counts, middle)):
            large = middle
        else:
            too_small = middle
    return large


def possible(groups: np.ndarray, counts: np.ndarray, spread: int) -> np.ndarray:
    """Positions of the groups that could be in a partition of at most this spread; maybe none.

    `counts` are each subject's, int (S,), which add up in groups. What is ruled out is in no such
    partition; what is left need not be in one.
    """
    places = np.arange(len(groups))
    while True:
        fits = _fits(groups[places], counts, spread)
        if fits.all():
            return places
        places = places[fits]


def _fits(groups: np.ndarray, counts: np.ndarray, spread: int) -> np.ndarray:
    """One round of `possible`: bool (G,).

    The folds of people who are in no group together are different folds; what these hold at least
    bounds the largest and the smallest fold, and what the other groups may hold.
    """
    size, total = groups.shape[1], counts.sum()
    folds, values = len(counts) // size, counts[groups].sum(1)
    lightest, heaviest = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(lightest, groups, values[:, None])
    np.maximum.at(heaviest, groups, values[:, None])
    if np.isinf(lightest).any():
        return np.zeros(len(groups), bool)  # somebody is in no group
    largest, smallest = max(lightest.max(), np.ceil(total / folds)), heaviest.min()
    apart, below = _apart(groups, lightest, folds - 1), np.full(len(groups), np.inf)
    for number in range(len(apart) + 1):
        few = apart[:number]
        inside = np.isin(groups, few)
        others = np.sort(np.delete(counts, few))[: number * (size - 1)]
        above = max(lightest[few].sum(), counts[few].sum() + others.sum())
        largest = max(largest, np.ceil(above / max(1, number)))
        smallest = min(smallest, (total - above) // (folds - number))
        rest = folds - number - ~inside.any(1)
        own = np.where(inside, lightest[groups], 0).sum(1)
        above = np.where(inside.any(1), lightest[few].sum() - own, above)
        below = np.minimum(below, total - above - rest * (largest - spread))
    return (values >= largest - spread) & (values <= np.minimum(below, smallest + spread))


def _apart(groups: np.ndarray, lightest: np.ndarray, most: int) -> list[int]:
    """Up to `most` subjects no two of whom are in a group together, the heaviest first."""
    together = np.zeros((len(lightest),) * 2, bool)
    for i, j in combinations(range(groups.shape[1]), 2):
        together[groups[:, i], groups[:, j]] = together[groups[:, j], groups[:, i]] = True
    apart: list[int] = []
    for subject in np.argsort(-lightest, kind="stable"):
        if len(apart) < most and not together[subject, apart].any():
            apart.append(int(subject))
    return apart


def _solve(
    columns: Columns, limits: dict[str, float], measure: str, least: float, most: float
) -> np.ndarray | None:
    """Positions of the columns with the smallest spread of `measure`, at most `most`, or None.

    No partition has a spread below `least`: HiGHS need not prove that of one that has it.

    Variables: how much of each column is chosen; for two subjects whether they are together, which
    alone is branched on (where these are whole, the columns are: Ryan & Foster 1981); of each
    measure, its smallest and its largest fold.
    """
    bounds = {name: (0, limit) for name, limit in limits.items()} | {measure: (least, most)}
    cover, together = _incidence(columns.groups, columns.subjects)
    pairs, count = together.shape
    ends = 2 * len(bounds)
    rows = [
        LinearConstraint(_beside(cover, pairs + ends), 1, 1),
        LinearConstraint(hstack([together, -eye_array(pairs), _nothing(pairs, ends)]), 0, 0),
    ]
    for place, (name, (lower, upper)) in enumerate(bounds.items()):
        folds = _beside(cover * columns.values[name], pairs + ends).tolil()
        smallest, largest = folds.copy(), folds
        smallest[:, count + pairs + 2 * place] = -1
        largest[:, count + pairs + 2 * place + 1] = -1
        width = np.zeros((1, count + pairs + ends))
        width[0, count + pairs + 2 * place :][:2] = -1, 1
        rows += [
            LinearConstraint(smallest.tocsc(), 0, np.inf),
            LinearConstraint(largest.tocsc(), -np.inf, 0),
            LinearConstraint(width, lower, upper + ROUNDING),
        ]
    result = milp(
        width[0],
        integrality=np.repeat([0, 1, 0], [count, pairs, ends]),
        bounds=Bounds(0, np.repeat([1, 1, np.inf], [count, pairs, ends])),
        constraints=rows,
        options={"time_limit": SECONDS, "mip_rel_gap": 0},
    )
    if result.status == INFEASIBLE:
        return None
    if result.status != OPTIMAL:
        found = "none was found" if result.x is None else f"the best found has {result.fun:g}"
        bound = result.mip_dual_bound
        proven = "" if bound is None else f" and none can have less than {bound:g}"
        raise PartitionError(
            f"the smallest spread of {measure} was not proven, {found}{proven}: {result.message} "
            "Take the design pair_and_shuffle."
        )
    return np.flatnonzero(result.x[:count] > 0.5)


def _incidence(groups: np.ndarray, subjects: int) -> tuple[csc_array, csc_array]:
    """Which subjects (rows) and which pairs of subjects (rows) are in which group (columns)."""
    number = np.arange(len(groups))
    size = groups.shape[1]
    sides = np.array(list(combinations(range(size), 2)), int).reshape(-1, 2)
    pairs = groups[:, sides[:, 0]] * subjects + groups[:, sides[:, 1]]
    names, pairs = np.unique(pairs, return_inverse=True)
    return tuple(
        csc_array((np.ones(row.size), (row.ravel(), number.repeat(row.size // len(number)))), shape)
        for row, shape in (
            (groups, (subjects, len(groups))),
            (pairs, (len(names), len(groups))),
        )
    )


def _beside(matrix: csc_array, columns: int) -> csc_array:
    return hstack([matrix, _nothing(matrix.shape[0], columns)]).tocsc()


def _nothing(rows: int, columns: int) -> csc_array:
    return csc_array((rows, columns))
