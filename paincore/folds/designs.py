"""Folds: which frames a model learns from and which it is tested on (section 3.1 of the paper).

A fold's frames are rows of a frames table: positions, counted from 0, int64, sorted. Only usable
frames with a pain label enter, and all counts and shares here are of them; a pain share is in per
cent. Folds are numbered from 1. All designs but `random_frames` test a model on people it has never
seen. A spread is the largest fold's value less the smallest's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from paincore import PaincoreError, paper
from paincore.data.frames import KEYS
from paincore.folds.even import most_even_partition

MEASURES = ("pain", "frames", "share")
"""What a design should spread little over its folds, the most important first."""

EXCHANGES = 2  # of two subjects each: the four that the paper's section 3.1 shuffles


class FoldError(PaincoreError):
    """Folds that cannot be made from this table."""


class LeakageError(PaincoreError):
    """A fold that tests on somebody or something it was trained on."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One training and its test: rows of a frames table, int64, sorted."""

    design: str
    number: int
    train: np.ndarray
    test: np.ndarray

    def train_subjects(self, frames: pd.DataFrame) -> list[str]:
        """Names of the people it is trained on, sorted."""
        return _names(frames, self.train)

    def test_subjects(self, frames: pd.DataFrame) -> list[str]:
        """Names of the people it is tested on, sorted."""
        return _names(frames, self.test)


def make_folds(
    frames: pd.DataFrame,
    design: str = "balanced",
    usable: np.ndarray | None = None,
    seed: int = 0,
) -> list[Fold]:
    """The folds of a design over a frames table.

    `design` is a name from `DESIGNS` or "random_frames", which leaks on purpose: frames, stratified
    by pain, without regard to people. `usable` bool (N,) says which frames a model could be given;
    None means those whose `state` is ok. `seed` moves "pair_and_shuffle" (subjects with as many
    pain frames as others) and "random_frames". Raises FoldError for an unknown design, for subjects
    that the design cannot share out, and for a fold that would be trained on one class only.
    Section 3.1 of the paper; chapter 03.
    """
    rows = _entering(frames, usable)
    if design == "random_frames":
        parts = _random_parts(frames, rows, seed)
    elif design in DESIGNS:
        counts = _counts(frames, rows)
        whose = frames["subject"].to_numpy()[rows]
        parts = [rows[np.isin(whose, group)] for group in DESIGNS[design](counts, seed)]
    else:
        known = ", ".join([*DESIGNS, "random_frames"])
        raise FoldError(f"unknown fold design {design!r}; the designs are {known}")
    folds = [
        Fold(design, number, np.setdiff1d(rows, test), test)
        for number, test in enumerate(parts, start=1)
    ]
    for fold in folds:
        _check_training(frames, fold)
    return folds


