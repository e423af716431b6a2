"""The figures of chapter 06: this run beside the paper's Table 1, planned contrasts, optimism.

In the style of `paincore.data.figures`: blue is this run, grey the paper.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paincore import paper
from paincore.training.configuration import MODELS
from paincore.results.contrasts import Contrast
from paincore.style import MUTED, PAPER, THIS, new_figure, styled
from paincore.results.tables import FAILED, p_value
from paincore.statistics.bootstrap import LEVEL, always_pain, bootstrap, fold_values, interval, pooled_value
from paincore.statistics.optimism import Optimism
from paincore.training.tables import SHOWN
from paincore.style import MINUS, number

TEXT = 9.5  # points: the figures are read on phones too
FOLDS_AT, PAPER_AT = -0.27, 0.25  # within a row, above and below its middle


@styled
def table_1(
    corpus,
    models: Mapping[str, pd.DataFrame | None],
    baselines: Mapping[str, pd.DataFrame],
    draws: pd.DataFrame,
) -> Figure:
    """F1 and AUC of this run's models and baselines, and the paper's means where it prints them.

    `models` have the names of `contrasts.counterparts`, `baselines` their own. What always saying
    pain scores is that on the first table's frames. Chapter 06.
    """
    arms = {**models, **baselines}
    figure = new_figure(
        corpus.dataset, "This run beside the paper's Table 1", 1.75 + 0.48 * len(arms)
    )
    printed = {row.name: row for row in paper.TABLE_1}
    first = next(table for table in arms.values() if table is not None)
    for axes, (score, label) in zip(figure.subplots(1, 2, sharey=True), SHOWN.items(), strict=True):
        for row, (name, predictions) in enumerate(arms.items()):
            _draw_scores(axes, row, predictions, draws, score)
            if name in models:
                _draw_printed(axes, row, printed[name], score)
        axes.axvline(pooled_value(always_pain(first), score), color=MUTED, linestyle="--", lw=1)
        axes.set(xlim=(-0.03, 1.03), ylim=(len(arms) - 0.4, -0.6))
        axes.set_xlabel(label, fontsize=TEXT)
        axes.set_yticks(range(len(arms)), arms, color="black", fontsize=TEXT)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], color=THIS, ls="", marker="o", ms=4.5, mfc="none", label="one fold, here"),
        Line2D([], [], color=THIS, ls="", marker="|", ms=11, mew=2, label="mean of the folds"),
        Line2D([], [], color=THIS, lw=2, marker="D", ms=6, label=f"pooled, {LEVEL} % interval"),
        Line2D([], [], color=PAPER, lw=2, marker="s", ms=6, label="the paper: mean ± sd"),
        Line2D([], [], color=MUTED, ls="--", lw=1, label="always pain"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=TEXT)
    return figure


def _draw_scores(
    axes: Axes, row: int, predictions: pd.DataFrame | None, draws: pd.DataFrame, score: str
) -> None:
    """The folds' scores above a row's middle, the pooled one and its interval on it."""
    if predictions is None:
        axes.text(0.5, row, FAILED, ha="center", va="center", color=MUTED)
        return
    axes.plot(
        interval(bootstrap(predictions, draws, score)),
        [row, row],
        color=THIS,
        lw=2,
        solid_capstyle="butt",
    )
    axes.plot(pooled_value(predictions, score), row, "D", color=THIS, ms=6)
    folds = fold_values(predictions, score)
    at = np.full(len(folds), row + FOLDS_AT)
    axes.plot(folds, at, "o", color=THIS, ms=4.5, mfc="none", clip_on=False)
    axes.plot(folds.mean(), row + FOLDS_AT, "|", color=THIS, ms=11, mew=2)


def _draw_printed(axes: Axes, row: int, printed: paper.Result, score: str) -> None:
    """The paper's mean below a row's middle, with its standard deviation if that is printed."""
    mean, sd = {"f1": (printed.f1, printed.f1_sd), "auc": (printed.auc, None)}[score]
    if sd is not None:
        axes.plot([mean - sd, mean + sd], [row + PAPER_AT] * 2, color=PAPER, lw=2)
    axes.plot(mean, row + PAPER_AT, "s", color=PAPER, ms=6)


@styled
def contrasts(corpus, found: Sequence[Contrast]) -> Figure:
    """The planned contrasts: differences of F1 by fold, over folds, and pooled. Chapter 06."""
    figure = new_figure(corpus.dataset, "Six planned contrasts", 1.45 + 0.78 * len(found))
    axes = figure.subplots()
    for row, one in enumerate(found):
        _draw_contrast(axes, row, one)
    axes.axvline(0, color=MUTED, lw=1)
    reach = 1.08 * max(np.abs(axes.get_xlim()))
    axes.set(xlim=(-reach, reach), ylim=(len(found) - 0.45, -0.55))
    axes.set_xlabel("difference of F1 (right of 0: the first named is higher)", fontsize=TEXT)
    names = [f"{one.name}\n{MINUS} {one.than}" for one in found]
    axes.set_yticks(range(len(found)), names, color="black", fontsize=TEXT)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    handles = [
        Line2D([], [], color=THIS, ls="", marker="o", ms=4.5, mfc="none", label="one fold"),
        Line2D([], [], color=THIS, lw=2.2, marker="s", ms=6, label="mean over folds, tested"),
        Line2D([], [], color=MUTED, lw=1.4, marker="D", ms=5, label="pooled over people"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=TEXT)
    return figure


def _draw_contrast(axes: Axes, row: int, one: Contrast) -> None:
    """One row: folds above its middle, their tested mean on it, the pooled difference below."""
    beside = {"transform": axes.get_yaxis_transform(), "va": "center", "color": MUTED}
    if one.pooled is None:
        axes.text(0.5, row, FAILED, ha="center", **beside)
        return
    pooled, folds = one.pooled, one.over_folds
    axes.plot(
        pooled.folds, np.full(len(pooled.folds), row - 0.26), "o", color=THIS, ms=4.5, mfc="none"
    )
    axes.plot([folds.low, folds.high], [row, row], color=THIS, lw=2.2)
    axes.plot(folds.mean, row, "s", color=THIS, ms=6)
    axes.plot([pooled.low, pooled.high], [row + 0.26] * 2, color=MUTED, lw=1.4)
    axes.plot(pooled.pooled, row + 0.26, "D", color=MUTED, ms=5)
    axes.text(1.01, row, f"p, Holm\n{p_value(one.holm)}", ha="left", fontsize=TEXT, **beside)


@styled
def optimism(corpus, found: Mapping[str, Optimism]) -> Figure:
    """Apparent and corrected F1 of each model's best, and how often each would be chosen."""
    count = max(len(one.shares) for one in found.values())
    figure = new_figure(corpus.dataset, "Choosing on the test folds", 1.75 + 0.26 * count)
    for axes, (model, one) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        shares = 100 * one.shares
        colours = [THIS if name == one.chosen else "#C4C8CF" for name in shares.index]
        bars = axes.barh(range(len(shares)), shares, 0.72, color=colours)
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=TEXT, color=MUTED)
        axes.set_yticks(range(len(shares)), shares.index, color="black", fontsize=TEXT)
        axes.set(ylim=(len(shares) - 0.4, -0.6), xlim=(0, 110), xticks=(0, 50, 100))
        axes.set_xlabel("chosen (% of draws)", fontsize=TEXT)
        axes.set_title(
            f"{MODELS[model]}\napparent {number(one.apparent)}, corrected {number(one.corrected)}",
            fontsize=TEXT,
        )
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    return figure
