"""The figures of chapter 04. Tables of predictions are those of `paincore.statistics`.

Where a training was repeated with several seeds, curves and confusion matrices are those of the
first.
"""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from sklearn import calibration, metrics

from paincore import style
from paincore.statistics import bootstrap, scores
from paincore.style import MUTED, THIS
from paincore.training.configuration import BATCH_SIZE, MODELS
from paincore.training.runs import Run
from paincore.training.tables import SHOWN

FOLD_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
SMOOTHED = 15  # steps of a moving mean, fewer in a short training
KNOWS_NOTHING = {"loss": np.log(2), "accuracy": 0.5}
BINS = 8
CALIBRATION = ("calibration_slope", "calibration_intercept", "brier")
TICKS = np.linspace(0, 1, 6)
UNIT = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02), "xticks": TICKS, "yticks": TICKS}
CHANCE = {"color": style.PAPER, "linestyle": "--", "lw": 0.8}


def name_folds(figure: Figure, colours: dict[int, str], *others: Line2D) -> None:
    """A legend below a figure; folds are not in it where there are more than colours."""
    named = colours if len(colours) <= len(FOLD_COLOURS) else {}
    lines = [Line2D([], [], color=colour, label=f"fold {n}") for n, colour in named.items()]
    handles = [*lines, *others]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


@style.styled
def class_balance(corpus, table: pd.DataFrame) -> Figure:
    """Pain before and after balanced sampling; `table` is `tables.balance_table`."""
    figure = style.new_figure(corpus.dataset, "Pain before and after balanced sampling", 2.7)
    axes = figure.subplots()
    look = {"color": [style.PAPER, style.PAIN, THIS], "width": 0.75, "rot": 0, "legend": False}
    table.plot.bar(ax=axes, **look)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7.5, color=MUTED)
    axes.axhline(50, zorder=0, **CHANCE)
    axes.set(xlabel="fold", ylabel="pain (% of samples)", ylim=(0, 70))
    axes.grid(axis="y")
    axes.legend(loc="upper center", ncols=3, fontsize=8, borderaxespad=0)
    return figure


