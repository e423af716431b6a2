import re

import numpy as np
import pytest

from paincore import paper
from paincore.ablations import tables as description
from paincore.statistics.contrast_tests import corrected_t
from paincore.style import MINUS
from tests.ablations.test_search import search

HITS = {1: 10, 2: 8, 3: 6, 4: 4, 5: 2}  # F1 2h / (h + 10)


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

    def hits(one, fold, seed):
        if one.unfrozen_layers == 4 or (one.sam and fold == 1):
            return "failed"
        return one.unfrozen_layers // 2

    return search(hits, ["vit"])


def test_the_best_the_next_and_the_folds_that_agree_are_told(known):
    sentence = description.step_sentences(known, "layers")[0]
    mean = np.mean([f1(hits) for hits in HITS.values()])
    margins = [f1(HITS[fold]) - f1(HITS[fold] - (fold <= 3)) for fold in HITS]
    assert f"highest here is 6 layers, mean F1 {mean:.2f} ± " in sentence
    assert f"next is 8 layers, {np.mean(margins):.2f} lower, and lower in 3 of 5" in sentence
    assert "power" not in " ".join([*description.step_sentences(known, "sam"), sentence])


def test_what_is_kept_is_what_the_next_step_starts_from(known):
    kept = {step: [one.label for one in description.tried(known["vit"], step) if one.kept]
            for step in ("layers", "rate", "sam", "mixup")}  # fmt: skip
    assert kept == {"layers": ["6"], "rate": ["2e-4"], "sam": ["with\n(rho 0.05)"],
                    "mixup": ["without"]}  # fmt: skip


def test_the_papers_choice_is_named_where_it_is_kept_and_not_best():
    found = search(six_best, ["vit"], folds=5, path="paper")
    sentence = description.step_sentences(found, "layers")[0]
    assert sentence.endswith("Kept is the paper's choice, 12 layers.")
    assert description.tried(found["vit"], "layers")[-1].kept


def test_sam_is_told_with_sign_interval_and_folds(known):
    sentence = description.step_sentences(known, "sam")[0]
    gain = np.array([0, 0, 0, 0, f1(4) - f1(2)])
    found = corrected_t(gain)
    ends = f"[{found.low:+.2f}, {found.high:+.2f}]".replace("-", MINUS)
    assert f"less that without SAM, mean over folds: {gain.mean():+.2f} {ends} (95 %" in sentence
    assert "higher in 1 of 5 folds" in sentence


def test_mixup_is_told_of_the_alpha_that_the_paper_names_and_all_means_stand(known):
    sentence = description.step_sentences(known, "mixup")[1]
    losses = [f1(max(hits - 2, 0)) - f1(hits) for hits in HITS.values()]
    assert sentence.startswith("ViViT, Mixup: F1 with alpha 0.8 less that without Mixup")
    assert f"{np.mean(losses):+.2f}".replace("-", MINUS) in sentence
    assert "lower in 5 of 5 folds" in sentence
    assert re.search(
        r"Means: [\d.]+ without Mixup, .* with alpha 0.2, .* with alpha 0.8\.", sentence
    )


def test_what_changes_no_prediction_is_said_to_be_the_same():
    found = search(lambda *_: 5, ["vit"])
    (sam,) = description.step_sentences(found, "sam")
    assert sam == "ViT, SAM: F1 with SAM is the same as without SAM, in every fold."
    (layers,) = description.step_sentences(found, "layers")
    assert "next is 4 layers, with the same mean; of equals the first is taken." in layers


def test_failures_are_listed_with_their_message_and_counted(failing):
    table = description.failures_table(failing)
    assert table["configuration"].str.startswith(("ViT 4 layers", "ViT 12 layers, 2e-4, SAM")).all()
    assert table["fold"].tolist() == ["1", "2", "1"]
    assert set(table["failure"]) == {"the loss is nan"}
    (layers,) = description.step_sentences(failing, "layers")
    assert layers.endswith("1 of 6 failed and could not be compared.")
    (sam,) = description.step_sentences(failing, "sam")
    assert "with SAM has no score, a training of it failed." in sam
    assert "**3 trainings failed**" in description.findings(failing, "greedy", True)


def test_a_model_without_failures_has_a_row_that_says_so(known):
    assert description.failures_table(known)["failure"].tolist() == ["none", "none"]
    assert "- No training failed." in description.findings(known, "greedy", True)


