from pathlib import Path

import numpy as np
import pytest

from paincore import paper
from paincore.ablations import search as searches
from paincore.ablations.search import (
    ExperimentError,
    ablate,
    best_of,
    choose_nested,
    inner_folds,
    mean_f1,
)
from paincore.ablations.tables import step_values, trials_table
from paincore.folds.designs import Fold, make_folds
from paincore.training.configuration import Configuration, configure
from paincore.training.train import train_fold
from tests.helpers.searched import MadeUp, folds_of, peak, search
from tests.helpers.trainable import write_store_with_a_signal


@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_each_model_has_the_papers_14_configurations(model):
    found = search(peak(6, 2e-4), [model])[model]
    assert [(trial.step, trial.value) for trial in found.trials] == [
        *(("layers", depth) for depth in (2, 4, 6, 8, 10, 12)),
        *(("rate", rate) for rate in (2e-2, 2e-3, 2e-5, 2e-6)),
        ("sam", True),
        *(("mixup", alpha) for alpha in (0.2, 0.5, 0.8)),
    ]
    assert len({trial.configuration for trial in found.trials}) == 14
    for trial in found.trials:
        assert trial.configuration.model == model
        assert trial.configuration.sam == (trial.step == "sam")
        assert trial.configuration.mixup_alpha == (trial.value if trial.step == "mixup" else None)


def test_one_more_line_is_trained_chosen_and_shown(monkeypatch):
    more = [*searches.paper_trials(), ("rate", 1e-3)]
    monkeypatch.setattr(searches, "paper_trials", lambda: more)
    found = search(lambda one, *_: 9 if one.learning_rate == 1e-3 else 5)
    assert {one.rate.learning_rate for one in found.values()} == {1e-3}
    labels = [value.label for value in step_values(found["vit"], "rate")]
    assert labels == ["2e-2", "2e-3", "1e-3", "2e-4", "2e-5", "2e-6"]
    assert "ViT 2 layers, 1e-3" in trials_table(found)["configuration"].tolist()


@pytest.mark.parametrize(("depth", "rate"), [(8, 2e-3), (12, 2e-6), (2, 2e-2), (6, 2e-4)])
def test_the_search_goes_where_the_scores_are_highest(depth, rate):
    found = search(peak(depth, rate), ["vit"])["vit"]
    assert (found.layers.unfrozen_layers, found.layers.learning_rate) == (depth, 2e-4)
    assert (found.rate.unfrozen_layers, found.rate.learning_rate) == (depth, rate)
    last = [trial.configuration for trial in found.trials if trial.step in ("sam", "mixup")]
    assert {(one.unfrozen_layers, one.learning_rate) for one in last} == {(depth, rate)}


def test_each_model_follows_its_own_scores_and_both_are_trained_together():
    made_up = MadeUp(
        lambda one, *_: peak(*((10, 2e-5) if one.model == "vit" else (4, 2e-3)))(one, *_)
    )
    starts = [configure(model="vit"), configure(model="vivit", clip_stride=2)]
    found = ablate(made_up, None, folds_of(2), starts)
    assert [found[m].rate.unfrozen_layers for m in ("vit", "vivit")] == [10, 4]
    assert [len(asked) for asked in made_up.asked] == [24, 16, 16]
    assert {t.configuration.clip_stride for t in found["vivit"].trials} == {2}
    assert {one.model for one in found["vit"].runs} == {"vit"}


def test_of_equals_the_first_is_chosen():
    found = search(lambda *_: 5, ["vit"])["vit"]
    assert found.layers.unfrozen_layers == 2
    assert found.rate == found.layers == found.best


def test_the_papers_path_is_taken_whatever_scores_best():
    found = search(peak(2, 2e-2), path="paper")
    for model, chosen in paper.CHOSEN.items():
        rate = found[model].rate
        assert found[model].layers.unfrozen_layers == chosen["unfrozen_layers"]
        assert {name: getattr(rate, name) for name in chosen} == chosen
    assert found["vit"].best.unfrozen_layers == 2


def test_a_configuration_of_which_one_run_failed_is_never_chosen():
    def hits(one, fold, seed):
        if one.unfrozen_layers == 8 and fold == 2:
            return "failed"
        return 10 if one.unfrozen_layers == 8 else one.unfrozen_layers // 2

    found = search(hits, ["vit"])["vit"]
    assert found.layers.unfrozen_layers == 12
    assert [(f.configuration.unfrozen_layers, f.fold) for f in found.failures] == [(8, 2)]
    failed = found.tried("layers", 8)
    assert failed not in found.runs
    assert failed not in found.predictions
    assert failed.title not in set(found.scores["title"])


