"""Folds moved by hand, beside the most even ones that there are. Chapter 08."""

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paincore.data.corpus import Corpus
from paincore.explore.explorer import Explorer, choice, slider
from paincore.folds.designs import Fold, FoldError, count_by_fold, ranges_over_folds
from paincore.folds.figures import draw_people
from paincore.style import PAIN, PAPER, THIS, new_figure, styled


def moved(frames: pd.DataFrame, folds: Sequence[Fold], tested_in: Mapping[str, int]) -> list[Fold]:
    """The folds with some subjects tested in others: `tested_in` has a fold's number by subject.

    Raises FoldError for a subject or a fold that is not among them, and for a fold that is left
    with nobody. Chapter 08.
    """
    rows = np.concatenate([fold.test for fold in folds])
    numbers = np.repeat([fold.number for fold in folds], [len(fold.test) for fold in folds])
    subjects = frames["subject"].to_numpy()[rows]
    known = [fold.number for fold in folds]
    for subject, number in tested_in.items():
        if subject not in subjects:
            raise FoldError(f"{subject} is tested in none of these folds.")
        if number not in known:
            raise FoldError(f"no fold {number}; there are {known[0]} to {known[-1]}")
        numbers[subjects == subject] = number
    if empty := sorted(set(known) - set(numbers)):
        raise FoldError(f"fold {empty[0]} would be tested on nobody: move somebody into it.")
    tests = [np.sort(rows[numbers == number]) for number in known]
    rows = np.sort(rows)
    return [
        Fold("moved", number, np.setdiff1d(rows, test), test)
        for number, test in zip(known, tests, strict=True)
    ]


def distance_sentence(frames: pd.DataFrame, optimum: Sequence[Fold], folds: Sequence[Fold]) -> str:
    """How unevenly the folds share pain frames and frames, and how much more than the optimum."""
    ranges = ranges_over_folds(frames, {"balanced": optimum, "moved": folds})
    table, more = ranges.loc["moved"], ranges.loc["moved"] - ranges.loc["balanced"]
    sizes = sorted({len(fold.test_subjects(frames)) for fold in folds})
    people_said = f"{sizes[0]} people" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} people"
    return (
        f"{people_said} a fold. From the fold with fewest to the one with most: "
        f"{table['pain']:.0f} pain frames ({more['pain']:+z.0f} beside the optimum), "
        f"{table['frames']:.0f} frames ({more['frames']:+z.0f}), "
        f"{table['proportion']:.1f} points of pain share ({more['proportion']:+z.1f})."
    )


@styled
def folds_figure(
    corpus: Corpus, table: pd.DataFrame, best: pd.DataFrame, subject: str | None = None
) -> Figure:
    """Pain frames and frames that each fold tests, the optimum's as dashes; `subject` is marked.

    `table` and `best`, the optimum's, are those of `count_by_fold`. Chapter 08.
    """
    figure = new_figure(corpus.dataset, "Who is tested in which fold", 2.7)
    panels = figure.subplots(1, 2)
    for axes, measure, colour in zip(panels, ("pain", "frames"), (PAIN, THIS), strict=True):
        draw_people(axes, table, measure, colour)
        even = best.groupby("fold")[measure].sum()
        axes.hlines(even, even.index - 0.45, even.index + 0.45, color=PAPER, ls="--", lw=1.2)
        totals = table.groupby("fold")[measure].sum()
        axes.set(xlabel="fold", xticks=list(totals.index), ylim=(0, 1.2 * totals.max()))
        axes.set_yticks([])  # the totals stand on the bars
        axes.set_ylabel({"pain": "pain frames", "frames": "frames"}[measure])
        if subject is not None:
            own = table[table["subject"] == subject].iloc[0]
            axes.set_title(f"{subject}: {own[measure]:,} in fold {own['fold']}", fontsize=8)
    return figure


def explore_folds(corpus: Corpus, frames: pd.DataFrame, folds: Sequence[Fold]) -> Explorer:
    """Move people from fold to fold and see what becomes of the balance.

    `frames` is the store's table, `folds` those of the design balanced. Chapter 08.
    """
    where = {name: fold.number for fold in folds for name in fold.test_subjects(frames)}
    now, best = dict(where), count_by_fold(frames, folds)
    subject = choice("person", sorted(where))
    fold = slider("is tested in fold", folds[0].number, folds[-1].number, 1, now[subject.value])

    def say(subject: str, fold: int) -> str:
        return distance_sentence(frames, folds, moved(frames, folds, now | {subject: fold}))

    def draw(subject: str, fold: int) -> Figure:
        table = count_by_fold(frames, moved(frames, folds, now | {subject: fold}))
        return folds_figure(corpus, table, best, subject)

    def still() -> Figure:
        return folds_figure(corpus, best, best)

    def undo(button) -> None:
        now.update(where)
        fold.value = now[subject.value]
        explorer.update()

    # Before the explorer's own observers: who was moved stays there when another is chosen, and
    # the slider stands at the person who is chosen.
    fold.observe(lambda change: now.update({subject.value: change["new"]}), "value")
    subject.observe(lambda change: explorer.set(fold=now[change["new"]]), "value")
    back = ipywidgets.Button(description="Back to the optimum", layout={"width": "auto"})
    back.on_click(undo)
    arranged = ipywidgets.Box([subject, fold, back], layout={"flex_flow": "row wrap"})
    explorer = Explorer({"subject": subject, "fold": fold}, draw, say, still, arranged)
    return explorer
