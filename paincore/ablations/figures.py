"""The figures of the ablations, after the paper's Figures 3 to 7: a panel for each model.

Blue is this run, grey the paper. A bar of the paper that has no number in its text is marked as not
printed.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from paincore import paper
from paincore.ablations import tables
from paincore.ablations.search import Ablation
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, number, sentence_instead, styled
from paincore.training.configuration import BATCH_SIZE, MODELS

SECOND = "#E69F00"  # beside blue, for the second of two
FOLDS_AT, MEAN_AT, PAPER_AT = -0.27, -0.05, 0.27  # within a column
AXES = {
    "layers": "attention layers that train",
    "rate": "learning rate",
    "sam": "sharpness-aware minimisation",
    "mixup": "alpha of Mixup",
}
OVER_LINES = (withStroke(linewidth=2.5, foreground="white"),)
LEGEND = (
    Line2D([], [], color=THIS, ls="", marker="o", mfc="none", label="one fold"),
    Line2D([], [], color=THIS, lw=2, marker="D", label="mean ± sd over folds"),
    Line2D([], [], color=PAPER, ls="", marker="s", label="the paper's mean, UNBC"),
    Patch(color=THIS, alpha=0.14, label="kept, or highest mean"),
    Line2D([], [], color=MUTED, ls="--", lw=1, label="always pain"),
)


@styled
def step_figure(corpus, ablations: Mapping[str, Ablation], step: str) -> Figure:
    """F1 by the values of one step; below those of "rate", how far the weights moved."""
    rows = 2 if step == "rate" else 1
    figure = new_figure(corpus.dataset, f"F1 by {AXES[step]}", 2.4 + 1.9 * rows)
    grid = {"squeeze": False, "height_ratios": (1.75, 1)[:rows]}
    panels = figure.subplots(rows, len(ablations), sharey="row", **grid)
    for (axes, *below), ablation in zip(panels.T, ablations.values(), strict=True):
        values = tables.step_values(ablation, step)
        for place, value in enumerate(values):
            _draw_value(axes, place, value)
        always = tables.always_pain_f1(ablation).mean()
        axes.axhline(always, color=MUTED, ls="--", lw=1, zorder=1)
        axes.set(ylim=(-0.02, 1.02), xlabel=AXES[step])
        axes.set_title(MODELS[ablation.model], pad=18, fontweight="bold")
        _name_columns(axes, [value.label for value in values])
        for under in below:
            _draw_weight_changes(under, ablation)
    labels = "F1", "weights moved by\n(% of their norm)"
    for axes, label in zip(panels[:, 0], labels, strict=False):
        axes.set_ylabel(label)
    figure.legend(handles=LEGEND, loc="outside lower center", ncols=3)
    return figure


def _name_columns(axes: Axes, labels: list[str]) -> None:
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")


def _draw_value(axes: Axes, place: int, value: tables.StepValue) -> None:
    """A column: folds, mean and sd in blue, or why there are none; the paper in grey."""
    upright = {"rotation": 90, "ha": "center", "va": "bottom"}
    if value.kept:
        axes.axvspan(place - 0.48, place + 0.48, color=THIS, alpha=0.14, lw=0, zorder=0)
    if value.f1.notna().any():
        folds = np.full(len(value.f1), place + FOLDS_AT)
        mean, sd = value.f1.mean(), np.nan_to_num(value.f1.std())
        axes.plot(folds, value.f1, "o", color=THIS, ms=4.5, mfc="none", clip_on=False)
        axes.errorbar(place + MEAN_AT, mean, sd, color=THIS, fmt="D")
        _annotate(axes, place + MEAN_AT, 1.01, number(mean), THIS)
    else:
        word = "failed" if value.f1.empty else "no F1"
        axes.text(place + MEAN_AT, 0.02, word, color=PAIN, **upright)
    if value.printed is None:
        axes.text(place + PAPER_AT, 0.02, "not printed", color=MUTED, **upright)
    else:
        axes.plot(place + PAPER_AT, value.printed, "s", color=PAPER, ms=7)
        _annotate(axes, place + PAPER_AT, value.printed, number(value.printed), MUTED)


def _annotate(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Text just above a mark, readable over lines."""
    above = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
    axes.annotate(text, (x, y), color=colour, path_effects=OVER_LINES, **above)


def _draw_weight_changes(axes: Axes, ablation: Ablation) -> None:
    """How far the trained weights moved at each rate, a point a fold, on a logarithmic axis."""
    runs = tables.runs_of_step(ablation, "rate")
    changes = 100 * runs.groupby(["value", "fold"])["weight_change"].mean()
    values = tables.step_values(ablation, "rate")
    for place, value in enumerate(values):
        if not value.f1.empty:
            moved = changes[value.configuration.learning_rate]
            axes.semilogy([place] * len(moved), moved, "o", color=THIS, ms=4.5, mfc="none")
            mean = float(f"{moved.mean():.2g}")  # to two digits, of any size
            _annotate(axes, place, moved.max(), f"{mean:,.10g} %", THIS)
    here, theirs = tables.steps_of_epoch(ablation), paper.optimiser_steps(BATCH_SIZE)
    axes.set_title(f"{here} steps; the paper's: {theirs:,}", color=MUTED)
    axes.set_xlabel(AXES["rate"])
    axes.margins(y=0.3)
    _name_columns(axes, [value.label for value in values])


@styled
def two_best_rates_figure(corpus, ablations: Mapping[str, Ablation], path: str) -> Figure:
    """F1 by fold of ViViT's two best rates, after the paper's Figure 5, or why there are none."""
    title = "ViViT at two learning rates, fold by fold"
    pair = tables.two_best_rates(ablations["vivit"], path) if "vivit" in ablations else []
    if len(pair) < 2:
        reason = "Fewer than two learning rates of ViViT have an F1 in this run."
        return sentence_instead(corpus.dataset, title, reason)
    figure = new_figure(corpus.dataset, title, 3.6)
    axes, count = figure.subplots(), len(pair[0].f1)
    theirs = {result.name: result for result in paper.TABLE_1}
    marks = zip(pair, (THIS, SECOND), (-0.12, 0.12), ("ViViT-1", "ViViT-2"), strict=True)
    for value, colour, offset, name in marks:
        f1, printed = value.f1, theirs[name]
        axes.plot(np.arange(count) + offset, f1, "o", color=colour, ms=8, label=value.label)
        axes.errorbar(count + offset, f1.mean(), f1.std(), color=colour, fmt="D", lw=2)
        at = count + 1.3 + 2.5 * offset
        axes.errorbar(at, printed.f1, printed.f1_sd, color=PAPER, fmt="s", lw=2)
        _annotate(axes, at, printed.f1 + printed.f1_sd, name, MUTED)
    _name_columns(axes, [*(f"fold {fold}" for fold in pair[0].f1.index), "mean ± sd", "the paper"])
    axes.set(ylabel="F1", ylim=(-0.04, 1.02), xlim=(-0.5, count + 1.9))
    axes.legend(title="learning rate", ncols=2)
    return figure
