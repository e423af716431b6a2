import numpy as np
import pandas as pd

from paincore.folds import Fold, make_folds
from paincore.folds_description import (
    designs_here,
    distances_table,
    findings,
    missing_classes,
    people,
    why_not_published,
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


def test_the_published_lists_are_left_out_with_a_reason():
    designs = designs_here(FRAMES, USABLE)
    assert list(designs) == ["pair_and_shuffle", "balanced"]
    assert "name the people of UNBC-McMaster" in why_not_published(designs)


def test_the_optimum_is_no_distance_from_itself():
    table = distances_table(FRAMES, designs_here(FRAMES, USABLE)).set_index("design")
    assert table.loc["balanced", "pain frames"] == "0 (+0)"
    assert table.loc["balanced", "frames"] == "0 (+0)"


def test_a_fold_without_a_class_is_named():
    frames = corpus_of([0, 0, 9, 9, 9, 9, 9, 9, 9, 9])
    rows = [np.flatnonzero(frames["subject"].isin(pair)) for pair in (["aa000", "aa001"],)]
    folds = [Fold("balanced", 1, np.setdiff1d(np.arange(100), rows[0]), rows[0])]
    assert missing_classes(frames, {"balanced": folds}).startswith("fold 1 of balanced: no pain")
    assert missing_classes(FRAMES, designs_here(FRAMES, USABLE)).startswith("Every fold")


def test_the_closing_sentence_turns_with_what_leaks():
    designs = designs_here(FRAMES, USABLE)
    balanced, leaking = designs["balanced"], make_folds(FRAMES, "random_frames", USABLE)
    flatters = {"balanced": predicted(balanced, False), "random_frames": predicted(leaking, True)}
    assert "F1 1.00 instead of 0.00 and" in findings(FRAMES, designs, flatters)
    harms = {"balanced": predicted(balanced, True), "random_frames": predicted(leaking, False)}
    assert "F1 0.00 instead of 1.00 and" in findings(FRAMES, designs, harms)


def test_scores_of_random_frames_are_of_each_fold_though_all_people_are_in_all():
    from paincore.statistics import fold_scores

    folds = make_folds(FRAMES, "random_frames", USABLE)
    predictions = predicted(folds, True)
    predictions.loc[predictions["fold"] == 2, "probability"] = 0.1
    assert fold_scores(predictions)["f1"].tolist() == [1, 0, 1, 1, 1]
