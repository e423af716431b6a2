"""The figures of the results: this run beside the paper's Table 1, planned contrasts, optimism.

Blue is this run, grey the paper. `resamples` is `resample_subjects` of all subjects.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paincore import paper
from paincore.ablations.tables import FAILED_RUN
from paincore.results.contrasts import Contrast, Predictions
from paincore.results.tables import p_value
from paincore.statistics.optimism import Optimism
from paincore.style import MUTED, PAPER, THIS, draw_interval, name_rows, new_figure, styled
from paincore.training.configuration import MODELS
from paincore.training.figures import compared


@styled
def table_1_figure(corpus, arms: dict[str, Predictions], resamples: pd.DataFrame) -> Figure:
    """F1 and AUC of this run's models and baselines; in grey the paper's means, and sd of F1."""
    arms = {name: each for name, each in arms.items() if each is not None}
    figure = compared(corpus, "This run beside the paper's Table 1", arms, resamples)
    f1, auc = figure.axes
    for row in paper.TABLE_1:
        if row.name in arms:
            at = list(arms).index(row.name) + 0.25
            ends = row.f1 - row.f1_sd, row.f1 + row.f1_sd
            draw_interval(f1, row.f1, *ends, at, PAPER, "s")
            draw_interval(auc, row.auc, row.auc, row.auc, at, PAPER, "s")
    return figure


@styled
def contrasts_figure(corpus, contrasts: list[Contrast]) -> Figure:
    """The planned contrasts: differences of F1 by fold (circles), their mean (square, with its
    interval), and the pooled difference (diamond)."""
    figure = new_figure(corpus.dataset, "Planned contrasts", 1.45 + 0.78 * len(contrasts))
    axes = figure.subplots()
    for row, one in enumerate(contrasts):
        beside = {"transform": axes.get_yaxis_transform(), "va": "center", "color": MUTED}
        if one.pooled is None:
            axes.text(0.5, row, FAILED_RUN, ha="center", **beside)
            continue
        folds = one.over_folds
        above = np.full(len(one.pooled.folds), row - 0.26)
        axes.plot(one.pooled.folds, above, "o", color=THIS, ms=4.5, mfc="none")
        draw_interval(axes, folds.mean, folds.low, folds.high, row, THIS, "s")
        draw_interval(axes, *one.pooled[:3], row + 0.26, MUTED)
        axes.text(1.01, row, f"p, Holm\n{p_value(one.holm)}", **beside)
    axes.axvline(0, color=MUTED, lw=1)
    axes.set_xlabel("difference of F1")
    name_rows(axes, [one.title.replace(" − ", "\n− ") for one in contrasts])
    return figure


@styled
def optimism_figure(corpus, found: dict[str, Optimism]) -> Figure:
    """How often each configuration is the best of a resample."""
    count = max(len(one.shares) for one in found.values())
    figure = new_figure(corpus.dataset, "Choosing on the test folds", 1.75 + 0.26 * count)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (model, one) in zip(panels, found.items(), strict=True):
        colours = [THIS if name == one.chosen else "#C4C8CF" for name in one.shares.index]
        bars = axes.barh(range(len(one.shares)), 100 * one.shares, 0.72, color=colours)
        axes.bar_label(bars, fmt="%.0f", padding=3, color=MUTED)
        axes.set(xlim=(0, 110), xticks=(0, 50, 100), xlabel="chosen (% of resamples)")
        axes.set_title(MODELS[model])
        name_rows(axes, list(one.shares.index))
    return figure
