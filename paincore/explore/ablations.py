"""The configurations of chapter 05, side by side, at any decision threshold. Chapter 08."""

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from paincore.ablations.search import Ablation
from paincore.data.corpus import Corpus
from paincore.explore.explorer import Explorer, choice, slider
from paincore.explore.players import picture_of, player
from paincore.statistics.scores import MetricError, called_pain
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, styled

HALF, FROM_OTHERS, BY_HAND = "0.5, as in the paper", "from other folds", "by hand"
COLOURS = (THIS, PAIN, "#009E73", "#CC79A7", "#E69F00")
DASHES, MARKERS = ("-", "--", ":"), ("o", "s", "^")  # 15 curves that can be told from each other
CURVES = ("ROC", "precision and recall")
HALVES = (0, 0.5, 1)
STOPS = np.arange(1, 20) / 20  # thresholds of the rendered slider


def best_threshold(pain: np.ndarray, probability: np.ndarray) -> float:
    """The threshold with the highest F1: halfway between the last two probabilities it divides.

    `pain` bool (n,), `probability` (n,); a frame above the threshold is predicted as pain. Of
    equals the highest. Raises MetricError where a class is missing.
    """
    pain, probability = np.asarray(pain, bool), np.asarray(probability, np.float64)
    if pain.all() or not pain.any():
        raise MetricError("a threshold needs frames of both classes to be chosen on")
    order = np.argsort(-probability, kind="stable")
    values, first, counts = np.unique(-probability[order], return_index=True, return_counts=True)
    values, predicted = -values, first + counts
    hits = np.cumsum(pain[order])[predicted - 1]
    best = int(np.argmax(2 * hits / (predicted + pain.sum())))
    if best + 1 == len(values):  # everything is called pain, frames with a probability of 0 too
        return float(np.nextafter(0, -1))
    return float((values[best] + values[best + 1]) / 2)


def thresholds_from_other_folds(predictions: pd.DataFrame) -> pd.Series:
    """For each fold the best threshold on the test predictions of the other folds, index `fold`.

    The models that made those predictions were trained on this fold's people, so the choice is not
    independent of its test: for that, models of inner folds would have to be trained.
    `predictions` as in `paincore.statistics.scores`.
    """
    folds = np.unique(predictions["fold"])
    others = {fold: predictions[predictions["fold"] != fold] for fold in folds}
    found = {f: best_threshold(o["pain"], o["probability"]) for f, o in others.items()}
    return pd.Series(found, name="threshold").rename_axis("fold")


def decided(predictions: pd.DataFrame, threshold: pd.Series | float) -> dict[str, float]:
    """Pooled over folds: tn, fp, fn, tp, precision, recall and f1 at a threshold, or one a fold.

    Precision and recall are NaN where nothing is predicted or there is no pain.
    """
    if isinstance(threshold, pd.Series):
        threshold = predictions["fold"].map(threshold)
    pain = predictions["pain"].to_numpy(bool)
    said = called_pain(predictions["probability"], threshold)
    tp, fp = int((said & pain).sum()), int((said & ~pain).sum())
    fn, tn = int((~said & pain).sum()), int((~said & ~pain).sum())
    return {
        "tn": tn, "fp": fp, "fn": fn, "tp": tp,
        "precision": tp / (tp + fp) if tp + fp else np.nan,
        "recall": tp / (tp + fn) if tp + fn else np.nan,
        "f1": 2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else np.nan,
    }  # fmt: skip


def threshold_of(predictions: pd.DataFrame, rule: str, value: float) -> pd.Series | float:
    """What a rule of the widget makes of the predictions: a threshold, or one for each fold."""
    if rule == FROM_OTHERS:
        return thresholds_from_other_folds(predictions)
    return 0.5 if rule == HALF else value


