import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from paincore.attention import shares as attention_shares
from paincore.attention.regions import AU_REGIONS, NAMES, areas
from paincore.attention.shares import (
    by_head,
    by_region,
    by_unit,
    followers,
    heads_apart,
    more_than_controls,
    people_means,
    with_intervals,
)
from paincore.statistics.bootstrap import resample_subjects

PEOPLE, EACH, REGIONS = 25, 12, len(NAMES)
BROW = NAMES.index("brow")


def samples_of(rng: np.random.Generator, people: int = PEOPLE, each: int = EACH) -> pd.DataFrame:
    """People in folds of five, with coded AUs that are 0 half of the time."""
    number = np.repeat(np.arange(people), each)
    table = pd.DataFrame({"subject": [f"aa{n:03d}" for n in number], "fold": number % 5 + 1})
    for unit in AU_REGIONS:
        table[f"au{unit}"] = rng.integers(0, 3, len(table)) * rng.integers(0, 2, len(table)) * 1.0
    return table


def shares_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    values = rng.gamma(4, 1, (*shape, REGIONS))
    return values / values.sum(-1, keepdims=True)


def draws_of(samples: pd.DataFrame, count: int = 400) -> pd.DataFrame:
    return resample_subjects(samples, count)


def test_people_count_the_same_however_many_samples_they_have():
    subjects = pd.Series(["a"] * 9 + ["b"])
    values = np.array([[0.0]] * 9 + [[1.0]])
    draws = pd.DataFrame({"a": [1.0, 2.0, 0.0], "b": [1.0, 0.0, 2.0]})
    (row,) = with_intervals(people_means(values, subjects), draws).to_dict("records")
    assert (row["mean"], row["people"]) == (0.5, 2)
    assert (row["low"], row["high"]) == pytest.approx((0.025, 0.975))


def test_even_attention_is_as_much_as_each_region_s_area():
    rng = np.random.default_rng(0)
    samples = samples_of(rng)
    even = np.tile(areas(6), (len(samples), 1))
    double = even.copy()
    double[:, BROW] *= 2
    found = by_region(
        {"even": even, "brow": double}, areas(6), samples["subject"], draws_of(samples)
    )
    assert np.allclose(found.loc[found["model"] == "even", ["mean", "low", "high"]], 1)
    brow = found[(found["model"] == "brow") & (found["region"] == "brow")]
    assert np.allclose(brow[["mean", "low", "high"]], 2)
    heads = by_head(
        np.stack([even, double], axis=1), areas(6), samples["subject"], draws_of(samples)
    )
    assert heads.loc[heads["region"] == "brow", "mean"].tolist() == pytest.approx([1, 2])


def test_a_model_is_set_against_its_controls_with_the_same_people_drawn():
    rng = np.random.default_rng(2)
    samples = samples_of(rng)
    own = rng.dirichlet(np.ones(REGIONS), len(samples))  # people differ much
    other = own.copy()
    other[:, BROW] -= 0.01
    found = more_than_controls(
        {"own": own, "other": other}, areas(6), samples["subject"], draws_of(samples)
    )
    assert set(found["model"]) == {"other"}
    brow = found[found["region"] == "brow"].iloc[0]
    assert np.allclose(brow[["mean", "low", "high"]].astype(float), 0.01 / areas(6)[BROW])
    assert np.allclose(found.loc[found["region"] != "brow", ["low", "high"]], 0)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    samples = samples_of(rng)
    draws = draws_of(samples)
    hits = 0
    for _ in range(300):
        person = rng.normal(0.3, 0.1, PEOPLE)  # the truth is 0.3
        values = np.repeat(person, EACH) + rng.normal(0, 0.05, len(samples))
        (row,) = with_intervals(people_means(values[:, None], samples["subject"]), draws).to_dict(
            "records"
        )
        hits += row["low"] <= 0.3 <= row["high"]
    assert 0.89 <= hits / 300 <= 0.975