def published(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """The five lists of the authors' released notebook, in its order; for UNBC-McMaster only.

    `counts` has a row a subject. Raises FoldError naming whom the corpus lacks or has beside them.
    """
    theirs = {subject for group in paper.RELEASED_FOLDS for subject in group}
    here = set(counts.index)
    if here != theirs:
        raise FoldError(
            "the published folds are lists of UNBC-McMaster's 25 subjects. Of these, "
            f"{_listed(theirs - here)} have no usable frame here; {_listed(here - theirs)} are not "
            "among them. Take the design balanced."
        )
    return [list(group) for group in paper.RELEASED_FOLDS]


def pair_and_shuffle(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """The paper's procedure: those with the fewest and the most pain frames are paired, pairs are
    shared out, and four subjects are exchanged between folds to balance further.

    The rest is inferred, the paper does not say it: subjects with equally many are ordered by a
    draw from `seed`; pairs are dealt to folds 1 to 5 and back again, the pair with the extremes
    first, and those of the middle who are left over one by one in the same way; the four are two
    exchanges of two subjects, each the one after which the spread of pain frames is smallest (the
    sum of squares where spreads are equal), and left undone where none improves. Raises FoldError
    for subjects that five folds cannot share out equally.
    """
    size = _equal_size(counts)
    draw = np.random.default_rng([seed, *b"pair_and_shuffle"]).permutation(len(counts))
    order = draw[np.argsort(-counts["pain"].to_numpy()[draw], kind="stable")]
    pairs = [(order[i], order[-1 - i]) for i in range(size // 2 * paper.FOLDS)]
    left_over = [(one,) for one in order[len(pairs) : len(order) - len(pairs)]]
    folds: list[list[int]] = [[] for _ in range(paper.FOLDS)]
    for place, together in enumerate(pairs + left_over):
        lap, step = divmod(place, paper.FOLDS)
        folds[step if lap % 2 == 0 else -1 - step] += together
    members = np.array(folds)
    free = np.ones(len(counts), bool)
    for _ in range(EXCHANGES):
        members, free = _exchange(members, counts["pain"].to_numpy(), free)
    return _ordered(counts, members)


def balanced(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """The best there is: five subjects each and the smallest spread of pain frames; among those,
    of frames; among those, of pain share.

    A mixed-integer program, `paincore.folds.even`, which starts from `pair_and_shuffle` with seed 0
    whatever `seed` is. Raises FoldError for subjects that five folds cannot share out equally,
    PartitionError where the optimum could not be proven.
    """
    groups = pair_and_shuffle(counts, 0)
    start = np.array([counts.index.get_indexer(group) for group in groups])
    frames, pain = counts["frames"].to_numpy(), counts["pain"].to_numpy()
    return _ordered(counts, most_even_partition(frames, pain, paper.FOLDS, start))


def leave_one_subject_out(counts: pd.DataFrame, seed: int) -> list[list[str]]:
    """As many folds as subjects, each tested on one; who shows no pain has a fold too."""
    return [[subject] for subject in counts.index]


DESIGNS: dict[str, Callable[[pd.DataFrame, int], list[list[str]]]] = {
    "published": published,
    "pair_and_shuffle": pair_and_shuffle,
    "balanced": balanced,
    "leave_one_subject_out": leave_one_subject_out,
}
"""The designs made of people: from counts by subject and a seed, whom each fold tests on."""


def check_leakage(frames: pd.DataFrame, fold: Fold, clips: np.ndarray | None = None) -> None:
    """Raise LeakageError if a frame or a person is on both sides of a fold.

    `clips` int64 (M, F) are the samples of both sides: rows of their frames, each on the side of
    its last frame, whose label counts. What a clip shows is on its side too. Called before every
    training; chapter 03.
    """
    train, test = (_shown(side, clips) for side in (fold.train, fold.test))
    name = f"fold {fold.number} of {fold.design}"
    shared = np.intersect1d(train, test)
    if len(shared):
        frame = "{} {} {}".format(*frames[KEYS].iloc[shared[0]])
        raise LeakageError(
            f"{name} shares {len(shared)} frames between training and test, such as {frame}. "
            "Make folds with make_folds and clips within one sequence."
        )
    people = sorted({*_names(frames, train)} & {*_names(frames, test)})
    if people:
        raise LeakageError(
            f"{name} is trained and tested on frames of the same people: {_listed(people)}. "
            "Take a design that is made of people, such as balanced."
        )


def balance(frames: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """One row a fold, of its test part: `fold`, `subjects`, `frames`, `pain`, `share`, `note`.

    `share` is the pain frames' in per cent; `note` says where a class is missing, and is empty
    otherwise. Chapter 03.
    """
    rows = []
    for fold in folds:
        pain = _pain(frames, fold.test)
        note = "" if 0 < pain.sum() < len(pain) else NOTES[bool(pain.any())]
        people = len(fold.test_subjects(frames))
        rows.append((fold.number, people, len(pain), pain.sum(), 100 * pain.mean(), note))
    return pd.DataFrame(rows, columns=["fold", "subjects", "frames", "pain", "share", "note"])


NOTES = {
    False: "no pain frame: no recall, F1 or AUC",
    True: "every frame is pain: no false positive rate or AUC",
}


def distances(frames: pd.DataFrame, designs: Mapping[str, Sequence[Fold]]) -> pd.DataFrame:
    """How evenly designs spread pain frames, frames and pain share, and how far from the optimum.

    One row a design: its spreads `pain`, `frames` and `share`; where "balanced" is among them, also
    `pain_more`, `frames_more` and `share_more`, what they have more than its own. The latter two
    may be negative: "balanced" puts pain first. Chapter 03.
    """
    spreads = pd.DataFrame(
        {
            name: balance(frames, folds)[list(MEASURES)].agg(np.ptp)
            for name, folds in designs.items()
        }
    ).T
    if "balanced" not in designs:
        return spreads
    return spreads.join((spreads - spreads.loc["balanced"]).add_suffix("_more"))


def _entering(frames: pd.DataFrame, usable: np.ndarray | None) -> np.ndarray:
    """Rows of the frames that are usable and have a pain label."""
    usable = (frames["state"] == "ok").to_numpy() if usable is None else np.asarray(usable)
    if usable.shape != (len(frames),) or usable.dtype != bool:
        raise FoldError(
            f"usable is {usable.dtype} {usable.shape}, not bool ({len(frames)},): one value for "
            "each row of the table"
        )
    rows = np.flatnonzero(usable & frames["pain"].notna().to_numpy())
    if not len(rows):
        raise FoldError("no frame of this table is usable and has a pain label. See chapter 02.")
    return rows


def _counts(frames: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """`frames` and `pain`, int, a row a subject, sorted by name."""
    table = pd.DataFrame(
        {"subject": frames["subject"].to_numpy()[rows], "pain": _pain(frames, rows)}
    )
    pain = table.groupby("subject")["pain"]
    return pd.DataFrame({"frames": pain.size(), "pain": pain.sum().astype("int64")})


def _pain(frames: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    return frames["pain"].iloc[rows].to_numpy(bool)


def _names(frames: pd.DataFrame, rows: np.ndarray) -> list[str]:
    return sorted(frames["subject"].iloc[rows].unique())


def _listed(names: Sequence[str] | set[str]) -> str:
    """Names as text, at most five of them."""
    names = sorted(names)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more if names else "none"


def _equal_size(counts: pd.DataFrame) -> int:
    """Subjects a fold. FoldError if they cannot be shared out equally."""
    size, over = divmod(len(counts), paper.FOLDS)
    if over or not size:
        raise FoldError(
            f"{len(counts)} subjects with usable, labelled frames ({_listed(counts.index)}) cannot "
            f"be shared out equally to {paper.FOLDS} folds. Take the design leave_one_subject_out "
            "(make book DESIGN=leave_one_subject_out), or leave subjects out."
        )
    return size


def _exchange(
    members: np.ndarray, pain: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Folds (F, m) after the best exchange of two `free` subjects, who are then no longer free."""
    totals = pain[members].sum(1)
    best, exchange = (np.ptp(totals), (totals**2).sum()), None
    places = [place for place in np.ndindex(members.shape) if free[members[place]]]
    for one in places:
        for other in places:
            if one[0] >= other[0]:
                continue
            after = totals.copy()
            more = pain[members[other]] - pain[members[one]]
            after[[one[0], other[0]]] += more, -more
            if (score := (np.ptp(after), (after**2).sum())) < best:
                best, exchange = score, (one, other)
    if exchange is None:
        return members, free
    one, other = exchange
    members, free = members.copy(), free.copy()
    free[[members[one], members[other]]] = False
    members[one], members[other] = members[other], members[one]
    return members, free


def _ordered(counts: pd.DataFrame, members: np.ndarray) -> list[list[str]]:
    """Names for numbers, sorted within folds, folds by their first name."""
    return sorted(sorted(counts.index[group]) for group in members)


def _random_parts(frames: pd.DataFrame, rows: np.ndarray, seed: int) -> list[np.ndarray]:
    pain = _pain(frames, rows)
    fewest = min(pain.sum(), len(pain) - pain.sum())
    if fewest < paper.FOLDS:
        raise FoldError(
            f"only {fewest} frames of one class: not one for each of {paper.FOLDS} random parts"
        )
    state = int(np.random.default_rng([seed, *b"random_frames"]).integers(2**32))
    split = StratifiedKFold(paper.FOLDS, shuffle=True, random_state=state).split(rows, pain)
    return [rows[test] for _, test in split]


def _check_training(frames: pd.DataFrame, fold: Fold) -> None:
    pain = _pain(frames, fold.train)
    if not pain.any() or pain.all():
        raise FoldError(
            f"fold {fold.number} of {fold.design} would be trained on {len(pain)} frames "
            f"{'without' if not pain.any() else 'all of them with'} pain, of "
            f"{_listed(fold.train_subjects(frames))}: there is nothing to tell apart. Take another "
            "design or more subjects."
        )


def _shown(side: np.ndarray, clips: np.ndarray | None) -> np.ndarray:
    """Rows of one side, and of what its clips show."""
    if clips is None:
        return side
    return np.union1d(side, clips[np.isin(clips[:, -1], side)])
