from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.statistics.bootstrap import resample_subjects
from paincore.training import figures
from paincore.training.configuration import configure
from tests.helpers.drawn import SYNTHETIC, assert_drawn_for, is_sentence, texts
from tests.helpers.predicted import predictions

TABLE = predictions(folds=5, subjects=5)
TESTED, RESAMPLES = {"ViT": TABLE, "ViViT": TABLE}, resample_subjects(TABLE, count=50)
NAMES = ("training samples", "balanced training samples", "test samples")


def run(model: str, fold: int, loss: float = 1.0) -> SimpleNamespace:
    history = pd.DataFrame({"step": np.arange(1, 31), "loss": loss, "accuracy": 0.5})
    settings = configure(model=model)
    return SimpleNamespace(history=history, configuration=settings, rests_on={"fold": fold})


def test_every_figure_fits_its_canvas_and_says_that_its_corpus_is_synthetic():
    balance = pd.DataFrame({name: [20.0, 30.0] for name in NAMES}, index=[1, 2])
    runs = [run(model, fold) for model in ("vit", "vivit") for fold in (1, 2)]
    compared = figures.compared(SYNTHETIC, "Beside", TESTED, RESAMPLES)
    drawn = [figures.class_balance(SYNTHETIC, balance), figures.learning_curves(SYNTHETIC, runs)]
    drawn += [draw(SYNTHETIC, TESTED) for draw in (figures.confusion, figures.threshold_curves)]
    for figure in (*drawn, figures.reliability(SYNTHETIC, TESTED), compared):
        assert_drawn_for(SYNTHETIC, figure)
    assert is_sentence(figures.compared(SYNTHETIC, "Views", {}, RESAMPLES))
    for axes in compared.axes:
        ends, pooled, folds = (line.get_xdata() for line in axes.lines[:3])
        assert ends[0] < pooled[0] < ends[1]
        assert len(folds) == 5


def test_learning_curves_average_seeds():
    loss, _ = figures.learning_curves(SYNTHETIC, [run("vit", 4, 1.0), run("vit", 4, 3.0)]).axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 2.0)


def test_a_confusion_matrix_holds_the_counts_of_its_fold():
    table = predictions(folds=1)
    table["probability"] = np.where(table["pain"], 0.9, 0.1)
    pain, no_pain = int(table["pain"].sum()), int((~table["pain"]).sum())
    for axes in figures.confusion(SYNTHETIC, {"ViT": table}).axes:
        cells = [text.get_text() for text in axes.texts]
        assert cells == [f"{no_pain}\n100 %", "0\n0 %", "0\n0 %", f"{pain}\n100 %"]


def test_of_several_seeds_matrices_and_curves_show_the_first():
    table = predictions()
    both = pd.concat([table.assign(seed=0), table.assign(seed=1, probability=0.0)])
    for draw in (figures.confusion, figures.threshold_curves):
        one, two = draw(SYNTHETIC, {"ViT": table}), draw(SYNTHETIC, {"ViT": both})
        assert texts(one) == texts(two)
        assert [len(a.lines) for a in one.axes] == [len(a.lines) for a in two.axes]


def test_curves_go_through_the_threshold_and_a_fold_of_one_class_has_none():
    table = predictions(folds=1)
    roc, precision = figures.threshold_curves(SYNTHETIC, {"ViT": table}).axes
    curve, dot = roc.lines[0].get_xydata(), roc.lines[1].get_xydata()[0]
    assert curve[[0, -1]].tolist() == [[0, 0], [1, 1]]
    pain, said = table["pain"], table["probability"] > 0.5
    recall = (said & pain).sum() / pain.sum()
    assert dot == pytest.approx([(said & ~pain).sum() / (~pain).sum(), recall])
    assert precision.lines[1].get_xydata()[0] == pytest.approx([recall, pain[said].mean()])
    assert precision.lines[0].get_xdata().min() > 0
    more = pd.concat([table, table.assign(fold=2, pain=False)])
    roc, _ = figures.threshold_curves(SYNTHETIC, {"ViT": more}).axes
    assert len(roc.lines) == 5  # one fold and the pooled samples with a dot each, chance


def test_probabilities_that_are_right_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    probability = rng.random(40_000)
    table = pd.DataFrame({"probability": probability, "corrected": probability / 2})
    table["pain"] = rng.random(40_000) < probability
    table = table.assign(fold=1, subject="s", sequence="q", frame=np.arange(40_000))
    (axes,) = figures.reliability(SYNTHETIC, {"ViT": table}).axes
    raw, corrected = (line.get_xydata() for line in axes.lines[:2])
    assert len(raw) == figures.BINS
    np.testing.assert_allclose(raw[:, 0], raw[:, 1], atol=0.02)
    np.testing.assert_allclose(2 * corrected[:, 0], corrected[:, 1], atol=0.02)
