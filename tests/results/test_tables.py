from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore import paper
from paincore.results import tables as description
from paincore.training.configuration import configure
from paincore.results.contrasts import Contrast, Planned, answer
from paincore.ablations.search import Nested, choose_nested
from paincore.folds.designs import Fold
from paincore.statistics.bootstrap import Difference, resample_subjects
from paincore.statistics.contrast_tests import CorrectedT
from paincore.statistics.optimism import Optimism, optimism
from paincore.style import MINUS
from tests.helpers.predicted import predictions
from tests.ablations.test_search import MadeUp, peak, search

CHOSEN = {
    "ViT-1": configure(unfrozen_layers=4, learning_rate=2e-3),
    "ViViT-1": configure(model="vivit", unfrozen_layers=2),
    "ViViT-2": configure(model="vivit", unfrozen_layers=2, learning_rate=2e-6),
}


def known() -> pd.DataFrame:
    """Two folds of two people: F1 is 1 in the first and 1/2 in the second."""
    rows = []
    for fold, said in ((1, [1, 1, 0, 0]), (2, [1, 0, 1, 0])):
        for subject in "ab":
            rows += [
                (fold, f"{subject}{fold}", "q", frame, frame <= 2, 0.9 if s else 0.2)
                for frame, s in enumerate(said, start=1)
            ]
    columns = ["fold", "subject", "sequence", "frame", "pain", "probability"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(sequence=table["subject"])


def plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.replace(description.NBSP, " ", regex=True)


@pytest.fixture
def table() -> pd.DataFrame:
    models = {"ViT-1": known(), "ViViT-1": known(), "ViViT-2": None}
    baselines = {"always pain": known().assign(probability=1.0)}
    draws = resample_subjects(known(), count=200)
    here = {"data": "made up (this run, profile smoke)", "protocol": "2 folds, 4 subjects"}
    return plain(description.table_1(here, "landmarker", CHOSEN, models, baselines, draws))


def test_the_papers_rows_say_what_it_prints_and_what_it_does_not(table):
    theirs = table[table["data"].str.contains("the paper")].set_index("model")
    assert [row.name for row in paper.TABLE_1] == [name.split(" (")[0] for name in theirs.index]
    assert theirs["F1, folds"].tolist() == [
        "0.46 ± 0.18", "0.47 ± 0.20", "-", "-", "0.55 ± 0.15", "0.55 ± 0.13", "0.49 ± 0.04",
    ]  # fmt: skip
    vit = theirs.loc["ViT-1 (12 layers, 2e-5)"]
    assert vit["AUC, folds"] == "0.88, ± not printed"
    assert vit["F1, pooled"] == vit["AUC, pooled"] == "not printed"
    assert vit["protocol"] == "5 folds by people, 25 subjects; ± over folds"
    assert {"ViViT-1 (6 layers, 2e-4)", "ViViT-2 (6 layers, 2e-6)"} <= set(theirs.index)


def test_earlier_works_are_not_comparable_until_verified(table):
    earlier = table.iloc[:4]
    assert earlier["model"].tolist() == ["CDL", "PFDL", "SPTS + CAPP", "SPTS + SAPP + CAPP"]
    assert earlier["protocol"].str.startswith("not comparable until verified").all()


def test_this_runs_rows_stand_below_their_counterparts_and_name_what_they_were_made_with(table):
    names = table["model"].tolist()
    below = names.index("ViT-1 (12 layers, 2e-5)") + 1
    assert table.iloc[below].to_dict() == {
        "model": "ViT-1 (4 layers, 2e-3)",
        "data": "made up (this run, profile smoke)",
        "F1, folds": "0.75 ± 0.35",
        "F1, pooled": "0.75 [0.75, 0.75]",
        "AUC, folds": "0.75 ± 0.35",
        "AUC, pooled": "0.75 [0.75, 0.75]",
        "registration": "landmarker",
        "backbone": "movement",
        "protocol": "2 folds, 4 subjects",
    }
    assert table.iloc[below - 1][["registration", "backbone"]].tolist() == ["PRNet", "ViT-B/16"]
    assert names[-1] == "always pain"
    assert table.iloc[-1][["registration", "backbone"]].tolist() == ["-", "-"]
    assert table["data"].str.contains("this run").sum() == 4


def test_a_counterpart_of_which_a_run_failed_says_so(table):
    row = table.set_index("model").loc["ViViT-2 (2 layers, 2e-6)"]
    assert row[["F1, folds", "F1, pooled", "AUC, folds", "AUC, pooled"]].eq("a run failed").all()


def test_numbers_are_not_split_over_lines():
    given = pd.DataFrame({"a": ["0.75 ± 0.35", f"+0.1 [{MINUS}0.2, +0.4]", "no pain, ± none"]})
    kept = description._unbroken(given)["a"].tolist()
    assert [text.count(description.NBSP) for text in kept] == [2, 1, 0]


def test_a_run_is_named_by_its_data_profile_folds_and_the_people_that_are_answer():
    store = SimpleNamespace(frames=pd.DataFrame({"subject": ["a", "a", "b", "c"]}))
    rows = np.arange(4)
    folds = [Fold("pair_and_shuffle", 1, rows[2:], rows[:2]), Fold("x", 2, rows[:2], rows[2:])]
    corpus = SimpleNamespace(label="two people of a clinic")
    assert description.this_run(corpus, store, folds, "paper") == {
        "data": "two people of a clinic (this run, profile paper)",
        "protocol": "2 folds (pair and shuffle), 3 subjects; ± over folds",
    }


def test_what_five_folds_can_tell_of_a_spread_and_of_ranks():
    assert "from 0.6 to 2.9 times" in description.spread_sentence(5)  # chi2(4): 0.484, 11.143
    assert "p is 0.0625" in description.rank_sentence(5)


def contrast(mean: float, holm: float, left_out: int = 0) -> Contrast:
    low, high = mean - 0.02, mean + 0.02
    found = Difference(mean / 2, low, high, np.array([mean, mean / 2]))
    test = CorrectedT(mean, 0.01, 4, mean / 0.01, holm / 6, low, high, 0.14, left_out)
    return Contrast("clips", "ViViT-1", "ViT-1", 1234, found, test, holm)


def test_an_effect_is_told_whichever_way_it_falls_and_by_one_test():
    up, down = (description.contrast_sentence(contrast(d, 0.03)) for d in (0.1, -0.1))
    assert "ViT-1, F1, mean over folds: +0.10 [+0.08, +0.12], p by Holm 0.030: called" in up
    assert f"{MINUS}0.10 [{MINUS}0.12, {MINUS}0.08], p by Holm 0.030: called different" in down
    alone = description.contrast_sentence(contrast(0.1, 0.12))  # its own p is 0.02
    assert "p by Holm 0.120: not called different" in alone


def test_a_contrast_that_left_folds_out_or_had_no_runs_says_so():
    said = description.contrast_sentence(contrast(0.01, 0.6, left_out=1))
    assert "1 without an F1 left out" in said
    missing = Contrast("clips", "ViViT-1", "ViT-1", 0, None, None, np.nan)
    assert "not tested" in description.contrast_sentence(missing)


def test_a_test_of_one_fold_is_not_made_up_and_equal_models_are_not_called_different():
    table = predictions(folds=5, subjects=5)
    one_fold = table.assign(pain=table["pain"] & (table["fold"] == 1))
    other = one_fold.assign(probability=1 - one_fold["probability"])
    pairs = [Planned("a", "b", "c", one_fold, other), Planned("a", "b", "c", table, table)]
    single, equal = answer(pairs, resample_subjects(table, count=100))
    assert "Fewer than two folds" in description.contrast_sentence(single)
    assert "not called different" in description.contrast_sentence(equal)
    rows = description.contrasts_table([single, equal])
    assert rows["detectable, mean over folds"].tolist() == ["-", "-"]


def test_the_table_of_contrasts_names_both_estimands_and_calls_different_by_holm_alone():
    missing = Contrast("clips", "ViViT-1", "ViT-1", 0, None, None, np.nan)
    found = [contrast(0.1, 0.03), contrast(0.1, 0.12), missing]
    rows = plain(description.contrasts_table(found)).set_index("frames")
    assert rows["contrast"].tolist() == [f"ViViT-1 {MINUS} ViT-1"] * 3
    assert rows.iloc[0, 1:].to_dict() == {
        "F1, mean over folds": "+0.10 [+0.08, +0.12]",
        "p, Holm": "0.030",
        "called different": "yes",
        "detectable, mean over folds": "0.14 [0.08, 0.40]",  # 0.599 and 2.874 times 0.14
        "F1, pooled over people": "+0.05 [+0.08, +0.12]",
    }
    assert rows["called different"].tolist() == ["yes", "no", "a run failed"]


def test_clips_and_frames_differ_in_steps_depth_and_rate():
    best = {"vit": (4, 2e-3), "vivit": (6, 2e-4)}
    found = search(lambda one, *rest: peak(*best[one.model])(one, *rest), folds=5)
    for runs in found["vivit"].runs.values():
        for run in runs:
            run.metrics["steps"] = 47
    assert description.clips_table(found).to_dict("list") == {
        "model": ["ViT-1", "ViViT-1"],
        "frames in a sample": ["1", "4"],
        "clip stride": ["1", "1"],
        "attention layers that train": ["4", "6"],
        "learning rate": ["2e-3", "2e-4"],
        "optimiser steps a fold": ["96 to 100", "47"],
    }


@pytest.mark.parametrize(
    ("p", "said"), [(0.04567, "0.046"), (0.0001, "< 0.001"), (1.0, "1.000"), (np.nan, "-")]
)
def test_a_p_is_printed_to_three_places(p, said):
    assert description.p_value(p) == said


def test_all_that_was_trained_can_be_chosen_under_its_settings():
    def hits(one, fold, seed):
        return "failed" if one.sam else peak(6, 2e-5)(one, fold, seed)

    found = search(hits, ["vit"], folds=5)["vit"]
    draws = resample_subjects(next(iter(found.predictions.values())), count=200)
    one = description.chosen_among(found, draws)
    assert one.chosen == "6 layers, 2e-5"
    assert len(one.shares) == 13
    same = optimism(dict(enumerate(found.predictions.values())), draws)
    assert (one.apparent, one.corrected) == (same.apparent, same.corrected)


SHARES = pd.Series({"6 layers, 2e-4": 0.3, "8 layers, 2e-4": 0.7})
LUCK = Optimism("6 layers, 2e-4", 0.61, 0.55, 0.06, -0.01, 0.13, SHARES)


def test_optimism_tells_both_scores_the_difference_and_the_share():
    said = description.optimism_sentence("vit", LUCK)
    assert "the best of 2 by pooled F1, 6 layers, 2e-4, has 0.61" in said
    assert f"0.55. It added +0.06 [{MINUS}0.01, +0.13]" in said
    assert "in 30 % of draws; most often it is 8 layers, 2e-4, in 70 %." in said
    row = description.optimism_table({"vivit": LUCK}).iloc[0].tolist()
    assert row == ["ViViT", "2", "6 layers, 2e-4", "0.61", "0.55", f"+0.06 [{MINUS}0.01, +0.13]"]


def test_nested_choice_is_priced_by_its_trainings_and_the_seconds_of_the_search():
    found = search(peak(6, 2e-5), ["vit"], folds=5)
    runs = [run for runs in found["vit"].runs.values() for run in runs]
    for number, run in enumerate(runs):
        clock = {"prepare_seconds": 1.0, "train_seconds": 2.0 * (number % 2), "test_seconds": 1.0}
        run.environment.update(clock)
    trained = MadeUp(peak(6, 2e-5))
    folds = [Fold("balanced", n, np.array([n - 1]), np.array([n])) for n in range(1, 6)]
    choose_nested(trained, None, folds, configure(), seeds=2)
    row = description.nested_cost(found, folds=5, seeds=2).iloc[0]
    assert row["trainings"] == str(trained.trainings) == "570"
    assert (row["seconds each"], row["minutes, one at a time"]) == ("3.0", "28")


def test_nested_choice_is_told_or_that_it_was_not_asked_for():
    table = known()
    draws = resample_subjects(table, count=50)
    assert "not asked for" in description.nested_sentences({}, draws)
    found = Nested({1: CHOSEN["ViT-1"], 2: configure()}, {}, table)
    said = description.nested_sentences({"vit": found}, draws)
    assert "F1 0.75 ± 0.35 over folds, 0.75 [0.75, 0.75] pooled" in said
    assert "1: 4 layers, 2e-3, 2: 12 layers, 2e-4" in said


def test_findings_hold_each_model_baseline_contrast_and_choice():
    good = predictions(folds=5, subjects=5, signal=4.0)
    clips = good[good["frame"] > 3]
    given = (
        {"ViT-1": good, "ViViT-1": clips, "ViViT-2": None},
        {"66 landmarks": good, "chance": good},
        [contrast(0.1, 0.03)],
        {"vit": LUCK},
        resample_subjects(good, count=100),
    )
    said = description.findings(*given, synthetic=False)
    starts = [line.split(":")[0] for line in said.splitlines()]
    assert starts == [
        "- ViT-1 of this run",
        "- ViViT-1 of this run",
        f"- ViT-1 {MINUS} 66 landmarks, F1, pooled over people",
        f"- ViViT-1 {MINUS} 66 landmarks, F1, pooled over people",
        f"- ViViT-1 {MINUS} ViT-1, F1, mean over folds",
        "- ViT",
    ]
    same = f"ViViT-1 {MINUS} 66 landmarks, F1, pooled over people: +0.00 [+0.00, +0.00], unadjusted"
    assert same in said  # on the frames that both predict
    assert "nan" not in said
    assert said.count("The paper prints 0.55 ± 0.15 for F1 and 0.88 for AUC.") == 1
    synthetic = description.findings(*given, synthetic=True)
    assert "The paper prints" not in synthetic
    assert len(synthetic.splitlines()) == len(starts) + 1
