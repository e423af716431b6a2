from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from paincore.comparison import (
    ComparisonError,
    always_pain,
    backbones_and_views,
    bootstrap,
    by_setting,
    difference,
    fold_scores,
    fold_values,
    interval,
    pooled_scores,
    pooled_value,
    shared_folds,
    subject_draws,
)
from paincore.configuration import configure
from paincore.runs import Run


def predictions(folds=2, subjects=3, frames=20, signal=1.0, seed=0, grain=10) -> pd.DataFrame:
    """Made-up predictions, in steps of 1/`grain` so that some are equal; pain has a higher one
    where `signal` is above 0."""
    rng = np.random.default_rng(seed)
    rows = []
    for subject in range(folds * subjects):
        pain = rng.random(frames) < rng.uniform(0.2, 0.6)
        value = rng.normal(0, 1, frames) + signal * (pain - 0.5) + rng.normal(0, 0.3)
        rows.append(
            pd.DataFrame(
                {
                    "fold": subject % folds + 1,
                    "subject": f"s{subject}",
                    "sequence": f"s{subject}a",
                    "frame": range(1, frames + 1),
                    "pain": pain,
                    "probability": np.round(grain / (1 + np.exp(-value))) / grain,
                }
            )
        )
    table = pd.concat(rows, ignore_index=True)
    return table.assign(corrected=table["probability"] / 2)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), grain=st.sampled_from([2, 10, 1000]))
def test_a_bootstrap_score_is_that_of_the_drawn_peoples_frames_scored_anew(seed, grain):
    table = predictions(seed=seed, grain=grain)
    draws = subject_draws(table, count=5, seed=seed)
    found = {score: bootstrap(table, draws, score) for score in ("f1", "auc")}
    for number, draw in draws.iterrows():
        parts = [table[table["subject"] == s] for s, times in draw.items() for _ in range(times)]
        drawn = pd.concat(parts)
        pain, probability = drawn["pain"], drawn["probability"]
        if pain.all() or not pain.any():
            assert np.isnan([found["f1"][number], found["auc"][number]]).all()
            continue
        assert found["f1"][number] == pytest.approx(f1_score(pain, probability > 0.5))
        assert found["auc"][number] == pytest.approx(roc_auc_score(pain, probability))


def test_single_scores_are_those_of_the_metrics():
    table = predictions()
    table.loc[table["fold"] == 2, "pain"] = True
    for score in ("f1", "auc"):
        assert pooled_value(table, score) == pytest.approx(pooled_scores(table)[score])
        np.testing.assert_allclose(fold_values(table, score), fold_scores(table)[score])
        assert fold_values(table, score).isna().tolist() == [False, True]


def test_every_draw_takes_from_a_fold_as_many_people_as_it_has():
    table = predictions(folds=3, subjects=4)
    draws = subject_draws(table, count=500)
    for fold in (1, 2, 3):
        people = table.loc[table["fold"] == fold, "subject"].unique()
        assert (draws[people].sum(axis=1) == 4).all()
    assert draws.mean().between(0.85, 1.15).all()
    assert (draws == 0).any(axis=None)
    pd.testing.assert_frame_equal(draws, subject_draws(table, count=500))


def test_a_subject_in_two_folds_or_one_that_is_not_drawn_is_refused():
    table = predictions()
    twice = table.assign(fold=np.arange(len(table)) % 2)
    with pytest.raises(ComparisonError, match="s0 is tested in more than one fold"):
        subject_draws(twice)
    draws = subject_draws(table[table["subject"] != "s3"])
    with pytest.raises(ComparisonError, match="subject s3 is not among those drawn"):
        bootstrap(table, draws, "auc")


def test_people_without_a_prediction_change_nothing_but_their_draws():
    table = predictions()
    draws = subject_draws(table, count=50)
    fewer = table[table["subject"] != "s3"]
    alone = bootstrap(fewer, draws.drop(columns="s3"), "auc")
    np.testing.assert_allclose(bootstrap(fewer, draws, "auc"), alone)


def test_seeds_are_averaged_within_a_fold_and_within_a_draw():
    one, other = predictions(seed=1), predictions(seed=1)
    other["probability"] = 1 - other["probability"]
    both = pd.concat([one.assign(seed=0), other.assign(seed=1)])
    np.testing.assert_allclose(fold_scores(both)["auc"], 0.5)
    assert pooled_scores(both)["auc"] == pytest.approx(0.5)
    np.testing.assert_allclose(bootstrap(both, subject_draws(one, count=20), "auc"), 0.5)


def test_an_interval_holds_the_middle_of_the_draws_and_forgets_undefined_ones():
    assert interval(np.append(np.arange(1001.0), np.nan)) == (25.0, 975.0)
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_a_difference_is_paired_and_turns_with_its_sides():
    good, bad = predictions(signal=3.0), predictions(signal=3.0).assign(probability=0.5)
    draws = subject_draws(good)
    same = difference(good, good, draws, "auc")
    assert (same.pooled, same.low, same.high, same.verdict) == (0, 0, 0, "undecided")
    up, down = difference(good, bad, draws, "auc"), difference(bad, good, draws, "auc")
    assert (up.verdict, down.verdict) == ("higher", "lower")
    assert (up.pooled, up.low) == (-down.pooled, -down.high)
    np.testing.assert_allclose(up.folds, fold_scores(good)["auc"] - 0.5)


def test_always_pain_has_the_f1_of_the_share_of_pain():
    table = predictions()
    share = table["pain"].mean()
    scores = pooled_scores(always_pain(table))
    assert scores["f1"] == pytest.approx(2 * share / (1 + share))
    assert scores["auc"] == 0.5


@dataclass(frozen=True)
class Sides:
    train: np.ndarray
    test: np.ndarray


def test_shared_folds_lose_what_is_not_usable_on_both_sides():
    fold = Sides(train=np.array([0, 1, 4]), test=np.array([2, 3]))
    (shared,) = shared_folds([fold], np.array([True, False, True, False, True]))
    assert (shared.train.tolist(), shared.test.tolist()) == ([0, 4], [2])


def test_runs_are_sorted_by_a_setting_with_their_seeds(tmp_path):
    runs = []
    for number, model in enumerate(("vit", "vit", "vivit")):
        folder = tmp_path / str(number)
        folder.mkdir()
        predictions(seed=number).to_parquet(folder / "predictions.parquet")
        runs.append(Run(folder, configure(model=model), {"seed": number}, {}, {}))
    tables = by_setting(runs, "model")
    assert list(tables) == ["vit", "vivit"]
    assert tables["vit"]["seed"].unique().tolist() == [0, 1]
    assert len(tables["vivit"]) == len(predictions())


def test_backbones_are_not_compared_where_training_starts_from_a_full_size_one(drawn_corpus):
    full = configure(backbone="google/vit-base-patch16-224")
    assert backbones_and_views(drawn_corpus, None, [], full) is None