def test_a_search_that_leaves_nothing_to_choose_is_refused():
    for hits in ("failed", None):
        with pytest.raises(ExperimentError, match="no configuration of this step has an F1"):
            search(lambda *_, hits=hits: hits)


def test_an_unknown_path_is_refused_before_anything_is_trained():
    with pytest.raises(ExperimentError, match="'best'"):
        ablate(None, None, [], [], path="best")


def test_seeds_are_averaged_within_a_fold_and_folds_without_f1_are_left_out():
    hits = {(1, 0): 10, (1, 1): 0, (2, 0): 10, (2, 1): 10, (3, 0): None, (3, 1): None}
    found = search(lambda one, fold, seed: hits[fold, seed], ["vit"], folds=3, seeds=2)["vit"]
    assert mean_f1(found.predictions[found.layers]) == pytest.approx((0.5 + 1) / 2)
    assert best_of(found.trials[:1], found.predictions) == found.trials[0].configuration


def test_a_step_holds_what_its_values_are_compared_with():
    found = search(peak(4, 2e-5), ["vit"])["vit"]
    assert [trial.value for trial in found.step("rate")] == [2e-2, 2e-3, 2e-4, 2e-5, 2e-6]
    assert found.step("rate")[2].configuration == found.layers
    for step in ("sam", "mixup"):
        assert found.step(step)[0][1:] == (None, found.rate)


def test_inner_folds_hold_nothing_that_the_outer_one_is_tested_on():
    rows = np.arange(12)
    tests = [rows[k::4] for k in range(4)]
    folds = [Fold("balanced", k, np.setdiff1d(rows, t), t) for k, t in enumerate(tests)]
    inner = inner_folds(folds, folds[1])
    assert [fold.number for fold in inner] == [0, 2, 3]
    for fold in inner:
        assert not np.isin(tests[1], np.concatenate([fold.train, fold.test])).any()
        assert len(fold.train) + len(fold.test) == 9


def test_a_nested_choice_never_sees_the_fold_that_it_is_tested_on():
    """12 layers owe their lead to fold 1 alone: where fold 1 is the test, 2 layers are chosen."""

    def hits(one: Configuration, fold: int, seed: int) -> int:
        if one.unfrozen_layers == 12 and one.learning_rate == 2e-4 and not one.mixup_alpha:
            return 10 if fold == 1 and not one.sam else 5
        return 6 if one.unfrozen_layers == 2 else 1

    start, sweep = configure(), MadeUp(hits)
    open_choice = ablate(MadeUp(hits), None, folds_of(3), [start])["vit"].best
    nested = choose_nested(sweep, None, folds_of(3), start)
    assert open_choice.unfrozen_layers == 12
    assert {k: one.unfrozen_layers for k, one in nested.chosen.items()} == {1: 2, 2: 12, 3: 12}
    tested = [asked for asked in sweep.asked if len(asked) == 1]  # one configuration on one fold
    assert tested == [[(one, fold)] for fold, one in nested.chosen.items()]
    by_fold = nested.predictions.groupby("fold")["probability"].apply(lambda p: (p > 0.5).sum())
    assert by_fold.to_dict() == {1: 6, 2: 5, 3: 5}


class InThisProcess:
    """In place of a sweep: trains here, one after the other."""

    def __init__(self, results: Path):
        self.how = {"results": results, "device": "cpu", "show_progress": False}

    def train(self, store, configurations, folds, seeds=1):
        def trained(one):
            return [train_fold(store, one, fold, **self.how) for fold in folds]

        return {one: trained(one) for one in configurations}, []


def test_a_search_with_real_trainings_keeps_its_best(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store", subjects=4, sequences=1)
    folds = make_folds(store.frames, "leave_one_subject_out", store.usable)[:2]
    start = configure(backbone="random")
    found = ablate(InThisProcess(tmp_path), store, folds, [start])["vit"]
    means = {one: mean_f1(table) for one, table in found.predictions.items()}
    assert len(means) == 14
    assert means[found.best] == max(means.values())
    assert means[found.layers] == max(means[t.configuration] for t in found.step("layers"))
    assert means[found.rate] == max(means[t.configuration] for t in found.step("rate"))