@style.styled
def learning_curves(corpus, runs: list[Run]) -> Figure:
    """Loss and accuracy of the batches of each fold, smoothed; seeds are averaged."""
    steps = pd.concat(
        run.history.assign(model=run.configuration.model, fold=run.rests_on["fold"]) for run in runs
    )
    steps = steps.groupby(["model", "fold", "step"], as_index=False).mean()
    models = list(steps["model"].unique())
    colours = dict(zip(sorted(steps["fold"].unique()), cycle(FOLD_COLOURS)))
    figure = style.new_figure(corpus.dataset, "Loss and accuracy while training", 4.4)
    grid = figure.subplots(2, len(models), sharey="row", sharex="col", squeeze=False)
    for (model, fold), run in steps.groupby(["model", "fold"]):
        smooth = run.rolling(max(1, min(SMOOTHED, len(run) // 5)), min_periods=1, center=True)
        for axes, name in zip(grid[:, models.index(model)], KNOWS_NOTHING, strict=True):
            axes.plot(run["step"], smooth[name].mean(), color=colours[fold], lw=1.2)
    for line, (name, level) in zip(grid, KNOWS_NOTHING.items(), strict=True):
        line[0].set_ylabel(f"{name} of the batch")
        for axes in line:
            axes.axhline(level, **CHANCE)
            axes.grid(axis="y")
    for model, (above, below) in zip(models, grid.T, strict=True):
        above.set_title(MODELS[model])
        below.set_xlabel(f"step (of {BATCH_SIZE} samples)")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_folds(figure, colours, Line2D([], [], label="knows nothing", **CHANCE))
    return figure


@style.styled
def confusion(corpus, tested: dict[str, pd.DataFrame]) -> Figure:
    """Samples by label and prediction, of all folds and of each."""
    tables = {model: scores.seeds_of(predictions)[0] for model, predictions in tested.items()}
    columns = 1 + max(table["fold"].nunique() for table in tables.values())
    figure = style.new_figure(corpus.dataset, "Confusion by fold", 0.5 + 1.35 * len(tables))
    grid = figure.subplots(len(tables), columns, squeeze=False, sharex=True, sharey=True)
    for line, (model, table) in zip(grid, tables.items(), strict=True):
        parts = [("all folds", table), *((f"fold {n}", part) for n, part in table.groupby("fold"))]
        for axes, (title, part) in zip(line, parts, strict=True):
            _draw_confusion(axes, part)
            axes.set_title(title, fontsize=8)
        line[0].set_ylabel(f"{model}\nlabelled")
        line[0].tick_params(axis="y", labelrotation=90)
    figure.supxlabel("predicted", fontsize=9, color=MUTED)
    return figure


def _draw_confusion(axes: Axes, part: pd.DataFrame) -> None:
    """Two by two cells, shaded by their proportion of the row."""
    called = scores.called_pain(part["probability"])
    counts = metrics.confusion_matrix(part["pain"], called, labels=[0, 1])
    proportions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    display = metrics.ConfusionMatrixDisplay(proportions, display_labels=["no pain", "pain"])
    display.plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1})
    for place, text in np.ndenumerate(display.text_):
        text.set(text=f"{counts[place]}\n{100 * proportions[place]:.0f} %", fontsize=7.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set(xlabel="", ylabel="")


@style.styled
def threshold_curves(corpus, tested: dict[str, pd.DataFrame]) -> Figure:
    """ROC and precision-recall curves by fold and pooled, with the threshold of 0.5 marked.

    A fold with one class has no curve.
    """
    figure = style.new_figure(corpus.dataset, "Every threshold, by fold", 0.75 + 2.85 * len(tested))
    grid = figure.subplots(len(tested), 2, squeeze=False)
    colours = dict(zip(np.unique(pd.concat(tested.values())["fold"]), cycle(FOLD_COLOURS)))
    for (roc, precision), (model, predictions) in zip(grid, tested.items(), strict=True):
        part = scores.seeds_of(predictions)[0]
        for fold, colour in colours.items():
            _draw_curves(roc, precision, part[part["fold"] == fold], colour, 1.1)
        _draw_curves(roc, precision, part, "black", 1.8)
        roc.axline((0, 0), slope=1, **CHANCE)
        precision.axhline(part["pain"].mean(), **CHANCE)
        roc.set(title=f"{model}: ROC", xlabel="false positive rate", ylabel="recall")
        precision.set(title=f"{model}: precision and recall", xlabel="recall", ylabel="precision")
        for axes in (roc, precision):
            axes.set(**UNIT, aspect="equal")
    pooled = Line2D([], [], color="black", lw=1.8, marker="o", label="pooled")
    name_folds(figure, colours, pooled, Line2D([], [], label="chance", **CHANCE))
    return figure


def _draw_curves(roc: Axes, precision: Axes, part: pd.DataFrame, colour: str, width: float) -> None:
    """Both curves of some samples, and the points on them where the book's threshold lies."""
    pain, probability = part["pain"], part["probability"]
    if pain.nunique() < 2:
        return
    false_positives, recall, _ = metrics.roc_curve(pain, probability)
    roc.plot(false_positives, recall, color=colour, lw=width)
    # Without the last point, the convention that precision is 1 at a recall of 0.
    precise, recall = (ends[:-1] for ends in metrics.precision_recall_curve(pain, probability)[:2])
    precision.plot(recall, precise, color=colour, lw=width, drawstyle="steps-post")
    at = scores.score(pain, probability)
    for axes, x, y in ((roc, "false_positive_rate", "recall"), (precision, "recall", "precision")):
        axes.plot(at[x], at[y], "o", color=colour, ms=4.5, mec="white", mew=0.6, zorder=5)


@style.styled
def reliability(corpus, tested: dict[str, pd.DataFrame]) -> Figure:
    """The proportion of pain by predicted probability, raw and corrected."""
    figure = style.new_figure(corpus.dataset, "Probabilities and proportions of pain", 3.6)
    grid = figure.subplots(1, len(tested), sharey=True, squeeze=False)[0]
    looks = {"raw": ("probability", style.PAIN, "o-"), "corrected": ("corrected", THIS, "s-")}
    for axes, (model, predictions) in zip(grid, tested.items(), strict=True):
        for name, (column, colour, look) in looks.items():
            found = scores.pooled_scores(predictions, column)
            slope, intercept, brier = (style.number(found[one]) for one in CALIBRATION)
            label = f"{name}: slope {slope}, intercept {intercept}, Brier {brier}"
            proportion, mean = calibration.calibration_curve(
                predictions["pain"], predictions[column], n_bins=BINS, strategy="quantile"
            )
            axes.plot(mean, proportion, look, color=colour, lw=1.1, label=label)
        axes.axline((0, 0), slope=1, **CHANCE)
        axes.set(**UNIT, aspect="equal", title=model, xlabel="predicted probability of pain")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)
    grid[0].set_ylabel("proportion of pain")
    return figure


@style.styled
def compared(corpus, title: str, arms: dict, resamples: pd.DataFrame, colours=(THIS,)) -> Figure:
    """F1 and AUC of named predictions: each fold, and pooled with its interval.

    `colours` are taken in turn. The line of always saying pain is for the frames of the first.
    Without `arms` the figure says that nothing was compared.
    """
    if not arms:
        said = "Compared only from the demo's backbones."
        return style.sentence_instead(corpus.dataset, title, said)
    figure = style.new_figure(corpus.dataset, title, 1.35 + 0.36 * len(arms))
    panels = figure.subplots(1, 2, sharey=True)
    first = next(iter(arms.values()))
    for axes, (name, label) in zip(panels, SHOWN.items(), strict=True):
        for row, (predictions, colour) in enumerate(zip(arms.values(), cycle(colours))):
            folds = bootstrap.fold_values(predictions, name)
            pooled = bootstrap.estimate_of(predictions, resamples, name)
            style.draw_interval(axes, *pooled, row, colour)
            above = np.full(len(folds), row - 0.25)
            axes.plot(folds, above, "o", color=colour, ms=4, mfc="none", clip_on=False)
        blind = bootstrap.pooled_value(bootstrap.always_pain(first), name)
        axes.axvline(blind, color=MUTED, linestyle="--", lw=1)
        axes.set(xlabel=label, xlim=(-0.03, 1.03))
        style.name_rows(axes, list(arms))
    interval = f"pooled, {bootstrap.LEVEL} % interval"
    handles = [
        Line2D([], [], color=MUTED, ls="", marker="o", ms=4, mfc="none", label="one fold"),
        Line2D([], [], color=MUTED, lw=2, marker="D", ms=5, label=interval),
        Line2D([], [], color=MUTED, ls="--", lw=1, label="always pain"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure
