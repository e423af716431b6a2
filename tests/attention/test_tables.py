from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from paincore.attention import tables
from paincore.attention.explained import PRETRAINED, RANDOM_WEIGHTS, SHUFFLED, TRAINED
from paincore.attention.faithfulness import Faithfulness
from paincore.attention.shortcut import CLEAN, OTHER_SEED, PLANTED, ShortcutTrial
from paincore.style import MINUS


def trial(known: Faithfulness) -> ShortcutTrial:
    """The planted model's rollout lies 0.2 more on the hidden part; turning raises it by 0.1."""
    people = known.points["subject"].unique()
    rows = [(model, images, method, name, 0.1 + 0.2 * (model == PLANTED) * ("out" in method))
            for model in (PLANTED, CLEAN, OTHER_SEED) for images in (PLANTED, CLEAN)
            for method in ("random", "centre", "rollout mean") for name in people]  # fmt: skip
    hidden = pd.DataFrame(rows, columns=["model", "images", "method", "subject", "proportion"])
    turned = hidden[["model", "subject"]].assign(change=0.1 * (hidden["model"] == PLANTED))
    return ShortcutTrial(turned, hidden)


def test_a_method_that_is_right_stands_clear_of_random_order(known, resamples):
    table = tables.beyond_random(known, resamples).loc["mean colour"]
    assert table.loc["good", ["mean", "low", "high"]].tolist() == pytest.approx([0.3] * 3)
    assert table.loc["rollout mean", "mean"] == pytest.approx(0) and "random" not in table.index


def test_pointing_is_held_against_chance_sample_by_sample(known, resamples):
    table, chance = tables.pointing(known, resamples), known.points["chance"].mean()
    hits = {"random": 0.1, "good": chance + 0.5, "oracle": 0.95}
    assert table["hits"].to_dict() == pytest.approx(hits)
    assert list(table.index) == list(hits)
    assert table.loc["good", ["mean", "low", "high"]].tolist() == pytest.approx([0.5] * 3)
    random = table.loc["random"]
    assert random["high"] - random["low"] > 0.05  # all of it is chance's own error
    assert random["mean"] == pytest.approx(0.1 - chance)


def test_what_a_control_follows_as_well_is_not_credited_to_training(known, resamples):
    found = tables.follows_causes(known, resamples)
    assert found.loc[TRAINED, "low"] > 0.8 and found.loc[PRETRAINED, "low"] > 0.8
    difference = f"{TRAINED} {MINUS} {PRETRAINED}"
    assert found.loc[difference, ["mean", "low", "high"]].tolist() == [0, 0, 0]
    assert found.loc[RANDOM_WEIGHTS, "people"] == 0  # one value everywhere has no rank
    turned = known.units.assign(**{TRAINED: -known.units[TRAINED]})
    against = tables.follows_causes(replace(known, units=turned), resamples)
    assert against.loc[TRAINED, "high"] < -0.8 and against.loc[difference, "high"] < -1.6


def test_a_shortcut_is_found_in_the_maps_of_the_planted_model(known, resamples):
    tried = trial(known)
    found = tables.shortcut_found(tried, resamples, PLANTED)
    assert found["mean"].to_dict() == pytest.approx(
        {(kind, method): 0.2 * ("out" in method)
         for kind in (PLANTED, CLEAN) for method in ("random", "centre", "rollout mean")}
    )  # fmt: skip
    assert not tables.shortcut_found(tried, resamples, OTHER_SEED)["mean"].any()
    used = tables.shortcut_used(tried, resamples)
    assert used.loc[f"{PLANTED} {MINUS} {CLEAN}", "low"] == pytest.approx(0.1)
    assert used.loc[CLEAN, "mean"] == 0


def test_every_finding_has_an_estimate_and_the_verdict_of_its_interval(known, resamples):
    apart = {TRAINED: np.array([0.3, 0.5]), PRETRAINED: np.array([0.2, 0.1])}
    interval = {"mean": 0.2, "low": 0.1, "high": 0.3}
    beyond = pd.DataFrame({SHUFFLED: interval, PRETRAINED: {**interval, "low": -0.1}}).T
    found = tables.attention_findings(apart, beyond, known, trial(known), resamples)
    verdicts = [one.verdict for one in found]
    assert verdicts[1:] == ["higher", "undecided", "undecided", "undecided", "higher", "higher"]
    assert found[1].estimate == "+0.2 [+0.1, +0.3]"
    assert found[0].estimate == "+0.25; networks +0.1 to +0.4"
    blind = replace(known, units=known.units[:0])
    for one in tables.attention_findings(apart, beyond, blind, None, resamples)[-3:]:
        assert one.estimate == "-" and "not measured" in one.verdict