def test_what_goes_with_a_person_is_not_taken_for_an_effect_of_an_action_unit():
    rng = np.random.default_rng(2)
    samples = samples_of(rng)
    expressive = samples["subject"] < "aa012"
    samples["au4"] = (rng.random(len(samples)) < np.where(expressive, 0.9, 0.1)).astype(float)
    samples.loc[samples["subject"] == "aa000", "au4"] = 1.0  # no frame without it
    shares = np.tile(areas(6), (len(samples), 1))
    shares[expressive, BROW] *= 3  # who shows AU4 is looked at there, in every frame
    found = by_unit(shares, areas(6), samples, draws_of(samples)).set_index("unit")
    assert found.loc[4, "mean"] == pytest.approx(0, abs=1e-9)
    assert found.loc[4, "people"] <= PEOPLE - 1
    shares[samples["au4"] > 0, BROW] += 0.5 * areas(6)[BROW]
    found = by_unit(shares, areas(6), samples, draws_of(samples)).set_index("unit")
    assert found.loc[4, ["mean", "low", "high"]].tolist() == pytest.approx([0.5] * 3)
    assert found.loc[9, "low"] <= 0 <= found.loc[9, "high"]


def test_heads_are_compared_network_by_network_and_people_in_one_count_the_same():
    samples = samples_of(np.random.default_rng(3))
    shares = np.zeros((len(samples), 2, REGIONS))
    shares[:, 0, 0] = shares[:, 1, 1] = 1
    assert heads_apart(shares, samples).tolist() == [1] * 5
    first = (samples["fold"] == 2).to_numpy()
    shares[first] = shares[first][:, ::-1]  # which head is which differs between networks
    assert heads_apart(shares, samples).tolist() == [1] * 5
    person = (samples["subject"] == samples.loc[first, "subject"].iloc[0]).to_numpy()
    shares[person] = 0
    shares[person, :, 2] = 1  # one of five people of this network, whose heads are alike
    few = np.flatnonzero(~person | (np.cumsum(person) <= 2))
    found = heads_apart(shares[few], samples.iloc[few])
    assert found.tolist() == pytest.approx([1, 0.8, 1, 1, 1])


def test_a_head_that_follows_a_unit_is_found_and_its_correlation_is_that_within_people():
    rng = np.random.default_rng(5)
    samples = samples_of(rng)
    shares = shares_of(rng, len(samples), 3)
    shares[:, 2, BROW] += 0.1 * samples["au4"]
    found = followers(shares, samples)
    assert len(found) == 3 * len(AU_REGIONS)
    first = found.iloc[0]
    assert (first["head"], first["unit"]) == (2, 4)
    assert first["p"] < 0.01
    within = [
        spearmanr(shares[group.index, 2, BROW], group["au4"]).statistic
        for _, group in samples.groupby("subject")
        if group["au4"].nunique() > 1
    ]
    assert first["correlation"] == pytest.approx(np.mean(within))
    assert first["people"] == len(within)
    assert first["alike"] == "5 of 5"


def test_among_many_heads_and_units_chance_alone_finds_one_as_seldom_as_the_test_says(monkeypatch):
    monkeypatch.setattr(attention_shares, "EXCHANGES", 99)
    rng = np.random.default_rng(6)
    found = []
    for seed in range(80):
        samples = samples_of(rng, people=15, each=8)
        found.append(followers(shares_of(rng, len(samples), 4), samples, seed)["p"].min())
    assert np.mean(np.array(found) <= 0.05) <= 0.11


def test_units_that_nobody_shows_are_left_out():
    rng = np.random.default_rng(7)
    samples = samples_of(rng).assign(au43=0.0)
    shares = shares_of(rng, len(samples), 2)
    assert 43 not in set(followers(shares, samples)["unit"])
    row = by_unit(shares[:, 0], areas(6), samples, draws_of(samples)).set_index("unit").loc[43]
    assert row["people"] == 0
    assert np.isnan(row["mean"])
