"""What chapter 03 says of its folds: tables, and sentences that follow this run's numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from paincore.folds.designs import Fold, FoldError, balance, distances, make_folds
from paincore.statistics.bootstrap import fold_scores

TITLES = {
    "published": "published",
    "pair_and_shuffle": "pair and shuffle",
    "balanced": "balanced",
    "leave_one_subject_out": "leave one subject out",
    "random_frames": "random frames",
    "moved": "moved by hand",
}
"""How figures and tables call a design."""

MEANINGS = {
    "published": "the authors' own lists, written out in their notebook",
    "pair_and_shuffle": "the procedure that the paper describes",
    "balanced": "the optimum, by mixed-integer program",
    "leave_one_subject_out": "as many folds as people",
}
OF_FIVE = ("published", "pair_and_shuffle", "balanced")


def designs_here(
    frames: pd.DataFrame, usable: np.ndarray, design: str
) -> tuple[dict[str, list[Fold]], dict[str, str]]:
    """The folds of `design` and of each design of five folds, and why some cannot be made here.

    The second maps a design's name to the reason. Raises FoldError where `design` itself is one of
    them.
    """
    here = {design: make_folds(frames, design, usable)}
    reasons = {}
    for name in OF_FIVE:
        try:
            here[name] = here.get(name) or make_folds(frames, name, usable)
        except FoldError as fault:
            reasons[name] = str(fault)
    return {name: here[name] for name in MEANINGS if name in here}, reasons


def reasons_table(reasons: Mapping[str, str]) -> pd.DataFrame:
    """The designs that cannot be made here, and why: design, reason."""
    rows = [(TITLES[design], reason) for design, reason in reasons.items()]
    return pd.DataFrame(rows, columns=["design", "why it is not here"])


def people(frames: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """Frames and pain frames of each person under test: fold, subject, frames, pain."""
    parts = []
    for fold in folds:
        pain = frames[["subject", "pain"]].iloc[fold.test].groupby("subject")["pain"]
        counts = pd.DataFrame({"frames": pain.size(), "pain": pain.sum().astype("int64")})
        parts.append(counts.reset_index().assign(fold=fold.number))
    return pd.concat(parts, ignore_index=True)


def distances_table(frames: pd.DataFrame, by_design: Mapping[str, Sequence[Fold]]) -> pd.DataFrame:
    """Each design's spreads over its folds and, where the optimum is among them, how much larger
    they are than the optimum's.
    """
    spreads = distances(frames, by_design)
    rows = []
    for design, row in spreads.iterrows():
        cells = {"design": TITLES[design], "what it is": MEANINGS[design]}
        for measure, label, digits in (
            ("pain", "pain frames", 0),
            ("frames", "frames", 0),
            ("share", "pain share, %", 1),
        ):
            more = f" ({row[f'{measure}_more']:+,.{digits}f})" if "pain_more" in row else ""
            cells[label] = f"{row[measure]:,.{digits}f}{more}"
        rows.append(cells)
    return pd.DataFrame(rows)


def missing_classes(frames: pd.DataFrame, by_design: Mapping[str, Sequence[Fold]]) -> str:
    """A sentence on the folds whose test part has one class only."""
    notes = [
        f"fold {row.fold} of {TITLES[design]}: {row.note}"
        for design, folds in by_design.items()
        for row in balance(frames, folds).itertuples()
        if row.note
    ]
    return "; ".join(notes) + "." if notes else "Every fold is tested on both classes."


def findings(
    frames: pd.DataFrame,
    by_design: Mapping[str, Sequence[Fold]],
    tested: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """The closing table of chapter 03: question, estimate. `tested` maps designs to predictions."""
    rows = [
        (
            f"Pain frames: the most of a fold − the fewest, {TITLES[design]}",
            f"{spread:,.0f}",
        )
        for design, spread in distances(frames, by_design)["pain"].items()
    ]
    people_apart, frames_apart = tested.values()
    for score, label in (("f1", "F1"), ("auc", "AUC")):
        honest, leaking = (
            fold_scores(predictions)[score].mean() for predictions in (people_apart, frames_apart)
        )
        rows.append(
            (
                f"What a random split of frames seems to add to the {label}, mean over folds",
                f"{leaking - honest:+.2f} ({leaking:.2f} − {honest:.2f})",
            )
        )
    return pd.DataFrame(rows, columns=["question", "estimate"])
