import pytest

from paincore import paper
from paincore.ablations import search as searches
from paincore.ablations.search import ExperimentError, ablate, choose_nested, inner_folds
from paincore.ablations.tables import step_values, trials_table
from paincore.training.configuration import Configuration
from tests.helpers.searched import MadeUp, folds_of, peak, search, study_of


def test_a_model_has_the_papers_14_configurations():
    trials = search(peak(6, 2e-4))["vivit"].trials
    assert [(trial.step, trial.value) for trial in trials] == [
        *zip(["layers"] * 6, (2, 4, 6, 8, 10, 12), strict=True),
        *zip(["rate"] * 4, (2e-2, 2e-3, 2e-5, 2e-6), strict=True),
        *[("sam", True), ("mixup", 0.2), ("mixup", 0.5), ("mixup", 0.8)],
    ]
    for step, value, one in trials:
        alpha = value if step == "mixup" else None
        assert (one.model, one.sam, one.mixup_alpha) == ("vivit", step == "sam", alpha)


def test_one_more_value_is_trained_chosen_and_shown(monkeypatch):
    more = searches.values_to_try()
    more["rate"].append(1e-3)
    monkeypatch.setattr(searches, "values_to_try", lambda: more)
    found = search(lambda one, *_: 9 if one.learning_rate == 1e-3 else 5, ["vit"])
    assert found["vit"].kept["rate"].learning_rate == 1e-3
    values = step_values(found["vit"], "rate")
    labels = [value.label for value in values]
    assert labels == ["2e-2", "2e-3", "1e-3", "2e-4", "2e-5", "2e-6"]
    assert [value.label for value in values if value.printed is None] == ["1e-3"]  # not the paper's
    assert trials_table(found)["note"].str.contains("best of 15").sum() == 1


def test_each_model_follows_its_own_scores_and_both_are_trained_together():
    best = {"vit": peak(10, 2e-5), "vivit": peak(4, 2e-3)}
    made_up = MadeUp(lambda one, *_: best[one.model](one))
    found = ablate(study_of(made_up, clip_stride=2))
    for ablation, chosen in zip(found.values(), ((10, 2e-5), (4, 2e-3)), strict=True):
        last = [ablation.kept["rate"], *(trial.configuration for trial in ablation.trials[10:])]
        assert {(one.unfrozen_layers, one.learning_rate) for one in last} == {chosen}
    assert [len(asked) for asked in made_up.asked] == [24, 16, 16]
    assert {t.configuration.clip_stride for t in found["vivit"].trials} == {2}
    assert {one.model for one in found["vit"].runs} == {"vit"}


def test_of_equals_the_first_is_chosen():
    found = search(lambda *_: 5, ["vit"])["vit"]
    assert {found.best, *found.kept.values()} == {found.trials[0].configuration}


def test_the_papers_path_is_taken_whatever_scores_best():
    found = search(peak(2, 2e-2), path="paper")
    for model, chosen in paper.CHOSEN.items():
        assert chosen.items() <= found[model].kept["rate"].model_dump().items()
    assert found["vit"].best.unfrozen_layers == 2


def test_a_configuration_of_which_one_run_failed_is_never_chosen():
    def hits(one, fold, seed):
        if one.unfrozen_layers == 8 and fold == 2:
            return "failed"
        return 10 if one.unfrozen_layers == 8 else one.unfrozen_layers // 2

    found = search(hits, ["vit"])["vit"]
    assert found.kept["layers"].unfrozen_layers == 12
    assert [(f.configuration.unfrozen_layers, f.fold) for f in found.failures] == [(8, 2)]
    assert found.tried("layers", 8) not in found.predictions


@pytest.mark.parametrize("hits", ["failed", None])
def test_a_search_that_leaves_nothing_to_choose_is_refused(hits):
    with pytest.raises(ExperimentError, match="has an F1"):
        search(lambda *_: hits, ["vit"])


def test_an_unknown_path_or_step_is_refused_before_anything_is_trained(monkeypatch):
    with pytest.raises(ExperimentError, match="'best'"):
        ablate(None, path="best")
    monkeypatch.setattr(searches, "values_to_try", lambda: {"layers": [12], "depth": [3]})
    with pytest.raises(ExperimentError, match="depth"):
        ablate(None)


def test_inner_folds_hold_nothing_that_the_outer_one_is_tested_on():
    folds = folds_of(4)
    inner = inner_folds(folds, folds[1])
    assert {fold.number: [*fold.train] for fold in inner} == {1: [2, 3], 3: [0, 3], 4: [0, 2]}


def test_a_nested_choice_never_sees_the_fold_that_it_is_tested_on():
    """12 layers owe their lead to fold 1 alone: where fold 1 is the test, 2 layers are chosen."""

    def hits(one: Configuration, fold: int, seed: int) -> int:
        if one.unfrozen_layers == 12 and one.learning_rate == 2e-4 and not one.mixup_alpha:
            return 10 if fold == 1 and not one.sam else 5
        return 6 if one.unfrozen_layers == 2 else 1

    sweep = MadeUp(hits)
    assert search(hits, ["vit"], folds=3)["vit"].best.unfrozen_layers == 12
    chosen, predictions = choose_nested(study_of(sweep, 3), "vit")
    assert {k: one.unfrozen_layers for k, one in chosen.items()} == {1: 2, 2: 12, 3: 12}
    tested = [asked for asked in sweep.asked if len(asked) == 1]  # one configuration on one fold
    assert tested == [[(one, fold)] for fold, one in chosen.items()]
    assert predictions["fold"].value_counts().to_dict() == {1: 20, 2: 20, 3: 20}