@styled
def ablations_figure(
    corpus: Corpus,
    ablation: Ablation,
    titles: Sequence[str],
    rule: str = HALF,
    value: float = 0.5,
    curve: str = CURVES[0],
) -> Figure:
    """F1 and AUC by fold, curves, and what is decided; the first of `titles` has the latter two.

    `titles` are those of the ablation's trials. Chapter 08.
    """
    chosen = _chosen(ablation, titles)
    columns = 2 if max(map(len, chosen)) > 30 else 3
    figure = new_figure(corpus.dataset, titles[0], 4.6 + 0.15 * -(-len(chosen) // columns))
    (scores, curves), (table, reliability) = figure.subplots(2, 2, height_ratios=(1.15, 1))
    apart = min(0.14, 0.85 / len(chosen))
    for number, (title, predictions) in enumerate(chosen.items()):
        again, colour = divmod(number, len(COLOURS))
        look = {"color": COLOURS[colour], "ls": DASHES[again % len(DASHES)]}
        marker = MARKERS[again % len(MARKERS)]
        own = ablation.scores[ablation.scores["title"] == title].drop_duplicates("fold")
        for place, name in enumerate(("f1", "auc")):
            across = place + (number - (len(chosen) - 1) / 2) * apart
            ends = across + np.array([-0.35, 0.35]) * apart
            scores.plot(np.full(len(own), across), own[name], **look | {"ls": ""}, marker=marker,
                        ms=min(4, 35 * apart), alpha=0.5)  # fmt: skip
            scores.plot(ends, [own[name].mean()] * 2, color=look["color"], lw=2)
        _draw_curve(curves, predictions, curve, look)
        curves.plot([], [], **look, marker=marker, ms=4, label=title)
    scores.set(xticks=(0, 1), xlim=(-0.5, 1.5), ylim=(0, 1), yticks=HALVES)
    scores.set_xticklabels(["F1", "AUC"])
    scores.set_title("each fold, and their mean")
    scores.grid(axis="y")
    figure.legend(
        *curves.get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=7
    )
    first = next(iter(chosen.values()))
    _draw_table(table, decided(first, threshold_of(first, rule, value)))
    _draw_calibration(reliability, first)
    return figure


@styled
def threshold_figure(
    corpus: Corpus, ablation: Ablation, title: str, threshold: float, own: float | None = None
) -> Figure:
    """What one threshold decides, and where it stands between precision and recall.

    `own` is the threshold that is marked as chosen on other folds. Chapter 05.
    """
    predictions = _chosen(ablation, [title])[title]
    found = decided(predictions, threshold)
    figure = Figure(figsize=(6.4, 3))
    table, curve = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _draw_table(table, found)
    table.set_title(f"threshold {threshold:.2f}: pooled F1 {found['f1']:.2f}", fontweight="bold")
    curve.set_title(title)
    values = np.linspace(0.02, 0.98, 49)
    each = pd.DataFrame([decided(predictions, value) for value in values])
    for name, colour in (("precision", THIS), ("recall", PAIN), ("f1", "black")):
        curve.plot(values, each[name], color=colour, lw=1.3, label=name.replace("f1", "F1"))
    curve.axvline(threshold, color="black", lw=1)
    if own is not None:
        curve.axvline(own, color=PAPER, lw=1, linestyle="--", label=FROM_OTHERS)
    curve.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="decision threshold")
    figure.legend(
        *curve.get_legend_handles_labels(), loc="outside lower right", ncols=4, fontsize=7
    )
    return figure


def move_threshold(corpus: Corpus, ablations: Mapping[str, Ablation]) -> ipywidgets.VBox:
    """For the rendered book: what the best configuration decides at each threshold. Chapter 05."""
    ablation = next(iter(ablations.values()))
    title = next(
        t.configuration.title for t in _whole(ablation) if t.configuration == ablation.best
    )
    own = thresholds_from_other_folds(ablation.predictions[ablation.best]).mean()
    pictures = []
    for value in STOPS:
        figure = threshold_figure(corpus, ablation, title, value, own)
        words = decision_sentence(ablation, [title], BY_HAND, float(value))
        pictures.append(picture_of(figure, corpus.dataset, words))
    return player(pictures, "threshold", int(np.argmin(abs(STOPS - 0.5))))


def explore_ablations(corpus: Corpus, ablations: Mapping[str, Ablation]) -> Explorer:
    """Configurations of chapter 05 against each other, and the first of them at any threshold.

    `ablations` is what `paincore.ablations.search.ablate` returns. Chapter 08.
    """
    model = choice("model", list(ablations))
    configurations = ipywidgets.SelectMultiple(
        description="configurations", rows=6, style={"description_width": "8.5em"},
        layout={"width": "28em", "max_width": "100%"},
    )  # fmt: skip
    rule = choice("threshold", [HALF, FROM_OTHERS, BY_HAND])
    by_hand = slider("by hand", 0.0, 1.0, 0.01, 0.5)
    curve = choice("curve", CURVES)
    controls = {"model": model, "titles": configurations, "rule": rule, "value": by_hand}
    controls["curve"] = curve

    def refill(change=None) -> None:
        titles = list(
            dict.fromkeys(trial.configuration.title for trial in _whole(ablations[model.value]))
        )
        best = next(
            t.configuration.title for t in _whole(ablations[model.value])
            if t.configuration == ablations[model.value].best
        )  # fmt: skip
        configurations.options = titles
        configurations.value = (best,)

    def disable(change=None) -> None:
        by_hand.disabled = rule.value != BY_HAND

    refill(), disable()
    model.observe(refill, "value")
    rule.observe(disable, "value")

    def draw(model: str, titles, rule: str, value: float, curve: str) -> Figure:
        return ablations_figure(corpus, ablations[model], titles, rule, value, curve)

    def say(model: str, titles, rule: str, value: float, curve: str) -> str:
        return decision_sentence(ablations[model], titles, rule, value)

    return Explorer(controls, draw, say)


def decision_sentence(ablation: Ablation, titles: Sequence[str], rule: str, value: float) -> str:
    """What is decided at the threshold, and on what it was chosen."""
    title, predictions = next(iter(_chosen(ablation, titles).items()))
    threshold = threshold_of(predictions, rule, value)
    found = decided(predictions, threshold)
    each = [threshold] if isinstance(threshold, float) else sorted(threshold)
    where = f"{each[0]:.2f}" + (f" to {each[-1]:.2f}" if len(each) > 1 else "")
    origin = {
        HALF: "as in the paper, chosen on no data",
        FROM_OTHERS: "chosen for each fold on the test predictions of the other folds, whose "
        "models were trained on this fold's people, so these figures may be optimistic",
        BY_HAND: "chosen with the test folds in view, so these figures are optimistic",
    }[rule]
    return (
        f"{title}, threshold {where}, {origin}: F1 {found['f1']:.2f}, precision "
        f"{found['precision']:.2f}, recall {found['recall']:.2f}; {found['tp']:,} frames of pain "
        f"found, {found['fn']:,} missed, {found['fp']:,} false alarms."
    )


def _whole(ablation: Ablation) -> list:
    return [trial for trial in ablation.trials if trial.configuration in ablation.predictions]


def _chosen(ablation: Ablation, titles: Sequence[str]) -> dict[str, pd.DataFrame]:
    known = {trial.configuration.title: trial.configuration for trial in _whole(ablation)}
    if not titles:
        raise MetricError("no configuration is chosen: choose one of the list, or several")
    if wrong := [title for title in titles if title not in known]:
        raise MetricError(f"no configuration {wrong[0]!r}; there are {', '.join(known)}")
    return {title: ablation.predictions[known[title]] for title in titles}


def _draw_curve(axes: Axes, predictions: pd.DataFrame, curve: str, look: dict) -> None:
    pain, probability = predictions["pain"], predictions["probability"]
    if curve == CURVES[0]:
        across, up, _ = roc_curve(pain, probability)
        axes.set(xlabel="share of painless frames predicted as pain", ylabel="recall")
    else:
        up, across, _ = precision_recall_curve(pain, probability)
        axes.set(xlabel="recall", ylabel="precision")
    axes.plot(across, up, **look, lw=1.3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=HALVES, yticks=HALVES)
    axes.set_title("all folds together")


def _draw_table(axes: Axes, found: Mapping[str, float]) -> None:
    """The four counts, darker where more frames of that row are."""
    counts = np.array([[found["tn"], found["fp"]], [found["fn"], found["tp"]]], float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count:,.0f}", ha="center", va="center", color=colour)
    axes.set(xticks=(0, 1), yticks=(0, 1))
    axes.set_xticklabels(["said: no pain", "said: pain"])
    axes.set_yticklabels(["no pain", "pain"])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_calibration(axes: Axes, predictions: pd.DataFrame) -> None:
    axes.axline((0, 0), slope=1, color=PAPER, lw=0.8, linestyle="--")
    share, said = calibration_curve(
        predictions["pain"], predictions["corrected"], n_bins=10, strategy="quantile"
    )
    axes.plot(said, share, "o-", color=THIS, ms=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=HALVES, yticks=HALVES)
    axes.set_xlabel("probability, corrected for balanced training")
    axes.set_ylabel("frames with pain", color=MUTED)
    axes.set_title("calibration, tenths of the frames")
