import numpy as np
import pandas as pd
import pytest

from paincore.attention import shares
from paincore.attention.explained import PRETRAINED, TRAINED
from paincore.attention.regions import AU_REGIONS, REGION_NAMES, REGIONS, areas, coverage
from paincore.statistics.bootstrap import resample_subjects

PEOPLE, EACH, SIDE = 25, 12, 48  # so many patches a side that regions have patches of their own
BROW = REGION_NAMES.index("brow")


@pytest.fixture
def samples() -> pd.DataFrame:
    """People in folds of five, with coded AUs that are 0 half of the time."""
    rng, number = np.random.default_rng(0), np.repeat(np.arange(PEOPLE), EACH)
    table = pd.DataFrame({"subject": [f"aa{n:03d}" for n in number], "fold": number % 5 + 1})
    for unit in AU_REGIONS:
        table[f"au{unit}"] = rng.integers(0, 3, len(table)) * rng.integers(0, 2, len(table)) * 1.0
    return table


def map_of(**proportions: float) -> np.ndarray:
    """A map (1, P, P) with so much in regions, spread within each as evenly as patches allow."""
    parts = np.clip(coverage(SIDE), 0.999, None) - 0.999  # patches of one region alone
    named = {name: parts[REGION_NAMES.index(name)] for name in proportions}
    return sum(value * named[name] / named[name].sum() for name, value in proportions.items())[None]


def test_even_attention_is_as_much_as_the_area_of_each_region(samples):
    even = np.ones((len(samples), 1, SIDE, SIDE))
    double = even + map_of(brow=areas(SIDE)[BROW]) * SIDE**2
    resamples = resample_subjects(samples, 400)
    found = shares.by_head(np.stack([even, double], axis=1), samples["subject"], resamples)
    values = found.set_index(["name", "region"])[["mean", "low", "high"]]
    assert np.allclose(values.loc["head 0"], 1)
    assert np.allclose(values.loc[("head 1", "brow")], 2 / (1 + areas(SIDE)[BROW]))
    models = shares.by_region({"even": even, "double": double}, samples["subject"], resamples)
    assert models["mean"].tolist() == found["mean"].tolist()


def test_a_model_is_compared_with_its_controls_on_the_same_people(samples):
    rng, area = np.random.default_rng(2), areas(SIDE)[: len(REGIONS)].sum()
    person = np.repeat(rng.uniform(0.1, 0.8, PEOPLE), EACH)[:, None, None, None]  # they differ much
    maps = {name: person * map_of(brow=1) + (1 - person) * map_of(outside=1) + more
            for name, more in ((TRAINED, 0), (PRETRAINED, 0))}  # fmt: skip
    maps[PRETRAINED] = maps[PRETRAINED] - 0.05 * map_of(brow=1) + 0.05 * map_of(outside=1)
    found = shares.beyond_controls(maps, samples["subject"], resample_subjects(samples, 400))
    assert found.loc[PRETRAINED].tolist() == pytest.approx([0.05 / area] * 3 + [PEOPLE])


def test_what_goes_with_a_person_is_not_taken_for_an_effect_of_an_action_unit(samples):
    rng = np.random.default_rng(2)
    expressive = (samples["subject"] < "aa012").to_numpy()
    samples["au4"] = (rng.random(len(samples)) < np.where(expressive, 0.9, 0.1)).astype(float)
    samples.loc[samples["subject"] == "aa000", "au4"] = 1.0  # no frame without it
    samples["au43"] = 0.0
    brow = np.where(expressive, 0.6, 0.2)  # who shows AU4 is looked at there, in every frame
    for more in (0.0, 0.1):
        own = (brow + more * (samples["au4"] > 0).to_numpy())[:, None, None, None]
        maps = own * map_of(brow=1) + (1 - own) * map_of(outside=1)
        found = shares.by_unit(maps, samples, resample_subjects(samples, 400))
        expected = more / areas(SIDE)[BROW]
        brows = found.loc["AU4: brow"]
        assert brows[["mean", "low", "high"]].tolist() == pytest.approx([expected] * 3, abs=1e-9)
        assert brows["people"] <= PEOPLE - 1
    assert found.loc["AU43: eyes + orbit", "people"] == 0  # nobody shows it
    assert np.isnan(found.loc["AU43: eyes + orbit", "mean"])


def test_heads_are_compared_network_by_network_and_people_in_one_count_the_same(samples):
    one, other, third = (map_of(**{name: 1}) for name in ("brow", "nose", "cheek"))
    heads = np.tile(np.stack([one, other]), (len(samples), 1, 1, 1, 1))
    first = (samples["fold"] == 2).to_numpy()
    heads[first] = heads[first][:, ::-1]  # which head is which differs between networks
    assert shares.heads_apart(heads, samples).tolist() == pytest.approx([1] * 5)
    person = (samples["subject"] == samples.loc[first, "subject"].iloc[0]).to_numpy()
    heads[person] = third  # one of five people of this network, whose heads are alike
    few = np.flatnonzero(~person | (np.cumsum(person) <= 2))
    found = shares.heads_apart(heads[few], samples.iloc[few].reset_index(drop=True))
    assert found.tolist() == pytest.approx([1, 0.8, 1, 1, 1])
