"""The figures of chapter 05, after the paper's Figures 3 to 7: a panel for each model.

In the style of `paincore.data.figures`: blue is this run, grey the paper. What the paper shows only
as a bar has no number in it and is marked as not printed.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from paincore import paper
from paincore.ablations.search import Ablation
from paincore.ablations.tables import (
    Tried,
    always_pain_f1,
    moves,
    not_two_rates,
    paper_steps,
    percent,
    power,
    steps_of,
    tried,
    two_rates,
)
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, number, sentence_instead, styled
from paincore.training.configuration import MODELS

SECOND = "#E69F00"  # beside blue, for the second of two
FOLDS_AT, MEAN_AT, PAPER_AT = -0.27, -0.05, 0.27  # within a column
COLUMN = {
    "layers": "attention layers that train",
    "rate": "learning rate",
    "sam": "sharpness-aware minimisation",
    "mixup": "alpha of Mixup",
}
TEXT = 9.5  # points: the figures are read on phones too


@styled
def layers(corpus, ablations: Mapping[str, Ablation]) -> Figure:
    """F1 by the number of attention layers that train, after the paper's Figure 3. Chapter 05."""
    figure = new_figure(corpus.dataset, "How many attention layers train", 4.3)
    _draw_step(figure, figure.subplots(1, len(ablations), **_GRID)[0], ablations, "layers")
    return figure


@styled
def rates(corpus, ablations: Mapping[str, Ablation]) -> Figure:
    """F1 by learning rate, after the paper's Figure 4, and how far weights moved. Chapter 05."""
    figure = new_figure(corpus.dataset, "Learning rate", 6.2)
    grid = figure.subplots(2, len(ablations), height_ratios=(1.75, 1), **_GRID)
    _draw_step(figure, grid[0], ablations, "rate")
    for axes, ablation in zip(grid[1], ablations.values(), strict=True):
        _draw_moves(axes, ablation)
    grid[1, 0].set_ylim(_decades(ablations))
    grid[1, 0].set_ylabel("weights moved by\n(% of their norm)", fontsize=TEXT)
    return figure


@styled
def sam(corpus, ablations: Mapping[str, Ablation]) -> Figure:
    """F1 with and without SAM, after the paper's Figure 6. Chapter 05."""
    figure = new_figure(corpus.dataset, "With and without SAM", 4.3)
    _draw_step(figure, figure.subplots(1, len(ablations), **_GRID)[0], ablations, "sam")
    return figure


@styled
def mixup(corpus, ablations: Mapping[str, Ablation]) -> Figure:
    """F1 with Mixup of three strengths and without, after the paper's Figure 7. Chapter 05."""
    figure = new_figure(corpus.dataset, "With and without Mixup", 4.5)
    _draw_step(figure, figure.subplots(1, len(ablations), **_GRID)[0], ablations, "mixup")
    return figure


_GRID = {"sharey": "row", "squeeze": False}


def _draw_step(
    figure: Figure, panels: np.ndarray, ablations: Mapping[str, Ablation], step: str
) -> None:
    """A panel for each model, with a column for each value of the step, and one legend."""
    for axes, ablation in zip(panels, ablations.values(), strict=True):
        values = tried(ablation, step)
        for place, one in enumerate(values):
            _draw_tried(axes, place, one)
        axes.axhline(always_pain_f1(ablation), color=MUTED, linestyle="--", lw=1, zorder=1)
        axes.set(xlabel=COLUMN[step], xlim=(-0.5, len(values) - 0.5), ylim=(-0.02, 1.02))
        axes.set_xticks(range(len(values)), [one.label for one in values])
        axes.set_title(MODELS[ablation.model], pad=18, fontweight="bold")
        _enlarge(axes)
    panels[0].set_ylabel("F1", fontsize=TEXT)
    kept = "kept for the next step" if step in ("layers", "rate") else "highest mean here"
    figure.legend(
        handles=[*_HANDLES, Patch(color=THIS, alpha=0.14, label=kept), _ALWAYS],
        loc="outside lower center", ncols=3, fontsize=TEXT - 0.5,
    )  # fmt: skip


_HANDLES = (
    Line2D([], [], color=THIS, ls="", marker="o", ms=5, mfc="none", label="one fold"),
    Line2D([], [], color=THIS, lw=2, marker="D", ms=6, label="mean ± sd over folds"),
    Line2D([], [], color=PAPER, ls="", marker="s", ms=7, label="the paper's mean, UNBC"),
)
_OVER_LINES = (withStroke(linewidth=2.5, foreground="white"),)
_ALWAYS = Line2D([], [], color=MUTED, ls="--", lw=1, label="always pain")


def _enlarge(axes: Axes) -> None:
    axes.tick_params(axis="x", length=0)
    axes.tick_params(labelsize=TEXT)
    axes.xaxis.label.set_size(TEXT)
    axes.title.set_size(TEXT + 0.5)
    axes.grid(axis="y")