def test_every_configuration_has_a_row_and_failed_ones_no_score(failing, known):
    assert len(description.trials_table(known)) == 28
    rows = description.trials_table(failing).set_index("configuration")
    assert rows.loc["ViT 4 layers, 2e-4", ["F1", "AUC"]].tolist() == ["failed", "failed"]
    assert rows.loc["ViT 12 layers, 2e-4", "F1"] == f"{f1(6):.2f} ± 0.00"
    assert rows.loc["ViT 12 layers, 2e-4", "note"] == "layers kept, rate kept, best of 14"


def test_folds_without_pain_are_left_out_and_the_others_counted():
    found = search(lambda one, fold, seed: None if fold == 2 else one.unfrozen_layers // 2,
                   ["vit"], folds=4)  # fmt: skip
    (sentence,) = description.step_sentences(found, "layers")
    assert f"12 layers, mean F1 {f1(6):.2f} ± 0.00 over 3 folds" in sentence
    assert "lower in 3 of 3 folds" in sentence


def test_with_one_scored_fold_no_interval_is_given():
    found = search(lambda one, fold, seed: None if fold == 2 else 5 + one.sam, ["vit"])
    (sentence,) = description.step_sentences(found, "sam")
    assert "[" not in sentence
    assert "nan" not in description.findings(found, "greedy", True).lower()


def test_seeds_are_averaged_before_folds_are_compared():
    hits = {0: 10, 1: 0}
    found = search(lambda one, fold, seed: hits[seed], ["vit"], seeds=2)["vit"]
    assert description.f1_of(found, found.layers).tolist() == [0.5, 0.5]


def test_always_saying_pain_is_scored_on_the_same_frames(known):
    assert description.always_pain_f1(known["vit"]) == pytest.approx(2 / 3)  # half of them is pain


def test_an_epoch_of_the_paper_has_about_2420_steps():
    assert description.paper_steps() == 2420 == round(paper.FRAMES * 4 / 5 / 16)


def test_steps_and_the_way_of_the_weights_are_those_of_the_runs(known):
    table = description.moves(known["vit"])
    assert tuple(table["rate"].unique()) == paper.RATES
    np.testing.assert_allclose(table["weight_change"], 100 * table["rate"])
    sentence = description.moves_sentence(known["vit"])
    assert "ViT takes 96 to 100 steps in its epoch" in sentence
    assert "At 2e-6 the trained weights moved by 0.02 % of their norm, at 2e-2 by 200 %" in sentence


def test_shares_of_any_size_have_two_digits():
    shares = (0.00024, 0.011, 1.06, 64, 0)
    written = ["0.024 %", "1.1 %", "110 %", "6,400 %", "0 %"]
    assert [description.percent(share) for share in shares] == written


def test_the_two_rates_are_the_best_here_or_on_its_path_the_papers(known):
    vivit = known["vivit"]
    assert [one.name for one in description.two_rates(vivit, "greedy")] == ["2e-4", "2e-2"]
    assert [one.name for one in description.two_rates(vivit, "paper")] == ["2e-4", "2e-6"]
    sentence = description.two_rates_sentence(known, "greedy")
    assert "2e-4 is the higher in 1 of 5 folds" in sentence
    assert f"from +0.00 to {f1(10) - f1(9):+.2f}" in sentence
    assert sentence.endswith("The spread is the smaller at 2e-2.")


def test_without_vivit_its_rates_are_not_told(failing):
    reason = description.two_rates_sentence(failing, "greedy")
    assert reason == "This run trained ViT alone; the figure is of ViViT."
    assert "ViViT," not in description.findings(failing, "greedy", True)


def test_what_findings_say_of_the_papers_choice_depends_on_the_corpus(known):
    said = description.findings(known, "greedy", synthetic=True)
    assert "- Of 14 configurations, ViT 6 layers, 2e-4, SAM has the highest mean F1" in said
    assert "neither agrees nor disagrees with the paper" in said
    people = description.findings(known, "greedy", synthetic=False)
    assert "agree" not in people
    assert "- ViT: kept are 6 layers and 2e-4; the paper kept 12 and 2e-5." in people
    assert "- ViViT: kept are 6 layers and 2e-4; the paper kept 6 and 2e-4." in people
    assert "the paper kept" not in said
