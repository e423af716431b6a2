"""Exact tests; test_simulated has what is tested by simulation."""

from itertools import chain, combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from paincore.statistics import bootstrap as boot
from paincore.statistics.bootstrap import StatisticsError, bootstrap, pooled_value
from paincore.statistics.contrast_tests import POWER, corrected_t, holm
from paincore.statistics.optimism import optimism
from paincore.statistics.scores import fold_scores, pooled_scores
from tests.helpers.predicted import predictions

SCORED = {
    "f1": lambda pain, value, weight: f1_score(pain, value > 0.5, sample_weight=weight),
    "auc": lambda pain, value, weight: roc_auc_score(pain, value, sample_weight=weight),
}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), grain=st.sampled_from([2, 10, 1000]), unlike=st.booleans())
def test_a_bootstrap_score_is_that_of_all_frames_with_their_subjects_weight(seed, grain, unlike):
    table = predictions(folds=3, subjects=2, frames=8, seed=seed, grain=grain)
    if unlike:  # folds of one, three and two
        table.loc[table["subject"] == "s0", "fold"] = 2
    resamples = boot.resample_subjects(table, count=5, seed=seed)
    found = {score: bootstrap(table, resamples, score) for score in SCORED}
    for number, resample in resamples.iterrows():
        weight = table["subject"].map(resample)
        for score, scored in SCORED.items():
            if table["pain"][weight > 0].nunique() == 1:
                assert np.isnan(found[score][number])
                continue
            anew = scored(table["pain"], table["probability"], weight)
            assert found[score][number] == pytest.approx(anew)


def test_single_scores_are_those_of_the_metrics():
    table = predictions()
    table.loc[table["fold"] == 2, "pain"] = True
    for score in SCORED:
        assert pooled_value(table, score) == pytest.approx(pooled_scores(table)[score])
        np.testing.assert_allclose(boot.fold_values(table, score), fold_scores(table)[score])
        assert boot.fold_values(table, score).isna().tolist() == [False, True]


def test_every_resample_takes_one_fewer_than_a_fold_has_and_weighs_them_as_all():
    table = predictions(folds=3, subjects=4)
    resamples = boot.resample_subjects(table, count=500)
    for fold in (1, 2, 3):
        people = table.loc[table["fold"] == fold, "subject"].unique()
        times = resamples[people] * 3 / 4
        np.testing.assert_allclose(times, times.round())
        np.testing.assert_allclose(resamples[people].sum(axis=1), 4)
    assert resamples.mean().between(0.85, 1.15).all()
    assert (resamples == 0).any(axis=None)
    pd.testing.assert_frame_equal(resamples, boot.resample_subjects(table, count=500))


