from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore import paper
from paincore.ablations.search import (
    Ablation,
    ExperimentError,
    ablate,
    best_of,
    choose_nested,
    inner_folds,
    mean_f1,
)
from paincore.folds.designs import Fold, make_folds
from paincore.training.configuration import Configuration, configure
from paincore.training.runs import Run
from paincore.training.sweep import Failure
from paincore.training.train import train_fold
from tests.helpers.trainable import write_store_with_a_signal

PAIN = 10  # painful frames of a fold, and as many painless ones


def run_of(configuration: Configuration, fold: int, seed: int, hits: int | None) -> Run:
    """A run that says pain in `hits` of the painful frames, never in others: F1 2h / (h + 10).

    With None its fold has no pain, and no F1.
    """
    pain = np.arange(2 * PAIN) < PAIN if hits is not None else np.zeros(2 * PAIN, bool)
    said = np.arange(2 * PAIN) < (hits or 0)
    table = pd.DataFrame({"fold": fold, "subject": np.where(np.arange(2 * PAIN) % 2, "a", "b")})
    table["subject"] += str(fold)
    probability = np.where(said, 0.9, 0.2)
    table = table.assign(
        sequence=table["subject"], frame=range(2 * PAIN), pain=pain, probability=probability,
        corrected=probability / 2,
    )  # fmt: skip
    metrics = {"steps": 95 + fold, "weight_change": configuration.learning_rate * 100}
    run = Run(Path("made up"), configuration, {"fold": fold, "seed": seed}, metrics, {})
    run.__dict__["predictions"] = table  # where the table is kept once it has been read
    return run


class MadeUp:
    """In place of a sweep: runs with as many hits as `hits` says; "failed" is a failure."""

    def __init__(self, hits: Callable):
        self.hits, self.asked, self.trainings = hits, [], 0

    def train(self, store, configurations, folds, seeds=1):
        self.asked.append(list(configurations))
        self.trainings += len(self.asked[-1]) * len(folds) * seeds
        runs, failures = {}, []
        for one in self.asked[-1]:
            runs[one] = []
            for seed in range(seeds):
                for fold in folds:
                    hits = self.hits(one, fold.number, seed)
                    if hits == "failed":
                        failures += [Failure(one, fold.number, seed, "the loss is nan", "...")]
                    else:
                        runs[one].append(run_of(one, fold.number, seed, hits))
        return runs, failures


def search(hits: Callable, models=("vit", "vivit"), folds=2, **how) -> dict[str, Ablation]:
    """A search whose scores are those of `hits(configuration, fold, seed)`."""
    numbers = range(1, folds + 1)
    parts = [Fold("balanced", number, np.arange(2), np.arange(2, 4)) for number in numbers]
    starts = [configure(model=model) for model in models]
    return ablate(MadeUp(hits), None, parts, starts, **how)


def peak(depth: int, rate: float) -> Callable:
    """Scores that are highest at one depth, and there at one rate, by how near values are."""

    def hits(one: Configuration, fold: int, seed: int) -> int:
        decades = abs(np.log10(one.learning_rate / rate))
        return round(9 - abs(one.unfrozen_layers - depth) / 2.5 - decades)

    return hits


@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_each_model_has_the_papers_14_configurations(model):
    found = search(peak(6, 2e-4), [model])[model]
    values = [(trial.step, trial.value) for trial in found.trials]
    assert values == [
        *(("layers", depth) for depth in (2, 4, 6, 8, 10, 12)),
        *(("rate", rate) for rate in (2e-2, 2e-3, 2e-5, 2e-6)),
        ("sam", 0.05),
        *(("mixup", alpha) for alpha in (0.2, 0.5, 0.8)),
    ]
    assert len({trial.configuration for trial in found.trials}) == len(found.trials) == 14
    assert {trial.configuration.model for trial in found.trials} == {model}
    for trial in found.trials:
        assert trial.configuration.sam == (trial.step == "sam")
        assert trial.configuration.mixup_alpha == (trial.value if trial.step == "mixup" else None)


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
    folds = [Fold("balanced", n, np.arange(2), np.arange(2, 4)) for n in (1, 2)]
    found = ablate(made_up, None, folds, starts)
    assert [found[m].rate.unfrozen_layers for m in ("vit", "vivit")] == [10, 4]
    assert [len(asked) for asked in made_up.asked] == [12, 8, 8]
    assert {t.configuration.clip_stride for t in found["vivit"].trials} == {2}


