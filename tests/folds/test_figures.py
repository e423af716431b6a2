import numpy as np
import pandas as pd
import pytest

from paincore.folds import figures
from paincore.folds.designs import make_folds, possible_designs
from tests.folds.test_designs import people, table
from tests.helpers.drawn import LICENSED, SYNTHETIC, assert_drawn_for

FRAMES = table(**people((10, pain) for pain in [9, 7, 5, 3, 1, 1, 3, 5, 7, 9]))
USABLE = np.ones(len(FRAMES), bool)
DESIGNS, REASONS = possible_designs(FRAMES, USABLE, "balanced")
ONE_OUT = {"leave_one_subject_out": make_folds(FRAMES, "leave_one_subject_out")}


def predicted(design: str, right: float) -> pd.DataFrame:
    """Predictions of which about a proportion `right` is right."""
    folds = {row: fold.number for fold in make_folds(FRAMES, design) for row in fold.test}
    pain = FRAMES["pain"].to_numpy(bool)
    correct = np.random.default_rng(0).random(len(pain)) < right
    probability = np.where(pain == correct, 0.9, 0.1)
    return FRAMES.assign(fold=pd.Series(folds), pain=pain, probability=probability)


@pytest.mark.parametrize("by_design", [DESIGNS, ONE_OUT])
def test_a_figure_stays_on_its_canvas_and_says_if_it_is_synthetic(by_design):
    for corpus in (SYNTHETIC, LICENSED):
        assert_drawn_for(corpus, figures.designs(corpus, FRAMES, by_design))


def test_the_parts_of_a_bar_are_the_people_of_its_fold():
    axes = figures.designs(LICENSED, FRAMES, DESIGNS).axes
    bars = pd.DataFrame([(bar.get_center()[0], bar.get_height()) for bar in axes[0].patches])
    pain = FRAMES["pain"].to_numpy(bool)
    expected = [pain[fold.test].sum() for fold in DESIGNS["pair_and_shuffle"]]
    assert bars.round().groupby(0)[1].sum().tolist() == expected
    assert len(bars) == 10


@pytest.mark.parametrize(
    ("honest", "leaking", "verdict"), [(0, 1, "higher"), (1, 0, "lower"), (1, 1, "undecided")]
)
def test_what_leaks_is_the_difference_of_the_two_splits(honest, leaking, verdict):
    tested = {"balanced": predicted("balanced", honest)}
    tested["random frames"] = predicted("random_frames", leaking)
    found = figures.fold_findings(tested).data
    assert found["question"].iloc[0] == "F1, random frames − balanced"
    assert found["verdict"].tolist() == [verdict] * 2


def test_the_table_of_designs_has_their_ranges_or_why_they_cannot_be_made():
    shown = figures.evenness_table(FRAMES, DESIGNS, REASONS).data.set_index("design")
    assert shown.loc["balanced", "pain frames"] == "0"
    assert "25 subjects" in shown.loc["published", "why it is not here"]