def test_a_mean_over_people_varies_over_resamples_as_its_standard_error_says():
    """The variance of a stratified mean is known: that within each fold over its people."""
    value = np.random.default_rng(0).normal(size=(5, 5)) + np.arange(5)[:, None]
    table = pd.DataFrame({"subject": [f"s{n:02d}" for n in range(25)], "fold": np.arange(25) // 5})
    means = boot.resample_subjects(table)[table["subject"]].to_numpy() @ value.ravel() / 25
    known = value.var(axis=1, ddof=1).mean() / 25
    # 10,000 resamples of almost normal means: the variance is off by 1.4 % on average.
    assert means.var() == pytest.approx(known, rel=0.06)


def test_all_people_are_resampled_together_where_each_is_a_fold():
    table = predictions(folds=6, subjects=1)
    resamples = boot.resample_subjects(table, count=500)
    np.testing.assert_allclose(resamples.sum(axis=1), 6)
    assert ((resamples > 0).sum(axis=1) < 6).all()
    mixed = table.assign(fold=table["fold"].clip(upper=3))  # folds of one, one and four
    assert boot.resample_subjects(mixed, count=500)["s0"].std() > 0


def test_a_subject_in_two_folds_or_one_that_is_not_resampled_is_refused():
    table = predictions()
    twice = table.assign(fold=np.arange(len(table)) % 2)
    with pytest.raises(StatisticsError, match="s0 is tested in several folds"):
        boot.resample_subjects(twice)
    resamples = boot.resample_subjects(table[table["subject"] != "s3"])
    with pytest.raises(StatisticsError, match="subject s3 is not resampled"):
        bootstrap(table, resamples, "auc")
    with pytest.raises(StatisticsError, match="only s0 to resample"):
        boot.resample_subjects(table[table["subject"] == "s0"])


def test_seeds_are_averaged_within_a_fold_and_within_a_resample():
    one, other = predictions(seed=1), predictions(seed=1)
    other["probability"] = 1 - other["probability"]
    both = pd.concat([one.assign(seed=0), other.assign(seed=1)])
    np.testing.assert_allclose(fold_scores(both)["auc"], 0.5)
    assert pooled_scores(both)["auc"] == pytest.approx(0.5)
    np.testing.assert_allclose(bootstrap(both, boot.resample_subjects(one, count=20), "auc"), 0.5)


def test_an_interval_holds_the_middle_of_the_resamples_and_forgets_undefined_ones():
    assert boot.interval(np.append(np.arange(1001.0), np.nan)) == (25.0, 975.0)
    assert np.isnan(boot.interval(np.full(3, np.nan))).all()


def test_a_difference_is_paired_and_turns_with_its_sides():
    good, bad = predictions(signal=3.0), predictions(signal=3.0).assign(probability=0.5)
    resamples = boot.resample_subjects(good)
    same = boot.difference(good, good, resamples, "auc")
    assert (same.pooled, same.low, same.high) == (0, 0, 0)
    up, down = (
        boot.difference(good, bad, resamples, "auc"),
        boot.difference(bad, good, resamples, "auc"),
    )
    assert up.low > 0
    assert (up.pooled, up.low) == (-down.pooled, -down.high)
    np.testing.assert_allclose(up.folds, fold_scores(good)["auc"] - 0.5)
    values = bootstrap(good, resamples, "auc") - bootstrap(bad, resamples, "auc")
    six = boot.difference(good, bad, resamples, "auc", tests=6)
    np.testing.assert_allclose([six.low, six.high], np.quantile(values, [0.05 / 12, 1 - 0.05 / 12]))


def test_the_corrected_t_is_the_formula_of_nadeau_and_bengio():
    values = np.array([0.02, 0.04, 0.06, 0.08, 0.10])
    found, plain = corrected_t(values), stats.ttest_1samp(values, 0)
    assert (found.mean, found.df) == (pytest.approx(0.06), 4)
    assert found.se == pytest.approx(np.sqrt(0.001) * np.sqrt(1 / 5 + 1 / 4))
    assert found.t == pytest.approx(plain.statistic / np.sqrt(0.45 / 0.2))
    assert found.p == pytest.approx(2 * stats.t.sf(found.t, 4)) and found.p > plain.pvalue
    # 2.776 is the 97.5th percentile of t with 4 degrees of freedom, in every table of it.
    assert (found.high - found.low) / 2 == pytest.approx(2.776445 * found.se)
    assert corrected_t(np.zeros(5))[3:] == (0, 1, 0, 0, 0)


def test_one_of_six_tests_has_a_wider_interval_and_detects_less():
    """The detectable difference is that of the noncentral t; its other tail holds nothing here."""
    values = np.array([0.02, 0.04, 0.06, 0.08, 0.10])
    for tests in (1, 6):
        found, critical = corrected_t(values, tests), stats.t.isf(0.025 / tests, 4)
        power = stats.nct.sf(critical, 4, found.detectable / found.se)
        assert power == pytest.approx(POWER, abs=1e-5)
        assert (found.high - found.mean) / found.se == pytest.approx(critical)
        assert found[:5] == corrected_t(values)[:5]  # mean, se, df, t and p are not adjusted


def test_folds_without_a_difference_are_left_out():
    found = corrected_t(np.array([0.1, np.nan, 0.2, 0.15, np.nan]))
    assert (found.df, found.se) == (2, pytest.approx(0.05 * np.sqrt(1 / 3 + 1 / 4)))
    alone = corrected_t(np.array([0.1, np.nan]))
    assert alone.mean == 0.1 and np.isnan(alone[1:]).all()


def test_holm_equals_the_worked_example_and_counts_a_test_that_could_not_be_made():
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.01, np.nan])), [0.02, np.nan])


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_by_bonferroni(p):
    """A hypothesis is rejected if Bonferroni rejects every set of hypotheses that it is in."""
    numbers = range(len(p))
    sets = list(chain.from_iterable(combinations(numbers, size + 1) for size in numbers))
    closed = [max(min(1, len(s) * min(p[i] for i in s)) for s in sets if n in s) for n in numbers]
    np.testing.assert_allclose(holm(np.array(p)), closed)


