"""Folds moved by hand, beside those of a run."""

from functools import partial

import ipywidgets
import numpy as np
import pandas as pd

from paincore.data.corpus import Corpus
from paincore.explore.explorer import Explorer, Shown, choice, slider
from paincore.folds.designs import Fold, FoldError, ranges_over_folds
from paincore.folds.figures import designs

RANGES = "{0}: {1.pain:.0f} pain frames, {1.frames:.0f} frames, {1.proportion:.1f} % pain"


def home_folds(frames: pd.DataFrame, folds: list[Fold]) -> dict[str, int]:
    """The number of the fold that tests each subject."""
    return {name: fold.number for fold in folds for name in fold.test_subjects(frames)}


def moved(frames: pd.DataFrame, folds: list[Fold], tested_in: dict[str, int]) -> list[Fold]:
    """The folds with some subjects tested in others: `tested_in` has a fold's number by subject.

    Raises FoldError for a fold that is left with nobody.
    """
    rows = np.sort(np.concatenate([fold.test for fold in folds]))
    numbers = frames["subject"].iloc[rows].map(home_folds(frames, folds) | dict(tested_in))
    tests = {fold.number: rows[numbers == fold.number] for fold in folds}
    if empty := [number for number, test in tests.items() if not len(test)]:
        raise FoldError(f"fold {empty[0]} would be tested on nobody: move somebody into it.")
    return [Fold("moved", n, np.setdiff1d(rows, test), test) for n, test in tests.items()]


def explore_folds(corpus: Corpus, frames: pd.DataFrame, folds: list[Fold]) -> Explorer:
    """Move people from fold to fold and see what becomes of the balance.

    `frames` is the store's table, `folds` those to begin with.
    """
    home = home_folds(frames, folds)
    now = dict(home)
    subject = choice("person", sorted(home))
    fold = slider("is tested in fold", folds[0].number, folds[-1].number, 1, now[subject.value])
    back = ipywidgets.Button(description="Back to these folds", layout={"width": "auto"})

    def show(subject: str, fold: int) -> Shown:
        by_design = {"this run": folds, "moved": moved(frames, folds, now | {subject: fold})}
        found = [RANGES.format(*row) for row in ranges_over_folds(frames, by_design).iterrows()]
        text = f"Largest fold − smallest. {'; '.join(found)}"
        return Shown(text, partial(designs, corpus, frames, by_design))

    def undo(button) -> None:
        now.update(home)
        explorer.set(fold=home[subject.value])

    # Before the explorer's own observers: who was moved stays there when another is chosen, and
    # the slider stands at the person who is chosen.
    fold.observe(lambda change: now.update({subject.value: change.new}), "value")
    subject.observe(lambda change: explorer.set(fold=now[change.new]), "value")
    back.on_click(undo)
    explorer = Explorer({"subject": subject, "fold": fold}, show, [back])
    return explorer
