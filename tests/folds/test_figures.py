import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.folds import figures
from paincore.folds.designs import Fold, make_folds, possible_designs
from paincore.manifest import dataset_named
from paincore.statistics.bootstrap import fold_values, pooled_value
from tests.folds.test_designs import people, table

FRAMES = table(**people((10, pain) for pain in [9, 7, 5, 3, 1, 1, 3, 5, 7, 9])).assign(trial=1)
USABLE = np.ones(len(FRAMES), bool)
DESIGNS, REASONS = possible_designs(FRAMES, USABLE, "balanced")
LEAKING = make_folds(FRAMES, "random_frames", USABLE)


def predicted(folds: list[Fold], right: float) -> pd.DataFrame:
    """Predictions of which about a proportion `right` is right."""
    parts = []
    for fold in folds:
        part = FRAMES.iloc[fold.test][["subject", "sequence", "frame"]]
        pain = FRAMES["pain"].to_numpy(bool)[fold.test]
        correct = np.random.default_rng(fold.number).random(len(pain)) < right
        probability = np.where(pain == correct, 0.9, 0.1)
        parts.append(part.assign(fold=fold.number, pain=pain, probability=probability, seed=0))
    return pd.concat(parts, ignore_index=True)


def on_both(honest: float, leaking: float) -> dict[str, pd.DataFrame]:
    return {
        "balanced": predicted(DESIGNS["balanced"], honest),
        "random_frames": predicted(LEAKING, leaking),
    }


@pytest.mark.parametrize("dataset", ["synthetic", "unbc"])
@pytest.mark.parametrize("name", ["designs", "leave_one_out", "leak"])
def test_a_figure_stays_on_its_canvas_and_says_if_it_is_synthetic(name, dataset):
    corpus = SimpleNamespace(dataset=dataset_named(dataset))
    one_out = {"leave_one_subject_out": make_folds(FRAMES, "leave_one_subject_out")}
    figure = {
        "designs": lambda: figures.designs(corpus, FRAMES, DESIGNS),
        "leave_one_out": lambda: figures.designs(corpus, FRAMES, one_out),
        "leak": lambda: figures.leak(corpus, on_both(0.6, 0.9)),
    }[name]()
    figure.savefig(io.BytesIO())
    box = figure.get_tightbbox()
    assert box.x0 >= -0.02 and box.y0 >= -0.02
    assert box.x1 <= figure.get_figwidth() + 0.02 and box.y1 <= figure.get_figheight() + 0.02
    assert ("synthetic corpus" in [text.get_text() for text in figure.texts]) == (
        dataset == "synthetic"
    )
    assert not any(axes.images for axes in figure.axes)


def test_the_parts_of_a_bar_are_the_people_of_its_fold():
    axes = figures.designs(SimpleNamespace(dataset=dataset_named("unbc")), FRAMES, DESIGNS).axes
    bars = pd.DataFrame([(bar.get_center()[0], bar.get_height()) for bar in axes[0].patches])
    pain = FRAMES["pain"].to_numpy(bool)
    expected = [pain[fold.test].sum() for fold in DESIGNS["pair_and_shuffle"]]
    assert bars.round().groupby(0)[1].sum().tolist() == expected
    assert len(bars) == 10


def test_the_leak_shows_pooled_scores_and_each_fold():
    both = on_both(0.6, 0.9)
    figure = figures.leak(SimpleNamespace(dataset=dataset_named("unbc")), both)
    for axes, score in zip(figure.axes, ("f1", "auc"), strict=True):
        pooled = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
        folds = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
        assert pooled == [pooled_value(one, score) for one in both.values()]
        np.testing.assert_allclose(folds, [fold_values(one, score) for one in both.values()])


def test_what_leaks_is_the_difference_of_the_two_splits_and_its_verdict_turns_with_it():
    for honest, leaking, verdict in ((0, 1, "higher"), (1, 0, "lower"), (1, 1, "undecided")):
        found = figures.fold_findings(on_both(honest, leaking)).data
        assert found["verdict"].tolist() == [verdict] * 2


def test_the_table_of_designs_has_their_ranges_or_why_they_cannot_be_made():
    shown = figures.evenness_table(FRAMES, DESIGNS, REASONS).data.set_index("design")
    assert shown.loc["balanced", "pain frames"] == "0"
    assert "25 subjects" in shown.loc["published", "why it is not here"]
