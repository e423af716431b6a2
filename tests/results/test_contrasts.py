from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.results import contrasts
from paincore.training.comparison import VIEWS
from paincore.training.configuration import configure
from paincore.results.contrasts import Planned
from paincore.folds.designs import Fold
from paincore.registration.framestore import FrameStore
from paincore.statistics.bootstrap import difference, on_shared_frames, resample_subjects
from paincore.statistics.contrast_tests import corrected_t, holm
from paincore.training.sweep import Failure
from tests.helpers.predicted import predictions
from tests.ablations.test_search import peak, run_of, search


def views(one=None, other=None) -> dict:
    return dict(zip(VIEWS, (one, other), strict=True))


def test_counterparts_are_the_best_two_steps_and_vivits_second_rate():
    found = contrasts.counterparts(search(peak(6, 2e-5)), "greedy")
    assert {one.unfrozen_layers for one in found.values()} == {6}
    rates = {name: one.learning_rate for name, one in found.items()}
    assert rates == {"ViT-1": 2e-5, "ViViT-1": 2e-5, "ViViT-2": 2e-4}  # of equals the first


def test_on_the_papers_path_counterparts_have_the_papers_settings():
    found = contrasts.counterparts(search(peak(2, 2e-2), path="paper"), "paper")
    assert [(one.model, one.unfrozen_layers, one.learning_rate) for one in found.values()] == [
        ("vit", 12, 2e-5),
        ("vivit", 6, 2e-4),
        ("vivit", 6, 2e-6),
    ]


def test_six_contrasts_are_planned_each_against_its_models_best():
    found = search(peak(6, 2e-5))
    crops, frontal = predictions(seed=1), predictions(seed=2)
    planned = contrasts.planned(found, views(frontal, crops))
    assert [one.asks for one in planned] == [
        "clips", "frontal views", "SAM on ViT", "SAM on ViViT", "Mixup on ViT", "Mixup on ViViT",
    ]  # fmt: skip
    best = {model: one.predictions[one.rate] for model, one in found.items()}
    clips, view, *added = planned
    assert (clips.one is best["vivit"], clips.other is best["vit"]) == (True, True)
    assert (view.one is frontal, view.other is crops) == (True, True)
    for one, model in zip(added, ("vit", "vivit", "vit", "vivit"), strict=True):
        assert one.other is best[model]
    sam, mixup = added[0], added[3]
    rate = found["vit"].rate
    assert sam.one is found["vit"].predictions[rate.model_copy(update={"sam": True})]
    rate = found["vivit"].rate
    assert mixup.one is found["vivit"].predictions[rate.model_copy(update={"mixup_alpha": 0.8})]


def test_what_failed_is_planned_without_predictions():
    def hits(one, fold, seed):
        return "failed" if one.sam and one.model == "vit" else 5

    planned = contrasts.planned(search(hits), views())
    missing = [one.asks for one in planned if one.one is None or one.other is None]
    assert missing == ["frontal views", "SAM on ViT"]


def test_both_sides_are_scored_on_the_frames_that_both_predict():
    whole = predictions(frames=20)
    seeds = pd.concat([whole.assign(seed=0), whole.assign(seed=1)])
    part = whole[whole["frame"] % 2 == 0]
    one, other = on_shared_frames(part, seeds)
    assert len(one) == len(part)
    assert len(other) == 2 * len(part)
    assert (other["frame"] % 2 == 0).all()


def test_a_contrast_holds_the_difference_of_each_fold_its_test_and_holms_p():
    good, bad = (predictions(folds=5, subjects=5, signal=signal) for signal in (5.0, 0.5))
    draws = resample_subjects(good, count=200)
    pairs = [(good, bad), (good, good), (None, good)]
    planned = [Planned(str(n), "one", "other", *pair) for n, pair in enumerate(pairs)]
    better, same, missing = contrasts.answer(planned, draws)
    assert better.over_folds == corrected_t(better.pooled.folds, tests=3)
    assert better.pooled[:3] == difference(good, bad, draws, "f1", tests=3)[:3]
    assert better.over_folds.mean > 0
    assert better.pooled.low > 0
    assert better.frames == len(good)
    assert (same.pooled.pooled, same.over_folds.p) == (0, 1)
    assert (missing.pooled, missing.over_folds, missing.frames) == (None, None, 0)
    adjusted = holm([better.over_folds.p, 1, np.nan])
    assert adjusted[0] == pytest.approx(3 * better.over_folds.p)  # the missing one counts
    np.testing.assert_array_equal([better.holm, same.holm, missing.holm], adjusted)


def test_only_the_adjusted_test_calls_two_models_different_and_its_interval_says_the_same():
    good, bad = (predictions(folds=5, subjects=5, signal=signal) for signal in (5.0, 2.0))
    draws = resample_subjects(good, count=200)
    pair = Planned("x", "one", "other", good, bad)
    (alone,), (six, *_) = (contrasts.answer([pair] * n, draws) for n in (1, 6))
    assert alone.over_folds.p == six.over_folds.p < 0.05 < six.holm
    assert (alone.different, six.different) == (True, False)
    assert alone.over_folds.low > 0 > six.over_folds.low
    assert six.pooled.low < alone.pooled.low


class Views:
    """In place of a sweep: runs on any store, failing on the one named."""

    results, scheduler = None, None

    def __init__(self, failing=None):
        self.failing, self.asked = failing, []

    def train(self, store, configurations, folds, seeds):
        (one,) = configurations
        self.asked.append((store, folds, seeds))
        runs = {one: [run_of(one, fold.number, 0, 5) for fold in folds]}
        return runs, [Failure(one, 1, 0, "no", "")] if store is self.failing else []


def test_both_views_are_trained_on_the_frames_that_both_hold(tmp_path, monkeypatch):
    def store_of(states: list[str]) -> FrameStore:
        frames = pd.DataFrame({"state": states, "pain": True})
        return FrameStore(tmp_path, np.zeros((4, 8, 8, 3), np.uint8), frames, {})

    store, crops = store_of(["ok"] * 4), store_of(["ok", "ok", "no_face", "ok"])
    monkeypatch.setattr(contrasts, "registered", lambda corpus, backend, **how: crops)
    folds = [Fold("balanced", 1, np.array([0, 1]), np.array([2, 3]))]
    sweep = Views()
    found = contrasts.both_views(sweep, SimpleNamespace(), store, folds, configure(), 1)
    assert list(found) == list(VIEWS)
    assert [asked[0] for asked in sweep.asked] == [store, crops]
    for _, (fold,), _ in sweep.asked:
        assert (fold.train.tolist(), fold.test.tolist()) == ([0, 1], [3])
    found = contrasts.both_views(Views(crops), SimpleNamespace(), store, folds, configure(), 1)
    assert [table is None for table in found.values()] == [False, True]
