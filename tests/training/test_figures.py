from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from paincore.manifest import dataset_named
from paincore.statistics.bootstrap import resample_subjects
from paincore.training import figures
from paincore.training.configuration import configure
from tests.helpers.predicted import predictions

SYNTHETIC, REAL = (SimpleNamespace(dataset=dataset_named(name)) for name in ("synthetic", "unbc"))
TABLE = predictions(folds=5, subjects=5)
TESTED, RESAMPLES = {"ViT": TABLE, "ViViT": TABLE}, resample_subjects(TABLE, count=50)
NAMES = ("training samples", "balanced training samples", "test samples")
BALANCE = pd.DataFrame({name: [20.0, 30.0] for name in NAMES}, index=[1, 2])


def run(model: str, fold: int, seed: int = 0, loss: float = 1.0) -> SimpleNamespace:
    history = pd.DataFrame({"step": np.arange(1, 31), "loss": loss, "accuracy": 0.5})
    rests_on = {"fold": fold, "seed": seed}
    return SimpleNamespace(history=history, configuration=configure(model=model), rests_on=rests_on)


RUNS = [run(model, fold) for model in ("vit", "vivit") for fold in (1, 2)]
DRAWN = {
    "balance": lambda corpus: figures.balance(corpus, BALANCE),
    "learning": lambda corpus: figures.learning_curves(corpus, RUNS),
    "confusion": lambda corpus: figures.confusion(corpus, TESTED),
    "curves": lambda corpus: figures.curves(corpus, TESTED),
    "reliability": lambda corpus: figures.reliability(corpus, TESTED),
    "compared": lambda corpus: figures.compared(corpus, "Beside", TESTED, RESAMPLES),
    "nothing": lambda corpus: figures.compared(corpus, "Views", {}, RESAMPLES),
}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_a_figure_fits_its_canvas_and_says_whether_its_corpus_is_synthetic(draw):
    figure = draw(SYNTHETIC)
    assert "synthetic corpus" in texts(figure)
    assert "synthetic corpus" not in texts(draw(REAL))
    figure.draw_without_rendering()
    inches, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert inches.x0 > -0.01 and inches.y0 > -0.01
    assert inches.x1 < width + 0.01 and inches.y1 < height + 0.01


def test_learning_curves_average_seeds():
    runs = [run("vit", 4, 0, loss=1.0), run("vit", 4, 1, loss=3.0)]
    loss, accuracy = figures.learning_curves(SYNTHETIC, runs).axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 2.0)
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), 0.5)


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
    for draw in (figures.confusion, figures.curves):
        one, two = draw(SYNTHETIC, {"ViT": table}), draw(SYNTHETIC, {"ViT": both})
        assert texts(one) == texts(two)
        assert [len(a.lines) for a in one.axes] == [len(a.lines) for a in two.axes]


def test_a_fold_with_one_class_has_no_curve():
    table = predictions()
    whole = figures.curves(SYNTHETIC, {"ViT": table})
    table.loc[table["fold"] == 2, "pain"] = False
    part = figures.curves(SYNTHETIC, {"ViT": table})
    assert [len(axes.lines) for axes in whole.axes] == [len(axes.lines) + 2 for axes in part.axes]


def test_roc_curves_rise_from_nothing_to_everything_through_the_threshold():
    table = predictions(folds=1)
    roc, precision = figures.curves(SYNTHETIC, {"ViT": table}).axes
    curve, dot = roc.lines[0].get_xydata(), roc.lines[1].get_xydata()[0]
    assert curve[[0, -1]].tolist() == [[0, 0], [1, 1]]
    pain, said = table["pain"], table["probability"] > 0.5
    assert dot == pytest.approx(
        [(said & ~pain).sum() / (~pain).sum(), (said & pain).mean() / pain.mean()]
    )
    recall, precise = precision.lines[1].get_xydata()[0]
    assert (recall, precise) == pytest.approx((dot[1], pain[said].mean()))
    assert precision.lines[0].get_xdata().min() > 0


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


def test_an_arm_shows_each_fold_and_the_pooled_score_within_its_interval():
    for axes in figures.compared(SYNTHETIC, "Beside", TESTED, RESAMPLES).axes:
        ends, pooled, folds = (line.get_xdata() for line in axes.lines[:3])
        assert ends[0] < pooled[0] < ends[1]
        assert len(folds) == 5
