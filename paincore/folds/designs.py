"""Folds: which frames a model learns from and which frames it is tested on (section 3.1 of the
paper).

A fold's frames are rows of a frames table: positions, counted from 0, int64, sorted. Only usable
frames with a pain label enter, and all counts here are of them. Folds are numbered from 1. All
designs but `random_frames` test a model on people whom it has never seen. A range is the largest
fold's value minus the smallest fold's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from paincore import PaincoreError, paper
from paincore.folds.even import FoldError, most_even_partition

EXCHANGES = 2  # of two subjects each: the four that section 3.1 of the paper shuffles


class LeakageError(PaincoreError):
    """A fold that tests on a person it was trained on."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One training and its test: rows of a frames table, int64, sorted."""

    design: str
    number: int
    train: np.ndarray
    test: np.ndarray

    def among(self, usable: np.ndarray) -> "Fold":
        """The same without the frames that are not `usable`, bool (N,)."""
        sides = (side[usable[side]] for side in (self.train, self.test))
        return Fold(self.design, self.number, *sides)

    def train_subjects(self, frames: pd.DataFrame) -> list[str]:
        """Names of the people it is trained on, sorted."""
        return _names(frames, self.train)

    def test_subjects(self, frames: pd.DataFrame) -> list[str]:
        """Names of the people it is tested on, sorted."""
        return _names(frames, self.test)


def make_folds(frames: pd.DataFrame, design: str, usable=None, seed=0) -> list[Fold]:
    """The folds of a design over a frames table.

    `design` is a name from `DESIGNS` or "random_frames", which leaks on purpose: it deals frames,
    stratified by pain, without regard to people. `usable` bool (N,) says which frames a model could
    be given; None means those whose `state` is ok. `seed` moves "pair_and_shuffle" (subjects with
    equally many pain frames) and "random_frames". Raises FoldError for an unknown design, for
    subjects that the design cannot deal equally, and for a fold that would be trained on one class.
    """
    usable = frames["state"].eq("ok") if usable is None else usable
    rows = np.flatnonzero(np.asarray(usable, bool) & frames["pain"].notna().to_numpy())
    if not len(rows):
        raise FoldError("no frame of this table is usable and has a pain label. See chapter 02.")
    if design == "random_frames":
        tests = _random_tests(frames, rows, seed)
    else:
        check_design(design)
        subjects = frames["subject"].to_numpy()[rows]
        groups = DESIGNS[design](count_by_subject(frames, rows), seed)
        tests = [rows[np.isin(subjects, group)] for group in groups]
    folds = [Fold(design, k, np.setdiff1d(rows, test), test) for k, test in enumerate(tests, 1)]
    for fold in folds:
        if frames["pain"].iloc[fold.train].nunique() < 2:
            wrong = f"fold {fold.number} of {design} would be trained on one class, the frames of"
            people = _listed(fold.train_subjects(frames))
            raise FoldError(f"{wrong} {people}: take another design or more subjects.")
    return folds


def possible_designs(frames: pd.DataFrame, usable: np.ndarray, design: str) -> tuple[dict, dict]:
    """The folds of `design` and of each design of five folds, and why some cannot be made.

    The second maps a design's name to the reason. Raises FoldError where `design` is one of them.
    """
    made, reasons = {}, {}
    for name in dict.fromkeys(["published", "pair_and_shuffle", "balanced", design]):
        try:
            made[name] = make_folds(frames, name, usable)
        except FoldError as error:
            if name == design:
                raise
            reasons[name] = str(error)
    return made, reasons


