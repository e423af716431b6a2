"""The figures of the ablations, after the paper's Figures 3 to 7: a panel for each model.

Blue is this run, grey the paper. A bar of the paper that has no number in its text is marked as not
printed.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paincore import paper, style
from paincore.ablations import tables
from paincore.ablations.search import Ablation, second_best_rate
from paincore.style import MUTED, PAPER, THIS
from paincore.training.configuration import BATCH_SIZE, MODELS

SECOND = "#E69F00"  # beside blue, for the second of two
FOLDS_AT, MEAN_AT, PAPER_AT = -0.27, -0.05, 0.27  # within a column


@style.styled
def step_figure(corpus, ablations: dict[str, Ablation], step: str) -> Figure:
    """F1 by the values of one step; below those of "rate", how far the weights moved."""
    ratios = (1.75, 1) if step == "rate" else (1,)
    title, height = f"F1 by {tables.STEP_TITLES[step]}", 2.4 + 1.9 * len(ratios)
    figure, shape = style.new_figure(corpus.dataset, title, height), (len(ratios), len(ablations))
    panels = figure.subplots(*shape, squeeze=False, sharey="row", height_ratios=ratios)
    for column, ablation in zip(panels.T, ablations.values(), strict=True):
        _draw_step(column[0], ablation, step)
        if step == "rate":
            _draw_weight_changes(column[1], ablation)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once, loc="outside lower center", ncols=3)
    return figure


def _draw_step(axes: Axes, ablation: Ablation, step: str) -> None:
    values = tables.step_values(ablation, step)
    for place, value in enumerate(values):
        _draw_value(axes, place, value)
    always = tables.always_pain_f1(ablation).mean()
    axes.axhline(always, color=MUTED, ls="--", lw=1, zorder=1, label="always pain")
    axes.set(ylim=(-0.02, 1.02), xlabel=tables.STEP_TITLES[step], ylabel="F1")
    axes.set_title(MODELS[ablation.model], pad=18, fontweight="bold")
    _name_columns(axes, [value.label for value in values])


def _name_columns(axes: Axes, labels: list[str]) -> None:
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")


def _draw_value(axes: Axes, place: int, value: tables.StepValue) -> None:
    """A column: folds, mean and sd in blue, or why there are none; the paper in grey."""
    upright = {"rotation": 90, "ha": "center", "va": "bottom"}
    if value.kept:
        ends, kept = (place - 0.48, place + 0.48), "kept, or highest mean"
        axes.axvspan(*ends, color=THIS, alpha=0.14, lw=0, zorder=0, label=kept)
    if value.f1.notna().any():
        folds, mean = np.full(len(value.f1), place + FOLDS_AT), value.f1.mean()
        axes.plot(folds, value.f1, "o", color=THIS, ms=4.5, mfc="none", label="one fold")
        whisker = {"fmt": "D", "label": "mean ± sd over folds"}
        axes.errorbar(place + MEAN_AT, mean, value.f1.std(), color=THIS, **whisker)
        _annotate(axes, place + MEAN_AT, 1.01, style.number(mean), THIS)
    else:
        word = "failed" if value.f1.empty else "no F1"
        axes.text(place + MEAN_AT, 0.02, word, color=style.PAIN, **upright)
    if value.printed is None:  # the paper did not try it
        return
    if np.isnan(value.printed):
        axes.text(place + PAPER_AT, 0.02, "not printed", color=MUTED, **upright)
    else:
        label = "the paper's mean, UNBC"
        axes.plot(place + PAPER_AT, value.printed, "s", color=PAPER, ms=7, label=label)
        _annotate(axes, place + PAPER_AT, value.printed, style.number(value.printed), MUTED)


def _annotate(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Text just above a mark."""
    above = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
    axes.annotate(text, (x, y), color=colour, **above)


def _draw_weight_changes(axes: Axes, ablation: Ablation) -> None:
    """How far the trained weights moved at each rate, a point a fold, on a logarithmic axis."""
    runs = tables.runs_of_step(ablation, "rate")
    by_fold = 100 * runs.groupby(["value", "fold"])["weight_change"].mean()
    rates = sorted((trial.value for trial in ablation.step("rate")), reverse=True)
    for place, rate in enumerate(rates):
        if rate in by_fold:
            moved = by_fold[rate]
            axes.semilogy([place] * len(moved), moved, "o", color=THIS, ms=4.5, mfc="none")
            mean = float(f"{moved.mean():.2g}")  # to two digits, of any size
            _annotate(axes, place, moved.max(), f"{mean:,.10g} %", THIS)
    here, theirs = tables.steps_of_epoch(ablation), paper.optimiser_steps(BATCH_SIZE)
    axes.set_title(f"{here} steps; the paper's: {theirs:,}", color=MUTED)
    axes.set(xlabel="learning rate", ylabel="weights moved by\n(% of their norm)", ymargin=0.3)
    _name_columns(axes, [style.scientific(rate) for rate in rates])


@style.styled
def two_best_rates_figure(corpus, ablations: dict[str, Ablation], path: str) -> Figure:
    """F1 by fold of ViViT's two best rates, after the paper's Figure 5."""
    title = "ViViT at two learning rates, fold by fold"
    if "vivit" not in ablations:
        return style.sentence_instead(corpus.dataset, title, "This run trained no ViViT.")
    ablation, theirs = ablations["vivit"], {result.name: result for result in paper.TABLE_1}
    here = {"ViViT-1": ablation.kept["rate"], "ViViT-2": second_best_rate(ablation, path)}
    axes = style.new_figure(corpus.dataset, title, 3.6).subplots()
    folds = [f"fold {fold}" for fold in tables.always_pain_f1(ablation).index]
    for (name, one), colour, aside in zip(here.items(), (THIS, SECOND), (-0.2, 0.2), strict=True):
        f1, printed = tables.score_by_fold(ablation, one), theirs[name]
        mean_at, paper_at = len(folds) + aside, len(folds) + 1 + 2 * aside
        label = style.scientific(one.learning_rate)
        axes.plot(np.arange(len(f1)) + aside, f1, "o", color=colour, ms=8, label=label)
        axes.errorbar(mean_at, f1.mean(), f1.std(), color=colour, fmt="D", lw=2)
        axes.errorbar(paper_at, printed.f1, printed.f1_sd, color=PAPER, fmt="s", lw=2)
        _annotate(axes, paper_at, printed.f1 + printed.f1_sd, name, MUTED)
    _name_columns(axes, [*folds, "mean ± sd", "the paper"])
    axes.set(ylabel="F1", ylim=(-0.04, 1.02))
    axes.legend(title="learning rate", ncols=2)
    return axes.figure
