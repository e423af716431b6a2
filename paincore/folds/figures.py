"""The figures of chapter 03: fold designs side by side, and what a leaking split seems to gain."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from paincore.folds.designs import Fold
from paincore.folds.tables import TITLES, people
from paincore.statistics.bootstrap import fold_scores
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, styled

SHADES = (1.0, 0.72, 0.5, 0.32, 0.2)  # of a bar's colour, from its largest part on


@styled
def designs(corpus, frames: pd.DataFrame, by_design: Mapping[str, Sequence[Fold]]) -> Figure:
    """Pain frames and all frames that each fold tests, a part of a bar for each person.

    `frames` is the store's table. Chapter 03.
    """
    rows = len(by_design)
    figure = new_figure(corpus.dataset, "What each fold is tested on", 0.5 + 1.75 * rows)
    grid = figure.subplots(rows, 2, squeeze=False, sharey="col")
    tables = {design: people(frames, folds) for design, folds in by_design.items()}
    sums = pd.concat([table.groupby("fold")[["pain", "frames"]].sum() for table in tables.values()])
    tallest = sums.max()
    for row, (design, table) in zip(grid, tables.items(), strict=True):
        for axes, measure, colour in zip(row, ("pain", "frames"), (PAIN, THIS), strict=True):
            totals = table.groupby("fold")[measure].sum()
            draw_people(axes, table, measure, colour)
            axes.axhline(totals.mean(), color=PAPER, linestyle="--", lw=0.8, zorder=0)
            for fold, total in totals.items():
                axes.annotate(
                    f"{total:,}",
                    (fold, total),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                )
            axes.set_title(TITLES[design])
            axes.set_ylabel({"pain": "pain frames", "frames": "frames"}[measure])
            axes.set_xticks(list(totals.index))
            axes.set_ylim(0, 1.25 * tallest[measure])
    for axes in grid[-1]:
        axes.set_xlabel("fold")
    return figure


def draw_people(axes, table: pd.DataFrame, measure: str, colour: str) -> None:
    """A bar for each fold, of parts for its people, the largest at the bottom and darkest."""
    parts = table.sort_values(measure, ascending=False, kind="stable")
    values = parts.groupby("fold")[measure]
    shades = np.array(SHADES)[np.minimum(values.cumcount(), len(SHADES) - 1)]
    axes.bar(
        parts["fold"],
        parts[measure],
        0.72,
        values.cumsum() - parts[measure],
        color=[to_rgba(colour, shade) for shade in shades],
        edgecolor="white",
        lw=0.6,
    )


@styled
def leak(corpus, tested: Mapping[str, pd.DataFrame]) -> Figure:
    """F1 and AUC by fold of one model, trained on other people and on other frames.

    `tested` maps designs to predictions. Chapter 03.
    """
    figure = new_figure(corpus.dataset, "The same model on two kinds of folds", 2.6)
    grid = figure.subplots(1, 2, sharey=True)
    colours = (THIS, PAIN)
    for axes, score, label in zip(grid, ("f1", "auc"), ("F1", "AUC"), strict=True):
        for place, (predictions, colour) in enumerate(zip(tested.values(), colours, strict=True)):
            values = fold_scores(predictions)[score]
            spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [0]
            axes.scatter(values, place + np.array(spread), 16, color=colour, zorder=3)
            axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour, lw=2)
            axes.annotate(
                f"{values.mean():.2f}",
                (values.mean(), place + 0.33),
                ha="center",
                va="bottom",
                fontsize=8,
                color=MUTED,
            )
        axes.set(xlabel=label, xlim=(-0.02, 1.02), ylim=(-0.6, len(tested) - 0.25))
        axes.grid(axis="x")
    grid[1].axvline(0.5, color=PAPER, linestyle="--", lw=0.8)
    grid[0].set_yticks(range(len(tested)), [TITLES[design] for design in tested])
    return figure
