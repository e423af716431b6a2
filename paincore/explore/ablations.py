"""The configurations of chapter 05, side by side, at any decision threshold."""

from collections.abc import Mapping
from functools import partial
from itertools import cycle

import ipywidgets
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.figure import Figure
from sklearn import metrics

from paincore import PaincoreError
from paincore.ablations.search import Ablation
from paincore.data.corpus import Corpus
from paincore.explore.explorer import LABELLED, Explorer, Shown, choice, slider
from paincore.explore.players import player, player_image
from paincore.statistics.scores import MetricError, called_pain, score
from paincore.style import PAIN, PAPER, THIS, new_figure, number, styled

CURVES = ("ROC", "precision and recall")
CURVE_COLOURS = (THIS, PAIN, "#009E73", "#CC79A7", "#E69F00")
LOOKS = cycler(ls=("-", "--", ":", "-.")) * cycler(color=CURVE_COLOURS)


def best_threshold(pain: np.ndarray, probability: np.ndarray) -> float:
    """The threshold with the highest F1: halfway between the two probabilities that it divides.

    `pain` bool (n,), `probability` (n,); a frame above the threshold is predicted as pain. Of
    equals the highest. Raises MetricError where a class is missing.
    """
    pain, probability = np.asarray(pain, bool), np.asarray(probability, np.float64)
    if pain.all() or not pain.any():
        raise MetricError("a threshold needs frames of both classes to be chosen on")
    values = np.unique(probability)
    predicted = len(pain) - np.searchsorted(np.sort(probability), values)
    hits = pain.sum() - np.searchsorted(np.sort(probability[pain]), values)
    f1 = 2 * hits / (predicted + pain.sum())  # where each value and all above it are called pain
    best = np.flatnonzero(f1 == f1.max())[-1]
    return float((values[best - 1] + values[best]) / 2 if best else np.nextafter(0, -1))


def thresholds_from_other_folds(predictions: pd.DataFrame) -> pd.Series:
    """For each fold the best threshold on the test predictions of the other folds, index `fold`.

    The models that made those predictions were trained on this fold's people, so the choice is not
    independent of its test: for that, models of inner folds would have to be trained.
    `predictions` as in `paincore.statistics.scores`.
    """
    folds = pd.Index(np.unique(predictions["fold"]), name="fold")
    others = [predictions[predictions["fold"] != fold] for fold in folds]
    return pd.Series([best_threshold(o["pain"], o["probability"]) for o in others], folds)


def threshold_text(predictions: pd.DataFrame, threshold: float) -> str:
    """F1, precision and recall at a threshold, all folds pooled."""
    found = score(predictions["pain"], predictions["probability"], threshold)
    f1, precision, recall = (number(found[name]) for name in ("f1", "precision", "recall"))
    return f"threshold {threshold:.2f}: F1 {f1}, precision {precision}, recall {recall}"


@styled
def threshold_figure(
    corpus: Corpus, chosen: Mapping[str, pd.DataFrame], threshold: float, curve: str = CURVES[0]
) -> Figure:
    """A curve for each of `chosen`, predictions by title; for the first of them the confusion
    matrix at a threshold, and precision, recall and F1 at all.

    The dashes mark the mean of `thresholds_from_other_folds`. All folds are pooled.
    """
    title, first = next(iter(chosen.items()))
    lines = -(-len(chosen) // 2)
    figure = new_figure(corpus.dataset, f"{title}, threshold {threshold:.2f}", 3 + 0.15 * lines)
    curves, counts, scores = figure.subplots(1, 3)
    for (name, one), look in zip(chosen.items(), cycle(LOOKS), strict=False):
        if curve == "ROC":
            x, y, _ = metrics.roc_curve(one["pain"], one["probability"])
        else:
            y, x, _ = metrics.precision_recall_curve(one["pain"], one["probability"])
        curves.plot(x, y, **look, lw=1.3, label=name)
    names = ("false positive rate", "recall") if curve == "ROC" else ("recall", "precision")
    curves.set(xlabel=names[0], ylabel=names[1], title=curve)
    figure.legend(handles=curves.lines, loc="outside lower center", ncols=2, fontsize=7)
    pain = first["pain"].astype(bool)
    metrics.ConfusionMatrixDisplay.from_predictions(
        pain, called_pain(first["probability"], threshold), labels=[False, True], ax=counts,
        display_labels=["no pain", "pain"], cmap="Blues", colorbar=False, values_format=",d",
    )  # fmt: skip
    precision, recall, values = metrics.precision_recall_curve(pain, first["probability"])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    for values_of, colour in ((precision, THIS), (recall, PAIN), (f1, "black")):
        scores.plot(values, values_of[:-1], color=colour, lw=1.3)
    scores.legend(["precision", "recall", "F1"], fontsize=7)
    scores.axvline(threshold, color="black", lw=1)
    scores.axvline(thresholds_from_other_folds(first).mean(), color=PAPER, lw=1, ls="--")
    scores.set(xlabel="threshold", title="all thresholds")
    for axes in (curves, scores):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    return figure


def move_threshold(corpus: Corpus, ablations: Mapping[str, Ablation]) -> ipywidgets.VBox:
    """For the rendered book: the best configuration of the first model at each threshold."""
    ablation = next(iter(ablations.values()))
    title, best = ablation.best.title, ablation.predictions[ablation.best]
    images = []
    for threshold in np.arange(1, 20) / 20:
        figure = threshold_figure(corpus, {title: best}, threshold)
        images.append(player_image(figure, corpus.dataset, threshold_text(best, threshold)))
    return player(images, "threshold", first=9)


def explore_ablations(corpus: Corpus, ablations: Mapping[str, Ablation]) -> Explorer:
    """Configurations of chapter 05 against each other, and the first of them at any threshold.

    `ablations` is what `paincore.ablations.search.ablate` returns.
    """
    tables = {
        configuration.title: table
        for ablation in ablations.values()
        for configuration, table in ablation.predictions.items()
    }
    best = next(iter(ablations.values())).best.title
    controls = {
        "titles": ipywidgets.SelectMultiple(
            options=list(tables), value=[best], description="configurations", rows=8, **LABELLED
        ),
        "curve": choice("curve", CURVES),
        "threshold": slider("threshold", 0, 1, 0.01, 0.5),
    }

    def show(titles: tuple[str, ...], curve: str, threshold: float) -> Shown:
        if not titles:
            raise PaincoreError("no configuration is chosen: choose one of the list, or several")
        chosen = {title: tables[title] for title in titles}
        text = f"{titles[0]}, {threshold_text(tables[titles[0]], threshold)}"
        return Shown(text, partial(threshold_figure, corpus, chosen, threshold, curve))

    return Explorer(controls, show)
