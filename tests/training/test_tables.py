from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore.folds.designs import Fold
from paincore.registration.frame_store import FrameStore
from paincore.statistics.bootstrap import resample_subjects
from paincore.training import tables
from paincore.training.comparison import COMPARED, VIEWS
from paincore.training.configuration import configure
from paincore.training.runs import Run
from tests.helpers.predicted import predictions, two_known_folds
from tests.helpers.trainable import write_store_with_a_signal


@pytest.fixture
def store(tmp_path) -> FrameStore:
    """Ten people with twelve frames each, four of them pain; one frame without a face."""
    store = write_store_with_a_signal(tmp_path / "store", 10, 1, 12)
    store.frames.loc[0, "state"] = "no_face"
    return store


def counts(**settings) -> pd.DataFrame:
    table = tables.parameters_table([configure(backbone="random", **settings)])
    return table.set_index("part of the model")


def test_what_the_models_hold_is_what_is_known_of_vit_b16():
    assert counts().loc["attention", "ViT here"] == "199,680 trained"
    assert counts().loc["attention", "ViT on ViT-B/16"] == "28,348,416 trained"
    released = counts(protocol="released")["ViT on ViT-B/16"]
    assert released["all"] == "50,392,322 trained, 35,407,872 frozen"
    assert released[["image", "tokens"]].tolist() == ["224 x 224 px", "197"]
    half = counts(unfrozen_layers=6).loc["attention", "ViT on ViT-B/16"]
    assert half == "14,174,208 trained, 14,174,208 frozen"
    grid = counts(model="vivit").loc[["image", "tokens"], "ViViT on ViT-B/16"]
    assert grid.tolist() == ["448 x 448 px", "785"]


def test_frames_that_are_left_out_and_samples_add_up_to_the_table(store):
    configurations = [configure(), configure(model="vivit", clip_stride=2)]
    table = tables.left_out_table(store, configurations).set_index("why a frame ends no sample")
    found = table.astype(int)
    assert found.sum().tolist() == [120, 120]
    # the last of four, of twelve frames nine, of eleven eight, and every second of those
    assert found.loc["none: it is the last of a sample"].tolist() == [119, 9 * 5 + 4]
    assert (found > 0).any(axis=1).all()


def test_balanced_samples_are_half_pain_and_test_samples_stay_as_they_are(store):
    rows = np.arange(1, 120)
    sides = rows[rows < 60], rows[rows >= 60]
    folds = [Fold("balanced", 1, sides[1], sides[0]), Fold("balanced", 2, sides[0], sides[1])]
    table = tables.balance_table(store, configure(backbone="random"), folds)
    assert table.index.tolist() == [1, 2]
    np.testing.assert_allclose(table["training samples"], [100 / 3, 2000 / 59])
    np.testing.assert_allclose(table["test samples"], [2000 / 59, 100 / 3])
    assert table["balanced training samples"].between(30, 70).all()


def test_what_a_model_trained_on_is_given_from_its_lowest_to_its_highest_fold():
    def run(steps):
        metrics = {"train_samples": 16 * steps, "steps": steps}
        return Run(Path("made up"), configure(), {}, metrics, {"train_seconds": steps / 10})

    (row,) = tables.training_table([run(95), run(102)]).to_numpy().tolist()
    assert row == ["ViT", "1,520 to 1,632", "95 to 102", "10"]


def test_scores_are_given_by_fold_pooled_and_over_folds_and_a_dash_where_undefined():
    table = two_known_folds()
    rows = tables.fold_table({"ViT": table}).set_index("fold")
    assert rows["F1"].tolist() == ["1.00", "0.50", "0.75", "0.75 ± 0.35"]
    assert rows.loc[["1", "pooled"], "pain"].tolist() == ["4 of 8", "8 of 16"]
    row = tables.comparison_table({"x": table}, resample_subjects(table)).iloc[0]
    assert row["F1, folds"] == "0.75 ± 0.35"
    assert row["F1, pooled"] == "0.75 [0.75, 0.75]"
    table.loc[table["fold"] == 2, "pain"] = False
    rows = tables.fold_table({"ViT": table}).set_index("fold")
    assert rows.loc["2", ["F1", "AUC", "recall"]].tolist() == ["-", "-", "-"]
    assert rows.loc["mean ± sd", "F1"] == "1.00 ± -"


def verdicts(clips, frames, baselines=None, views=None, control=None) -> dict[str, str]:
    """The verdict of each of the chapter's findings, by the question."""
    control = frames if control is None else control
    tested, resamples = {"ViT": frames, "ViViT": clips}, resample_subjects(frames, count=500)
    rows = tables.training_findings(tested, baselines or {}, views or {}, control, resamples)
    assert not any("nan" in row.estimate for row in rows)
    return {row.question: row.verdict for row in rows}


GRID = "F1, ViViT − ViT"
CONTROL = "AUC, ViT trained on shuffled labels, against 0.5"


def test_a_verdict_flips_with_the_sides_and_is_undecided_between_equals():
    good, bad = predictions(signal=4.0), predictions(signal=0.0, seed=1)
    bad["pain"] = good["pain"]
    assert verdicts(good, bad)[GRID] == "higher"
    assert verdicts(bad, good)[GRID] == "lower"
    twice = pd.concat([good.assign(seed=0), good.assign(seed=1)], ignore_index=True)
    assert verdicts(good, good)[GRID] == "undecided"
    assert verdicts(twice, twice) == verdicts(good, good)
    nothing = predictions(signal=0.0, seed=3)
    assert verdicts(good, good, control=nothing)[CONTROL] == "undecided"
    assert verdicts(good, good, control=good)[CONTROL] == "higher"


def test_findings_have_a_row_for_what_there_is_and_none_for_what_there_is_not():
    good = predictions(signal=4.0)
    assert len(verdicts(good, good)) == 3
    baselines = {"66 landmarks": good, "always pain": good, "chance": good}
    flipped = good.assign(probability=1 - good["probability"])
    views = {f"{one}, {view}": flipped for one in COMPARED for view in VIEWS}
    views[f"{COMPARED[0]}, {VIEWS[0]}"] = good
    found = verdicts(good, good, baselines, views)
    assert len(found) == 5
    assert found["F1, ViT − regression on 66 landmarks"] == "undecided"
    (view,) = (said for asked, said in found.items() if VIEWS[1] in asked)
    assert view == "higher"
