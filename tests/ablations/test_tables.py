import numpy as np
import pytest

from paincore.ablations import tables
from paincore.statistics.contrast_tests import corrected_t
from paincore.style import with_interval
from tests.helpers.searched import search

HITS = {1: 10, 2: 8, 3: 6, 4: 4, 5: 2}


def six_best(one, fold, seed) -> int:
    """6 layers are best, 8 lose one hit in the folds 1 to 3; SAM gains two in fold 5."""
    lost = {6: 0, 8: int(fold <= 3)}.get(one.unfrozen_layers, 2)
    gained = 2 * (one.sam and fold == 5) - 2 * (one.mixup_alpha == 0.8)
    return max(HITS[fold] - lost + gained, 0) - (one.learning_rate != 2e-4) * (fold == 1)


@pytest.fixture(scope="module")
def known():
    return search(six_best, folds=5)


def test_what_is_kept_is_what_the_next_step_starts_from_or_the_highest_mean(known):
    labels = {"layers": "6", "rate": "2e-4", "sam": "with\n(rho 0.05)", "mixup": "without"}
    for step, label in labels.items():
        assert [one.label for one in tables.step_values(known["vit"], step) if one.kept] == [label]


def test_findings_are_differences_of_f1_with_intervals_that_hold_together(known):
    rows = tables.ablation_findings(known)
    before = np.array([*HITS.values()])
    f1, without = (2 * hits / (hits + 10) for hits in (before - 2, before))
    found = corrected_t(f1 - without, tests=6)
    assert rows[2].estimate == with_interval(found.mean, found.low, found.high)
    assert rows[1].verdict == "undecided"


def test_a_failed_configuration_has_no_score_and_no_verdict():
    def hits(one, fold, seed):
        failed = one.unfrozen_layers == 4 or (one.sam and fold == 1)
        return "failed" if failed else one.unfrozen_layers // 2

    failing = search(hits, ["vit"])
    table = tables.failures_table(failing)
    assert table["configuration"].str.startswith(("ViT 4 layers", "ViT 12 layers, 2e-4, SAM")).all()
    assert table["fold"].tolist() == ["1", "2", "1"]
    rows = tables.trials_table(failing).set_index("configuration")
    failed, best = rows.loc["ViT 4 layers, 2e-4"], rows.loc["ViT 12 layers, 2e-4"]
    assert failed[["F1", "AUC"]].tolist() == [tables.FAILED_RUN] * 2
    assert best[["F1", "note"]].tolist() == ["0.75 ± 0.00", "layers kept, rate kept, best of 14"]
    sam = tables.ablation_findings(failing)[1]
    assert sam[1:] == ("- [-, -]", "undecided")


def test_folds_without_pain_have_no_f1_and_seeds_are_averaged_before_folds():
    def hits(one, fold, seed):
        return None if fold == 2 else {0: 10, 1: 0}[seed]

    found = search(hits, ["vit"], folds=3, seeds=2)["vit"]
    kept = tables.score_by_fold(found, found.kept["layers"])
    np.testing.assert_array_equal(kept, [0.5, np.nan, 0.5])
    np.testing.assert_array_equal(tables.always_pain_f1(found), [2 / 3, np.nan, 2 / 3])


def test_what_sam_costs_and_mixup_mixes_is_told_by_fold():
    """Runs take 10 s, with SAM 15, 20 and 60 s in the three folds; SAM of ViViT fails in one.

    Of 200 samples an epoch 30 are mixed in fold 1, one fewer at alpha 0.2, and 40 in the others.
    """

    def hits(one, fold, seed):
        return "failed" if one.sam and one.model == "vivit" and fold == 1 else 5

    found = search(hits, folds=3, seeds=2)
    for run in (run for each in found.values() for runs in each.runs.values() for run in runs):
        sam, fold = run.configuration.sam, run.rests_on["fold"]
        run.environment["train_seconds"] = {1: 15, 2: 20, 3: 60}[fold] if sam else 10
        mixed = 40 if fold > 1 else 30 - (run.configuration.mixup_alpha == 0.2)
        run.metrics.update(train_samples=200, mixed=mixed, mixed_left_out=10 * (fold == 1))
    assert tables.sam_cost_table(found).to_numpy().tolist() == [
        ["ViT", "10.00", "20.00", "2.00", "1.50 to 6.00"],
        ["ViViT", "10.00", "-", "-", "-"],
    ]
    mixed = tables.mixed_table(found).to_numpy().tolist()
    assert mixed[:2] == [["ViT", 1, "200", "29 to 30", "10"], ["ViT", 2, "200", "40", "0"]]
    failed = search(lambda one, *_: "failed" if one.mixup_alpha else 5, ["vit"])
    assert tables.mixed_table(failed).empty
