"""The most even way to share out subjects between folds, as a mixed-integer program.

Every group of subjects that could be a fold is a column, and columns are chosen so that each
subject is in exactly one: a set partition (Balas & Padberg, SIAM Review 18, 1976), solved by HiGHS
through `scipy.optimize.milp`. Written so, folds have no numbers whose exchange would be another
solution, and the pain share of a fold is a constant of its column: no ratio of variables, nothing
to make linear.

There are 53,130 groups of five out of 25. Most of them can be ruled out before HiGHS begins: a
bound on the spread is raised step by step, and at each step only those columns enter that could be
in a partition of at most this spread. The first step that has a solution has the best one.

Arrays: groups int64 (G, m), subjects' numbers in each; values (G,), a group's frames, pain frames
or pain share; totals over all subjects.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array, eye_array, hstack

from paincore import PaincoreError

MOST_GROUPS = 1_000_000  # more than 30 subjects in five folds have; they are all listed in memory
SECONDS = 900  # for one program; most take less than one
ROUNDING = 1e-6  # in a limit on whole numbers
OUT_OF_TIME = 1  # scipy's status


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
    runs out of time, and for more subjects than can be listed. Chapter 03.
    """
    size = len(frames) // folds
    if comb(len(frames), size) > MOST_GROUPS:
        raise PartitionError(
            f"{len(frames)} subjects form more than {MOST_GROUPS:,} groups of {size}, too many to "
            "list. Take the design pair_and_shuffle."
        )
    groups = np.array(list(combinations(range(len(frames)), size)))
    frames, pain = np.asarray(frames, np.int64), np.asarray(pain, np.int64)
    counts = {"pain": pain[groups].sum(1), "frames": frames[groups].sum(1)}
    columns = Columns(groups, counts | {"share": counts["pain"] / counts["frames"]}, len(frames))
    limits: dict[str, float] = {}
    for measure, total in (("pain", pain.sum()), ("frames", frames.sum()), ("share", None)):
        chosen = _least_spread(columns, measure, total, limits, start)
        start = columns.groups[chosen]
        limits[measure] = np.ptp(columns.values[measure][chosen])
        if total is not None:
            columns = columns.only(
                possible(columns.groups, columns.values[measure], limits[measure], total)
            )
    return start[np.argsort(start[:, 0])]


def _least_spread(
    columns: Columns, measure: str, total: int | None, limits: dict, start: np.ndarray
) -> np.ndarray:
    """Positions of the columns of the best partition in `measure`, within `limits` on others.

    `total` None is a measure that does not add up: all columns enter.
    """
    values = columns.values[measure]
    least = 0 if total is None else lower_bound(columns, values, total)
    known = columns.find(start)
    if known is not None and np.ptp(values[known]) <= least:
        return known
    if total is None:
        return _solve(columns, limits, measure, np.inf)
    step, chosen = 0, None
    while chosen is None:
        spread = least + step
        places = possible(columns.groups, values, spread, total)
        if len(places):
            chosen = _solve(columns.only(places), limits, measure, spread)
        step = max(1, 2 * step)
    return places[chosen]


def lower_bound(columns: Columns, values: np.ndarray, total: int) -> int:
    """The smallest spread that `possible` does not rule out: no partition has less."""
    too_small, large = -1, 1
    while not len(possible(columns.groups, values, large, total)):
        too_small, large = large, 2 * large
    while large - too_small > 1:
        middle = (large + too_small) // 2
        if len(possible(columns.groups, values, middle, total)):
            large = middle
        else:
            too_small = middle
    return large


def possible(groups: np.ndarray, values: np.ndarray, spread: int, total: int) -> np.ndarray:
    """Positions of the groups that could be in a partition of at most this spread; maybe none.

    `values` are whole numbers that add up to `total` in every partition. What is ruled out is in no
    such partition; what is left need not be in one.
    """
    places = np.arange(len(groups))
    while True:
        members, value = groups[places], values[places]
        fits = _fits(members, value, spread, total, int(groups.max()) + 1)
        if fits.all():
            return places
        places = places[fits]


