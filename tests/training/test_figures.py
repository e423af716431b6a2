from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.manifest import dataset_named
from paincore.statistics.bootstrap import resample_subjects
from paincore.training import figures as training_figures
from paincore.training.comparison import VIEWS
from tests.data.test_figures import is_sentence, texts
from tests.helpers.predicted import predictions

SYNTHETIC, FILMS = (SimpleNamespace(dataset=dataset_named(name)) for name in ("synthetic", "unbc"))


def histories() -> pd.DataFrame:
    steps = np.arange(1, 31)
    parts = [
        pd.DataFrame(
            {"model": model, "fold": fold, "step": steps, "loss": 1 / steps, "accuracy": 1}
        )
        for model in ("ViT", "ViViT")
        for fold in (1, 2)
    ]
    return pd.concat(parts, ignore_index=True)


def all_figures(corpus) -> dict:
    table = predictions()
    tested, draws = {"ViT": table, "ViViT": table}, resample_subjects(table, count=50)
    shares = pd.DataFrame(
        {"fold": [1, 2], "samples": 9, "trained": 20.0, "drawn": 50.0, "tested": 30.0}
    )
    views = {("random", view): table for view in VIEWS}
    return {
        "balance": training_figures.balance(corpus, shares),
        "curves": training_figures.learning_curves(corpus, histories()),
        "confusion": training_figures.confusion(corpus, tested),
        "roc": training_figures.curves(corpus, tested),
        "reliability": training_figures.reliability(corpus, tested),
        "compared": training_figures.compared(corpus, "Beside", tested, draws),
        "backbones": training_figures.backbones(corpus, views, draws),
    }


def test_a_figure_says_whether_its_corpus_is_synthetic_and_what_its_axes_measure():
    films = all_figures(FILMS)
    for name, figure in all_figures(SYNTHETIC).items():
        assert "synthetic corpus" in texts(figure), name
        assert "synthetic corpus" not in texts(films[name]), name
        named = [axes.get_xlabel() for axes in figure.axes] + [texts(figure)] * (
            name == "confusion"
        )
        assert any(named), name


def test_a_confusion_matrix_holds_the_counts_of_its_fold():
    table = predictions(folds=1)
    table["probability"] = np.where(table["pain"], 0.9, 0.1)
    figure = training_figures.confusion(SYNTHETIC, {"ViT": table})
    painful, painless = int(table["pain"].sum()), int((~table["pain"]).sum())
    for axes in figure.axes:
        cells = [text.get_text() for text in axes.texts]
        assert cells == [f"{painless}\n100 %", "0\n0 %", "0\n0 %", f"{painful}\n100 %"]


def test_of_several_seeds_matrices_and_curves_show_the_first():
    table = predictions()
    both = pd.concat([table.assign(seed=0), table.assign(seed=1, probability=0.0)])
    for draw in (training_figures.confusion, training_figures.curves):
        one, two = draw(SYNTHETIC, {"ViT": table}), draw(SYNTHETIC, {"ViT": both})
        assert texts(one) == texts(two)
        assert [len(a.lines) for a in one.axes] == [len(a.lines) for a in two.axes]


def test_a_fold_with_one_class_has_no_curve():
    table = predictions()
    whole = training_figures.curves(SYNTHETIC, {"ViT": table})
    table.loc[table["fold"] == 2, "pain"] = False
    part = training_figures.curves(SYNTHETIC, {"ViT": table})
    assert [len(axes.lines) for axes in whole.axes] == [len(axes.lines) + 2 for axes in part.axes]


def test_roc_curves_rise_from_nothing_to_everything_through_the_threshold():
    table = predictions(folds=1)
    roc, precision = training_figures.curves(SYNTHETIC, {"ViT": table}).axes
    curve, dot = roc.lines[0].get_xydata(), roc.lines[1].get_xydata()[0]
    assert curve[[0, -1]].tolist() == [[0, 0], [1, 1]]
    pain, said = table["pain"], table["probability"] > 0.5
    assert dot == pytest.approx(
        [(said & ~pain).sum() / (~pain).sum(), (said & pain).mean() / pain.mean()]
    )
    recall, precise = precision.lines[1].get_xydata()[0]
    assert (recall, precise) == pytest.approx((dot[1], pain[said].mean()))


def test_probabilities_that_are_right_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    probability = rng.random(40_000)
    table = pd.DataFrame({"probability": probability, "pain": rng.random(40_000) < probability})
    said, found = training_figures.in_groups(table, "probability")
    np.testing.assert_allclose(said, found, atol=0.02)
    assert (np.diff(said) > 0).all()


def test_an_arm_shows_each_fold_and_the_pooled_score_within_its_interval():
    table = predictions(folds=5, subjects=5, signal=2.0)
    figure = training_figures.compared(
        SYNTHETIC, "Beside", {"ViT": table}, resample_subjects(table)
    )
    for axes in figure.axes:
        ends, pooled, folds = (line.get_xdata() for line in axes.lines[:3])
        assert ends[0] < pooled[0] < ends[1]
        assert len(folds) == 5


def test_where_backbones_were_not_compared_a_sentence_stands():
    figure = training_figures.backbones(FILMS, None, None)
    assert is_sentence(figure)
    assert "were not compared" in texts(figure)
