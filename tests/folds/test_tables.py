import numpy as np
import pandas as pd
import pytest

from paincore.folds.designs import Fold, FoldError, make_folds
from paincore.folds.tables import (
    designs_here,
    distances_table,
    findings,
    missing_classes,
    people,
    reasons_table,
)


def corpus_of(pain: list[int], frames: int = 10, names: str = "aa") -> pd.DataFrame:
    """As many subjects as numbers, each with so many pain frames of `frames`."""
    rows = [
        (f"{names}{number:03d}", "s", frame, frame <= painful)
        for number, painful in enumerate(pain)
        for frame in range(1, frames + 1)
    ]
    table = pd.DataFrame(rows, columns=["subject", "sequence", "frame", "pain"])
    return table.assign(pain=table["pain"].astype("boolean"), state="ok")


FRAMES = corpus_of([9, 7, 5, 3, 1, 1, 3, 5, 7, 9])
USABLE = np.ones(len(FRAMES), bool)


def predicted(folds: list[Fold], right: bool) -> pd.DataFrame:
    parts = []
    for fold in folds:
        part = FRAMES.iloc[fold.test][["subject", "sequence", "frame"]]
        pain = FRAMES["pain"].to_numpy(bool)[fold.test]
        probability = np.where(pain == right, 0.9, 0.1)
        parts.append(part.assign(fold=fold.number, pain=pain, probability=probability, seed=0))
    return pd.concat(parts, ignore_index=True)


def test_people_of_all_folds_are_everybody_once():
    table = people(FRAMES, make_folds(FRAMES, "balanced", USABLE))
    assert sorted(table["subject"]) == sorted(FRAMES["subject"].unique())
    assert table["pain"].sum() == 50
    assert (table["frames"] == 10).all()


def test_designs_that_cannot_be_made_here_have_a_reason():
    designs, reasons = designs_here(FRAMES, USABLE, "balanced")
    assert list(designs) == ["pair_and_shuffle", "balanced"]
    assert "25 subjects" in reasons["published"]
    assert list(reasons_table(reasons)["design"]) == ["published"]


def test_six_people_can_be_left_out_one_by_one_where_five_folds_cannot_be_made():
    frames = corpus_of([9, 7, 5, 3, 1, 1])
    usable = np.ones(len(frames), bool)
    designs, reasons = designs_here(frames, usable, "leave_one_subject_out")
    assert [len(folds) for folds in designs.values()] == [6]
    assert set(reasons) == {"published", "pair_and_shuffle", "balanced"}
    assert distances_table(frames, designs).loc[0, "pain frames"] == "8"
    with pytest.raises(FoldError, match="leave_one_subject_out"):
        designs_here(frames, usable, "balanced")


def test_the_optimum_is_no_distance_from_itself():
    designs, _ = designs_here(FRAMES, USABLE, "balanced")
    table = distances_table(FRAMES, designs).set_index("design")
    assert table.loc["balanced", "pain frames"] == "0 (+0)"
    assert table.loc["balanced", "frames"] == "0 (+0)"


def test_a_fold_without_a_class_is_named():
    frames = corpus_of([0, 0, 9, 9, 9, 9, 9, 9, 9, 9])
    rows = [np.flatnonzero(frames["subject"].isin(pair)) for pair in (["aa000", "aa001"],)]
    folds = [Fold("balanced", 1, np.setdiff1d(np.arange(100), rows[0]), rows[0])]
    assert missing_classes(frames, {"balanced": folds}).startswith("fold 1 of balanced: no pain")
    assert missing_classes(FRAMES, designs_here(FRAMES, USABLE, "balanced")[0]).startswith(
        "Every fold"
    )


def test_what_leaks_is_the_difference_of_the_two_splits():
    designs, _ = designs_here(FRAMES, USABLE, "balanced")
    balanced, leaking = designs["balanced"], make_folds(FRAMES, "random_frames", USABLE)
    flatters = {"balanced": predicted(balanced, False), "random_frames": predicted(leaking, True)}
    assert "+1.00 (1.00 − 0.00)" in findings(FRAMES, designs, flatters)["estimate"].tolist()
    harms = {"balanced": predicted(balanced, True), "random_frames": predicted(leaking, False)}
    assert "-1.00 (0.00 − 1.00)" in findings(FRAMES, designs, harms)["estimate"].tolist()


def test_scores_of_random_frames_are_of_each_fold_though_all_people_are_in_all():
    from paincore.statistics.bootstrap import fold_scores

    folds = make_folds(FRAMES, "random_frames", USABLE)
    predictions = predicted(folds, True)
    predictions.loc[predictions["fold"] == 2, "probability"] = 0.1
    assert fold_scores(predictions)["f1"].tolist() == [1, 0, 1, 1, 1]
