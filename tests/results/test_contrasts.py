from types import SimpleNamespace

import numpy as np
import pytest

from paincore.results import contrasts
from paincore.statistics.bootstrap import difference, resample_subjects
from paincore.statistics.contrast_tests import corrected_t
from paincore.training.comparison import VIEWS
from paincore.training.configuration import configure
from paincore.training.sweep import Failure
from tests.helpers.predicted import predictions
from tests.helpers.searched import folds_of, peak, run_of, search


def views(one=None, other=None) -> dict:
    return dict(zip(VIEWS, (one, other), strict=True))


def test_counterparts_are_the_best_two_steps_and_vivits_second_rate():
    found = contrasts.counterparts(search(peak(6, 2e-5)), "greedy")
    assert {one.unfrozen_layers for one in found.values()} == {6}
    rates = {name: one.learning_rate for name, one in found.items()}
    assert rates == {"ViT-1": 2e-5, "ViViT-1": 2e-5, "ViViT-2": 2e-4}  # of equals the first


def test_on_the_papers_path_counterparts_have_the_papers_settings():
    found = contrasts.counterparts(search(peak(2, 2e-2), path="paper"), "paper")
    settings = [(one.model, one.unfrozen_layers, one.learning_rate) for one in found.values()]
    assert settings == [("vit", 12, 2e-5), ("vivit", 6, 2e-4), ("vivit", 6, 2e-6)]


def test_six_contrasts_are_planned_each_against_its_models_best():
    found = search(peak(6, 2e-5))
    crops, frontal = predictions(seed=1), predictions(seed=2)
    planned = contrasts.planned_contrasts(found, views(frontal, crops))
    vit, vivit = (one.predictions[one.kept["rate"]] for one in found.values())
    expected = [(vivit, vit), (frontal, crops)]
    for step, value in (("sam", True), ("mixup", 0.8)):
        for one, best in zip(found.values(), (vit, vivit), strict=True):
            expected.append((one.predictions[one.tried(step, value)], best))
    for sides, known in zip(planned.values(), expected, strict=True):
        assert sides[0] is known[0] and sides[1] is known[1]


def test_what_failed_is_planned_without_predictions():
    found = search(lambda one, *_: "failed" if one.sam and one.model == "vit" else 5)
    sides = contrasts.planned_contrasts(found, views()).values()
    missing = [one is None or other is None for one, other in sides]
    assert missing == [False, True, True, False, False, False]


def test_a_contrast_holds_the_difference_of_each_fold_its_test_and_holms_p():
    good, bad = (predictions(folds=5, subjects=5, signal=signal) for signal in (5.0, 0.5))
    resamples = resample_subjects(good, count=200)
    part = good[good["frame"] % 2 == 0]
    pairs = {"better": (good, bad), "same": (part, good), "missing": (None, good)}
    better, same, missing = contrasts.answer(pairs, resamples)
    assert better.over_folds == corrected_t(better.pooled.folds, tests=3)
    assert better.pooled[:3] == difference(good, bad, resamples, "f1", tests=3)[:3]
    assert better.over_folds.mean > 0 and better.pooled.low > 0
    assert better.frames == len(good)
    assert (same.frames, same.pooled.pooled, same.over_folds.p) == (len(part), 0, 1)
    assert (missing.pooled, missing.over_folds, missing.frames) == (None, None, 0)
    assert better.holm == pytest.approx(3 * better.over_folds.p)  # the missing one counts
    assert same.holm == 1 and np.isnan(missing.holm)


def test_both_views_are_trained_on_the_frames_that_both_hold(monkeypatch):
    folds, asked = folds_of(2), []

    def train(store, configurations, folds, seeds):
        asked.append((store, folds, seeds))
        runs = {one: [run_of(one, f.number, 0, 5) for f in folds] for one in configurations}
        return runs, [Failure(one, 1, 0, "no", "") for one in configurations if store == "crops"]

    shared = dict(zip(VIEWS, ("frontal", "crops"), strict=True)), folds
    monkeypatch.setattr(contrasts, "both_views", lambda study: shared)
    study = SimpleNamespace(sweep=SimpleNamespace(train=train), seeds=1)
    found = contrasts.predictions_by_view(study, configure())
    assert asked == [("frontal", folds, 1), ("crops", folds, 1)]
    assert [found[view] is None for view in VIEWS] == [False, True]