def test_of_equals_the_first_is_taken():
    found = search(lambda *_: 5, ["vit"])["vit"]
    assert found.layers.unfrozen_layers == 2
    assert found.rate == found.layers
    assert found.best == found.layers


def test_the_papers_path_is_taken_whatever_scores_best():
    found = search(peak(2, 2e-2), path="paper")
    for model, chosen in paper.CHOSEN.items():
        rate = found[model].rate
        assert found[model].layers.unfrozen_layers == chosen["unfrozen_layers"]
        assert {name: getattr(rate, name) for name in chosen} == chosen
    assert found["vit"].best.unfrozen_layers == 2  # what is best is still told


def test_a_configuration_of_which_one_run_failed_is_never_chosen():
    def hits(one, fold, seed):
        if one.unfrozen_layers == 8 and fold == 2:
            return "failed"
        return 10 if one.unfrozen_layers == 8 else one.unfrozen_layers // 2

    found = search(hits, ["vit"])["vit"]
    assert found.layers.unfrozen_layers == 12
    assert [(f.configuration.unfrozen_layers, f.fold) for f in found.failures] == [(8, 2)]
    failed = next(trial for trial in found.trials if trial.value == 8).configuration
    assert failed not in found.runs
    assert failed not in found.predictions
    assert not (found.scores["value"] == 8).any()


def test_a_search_that_leaves_nothing_to_choose_says_so():
    with pytest.raises(ExperimentError, match="no configuration of this step has an F1"):
        search(lambda *_: "failed")
    with pytest.raises(ExperimentError, match="no fold has both"):
        search(lambda *_: None)


def test_an_unknown_path_is_refused_before_anything_is_trained():
    with pytest.raises(ExperimentError, match="'best'; the paths are greedy, paper"):
        ablate(None, None, [], [], path="best")


def test_seeds_are_averaged_within_a_fold_and_folds_without_f1_are_left_out():
    hits = {(1, 0): 10, (1, 1): 0, (2, 0): 10, (2, 1): 10, (3, 0): None, (3, 1): None}
    found = search(lambda one, fold, seed: hits[fold, seed], ["vit"], folds=3, seeds=2)["vit"]
    predictions = found.predictions[found.layers]
    assert mean_f1(predictions) == pytest.approx((0.5 + 1) / 2)
    assert best_of(found.trials[:1], found.predictions) == found.trials[0].configuration


def test_the_table_of_scores_has_a_row_for_each_trial_and_fold():
    scores = search(peak(4, 2e-4), ["vit"])["vit"].scores
    assert len(scores) == 14 * 2
    two = scores[(scores["step"] == "layers") & (scores["value"] == 2)]
    assert two["fold"].tolist() == [1, 2]
    np.testing.assert_allclose(two["f1"], 2 * 8 / 18)  # 8 hits of 10
    assert set(two["title"]) == {"ViT 2 layers, 2e-4"}


def test_the_rates_hold_the_one_of_the_step_before_in_the_papers_order():
    found = search(peak(4, 2e-4), ["vit"])["vit"]
    assert tuple(trial.value for trial in found.step("rate")) == paper.RATES
    assert found.step("rate")[2].configuration == found.layers


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

    rows = np.arange(12)
    folds = [Fold("balanced", k, np.setdiff1d(rows, rows[k::3]), rows[k::3]) for k in (1, 2, 0)]
    start = configure()
    open_choice = ablate(MadeUp(hits), None, folds, [start])["vit"].best
    nested = choose_nested(MadeUp(hits), None, folds, start)
    assert open_choice.unfrozen_layers == 12
    assert {k: one.unfrozen_layers for k, one in nested.chosen.items()} == {1: 2, 2: 12, 0: 12}
    tested = {
        run.rests_on["fold"]: run.configuration for runs in nested.runs.values() for run in runs
    }
    assert tested == nested.chosen
    by_fold = nested.predictions.groupby("fold")["probability"].apply(lambda p: (p > 0.5).sum())
    assert by_fold.to_dict() == {0: 5, 1: 6, 2: 5}


class InThisProcess:
    """In place of a sweep: trains here, one after the other."""

    def __init__(self, results: Path):
        self.results = results

    def train(self, store, configurations, folds, seeds=1):
        def trained(one: Configuration) -> list[Run]:
            how = {"results": self.results, "device": "cpu", "show_progress": False}
            return [train_fold(store, one, fold, **how) for fold in folds]

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
