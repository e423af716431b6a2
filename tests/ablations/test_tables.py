import numpy as np
import pytest

from paincore import paper
from paincore.ablations import tables
from paincore.statistics.contrast_tests import corrected_t
from tests.helpers.searched import search

HITS = {1: 10, 2: 8, 3: 6, 4: 4, 5: 2}


def f1(hits: int) -> float:
    return 2 * hits / (hits + 10)


def six_best(one, fold, seed) -> int:
    """6 layers are best, 8 lose one hit in the folds 1 to 3; SAM gains two in fold 5."""
    lost = {6: 0, 8: int(fold <= 3)}.get(one.unfrozen_layers, 2)
    gained = 2 * (one.sam and fold == 5) - 2 * (one.mixup_alpha == 0.8)
    return max(HITS[fold] - lost + gained, 0) - (one.learning_rate != 2e-4) * (fold == 1)


@pytest.fixture(scope="module")
def known():
    return search(six_best, folds=5)


@pytest.fixture(scope="module")
def failing():
    """ViT alone; 4 layers fail in two folds, SAM in one."""
    return search(
        lambda one, fold, seed: "failed" if one.unfrozen_layers == 4 or (one.sam and fold == 1)
        else one.unfrozen_layers // 2, ["vit"],
    )  # fmt: skip


def test_what_is_kept_is_what_the_next_step_starts_from_or_the_highest_mean(known):
    kept = {step: [one.label for one in tables.step_values(known["vit"], step) if one.kept]
            for step in ("layers", "rate", "sam", "mixup")}  # fmt: skip
    assert kept == {"layers": ["6"], "rate": ["2e-4"], "sam": ["with\n(rho 0.05)"],
                    "mixup": ["without"]}  # fmt: skip
    path = search(six_best, ["vit"], folds=5, path="paper")["vit"]
    assert tables.step_values(path, "layers")[-1].kept


def test_findings_are_differences_of_f1_with_intervals_that_hold_together(known):
    rows = tables.ablation_findings(known)
    assert len(rows) == 6
    lost = [f1(max(hits - 2, 0)) - f1(hits) for hits in HITS.values()]
    found = corrected_t(np.array(lost), tests=6)
    assert rows[2].estimate == tables.with_interval(found.mean, found.low, found.high)
    assert rows[2].verdict == "lower" if found.high < 0 else "undecided"
    assert rows[1].verdict == "undecided"


def test_a_failed_configuration_has_no_score_and_no_verdict(failing):
    table = tables.failures_table(failing)
    assert table["configuration"].str.startswith(("ViT 4 layers", "ViT 12 layers, 2e-4, SAM")).all()
    assert table["fold"].tolist() == ["1", "2", "1"]
    rows = tables.trials_table(failing).set_index("configuration")
    assert rows.loc["ViT 4 layers, 2e-4", ["F1", "AUC"]].tolist() == [tables.FAILED_RUN] * 2
    assert rows.loc["ViT 12 layers, 2e-4", "F1"] == f"{f1(6):.2f} ± 0.00"
    assert rows.loc["ViT 12 layers, 2e-4", "note"] == "layers kept, rate kept, best of 14"
    assert len(rows) == 14
    sam = tables.ablation_findings(failing)[1]
    assert sam[1:] == ("- [-, -]", "undecided")


def test_folds_without_pain_have_no_f1_and_seeds_are_averaged_before_folds():
    def hits(one, fold, seed):
        return None if fold == 2 else {0: 10, 1: 0}[seed]

    found = search(hits, ["vit"], folds=3, seeds=2)["vit"]
    np.testing.assert_array_equal(tables.score_by_fold(found, found.layers), [0.5, np.nan, 0.5])
    np.testing.assert_array_equal(tables.always_pain_f1(found), [2 / 3, np.nan, 2 / 3])


def test_an_epoch_of_the_paper_has_about_2420_steps(known):
    assert paper.optimiser_steps(16) == 2420 == round(paper.UNBC_FRAMES * 4 / 5 / 16)
    assert tables.steps_of_epoch(known["vit"]) == "96 to 100"


def test_the_two_rates_are_the_best_here_or_on_its_path_the_papers(known):
    best = {path: tables.two_best_rates(known["vivit"], path) for path in ("greedy", "paper")}
    assert [one.label for one in best["greedy"]] == ["2e-4", "2e-2"]
    assert [one.label for one in best["paper"]] == ["2e-4", "2e-6"]


def clocked(hits=lambda *_: 5, models=("vit",), seeds=1):
    """A search whose runs took 10 s; with SAM 15, 20 and 60 s in the three folds.

    Of 200 samples an epoch 30 are mixed in fold 1, one fewer at alpha 0.2, and 40 in the others.
    """
    found = search(hits, models, folds=3, seeds=seeds)
    for one, runs in ((one, runs) for each in found.values() for one, runs in each.runs.items()):
        for run in runs:
            fold, alpha = run.rests_on["fold"], one.mixup_alpha
            run.environment["train_seconds"] = {1: 15, 2: 20, 3: 60}[fold] if one.sam else 10
            mixed = (30 if fold == 1 else 40) - (fold == 1 and alpha == 0.2)
            run.metrics["train_samples"] = 200
            run.metrics["mixed"] = mixed if alpha else 0
            run.metrics["mixed_left_out"] = 10 if alpha and fold == 1 else 0
    return found


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_cost_of_sam_is_the_ratio_of_seconds_on_the_same_folds(seeds):
    def hits(one, fold, seed):
        return "failed" if one.sam and one.model == "vivit" and fold == 1 else 5

    rows = tables.sam_cost_table(clocked(hits, ("vit", "vivit"), seeds)).set_index("model")
    assert rows.loc["ViT"].tolist() == ["10.00", "20.00", "2.00", "1.50 to 6.00"]
    assert rows.loc["ViViT"].tolist() == ["10.00", "-", "-", "-"]


def test_mixed_samples_and_those_without_a_partner_are_counted_in_each_fold():
    table = tables.mixed_table(clocked())
    assert table.iloc[0].tolist() == ["ViT", 1, "200", "29 to 30", "14.5 to 15.0", "10"]
    assert table.iloc[1].tolist() == ["ViT", 2, "200", "40", "20.0", "0"]
    assert tables.mixed_table(clocked(lambda one, *_: "failed" if one.mixup_alpha else 5)).empty