def _fits(
    groups: np.ndarray, values: np.ndarray, spread: int, total: int, subjects: int
) -> np.ndarray:
    """One round of `possible`: bool (G,)."""
    folds = subjects // groups.shape[1]
    lightest, heaviest = np.full(subjects, np.inf), np.full(subjects, -np.inf)
    np.minimum.at(lightest, groups, values[:, None])
    np.maximum.at(heaviest, groups, values[:, None])
    if np.isinf(lightest).any():
        return np.zeros(len(groups), bool)  # somebody is in no group
    mean = total / folds
    apart = _never_together(groups, lightest, mean, folds - 1)
    above = lightest[apart].sum()  # what these subjects' folds hold at least
    largest = max(lightest.max(), np.ceil(mean))  # the largest fold has no less
    smallest = min(heaviest.min(), np.floor(mean), np.floor((total - above) / (folds - len(apart))))
    has = np.isin(groups, apart)
    own = np.where(has, lightest[groups], 0).sum(1)
    others = folds - len(apart) - ~has.any(1)
    room = total - (above - own) - others * (largest - spread)
    return (values >= largest - spread) & (values <= np.minimum(smallest + spread, room))


def _never_together(groups: np.ndarray, lightest: np.ndarray, mean: float, most: int) -> list[int]:
    """Up to `most` subjects whose every group lies above the mean and holds one of them only."""
    together = np.zeros((len(lightest),) * 2, bool)
    for i, j in combinations(range(groups.shape[1]), 2):
        together[groups[:, i], groups[:, j]] = together[groups[:, j], groups[:, i]] = True
    apart: list[int] = []
    for subject in np.argsort(-lightest, kind="stable"):
        if lightest[subject] <= mean or len(apart) == most:
            break
        if not together[subject, apart].any():
            apart.append(int(subject))
    return apart


def _solve(
    columns: Columns, limits: dict[str, float], measure: str, most: float
) -> np.ndarray | None:
    """Positions of the columns with the smallest spread of `measure`, at most `most`, or None.

    Variables: how much of each column is chosen; for two subjects whether they are together, which
    alone is branched on (where these are whole, the columns are: Ryan & Foster 1981); of each
    measure, its smallest and its largest fold.
    """
    limits = {**limits, measure: most}
    cover, together = _incidence(columns.groups, columns.subjects)
    pairs, count = together.shape
    ends = 2 * len(limits)
    rows = [
        LinearConstraint(_beside(cover, pairs + ends), 1, 1),
        LinearConstraint(hstack([together, -eye_array(pairs), _nothing(pairs, ends)]), 0, 0),
    ]
    for place, (name, limit) in enumerate(limits.items()):
        folds = _beside(cover * columns.values[name], pairs + ends).tolil()
        smallest, largest = folds.copy(), folds
        smallest[:, count + pairs + 2 * place] = -1
        largest[:, count + pairs + 2 * place + 1] = -1
        width = np.zeros((1, count + pairs + ends))
        width[0, count + pairs + 2 * place :][:2] = -1, 1
        rows += [
            LinearConstraint(smallest.tocsc(), 0, np.inf),
            LinearConstraint(largest.tocsc(), -np.inf, 0),
            LinearConstraint(width, -np.inf, limit + ROUNDING),
        ]
    result = milp(
        width[0],
        integrality=np.repeat([0, 1, 0], [count, pairs, ends]),
        bounds=Bounds(0, np.repeat([1, 1, np.inf], [count, pairs, ends])),
        constraints=rows,
        options={"time_limit": SECONDS, "mip_rel_gap": 0},
    )
    if result.status == OUT_OF_TIME:
        found = "none was found" if result.x is None else f"the best found has {result.fun:g}"
        raise PartitionError(
            f"in {SECONDS} s the smallest spread of {measure} was not proven: {found}, and no "
            f"partition can have less than {result.mip_dual_bound:g}. Take the design "
            "pair_and_shuffle."
        )
    return None if result.x is None else np.flatnonzero(result.x[:count] > 0.5)


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
