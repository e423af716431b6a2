"""Fold designs side by side, and what a leaking split seems to add."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from paincore import style
from paincore.folds.designs import Fold, count_by_fold, ranges_over_folds
from paincore.statistics.bootstrap import difference, resample_subjects


@style.styled
def designs(corpus, frames: pd.DataFrame, by_design: dict[str, list[Fold]]) -> Figure:
    """Pain frames and frames that each fold tests, a part of a bar for each person.

    `frames` is the store's table.
    """
    height = 0.5 + 1.75 * len(by_design)
    figure = style.new_figure(corpus.dataset, "What each fold is tested on", height)
    grid = figure.subplots(len(by_design), 2, squeeze=False, sharey="col")
    for row, (design, folds) in zip(grid, by_design.items(), strict=True):
        counts = count_by_fold(frames, folds)
        draw_people(row[0], counts, "pain", style.PAIN)
        draw_people(row[1], counts, "frames", style.THIS)
        row[0].set(title=design.replace("_", " "), ylabel="pain frames")
        row[1].set_ylabel("frames")
    figure.supxlabel("fold", fontsize="medium", color=style.MUTED)
    return figure


def draw_people(axes: Axes, counts: pd.DataFrame, measure: str, colour: str) -> None:
    """A bar for each fold, of parts for its people, the largest at the bottom.

    `counts` is that of `count_by_fold`. A dashed line marks the mean of the folds.
    """
    parts = counts.sort_values(["fold", measure], ascending=[True, False], kind="stable")
    by_fold = parts.groupby("fold")[measure]
    tops, totals = by_fold.cumsum(), by_fold.sum()
    axes.bar(parts["fold"], parts[measure], 0.72, tops - parts[measure], color=colour, ec="white")
    axes.axhline(totals.mean(), color=style.PAPER, linestyle="--", lw=0.8, zorder=0)
    for fold, total in totals.items():
        axes.text(fold, total, f"{total:,}", ha="center", va="bottom", fontsize=7.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.3 * totals.max()))


def evenness_table(frames: pd.DataFrame, by_design: dict, reasons: dict[str, str]) -> Styler:
    """Each design's ranges over its folds, or why it cannot be made, of `possible_designs`."""
    rows = [
        (design, f"{row.pain:,.0f}", f"{row.frames:,.0f}", f"{row.proportion:.1f}", "")
        for design, row in ranges_over_folds(frames, by_design).iterrows()
    ]
    rows += [(design, "", "", "", reason) for design, reason in reasons.items()]
    columns = ["design", "pain frames", "frames", "proportion of pain, %", "why it is not here"]
    table = pd.DataFrame(rows, columns=columns)
    return style.table(table.assign(design=table["design"].str.replace("_", " ")))


def fold_findings(tested: dict[str, pd.DataFrame]) -> Styler:
    """What frames dealt at random add to F1 and AUC.

    `tested` maps a design made of people and the one that leaks, in this order, to predictions.
    """
    (design, honest), (leaky, leaking) = tested.items()
    resamples, found = resample_subjects(honest), []
    for score, label in (("f1", "F1"), ("auc", "AUC")):
        gain = difference(leaking, honest, resamples, score)
        found.append(style.finding(f"{label}, {leaky} − {design}", *gain[:3]))
    return style.findings_table(found)
