from types import SimpleNamespace

import numpy as np
import pytest

from paincore import paper
from paincore.results import figures as results_figures
from paincore.results.contrasts import Contrast, Planned, answer
from paincore.manifest import dataset_named
from paincore.results.tables import p_value
from paincore.statistics.bootstrap import fold_values, pooled_value, resample_subjects
from tests.helpers.predicted import predictions
from tests.data.test_figures import texts
from tests.results.test_tables import LUCK

SYNTHETIC, FILMS = (SimpleNamespace(dataset=dataset_named(name)) for name in ("synthetic", "unbc"))
GOOD, BAD = (predictions(folds=5, subjects=5, signal=signal) for signal in (4.0, 0.0))
DRAWS = resample_subjects(GOOD, count=200)
MODELS = {"ViT-1": GOOD, "ViViT-1": BAD, "ViViT-2": None}
MISSING = Contrast("clips", "x", "y", 0, None, None, np.nan)


def drawn(corpus) -> dict:
    found = answer([Planned("clips", "good", "bad", GOOD, BAD)], DRAWS)
    return {
        "table": results_figures.table_1(corpus, MODELS, {"chance": BAD}, DRAWS),
        "contrasts": results_figures.contrasts(corpus, [*found, MISSING]),
        "optimism": results_figures.optimism(corpus, {"vit": LUCK, "vivit": LUCK}),
    }


def points(axes, marker: str) -> dict[float, list[float]]:
    """The x of every marker of a kind, by row."""
    found: dict[float, list[float]] = {}
    for line in axes.lines:
        if line.get_marker() == marker:
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                found.setdefault(round(y), []).append(float(x))
    return found


def test_a_figure_says_whether_its_corpus_is_synthetic_and_what_its_axes_measure():
    films = drawn(FILMS)
    for name, figure in drawn(SYNTHETIC).items():
        assert "synthetic corpus" in texts(figure), name
        assert "synthetic corpus" not in texts(films[name]), name
        assert all(axes.get_xlabel() for axes in figure.axes), name


@pytest.mark.parametrize(("panel", "score"), [(0, "f1"), (1, "auc")])
def test_the_papers_means_stand_in_the_rows_of_their_counterparts(panel, score):
    axes = drawn(SYNTHETIC)["table"].axes[panel]
    theirs = [row for row in paper.TABLE_1 if row.name in MODELS]
    printed = {place: [getattr(row, score)] for place, row in enumerate(theirs)}
    assert points(axes, "s") == printed
    assert points(axes, "D")[0] == [pooled_value(GOOD, score)]
    np.testing.assert_allclose(points(axes, "o")[0], fold_values(GOOD, score))
    np.testing.assert_allclose(points(axes, "|")[0], [fold_values(GOOD, score).mean()])
    assert set(points(axes, "D")) == {0, 1, 3}
    assert "a run failed" in [text.get_text() for text in axes.texts]


def test_a_contrast_shows_its_folds_both_estimands_and_the_adjusted_p():
    (axes,) = drawn(SYNTHETIC)["contrasts"].axes
    (one,) = answer([Planned("clips", "good", "bad", GOOD, BAD)], DRAWS)
    np.testing.assert_allclose(points(axes, "o")[0], one.pooled.folds)
    assert points(axes, "s") == {0: [one.over_folds.mean]}
    assert points(axes, "D") == {0: [one.pooled.pooled]}
    assert not axes.patches
    low, high = axes.get_xlim()
    assert low == -high
    said = [text.get_text() for text in axes.texts]
    assert said == [f"p, Holm\n{p_value(one.holm)}", "a run failed"]


def test_the_bar_of_what_is_chosen_is_marked_and_bars_are_per_cent_of_draws():
    for axes in drawn(SYNTHETIC)["optimism"].axes:
        assert [bar.get_width() for bar in axes.patches] == [30, 70]
        chosen, other = (bar.get_facecolor() for bar in axes.patches)
        assert chosen != other
        assert "apparent 0.61, corrected 0.55" in axes.get_title("left")
