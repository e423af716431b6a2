import pytest

from paincore import paper
from paincore.ablations import search as searches
from paincore.ablations.search import ExperimentError, ablate, choose_nested, inner_folds, mean_f1
from paincore.ablations.tables import step_values, trials_table
from paincore.training.configuration import Configuration, configure
from tests.helpers.searched import MadeUp, folds_of, peak, search


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
    assert found.tried("layers", 8) not in found.predictions


@pytest.mark.parametrize("hits", ["failed", None])
def test_a_search_that_leaves_nothing_to_choose_is_refused(hits):
    with pytest.raises(ExperimentError, match="has an F1"):
        search(lambda *_: hits, ["vit"])


def test_an_unknown_path_is_refused_before_anything_is_trained():
    with pytest.raises(ExperimentError, match="'best'"):
        ablate(None, None, [], [], path="best")


def test_seeds_are_averaged_within_a_fold_and_folds_without_f1_are_left_out():
    hits = {(1, 0): 10, (1, 1): 0, (2, 0): 10, (2, 1): 10, (3, 0): None, (3, 1): None}
    found = search(lambda one, fold, seed: hits[fold, seed], ["vit"], folds=3, seeds=2)["vit"]
    assert mean_f1(found.predictions[found.layers]) == pytest.approx((0.5 + 1) / 2)


def test_inner_folds_hold_nothing_that_the_outer_one_is_tested_on():
    folds = folds_of(4)
    inner = inner_folds(folds, folds[1])
    assert [(fold.number, [*fold.train], [*fold.test]) for fold in inner] == [
        (1, [2, 3], [0]), (3, [0, 3], [2]), (4, [0, 2], [3]),
    ]  # fmt: skip


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


def test_a_step_that_there_is_not_is_an_error_and_not_passed_over(monkeypatch):
    monkeypatch.setattr(searches, "paper_trials", lambda: [("layers", 12), ("depth", 3)])
    with pytest.raises(ExperimentError, match="depth"):
        search(peak(4, 2e-4), ["vit"])
