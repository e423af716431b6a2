import numpy as np
import pytest

from paincore import paper
from paincore.results import figures
from paincore.results.contrasts import answer
from paincore.statistics.bootstrap import fold_values, pooled_value, resample_subjects
from tests.helpers.drawn import LICENSED, SYNTHETIC, assert_drawn_for
from tests.helpers.predicted import predictions
from tests.results.test_tables import LUCK, MISSING

GOOD, BAD = (predictions(folds=5, subjects=5, signal=signal) for signal in (4.0, 0.0))
RESAMPLES = resample_subjects(GOOD, count=200)
ARMS = {"ViT-1": GOOD, "ViViT-1": BAD, "ViViT-2": None, "chance": BAD}
(ANSWERED,) = answer({"good − bad": (GOOD, BAD)}, RESAMPLES)
DRAWN = {
    "table 1": lambda c: figures.table_1_figure(c, ARMS, RESAMPLES),
    "contrasts": lambda c: figures.contrasts_figure(c, [ANSWERED, MISSING]),
    "optimism": lambda c: figures.optimism_figure(c, {"vit": LUCK, "vivit": LUCK}),
}


def points(axes, marker: str) -> dict[int, list[float]]:
    """The x of every marker of a kind, by row."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return {round(line.get_ydata()[0]): [*line.get_xdata()] for line in lines}


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_lies_on_its_canvas_and_says_what_its_corpus_is(name):
    for corpus in (SYNTHETIC, LICENSED):
        figure = DRAWN[name](corpus)
        assert_drawn_for(corpus, figure)
        assert all(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize(("panel", "score"), [(0, "f1"), (1, "auc")])
def test_the_papers_means_stand_in_the_rows_of_their_counterparts(panel, score):
    axes = DRAWN["table 1"](SYNTHETIC).axes[panel]
    theirs = [getattr(row, score) for row in paper.TABLE_1 if row.name in ("ViT-1", "ViViT-1")]
    assert points(axes, "s") == {0: theirs[:1], 1: theirs[1:]}
    assert points(axes, "D")[0] == [pooled_value(GOOD, score)]
    np.testing.assert_allclose(points(axes, "o")[0], fold_values(GOOD, score))
    assert len(points(axes, "D")) == 3  # ViViT-2 failed


def test_a_contrast_shows_its_folds_both_quantities_and_the_adjusted_p():
    (axes,) = DRAWN["contrasts"](SYNTHETIC).axes
    np.testing.assert_allclose(points(axes, "o")[0], ANSWERED.pooled.folds)
    assert points(axes, "s") == {0: [ANSWERED.over_folds.mean]}
    assert points(axes, "D") == {0: [ANSWERED.pooled.pooled]}
    assert len(axes.texts) == 2  # its p, and that the other failed


def test_the_bar_of_what_is_chosen_is_marked_and_bars_are_per_cent_of_resamples():
    for axes in DRAWN["optimism"](SYNTHETIC).axes:
        assert [bar.get_width() for bar in axes.patches] == [30, 70]
        chosen, other = (bar.get_facecolor() for bar in axes.patches)
        assert chosen != other