def published(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """The five lists of the authors' released notebook, in its order; for UNBC-McMaster only.

    `counts` is that of `count_by_subject`. Raises FoldError for any other subjects.
    """
    theirs, here = set(np.concatenate(paper.RELEASED_FOLDS)), set(counts.index)
    if here != theirs:
        wrong = f"{_listed(theirs - here)} are missing, {_listed(here - theirs)} are not in them"
        raise FoldError(f"published are UNBC-McMaster's 25 subjects: {wrong}. Take balanced.")
    return [list(group) for group in paper.RELEASED_FOLDS]


def pair_and_shuffle(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """The paper's procedure: `pair` those with the fewest and the most pain frames and deal the
    pairs to the folds, then `shuffle` four subjects between folds to balance further.

    The paper does not say how subjects with equally many pain frames are ordered: here at random by
    `seed`. Raises FoldError for subjects that five folds cannot share equally.
    """
    _check_equal(counts)
    pain = counts["pain"].to_numpy()
    mixed = np.random.default_rng([seed, *b"pair_and_shuffle"]).permutation(len(pain))
    most_first = mixed[np.argsort(-pain[mixed], kind="stable")]
    return _named(counts, shuffle(pair(most_first), pain))


def pair(order: np.ndarray) -> np.ndarray:
    """Deal pairs of the first and the last in `order`, then of the second and the last but one.

    Pairs go to folds 1 to 5, then 5 to 1, and so on; where a fold holds an odd number of subjects,
    those in the middle of the order follow one by one. The paper does not give this sequence.
    `order` (S,) are subjects' numbers. Returns (folds, S / folds).
    """
    pairs = len(order) // paper.FOLDS // 2 * paper.FOLDS
    dealt = [[order[i], order[-1 - i]] for i in range(pairs)]
    dealt += [[one] for one in order[pairs : len(order) - pairs]]
    folds: list[list[int]] = [[] for _ in range(paper.FOLDS)]
    for turn, subjects in enumerate(dealt):
        lap, place = divmod(turn, paper.FOLDS)
        folds[place if lap % 2 == 0 else -1 - place] += subjects
    return np.array(folds)


def shuffle(folds: np.ndarray, pain: np.ndarray) -> np.ndarray:
    """Exchange two subjects between two folds, twice, with nobody moved twice.

    Each exchange is the one after which the range of pain frames over folds is smallest (where
    ranges are equal, the sum of squares), and is left out where none improves. The paper does not
    say which four subjects it shuffles. `folds` (folds, m) holds subjects' numbers, `pain` (S,)
    counts each subject's pain frames.
    """

    def unevenness(folds: np.ndarray) -> tuple[int, int]:
        totals = pain[folds].sum(axis=1)
        return np.ptp(totals), (totals**2).sum()

    moved: set[int] = set()
    for _ in range(EXCHANGES):
        best = folds
        for one, other in combinations(np.ndindex(folds.shape), 2):
            if one[0] != other[0] and not moved & {folds[one], folds[other]}:
                trial = folds.copy()
                trial[one], trial[other] = folds[other], folds[one]
                best = min(best, trial, key=unevenness)
        moved |= set(folds[best != folds])
        folds = best
    return folds


def balanced(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """The optimum: five folds of equally many subjects and the smallest range of pain frames; among
    those, of frames; among those, of the proportion of pain. `seed` changes nothing.

    Raises FoldError for subjects that five folds cannot share equally, and where the optimum is not
    proven.
    """
    _check_equal(counts)
    frames, pain = counts["frames"].to_numpy(), counts["pain"].to_numpy()
    return _named(counts, most_even_partition(frames, pain, paper.FOLDS))


def leave_one_subject_out(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """One fold a subject; a subject who shows no pain has a fold too."""
    return [[subject] for subject in counts.index]


DESIGNS: dict[str, Callable[[pd.DataFrame, int], list[list[str]]]] = {
    "published": published,
    "pair_and_shuffle": pair_and_shuffle,
    "balanced": balanced,
    "leave_one_subject_out": leave_one_subject_out,
}
"""The designs made of people: from counts by subject and a seed, whom each fold tests on."""


def default_design(frames: pd.DataFrame) -> str:
    """The authors' own lists for the people of UNBC-McMaster, else the paper's procedure."""
    archive = set(frames["subject"]) == set(np.concatenate(paper.RELEASED_FOLDS))
    return "published" if archive else "pair_and_shuffle"


def check_design(design: str | None) -> None:
    """Raise FoldError, naming the designs there are, if this is none; None means the best one."""
    if design not in (None, *DESIGNS):
        raise FoldError(f"unknown fold design {design!r}; the designs are {', '.join(DESIGNS)}")


def check_leakage(frames: pd.DataFrame, fold: Fold, clips: np.ndarray | None = None) -> None:
    """Raise LeakageError if a person, and so any frame, is on both sides of a fold.

    `clips` int64 (M, F) are the samples of both sides, as rows of their frames. A clip is on the
    side of its last frame, whose label counts, and so is every frame that it shows.
    """

    def people(side: np.ndarray) -> set[str]:
        if clips is not None:
            side = np.union1d(side, clips[np.isin(clips[:, -1], side)])
        return {*_names(frames, side)}

    if both := people(fold.train) & people(fold.test):
        wrong = f"fold {fold.number} of {fold.design} is trained and tested on {_listed(both)}"
        raise LeakageError(f"{wrong}: take a design that is made of people, such as balanced.")


def count_by_subject(frames: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """`frames` and `pain`, int64: how many of `rows` are each subject's, sorted by name."""
    pain = frames.iloc[rows].groupby("subject")["pain"]
    return pain.agg(frames="size", pain="sum").astype("int64")


def count_by_fold(frames: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """`frames` and `pain` of each person under test, a row each: fold, subject, frames, pain."""
    counts = {fold.number: count_by_subject(frames, fold.test) for fold in folds}
    return pd.concat(counts, names=["fold"]).reset_index()


def balance(frames: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """One row a fold, of its test part: `fold`, `subjects`, `frames`, `pain`, and `proportion`, the
    proportion of pain frames in per cent.
    """
    sums = {"subjects": ("subject", "size"), "frames": ("frames", "sum"), "pain": ("pain", "sum")}
    table = count_by_fold(frames, folds).groupby("fold", as_index=False).agg(**sums)
    return table.assign(proportion=100 * table["pain"] / table["frames"])


def ranges_over_folds(frames: pd.DataFrame, designs: Mapping[str, Sequence[Fold]]) -> pd.DataFrame:
    """How unevenly designs deal: one row a design, the ranges of `pain`, `frames`, `proportion`."""
    tables = {design: balance(frames, folds) for design, folds in designs.items()}
    measures = ["pain", "frames", "proportion"]
    return pd.DataFrame({name: table[measures].agg(np.ptp) for name, table in tables.items()}).T


def _names(frames: pd.DataFrame, rows: np.ndarray) -> list[str]:
    return sorted(frames["subject"].iloc[rows].unique())


def _listed(names: Sequence[str] | set[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(sorted(names)[:5]) or "none") + more


def _check_equal(counts: pd.DataFrame) -> None:
    if len(counts) % paper.FOLDS:
        wrong = f"{len(counts)} subjects cannot be dealt equally to {paper.FOLDS} folds"
        raise FoldError(f"{wrong}: leave some out, or take the design leave_one_subject_out.")


def _named(counts: pd.DataFrame, folds: np.ndarray) -> list[list[str]]:
    """Names for numbers, sorted within folds, and folds by their first name."""
    return sorted(sorted(counts.index[group]) for group in folds)


def _random_tests(frames: pd.DataFrame, rows: np.ndarray, seed: int) -> list[np.ndarray]:
    state = int(np.random.default_rng([seed, *b"random_frames"]).integers(2**32))
    deal = StratifiedKFold(paper.FOLDS, shuffle=True, random_state=state)
    return [rows[test] for _, test in deal.split(rows, frames["pain"].iloc[rows].to_numpy(bool))]
