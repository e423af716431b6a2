import pytest

from paincore.ablations.training_tables import mixed_table, sam_cost_table
from tests.ablations.test_search import search


def clocked(hits=lambda *_: 5, models=("vit",), seeds=1):
    """A search whose runs took 10 s; with SAM 15, 20 and 60 s in the three folds.

    Of 200 samples an epoch 30 are mixed in fold 1, one less at alpha 0.2, and 40 in the others.
    """
    found = search(hits, models, folds=3, seeds=seeds)
    for ablation in found.values():
        for one, runs in ablation.runs.items():
            for run in runs:
                fold, alpha = run.rests_on["fold"], one.mixup_alpha
                run.environment["train_seconds"] = (
                    {1: 15.0, 2: 20.0, 3: 60.0}[fold] if one.sam else 10.0
                )
                mixed = (30 if fold == 1 else 40) - (fold == 1 and alpha == 0.2)
                run.metrics["train_samples"] = 200
                run.metrics["mixed"] = mixed if alpha else 0
                run.metrics["mixed_left_out"] = 10 if alpha and fold == 1 else 0
    return found


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_cost_of_sam_is_the_ratio_of_seconds_on_the_same_folds(seeds):
    (row,) = sam_cost_table(clocked(seeds=seeds)).to_dict("records")
    assert (row["without SAM (s)"], row["with SAM (s)"]) == ("10.0", "20.0")
    assert (row["ratio"], row["ratio by fold"]) == ("2.00", "1.50 to 6.00")


def test_sam_that_failed_has_no_cost_and_the_other_model_keeps_its_own():
    def hits(one, fold, seed):
        return "failed" if one.sam and one.model == "vit" and fold == 1 else 5

    table = sam_cost_table(clocked(hits, ("vit", "vivit"))).set_index("model")
    assert table.loc["ViT", ["without SAM (s)", "with SAM (s)"]].tolist() == ["10.0", "failed"]
    assert table.loc["ViT", ["ratio", "ratio by fold"]].tolist() == ["-", "-"]
    assert table.loc["ViViT", "ratio"] == "2.00"


def test_mixed_samples_and_those_without_a_partner_are_counted_in_each_fold():
    table = mixed_table(clocked()).set_index("fold")
    assert table.loc["1", ["mixed", "mixed (%)"]].tolist() == ["29 to 30", "14.5 to 15.0"]
    assert table.loc["2", ["mixed", "mixed (%)"]].tolist() == ["40", "20.0"]
    assert table["samples"].tolist() == ["200"] * 3
    assert table["no partner"].tolist() == ["10", "0", "0"]


def test_mixup_that_failed_at_every_alpha_has_no_counts():
    found = clocked(lambda one, *_: "failed" if one.mixup_alpha else 5)
    assert mixed_table(found).empty
