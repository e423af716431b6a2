"""The figures of chapter 04: the models, what they are fed, and how they score.

In the style of `paincore.data.figures`. Tables of predictions are those of
`paincore.statistics.bootstrap`. Where a training was repeated with several seeds, curves and
confusion matrices are those of the first.
"""

from collections.abc import Iterable
from itertools import cycle
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from paincore.statistics import scores as metrics
from paincore.statistics.bootstrap import (
    LEVEL,
    always_pain,
    bootstrap,
    fold_values,
    interval,
    pooled_value,
)
from paincore.statistics.scores import pooled_scores, seeds_of
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, number, sentence_instead, styled
from paincore.training.configuration import BATCH
from paincore.training.tables import NOT_COMPARED, SHOWN

FOLDS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
SMOOTHED = 15  # steps of a moving mean, fewer in a short training
KNOWS_NOTHING = {"loss": np.log(2), "accuracy": 0.5}
BINS = 8
TICKS = np.linspace(0, 1, 6)


def fold_colour(place: int) -> str:
    """The colour of the fold at this place in its list; after five they come again."""
    return FOLDS[place % len(FOLDS)]


def name_folds(figure: Figure, folds: list[int], *others: Line2D) -> None:
    """A legend of the folds' lines below a figure; none for so many that colours come again."""
    lines = [
        Line2D([], [], color=fold_colour(place), label=f"fold {fold}")
        for place, fold in enumerate(folds)
        if len(folds) <= len(FOLDS)
    ]
    handles = [*lines, *others]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


@styled
def balance(corpus, draws: pd.DataFrame) -> Figure:
    """Pain among a fold's training samples, among what is drawn of them, and among its test's.

    `draws` is `training_description.draws_table`. Chapter 04.
    """
    figure = new_figure(corpus.dataset, "Pain before and after balanced drawing", 2.7)
    axes = figure.subplots()
    places = np.arange(len(draws))
    for column, colour, offset, label in (
        ("trained", PAPER, -0.27, "training samples"),
        ("drawn", PAIN, 0, "drawn from them"),
        ("tested", THIS, 0.27, "test samples"),
    ):
        bars = axes.bar(places + offset, draws[column], 0.25, color=colour, label=label)
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7.5, color=MUTED)
    axes.axhline(50, color=PAPER, linestyle="--", lw=0.8, zorder=0)
    axes.set(xlabel="fold", ylabel="pain (% of samples)", ylim=(0, 70))
    axes.set_xticks(places, draws["fold"])
    axes.grid(axis="y")
    axes.legend(loc="upper center", ncols=3, fontsize=8, borderaxespad=0)
    return figure


