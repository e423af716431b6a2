"""What chapter 03 says of its folds: tables, and sentences that follow this run's numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from paincore import paper
from paincore.folds import Fold, balance, distances, make_folds
from paincore.statistics import fold_scores

TITLES = {
    "published": "published",
    "pair_and_shuffle": "pair and shuffle",
    "balanced": "balanced",
    "random_frames": "random frames",
}
"""How figures and tables call a design."""

MEANINGS = {
    "published": "the authors' own lists, written out in their notebook",
    "pair_and_shuffle": "the procedure that the paper describes",
    "balanced": "the optimum, by mixed-integer program",
}


def designs_here(frames: pd.DataFrame, usable: np.ndarray) -> dict[str, list[Fold]]:
    """The folds of each design of five people a fold that this corpus allows.

    The published lists name UNBC-McMaster's people and are left out of any other corpus. Raises
    FoldError where five folds cannot be made. Chapter 03.
    """
    theirs = {subject for group in paper.RELEASED_FOLDS for subject in group}
    names = list(MEANINGS)
    if not theirs <= set(frames["subject"]):
        names.remove("published")
    return {name: make_folds(frames, name, usable) for name in names}


def why_not_published(by_design: Mapping[str, Sequence[Fold]]) -> str:
    """A sentence on the published lists: that they are here, or why they are not."""
    if "published" in by_design:
        frames = [len(fold.test) for fold in by_design["published"]]
        return (
            "The published lists test on "
            f"{', '.join(f'{count:,}' for count in frames)} frames here; the authors' notebook "
            f"counts {', '.join(f'{count:,}' for count in paper.RELEASED_FOLD_FRAMES)}."
        )
    return (
        "The published lists name the people of UNBC-McMaster. This corpus has others, so that "
        "design is not here."
    )


def people(frames: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """Frames and pain frames of each person under test: fold, subject, frames, pain."""
    parts = []
    for fold in folds:
        pain = frames[["subject", "pain"]].iloc[fold.test].groupby("subject")["pain"]
        counts = pd.DataFrame({"frames": pain.size(), "pain": pain.sum().astype("int64")})
        parts.append(counts.reset_index().assign(fold=fold.number))
    return pd.concat(parts, ignore_index=True)


def distances_table(frames: pd.DataFrame, by_design: Mapping[str, Sequence[Fold]]) -> pd.DataFrame:
    """Each design's spreads over its folds, and how much larger they are than the optimum's."""
    spreads = distances(frames, by_design)
    rows = []
    for design, row in spreads.iterrows():
        cells = {"design": TITLES[design], "what it is": MEANINGS[design]}
        for measure, label, digits in (
            ("pain", "pain frames", 0),
            ("frames", "frames", 0),
            ("share", "pain share, %", 1),
        ):
            more = row[f"{measure}_more"]
            cells[label] = f"{row[measure]:,.{digits}f} ({more:+,.{digits}f})"
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
) -> str:
    """The closing sentences of chapter 03, in Markdown. `tested` maps designs to predictions."""
    spreads = distances(frames, by_design)
    best, theirs = spreads.loc["balanced"], spreads.loc["pair_and_shuffle"]
    lines = [
        f"{len(by_design)} designs share out {frames.iloc[_all(by_design)]['subject'].nunique()} "
        "people among five folds.",
        f"Pairing and shuffling leaves {theirs['pain']:,.0f} pain frames between the fullest and "
        f"the emptiest fold, the optimum {best['pain']:,.0f}; the numbers of all frames then "
        f"differ by {theirs['frames']:,.0f} and {best['frames']:,.0f}.",
        missing_classes(frames, by_design),
        _leak_sentence(tested),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _all(by_design: Mapping[str, Sequence[Fold]]) -> np.ndarray:
    return np.concatenate([fold.test for fold in next(iter(by_design.values()))])


def _leak_sentence(tested: Mapping[str, pd.DataFrame]) -> str:
    people_apart, frames_apart = tested.values()
    parts = []
    for score, label in (("f1", "F1"), ("auc", "AUC")):
        honest, leaking = (
            fold_scores(predictions)[score].mean() for predictions in (people_apart, frames_apart)
        )
        parts.append(f"{label} {leaking:.2f} instead of {honest:.2f}")
    return (
        f"Tested on other frames of the people it was trained on, the same model seems to reach "
        f"{' and '.join(parts)} (means over folds)."
    )