def candidates(count=3, **settings) -> dict[str, pd.DataFrame]:
    """Models with unlike predictions for the same frames."""
    rng = np.random.default_rng(1)
    table = predictions(**settings)
    noise = rng.normal(0, 0.2, (count, len(table)))
    return {
        f"c{number}": table.assign(probability=(table["probability"] + each).clip(0, 1).round(1))
        for number, each in enumerate(noise)
    }


def corrected_by_loops(models: dict[str, pd.DataFrame], resamples: pd.DataFrame) -> float:
    counts = {name: {} for name in models}  # of each person, what F1 is the ratio of
    for name, table in models.items():
        for whose, frames in table.groupby("subject"):
            said = frames["probability"] > 0.5
            hits = (frames["pain"] & said).sum()
            counts[name][whose] = 2 * hits, frames["pain"].sum() + said.sum()
    left_out = {whose: [] for whose in counts["c0"]}
    for _, draw in resamples.iterrows():
        scores = {
            name: round(SCORED["f1"](t["pain"], t["probability"], t["subject"].map(draw)), 12)
            for name, t in models.items()
        }
        chosen = max(scores, key=scores.get)
        for whose, found in left_out.items():
            if draw[whose] == 0:
                found.append(counts[chosen][whose])
    won, of = np.sum([np.mean(found, axis=0) for found in left_out.values()], axis=0)
    return won / of


def test_the_corrected_f1_is_that_of_plain_loops_over_resamples_and_people():
    models = candidates(subjects=4, frames=8)
    resamples = boot.resample_subjects(models["c0"], count=60)
    found = optimism(models, resamples)
    assert found.corrected == pytest.approx(corrected_by_loops(models, resamples))
    scores = {name: pooled_scores(table)["f1"] for name, table in models.items()}
    assert found.chosen == max(scores, key=scores.get)
    assert found.apparent == pytest.approx(max(scores.values()))
    assert found.difference == pytest.approx(found.apparent - found.corrected)
    assert found.low < found.difference < found.high
    assert list(found.shares.index) == list(models) and found.shares.sum() == pytest.approx(1)


def test_without_a_choice_there_is_no_optimism():
    model = candidates(1, subjects=4)["c0"]
    seeded = pd.concat([model.assign(seed=0), model.assign(seed=1, probability=0.9)])
    for table in (model, seeded):
        resamples = boot.resample_subjects(table, count=100)
        for models in ({"one": table}, {"one": table, "twin": table}):
            found = optimism(models, resamples)
            assert (found.chosen, found.shares["one"]) == ("one", 1)
            assert found.apparent == pytest.approx(pooled_scores(table)["f1"])
            assert [found.difference, found.low, found.high] == pytest.approx([0] * 3, abs=1e-9)


def test_candidates_of_other_frames_or_seeds_and_too_few_resamples_are_refused():
    models = candidates(subjects=4)
    resamples = boot.resample_subjects(models["c0"], count=50)
    seeded = pd.concat([models["c1"].assign(seed=seed) for seed in (0, 1)])
    for other in (models["c1"][1:], seeded):
        with pytest.raises(StatisticsError, match="of the same frames and seeds"):
            optimism(models | {"c1": other}, resamples)
    with pytest.raises(StatisticsError, match="1 resamples do not leave out everybody"):
        optimism(models, resamples[:1])
    few = models["c0"]["pain"] & models["c0"]["subject"].isin(["s0", "s1"])
    with pytest.raises(StatisticsError, match="fewer than three people have a class"):
        optimism({"c0": models["c0"].assign(pain=few)}, resamples)
