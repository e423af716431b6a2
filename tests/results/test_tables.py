from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore import paper
from paincore.ablations.tables import FAILED_RUN
from paincore.folds.designs import Fold
from paincore.results import tables
from paincore.results.contrasts import Contrast
from paincore.statistics.bootstrap import Difference, resample_subjects
from paincore.statistics.contrast_tests import CorrectedT
from paincore.statistics.optimism import Optimism
from paincore.style import MINUS
from paincore.training.configuration import configure
from tests.helpers.predicted import two_known_folds
from tests.helpers.searched import peak, search

CHOSEN = {
    "ViT-1": configure(unfrozen_layers=4, learning_rate=2e-3),
    "ViViT-1": configure(model="vivit", unfrozen_layers=2),
    "ViViT-2": configure(model="vivit", unfrozen_layers=2, learning_rate=2e-6),
}
SHARES = pd.Series({"6 layers, 2e-4": 0.3, "8 layers, 2e-4": 0.7})
LUCK = Optimism("6 layers, 2e-4", 0.61, 0.55, 0.06, -0.01, 0.13, SHARES)
MISSING = Contrast("missing", 0, None, None, np.nan)


@pytest.fixture
def table() -> pd.DataFrame:
    rows, frames = np.arange(4), pd.DataFrame({"subject": [*"aabc"]})
    folds = [Fold("pair_and_shuffle", k, rows, rows[k - 1 :: 2]) for k in (1, 2)]
    study = SimpleNamespace(
        corpus=SimpleNamespace(label="made up"),
        profile=SimpleNamespace(name="smoke"),
        store=SimpleNamespace(frames=frames, meta={"backend": "landmarker"}),
        folds=folds,
    )
    arms = {"ViT-1": two_known_folds(), "ViViT-1": two_known_folds(), "ViViT-2": None}
    arms["always pain"] = two_known_folds().assign(probability=1.0)
    return tables.table_1(study, CHOSEN, arms, resample_subjects(two_known_folds(), count=200))


def test_the_papers_rows_say_what_it_prints_and_what_it_does_not(table):
    theirs = table[table["data"].str.contains("the paper")].set_index("model")
    assert [row.name for row in paper.TABLE_1] == [name.split(" (")[0] for name in theirs.index]
    scores = ["0.46 ± 0.18", "0.47 ± 0.20", "-", "-", "0.55 ± 0.15", "0.55 ± 0.13", "0.49 ± 0.04"]
    assert theirs["F1, folds"].tolist() == scores
    vit = theirs.loc["ViT-1 (12 layers, 2e-5)"]
    assert vit["AUC, folds"] == "0.88, ± not printed"
    assert vit["F1, pooled"] == vit["AUC, pooled"] == "not printed"
    assert theirs["protocol"].iloc[:4].str.startswith("not comparable until verified").all()


def test_this_runs_rows_stand_below_their_counterparts_and_say_how_they_were_made(table):
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
        "protocol": "2 folds (pair and shuffle), 3 subjects; ± over folds",
    }
    assert table.iloc[-1][["model", "backbone"]].tolist() == ["always pain", "-"]
    failed = table.set_index("model").loc["ViViT-2 (2 layers, 2e-6)"]
    assert failed[["F1, folds", "F1, pooled", "AUC, folds", "AUC, pooled"]].eq(FAILED_RUN).all()


def contrast(mean: float, p: float) -> Contrast:
    low, high = mean - 0.02, mean + 0.02
    found = Difference(mean / 2, low, high, np.array([mean, mean / 2]))
    test = CorrectedT(mean, 0.01, 4, mean / 0.01, p / 6, low, high, 0.14)
    return Contrast("one", 1234, found, test, p)


def test_the_table_of_contrasts_has_both_quantities_and_what_could_be_detected():
    rows = tables.contrasts_table([contrast(0.1, 0.03), MISSING])
    detectable = "0.14 [0.08, 0.40]"  # 0.599 and 2.874 times 0.14
    cells = ["+0.10 [+0.08, +0.12]", "0.030", detectable, "+0.05 [+0.08, +0.12]"]
    assert rows.iloc[0].tolist() == ["one", "1,234", *cells]
    assert rows.iloc[1].tolist() == ["missing", *[FAILED_RUN] * 5]


def test_findings_say_which_side_of_0_an_interval_is_on():
    found = [contrast(0.1, 0.03), contrast(-0.1, 0.03), contrast(0.01, 0.03), MISSING]
    rows = tables.results_findings(found, {"vit": LUCK})
    assert [row.verdict for row in rows] == ["higher", "lower", *["undecided"] * 3]
    assert rows[0].estimate == "+0.10 [+0.08, +0.12]"
    assert (rows[3].estimate, rows[4].estimate) == ("- [-, -]", f"+0.06 [{MINUS}0.01, +0.13]")


def test_clips_and_frames_differ_in_steps_depth_and_rate():
    best = {"vit": (4, 2e-3), "vivit": (6, 2e-4)}
    found = search(lambda one, *rest: peak(*best[one.model])(one, *rest), folds=5)
    vit, vivit = tables.clips_table(found).to_numpy().tolist()
    assert vit == ["ViT-1", 1, 1, 4, "2e-3", "96 to 100"]
    assert vivit == ["ViViT-1", 4, 1, 6, "2e-4", "96 to 100"]


def test_all_that_was_trained_can_be_chosen_under_its_settings():
    found = search(lambda one, *_: "failed" if one.sam else peak(6, 2e-5)(one), ["vit"], folds=5)
    candidates = list(found["vit"].predictions.values())
    resamples = resample_subjects(candidates[0], count=200)
    one = tables.optimism_of_choosing(found, resamples)["vit"]
    assert (one.chosen, len(one.shares)) == ("6 layers, 2e-5", 13)
    row = tables.optimism_table({"vivit": LUCK}).iloc[0].tolist()
    assert row == ["ViViT", 2, "6 layers, 2e-4", "0.61", "0.55", f"+0.06 [{MINUS}0.01, +0.13]"]


def test_nested_choice_has_its_scores_and_what_was_chosen_for_each_fold():
    found = {1: CHOSEN["ViT-1"], 2: configure()}, two_known_folds()
    row = tables.nested_table({"vit": found}, resample_subjects(two_known_folds(), count=50)).iloc[
        0
    ]
    assert (row["F1, folds"], row["F1, pooled"]) == ("0.75 ± 0.35", "0.75 [0.75, 0.75]")
    assert row["chosen for fold"] == "1: 4 layers, 2e-3; 2: 12 layers, 2e-4"
