"""The configurations of chapter 05, side by side, at any decision threshold."""

from functools import partial
from itertools import chain, cycle

import ipywidgets
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.figure import Figure
from sklearn import metrics

from paincore import PaincoreError
from paincore.ablations.search import Ablation
from paincore.data.corpus import Corpus
from paincore.explore.explorer import LABELLED, Explorer, Shown, slider
from paincore.explore.players import player
from paincore.statistics.scores import called_pain, score
from paincore.style import PAIN, PAPER, THIS, new_figure, number, styled

CURVE_COLOURS = (THIS, PAIN, "#009E73", "#CC79A7", "#E69F00")
LOOKS = cycler(ls=("-", "--", ":", "-.")) * cycler(color=CURVE_COLOURS)


def at_all_thresholds(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 of frames above each threshold, the index, halfway between two
    probabilities; the first lies below all of them.

    `predictions` as in `paincore.statistics.scores`.
    """
    pain, probability = predictions["pain"].astype(bool), predictions["probability"]
    precision, recall, values = metrics.precision_recall_curve(pain, probability)
    halfway = pd.Series(values).rolling(2).mean().fillna(-1e-9)
    table = pd.DataFrame({"precision": precision[:-1], "recall": recall[:-1]}, halfway)
    return table.assign(F1=2 * table.product(axis=1) / table.sum(axis=1).clip(1e-12))


def thresholds_from_other_folds(predictions: pd.DataFrame) -> pd.Series:
    """For each fold the threshold with the best F1 on the test predictions of the other folds, of
    equals the highest; index `fold`.

    The models that made those predictions were trained on this fold's people, so the choice is not
    independent of its test: for that, models of inner folds would have to be trained.
    """
    folds = pd.Index(np.unique(predictions["fold"]), name="fold")
    others = [at_all_thresholds(predictions[predictions["fold"] != fold]) for fold in folds]
    return pd.Series([table["F1"][::-1].idxmax() for table in others], folds)


def threshold_text(predictions: pd.DataFrame, threshold: float) -> str:
    """F1, precision and recall at a threshold, all folds pooled."""
    found = score(predictions["pain"], predictions["probability"], threshold)
    f1, precision, recall = (number(found[name]) for name in ("f1", "precision", "recall"))
    return f"threshold {threshold:.2f}: F1 {f1}, precision {precision}, recall {recall}"


@styled
def threshold_figure(corpus: Corpus, chosen: dict[str, pd.DataFrame], threshold: float) -> Figure:
    """The ROC curve of each of `chosen`, predictions by title; for the first of them the confusion
    matrix at a threshold, and precision, recall and F1 at all.

    The dashes mark the mean of `thresholds_from_other_folds`. All folds are pooled.
    """
    title, first = next(iter(chosen.items()))
    height = 3 + 0.15 * -(-len(chosen) // 2)  # the legend has two columns
    figure = new_figure(corpus.dataset, f"{title}, threshold {threshold:.2f}", height)
    curves, counts, scores = figure.subplots(1, 3)
    for (name, one), look in zip(chosen.items(), cycle(LOOKS), strict=False):
        x, y, _ = metrics.roc_curve(one["pain"], one["probability"])
        curves.plot(x, y, **look, lw=1.3, label=name)
    curves.set(xlabel="false positive rate", ylabel="recall", title="ROC")
    figure.legend(handles=curves.lines, loc="outside lower center", ncols=2, fontsize=7)
    called = called_pain(first["probability"], threshold)
    found = metrics.confusion_matrix(first["pain"].astype(bool), called, labels=[False, True])
    display = metrics.ConfusionMatrixDisplay(found, display_labels=["no pain", "pain"])
    display.plot(ax=counts, values_format=",d", cmap="Blues", colorbar=False)
    table = at_all_thresholds(first)
    for name, colour in zip(table.columns, (THIS, PAIN, "black"), strict=True):
        scores.plot(table[name], color=colour, lw=1.3, label=name)
    scores.legend(fontsize=7)
    scores.axvline(threshold, color="black", lw=1)
    scores.axvline(thresholds_from_other_folds(first).mean(), color=PAPER, lw=1, ls="--")
    scores.set(xlabel="threshold", title="all thresholds")
    for axes in (curves, scores):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    return figure


def move_threshold(corpus: Corpus, ablations: dict[str, Ablation]) -> ipywidgets.VBox:
    """For the rendered book: the best configuration of the first model at each threshold."""
    explorer = explore_ablations(corpus, ablations)
    best, thresholds = explorer.state["titles"], np.arange(1, 20) / 20
    return player([explorer.show(best, threshold) for threshold in thresholds], "threshold", 9)


def explore_ablations(corpus: Corpus, ablations: dict[str, Ablation]) -> Explorer:
    """Configurations of chapter 05 against each other, and the first of them at any threshold.

    `ablations` is what `paincore.ablations.search.ablate` returns.
    """
    every = [ablation.predictions.items() for ablation in ablations.values()]
    tables = {configuration.title: table for configuration, table in chain(*every)}
    best = next(iter(ablations.values())).best.title
    controls = {
        "titles": ipywidgets.SelectMultiple(
            options=list(tables), value=[best], description="configurations", rows=8, **LABELLED
        ),
        "threshold": slider("threshold", 0, 1, 0.01, 0.5),
    }

    def show(titles: tuple[str, ...], threshold: float) -> Shown:
        if not titles:
            raise PaincoreError("no configuration is chosen: choose one of the list, or several")
        chosen = {title: tables[title] for title in titles}
        text = f"{titles[0]}, {threshold_text(tables[titles[0]], threshold)}"
        return Shown(text, partial(threshold_figure, corpus, chosen, threshold))

    return Explorer(controls, show)
