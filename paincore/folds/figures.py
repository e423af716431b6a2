"""Fold designs side by side, and what a leaking split seems to gain."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from paincore import style
from paincore.folds.designs import Fold, count_by_fold, ranges_over_folds
from paincore.statistics.bootstrap import difference, estimate_of, fold_values, resample_subjects

SHADES = (1.0, 0.72, 0.5, 0.32, 0.2)  # of a bar's colour, from its largest part on


@style.styled
def designs(corpus, frames: pd.DataFrame, by_design: Mapping[str, Sequence[Fold]]) -> Figure:
    """Pain frames and frames that each fold tests, a part of a bar for each person.

    `frames` is the store's table.
    """
    rows = len(by_design)
    figure = style.new_figure(corpus.dataset, "What each fold is tested on", 0.5 + 1.75 * rows)
    grid = figure.subplots(rows, 2, squeeze=False, sharey="col")
    for row, (design, folds) in zip(grid, by_design.items(), strict=True):
        counts = count_by_fold(frames, folds)
        draw_people(row[0], counts, "pain", style.PAIN)
        draw_people(row[1], counts, "frames", style.THIS)
        row[0].set(title=design.replace("_", " "), ylabel="pain frames")
        row[1].set_ylabel("frames")
    for axes in grid[-1]:
        axes.set_xlabel("fold")
    return figure


def draw_people(axes: Axes, counts: pd.DataFrame, measure: str, colour: str) -> None:
    """A bar for each fold, of parts for its people, the largest at the bottom and darkest.

    `counts` is that of `count_by_fold`. A dashed line marks the mean of the folds.
    """
    parts = counts.sort_values(["fold", measure], ascending=[True, False], kind="stable")
    by_fold = parts.groupby("fold")[measure]
    shades = np.array(SHADES)[np.minimum(by_fold.cumcount(), len(SHADES) - 1)]
    colours = [to_rgba(colour, shade) for shade in shades]
    tops, totals = by_fold.cumsum(), by_fold.sum()
    axes.bar(parts["fold"], parts[measure], 0.72, tops - parts[measure], color=colours, ec="white")
    axes.axhline(totals.mean(), color=style.PAPER, linestyle="--", lw=0.8, zorder=0)
    for fold, total in totals.items():
        label = axes.annotate(f"{total:,}", (fold, total), (0, 2), textcoords="offset points")
        label.set(ha="center", fontsize=7.5, bbox={"fc": "white", "ec": "none", "pad": 0.6})
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.3 * totals.max()))


@style.styled
def leak(corpus, tested: Mapping[str, pd.DataFrame]) -> Figure:
    """F1 and AUC of one model, trained on other people and on other frames: pooled, and by fold.

    `tested` maps a design made of people and one that leaks, in this order, to predictions.
    """
    figure = style.new_figure(corpus.dataset, "The same model on two kinds of folds", 2.4)
    resamples = resample_subjects(next(iter(tested.values())))
    grid = figure.subplots(1, 2, sharey=True)
    for axes, score, label in zip(grid, ("f1", "auc"), ("F1", "AUC"), strict=True):
        for row, predictions in enumerate(tested.values()):
            colour = (style.THIS, style.PAIN)[row]
            ends = estimate_of(predictions, resamples, score)
            style.draw_interval(axes, *ends, row, colour)
            values = fold_values(predictions, score)
            axes.plot(values, np.full(len(values), row + 0.25), "o", color=colour, ms=4, alpha=0.6)
        axes.set(xlabel=label, xlim=(-0.02, 1.02), ylim=(-0.5, 1.7))
        axes.grid(axis="x")
    grid[1].axvline(0.5, color=style.PAPER, linestyle="--", lw=0.8)
    grid[0].set_yticks([0, 1], [design.replace("_", " ") for design in tested])
    return figure


def evenness_table(
    frames: pd.DataFrame, by_design: Mapping[str, Sequence[Fold]], reasons: Mapping[str, str]
) -> Styler:
    """Each design's ranges over its folds, or why it cannot be made, of `possible_designs`."""
    ranges = ranges_over_folds(frames, by_design)
    cells = pd.DataFrame(
        {
            "pain frames": ranges["pain"].map("{:,.0f}".format),
            "frames": ranges["frames"].map("{:,.0f}".format),
            "proportion of pain, %": ranges["proportion"].map("{:.1f}".format),
            "why it is not here": pd.Series(reasons, dtype=object),
        },
        index=[*by_design, *reasons],
    )
    cells.insert(0, "design", cells.index.str.replace("_", " "))
    return style.table(cells.fillna(""))


def fold_findings(tested: Mapping[str, pd.DataFrame]) -> Styler:
    """What the leaking design adds to F1 and AUC; `tested` is that of `leak`."""
    (design, honest), (_, leaking) = tested.items()
    resamples = resample_subjects(honest)
    found = []
    for score, label in (("f1", "F1"), ("auc", "AUC")):
        gain = difference(leaking, honest, resamples, score)
        estimate = f"{style.signed(gain.pooled)} {style.bracket(gain.low, gain.high, style.signed)}"
        question = f"{label}, random frames − {design.replace('_', ' ')}"
        found.append(style.Finding(question, estimate, style.verdict(gain.low, gain.high)))
    return style.findings_table(found)