def _draw_tried(axes: Axes, place: int, one: Tried) -> None:
    """A column: folds, mean and spread in blue, or why there are none; the paper in grey."""
    if one.kept:
        axes.axvspan(place - 0.48, place + 0.48, color=THIS, alpha=0.14, lw=0, zorder=0)
    upright = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": TEXT - 0.5}
    if one.f1.notna().any():
        mean, sd = one.f1.mean(), one.f1.std()
        folds = np.full(len(one.f1), place + FOLDS_AT)
        axes.plot(folds, one.f1, "o", color=THIS, ms=4.5, mfc="none", clip_on=False)
        axes.errorbar(place + MEAN_AT, mean, 0 if np.isnan(sd) else sd, color=THIS, fmt="D", ms=6)
        axes.text(
            place + MEAN_AT, 1.01, number(mean), transform=axes.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=TEXT - 0.5, color=THIS,
            fontweight="bold" if one.kept else "normal",
        )  # fmt: skip
    else:
        word = "failed" if one.failed else "no F1"
        axes.text(place + MEAN_AT, 0.02, word, color=PAIN, **upright)
    if one.printed is None:
        axes.text(place + PAPER_AT, 0.02, "not printed", color=MUTED, **upright)
        return
    axes.plot(place + PAPER_AT, one.printed, "s", color=PAPER, ms=7)
    axes.annotate(
        number(one.printed), (place + PAPER_AT, one.printed), (0, 5), textcoords="offset points",
        ha="center", fontsize=TEXT - 1, color=MUTED, path_effects=_OVER_LINES,
    )  # fmt: skip


def _draw_moves(axes: Axes, ablation: Ablation) -> None:
    """How far the trained weights moved at each rate, by fold, and the steps they had for it."""
    table = moves(ablation).groupby("rate")["weight_change"]
    columns = ablation.step("rate")
    for place, trial in enumerate(columns):
        if trial.value not in table.groups:
            axes.text(place, 0.03, "failed", color=PAIN, ha="center", fontsize=TEXT - 0.5,
                      transform=axes.get_xaxis_transform())  # fmt: skip
            continue
        values = 100 * table.get_group(trial.value)
        axes.plot(np.full(len(values), place), values, "o", color=THIS, ms=4.5, mfc="none")
        axes.annotate(
            percent(values.mean() / 100), (place, values.max()), (0, 6),
            textcoords="offset points", ha="center", fontsize=TEXT - 1, color=THIS,
        )  # fmt: skip
    axes.set_title(f"{steps_of(ablation)} steps; the paper's: {paper_steps():,}", color=MUTED)
    axes.set(xlim=(-0.5, len(columns) - 0.5), xlabel="learning rate")
    axes.set_xticks(range(len(columns)), [one.label for one in tried(ablation, "rate")])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _enlarge(axes)


def _decades(ablations: Mapping[str, Ablation]) -> tuple[float, float]:
    """Ends of an axis in per cent that hold all changes of weights and room for their labels."""
    changes = np.concatenate([moves(each)["weight_change"] for each in ablations.values()])
    changes = 100 * changes[changes > 0]
    return changes.min() / 3, changes.max() * 12


@styled
def two_best_rates(corpus, ablations: Mapping[str, Ablation], path: str) -> Figure:
    """F1 per fold of ViViT's two best rates, after the paper's Figure 5, or why there are none.

    `path` is that of `experiments.ablate`. Chapter 05.
    """
    whose = "its" if path == "greedy" else "the paper's"
    title = f"ViViT at {whose} two best rates, fold by fold"
    if reason := not_two_rates(ablations, path):
        return sentence_instead(corpus.dataset, title, reason)
    figure = new_figure(corpus.dataset, title, 4.1)
    each, means = figure.subplots(1, 2, width_ratios=(2.1, 1), sharey=True)
    pair = two_rates(ablations["vivit"], path)
    for offset, colour, marker, one in zip((-0.1, 0.1), (THIS, SECOND), "oD", pair, strict=True):
        label = f"{one.name}: {number(one.f1.mean())} ± {number(one.f1.std())}"
        places = np.arange(len(one.f1)) + offset
        each.plot(places, one.f1, marker, color=colour, ms=8, label=label, clip_on=False)
    folds = list(pair[0].f1.index)
    each.set_xticks(range(len(folds)), folds)
    each.set(xlabel="fold", ylabel="F1", ylim=(-0.04, 1.02), xlim=(-0.5, len(folds) - 0.5))
    each.set_title("by fold, here (the paper's: not printed)")
    _draw_means(means, pair)
    for axes in (each, means):
        _enlarge(axes)
    each.yaxis.label.set_size(TEXT)
    figure.legend(*each.get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  fontsize=TEXT)  # fmt: skip
    return figure


def _draw_means(axes: Axes, pair: list[Tried]) -> None:
    """Mean and spread of both here, and those that the paper's Table 1 prints."""
    results = {result.name: result for result in paper.TABLE_1}
    theirs = (results["ViViT-1"], paper.CHOSEN), (results["ViViT-2"], paper.CHOSEN_SECOND)
    for place, (one, (their, at), colour) in enumerate(
        zip(pair, theirs, (THIS, SECOND), strict=True)
    ):
        rate = power(at["vivit"]["learning_rate"])
        axes.errorbar(place - 0.17, one.f1.mean(), one.f1.std(), color=colour, fmt="D", ms=7, lw=2)
        axes.errorbar(place + 0.17, their.f1, their.f1_sd, color=PAPER, fmt="s", ms=7, lw=2)
        axes.annotate(
            f"{their.name}\n{rate}\n{number(their.f1)}\n± {number(their.f1_sd)}",
            (place + 0.17, their.f1 + their.f1_sd),
            (0, 5), textcoords="offset points", ha="center", fontsize=TEXT - 1, color=MUTED,
        )  # fmt: skip
    axes.set_xticks([0, 1], [one.name for one in pair])
    axes.set(xlabel="learning rate", xlim=(-0.6, 1.6))
    axes.set_title("mean ± sd; grey: the paper")