@styled
def learning_curves(corpus, histories: pd.DataFrame) -> Figure:
    """Loss and accuracy of the batches of each fold, smoothed. Chapter 04.

    `histories` is `training_description.histories`.
    """
    models = list(histories["model"].unique())
    figure = new_figure(corpus.dataset, "Loss and accuracy while training", 4.4)
    grid = figure.subplots(2, len(models), sharey="row", sharex="col", squeeze=False)
    folds = sorted(histories["fold"].unique())
    for column, model in zip(grid.T, models, strict=True):
        column[0].set_title(model)
        column[1].set_xlabel(f"step (of {BATCH} samples)")
        column[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes, name in zip(column, KNOWS_NOTHING, strict=True):
            axes.axhline(KNOWS_NOTHING[name], color=PAPER, linestyle="--", lw=0.8)
            axes.grid(axis="y")
            for place, fold in enumerate(folds):
                run = histories[(histories["model"] == model) & (histories["fold"] == fold)]
                window = max(1, min(SMOOTHED, len(run) // 5))
                smooth = run[name].rolling(window, min_periods=1, center=True).mean()
                axes.plot(run["step"], smooth, color=fold_colour(place), lw=1.2)
    for axes, name in zip(grid[:, 0], KNOWS_NOTHING, strict=True):
        axes.set_ylabel(f"{name} of the batch")
    nothing = Line2D([], [], color=PAPER, linestyle="--", lw=0.8, label="knows nothing")
    name_folds(figure, folds, nothing)
    return figure


def _first(predictions: pd.DataFrame) -> pd.DataFrame:
    return seeds_of(predictions)[0]


@styled
def confusion(corpus, tested: dict[str, pd.DataFrame]) -> Figure:
    """Frames by label and prediction, of every fold and of all. Chapter 04."""
    tables = {
        model: [("all", part := _first(predictions)), *part.groupby("fold")]
        for model, predictions in tested.items()
    }
    columns = max(map(len, tables.values()))
    figure = new_figure(corpus.dataset, "Confusion by fold", 0.5 + 1.35 * len(tables))
    grid = figure.subplots(len(tables), columns, squeeze=False)
    for line, (model, parts) in zip(grid, tables.items(), strict=True):
        for axes, (fold, part) in zip(line, parts, strict=True):
            _draw_confusion(axes, metrics.score(part["pain"], part["probability"]))
            axes.set_title("all folds" if fold == "all" else f"fold {fold}", fontsize=8)
        line[0].set_ylabel(f"{model}\nlabelled", color=MUTED)
        line[0].set_yticks([0, 1], ["no pain", "pain"], rotation=90, va="center")
    for axes in grid[-1]:
        axes.set_xticks([0, 1], ["no pain", "pain"])
    figure.supxlabel("predicted", fontsize=9, color=MUTED)
    return figure


def _draw_confusion(axes: Axes, scores: dict) -> None:
    """Two by two cells, shaded by the share of their row."""
    counts = np.array([[scores["tn"], scores["fp"]], [scores["fn"], scores["tp"]]])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        axes.text(
            column, row, f"{count}\n{100 * share:.0f} %", ha="center", va="center", fontsize=7.5,
            color="white" if share > 0.6 else "black",
        )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set(xticks=[], yticks=[])


@styled
def curves(corpus, tested: dict[str, pd.DataFrame]) -> Figure:
    """ROC and precision-recall curves by fold and pooled, with the threshold of 0.5 marked.

    A fold with one class has no curve. Chapter 04.
    """
    figure = new_figure(corpus.dataset, "Every threshold, by fold", 0.75 + 2.85 * len(tested))
    grid = figure.subplots(len(tested), 2, squeeze=False)
    folds = sorted(set().union(*(table["fold"].unique() for table in tested.values())))
    for (roc, precision), (model, predictions) in zip(grid, tested.items(), strict=True):
        part = _first(predictions)
        for fold, group in part.groupby("fold"):
            _draw_curves(roc, precision, group, fold_colour(folds.index(fold)), 1.1)
        _draw_curves(roc, precision, part, "black", 1.8)
        roc.axline((0, 0), slope=1, color=PAPER, linestyle="--", lw=0.8)
        precision.axhline(part["pain"].mean(), color=PAPER, linestyle="--", lw=0.8)
        roc.set(xlabel="painless frames called pain", ylabel="pain frames called pain (recall)")
        precision.set(
            xlabel="pain frames called pain (recall)", ylabel="of those called pain, pain"
        )
        for axes, kind in ((roc, "ROC"), (precision, "precision and recall")):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
            axes.set(xticks=TICKS, yticks=TICKS)
            axes.set_title(f"{model}: {kind}")
    pooled = Line2D([], [], color="black", lw=1.8, marker="o", label="pooled")
    chance = Line2D([], [], color=PAPER, lw=0.8, linestyle="--", label="chance")
    name_folds(figure, folds, pooled, chance)
    return figure


def _draw_curves(roc: Axes, precision: Axes, part: pd.DataFrame, colour: str, width: float) -> None:
    """Both curves of some frames, and the points on them where the book's threshold lies."""
    pain, probability = part["pain"].to_numpy(bool), part["probability"].to_numpy()
    if pain.all() or not pain.any():
        return
    false, true, _ = roc_curve(pain, probability)
    roc.plot(false, true, color=colour, lw=width)
    precise, recall, _ = precision_recall_curve(pain, probability)
    precision.plot(recall[:-1], precise[:-1], color=colour, lw=width, drawstyle="steps-post")
    scores = metrics.score(pain, probability)
    style = {"marker": "o", "ms": 4.5, "mec": "white", "mew": 0.6, "color": colour, "zorder": 5}
    roc.plot(scores["false_positive_rate"], scores["recall"], **style)
    precision.plot(scores["recall"], scores["precision"], **style)


@styled
def reliability(corpus, tested: dict[str, pd.DataFrame]) -> Figure:
    """How often pain is there, by its predicted probability, raw and corrected. Chapter 04."""
    figure = new_figure(corpus.dataset, "Probabilities, and how often pain is there", 3.6)
    grid = figure.subplots(1, len(tested), sharey=True, squeeze=False)[0]
    for axes, (model, predictions) in zip(grid, tested.items(), strict=True):
        for column, colour, marker in (("probability", PAIN, "o"), ("corrected", THIS, "s")):
            said, found = in_groups(predictions, column)
            scores = pooled_scores(predictions, column)
            name = {"probability": "raw", "corrected": "corrected"}[column]
            label = (
                f"{name}: slope {number(scores['calibration_slope'])}, intercept "
                f"{number(scores['calibration_intercept'])}, Brier {number(scores['brier'])}"
            )
            axes.plot(said, found, color=colour, marker=marker, ms=5, lw=1.1, label=label)
        axes.axline((0, 0), slope=1, color=PAPER, linestyle="--", lw=0.8)
        axes.set(xlabel="predicted probability of pain", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xticks=TICKS, yticks=TICKS, aspect="equal")
        axes.set_title(model)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)
    grid[0].set_ylabel("share of pain")
    return figure


def in_groups(predictions: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability and share of pain in `BINS` equal groups by probability."""
    order = predictions.sort_values(column, kind="stable")
    groups = [group for group in np.array_split(np.arange(len(order)), BINS) if len(group)]
    values, pain = order[column].to_numpy(), order["pain"].to_numpy(bool)
    return (
        np.array([values[group].mean() for group in groups]),
        np.array([pain[group].mean() for group in groups]),
    )


@styled
def compared(
    corpus,
    title: str,
    arms: dict[str, pd.DataFrame],
    draws: pd.DataFrame,
    colours: Iterable[str] = (THIS,),
) -> Figure:
    """F1 and AUC of named predictions: each fold, and pooled with its interval.

    `colours` are taken in turn. What always saying pain scores is that on the first's frames.
    Chapter 04.
    """
    figure = new_figure(corpus.dataset, title, 1.35 + 0.36 * len(arms))
    panels = figure.subplots(1, 2, sharey=True)
    first = next(iter(arms.values()))
    for axes, (score, label) in zip(panels, SHOWN.items(), strict=True):
        turns = cycle(colours)
        for row, predictions in enumerate(arms.values()):
            _draw_arm(axes, row, predictions, draws, score, next(turns))
        axes.axvline(pooled_value(always_pain(first), score), color=MUTED, linestyle="--", lw=1)
        axes.set(xlabel=label, xlim=(-0.03, 1.03), ylim=(len(arms) - 0.5, -0.5))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(arms)), arms, color="black")
    handles = [
        Line2D([], [], color=MUTED, ls="", marker="o", ms=4, mfc="none", label="one fold"),
        Line2D([], [], color=MUTED, ls="", marker="D", ms=6, label="pooled"),
        Line2D([], [], color=MUTED, lw=2, label=f"{LEVEL} % interval, by subjects"),
        Line2D([], [], color=MUTED, ls="--", lw=1, label="always pain"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _draw_arm(
    axes: Axes, row: int, predictions: pd.DataFrame, draws: pd.DataFrame, score: str, colour: str
) -> None:
    """The folds' scores just above a row's line, the pooled one and its interval on it."""
    ends = interval(bootstrap(predictions, draws, score))
    folds = fold_values(predictions, score)
    axes.plot(ends, [row, row], color=colour, lw=2, solid_capstyle="butt")
    axes.plot(pooled_value(predictions, score), row, "D", color=colour, ms=6)
    above = np.full(len(folds), row - 0.25)
    axes.plot(folds, above, "o", color=colour, ms=4, mfc="none", clip_on=False)


@styled
def backbones(corpus, views: dict | None, draws: pd.DataFrame) -> Figure:
    """Each backbone on frontal views and on plain crops, or why they were not compared.

    `views` is `comparison.backbones_and_views`. Chapter 04.
    """
    title = "Backbones and views"
    if views is None:
        return sentence_instead(corpus.dataset, title, fill(NOT_COMPARED, 100))
    arms = {f"{backbone}, {view}": table for (backbone, view), table in views.items()}
    return compared(corpus, title, arms, draws, (THIS, PAPER))
