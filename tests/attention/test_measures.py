from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.attention import measures as attention_measures
from paincore.attention.explained import Explained, probabilities
from paincore.attention.faithfulness import patch_shares
from paincore.attention.interventions import (
    PAINLESS,
    Change,
    InterventionError,
    Rendered,
    render_again,
)
from paincore.attention.maps import cls_attention, rollout, to_maps
from paincore.attention.measures import (
    OUTCOMES,
    Drawn,
    drawn_again,
    effects,
    faithful,
    follows_causes,
    maps_of,
    mean_maps,
    pointing,
    samples_of,
    spread_over_people,
    telling_sample,
)
from paincore.attention.regions import AU_REGIONS, NAMES, areas, shares
from paincore.data.corpus import open_corpus
from paincore.data.frames import KEYS
from paincore.registration.store import registered
from paincore.statistics import scores as metrics
from paincore.statistics.bootstrap import count_hits, resample_subjects
from paincore.training import backbones as encoders
from paincore.training.feed import images_at
from synthpain.corpus import synthesize
from tests.helpers.onepatch import SIZE, model_of, pictures

METHODS = ("random", "good", "centre")


def known_drawn(people: int = 20, each: int = 4) -> Drawn:
    """Samples whose method "good" is right by 0.3 and whose AU6 alone adds to the prediction.

    Rollout goes along with what units add, before fine-tuning as after; that of random weights is
    the same everywhere. Chance differs from person to person, and "good" is 0.5 above it.
    """
    rng = np.random.default_rng(0)
    names = np.repeat([f"aa{person:03d}" for person in range(people)], each)
    samples = pd.DataFrame({"subject": names, "fold": np.repeat(np.arange(people) % 5 + 1, each)})
    noise = rng.normal(0, 0.02, (2, len(names)))
    areas = [
        pd.DataFrame({"subject": names, "method": method, "replaced": "mean",
                      "deletion": 0.5 + noise[0], "insertion": 0.5 + noise[1] + gain})
        for method, gain in zip(METHODS, (0.0, 0.3, 0.0), strict=True)
    ]  # fmt: skip
    units = pd.DataFrame(
        [
            (sample, names[sample], unit, gain / 10, gain, share, share, 1.0)
            for sample in range(len(names))
            for unit, gain, share in ((6, 1 + rng.normal(0, 0.05), 2.0), (10, 0.0, 1.0),
                                      (4, -0.5, 0.5))
        ],
        columns=["sample", "subject", "unit", "effect", "log_odds",
                 "trained", "pretrained", "random"],
    )  # fmt: skip
    chance = np.repeat(rng.uniform(0, 0.4, people), each)
    points = pd.DataFrame({"subject": names, "random": 0.1, "good": chance + 0.5, "centre": 0.1,
                           "chance": chance, "oracle": 0.95})  # fmt: skip
    maps = {method: np.zeros((len(names), 1, 2, 2), np.float32) for method in METHODS}
    return Drawn(samples, maps, units, points, pd.concat(areas, ignore_index=True), ())


DRAWN = known_drawn()
DRAWS = resample_subjects(DRAWN.samples, 500)


def test_a_method_that_is_right_stands_clear_of_random_order_and_random_does_not():
    table = faithful(DRAWN, DRAWS).set_index("method")
    assert table.loc["good", "less_random"] == pytest.approx(0.3)
    assert table.loc["random", "less_random"] == 0
    assert table.loc["good", "low"] <= 0.3 + 1e-9 and table.loc["good", "low"] > 0.29
    assert table.loc["good", "gained"] == pytest.approx(table.loc["random", "gained"] + 0.3)


def test_pointing_is_held_against_chance_sample_by_sample_and_beside_the_most_that_can_be_hit():
    game = pointing(DRAWN, DRAWS).set_index("method")
    chance = DRAWN.points["chance"].mean()
    assert list(game.index) == [*METHODS, "oracle"]
    hits = {"random": 0.1, "good": chance + 0.5, "centre": 0.1, "oracle": 0.95}
    assert game["hits"].to_dict() == pytest.approx(hits)
    good, centre = game.loc["good"], game.loc["centre"]
    assert good[["mean", "low", "high"]].tolist() == pytest.approx([0.5] * 3)  # pairs, no spread
    assert centre["high"] - centre["low"] > 0.05  # all of it is chance's own error
    assert centre["low"] < centre["mean"] == pytest.approx(0.1 - chance)


def test_effects_are_means_of_people():
    found = effects(DRAWN, DRAWS).set_index("unit")
    assert found.loc[6, "mean"] == pytest.approx(1, abs=0.03)
    assert found.loc[10, "mean"] == 0 and found.loc[4, "high"] < 0
    assert list(found.index) == [4, 6, 10] and (found["samples"] == 80).all()


def test_attention_that_is_where_causes_are_is_seen_to_follow_them():
    assert follows_causes(DRAWN, DRAWS).loc["trained", "low"] > 0.8
    turned = DRAWN.units.assign(trained=-DRAWN.units["trained"])
    against = follows_causes(replace(DRAWN, units=turned), DRAWS)
    assert against.loc["trained", "high"] < -0.8
    assert against.loc["trained - pretrained", "high"] < -1.6


def test_what_a_control_follows_as_well_is_not_credited_to_training():
    found = follows_causes(DRAWN, DRAWS)
    assert found.loc["pretrained", "low"] > 0.8
    assert found.loc["trained - pretrained", ["mean", "low", "high"]].tolist() == [0, 0, 0]
    assert found.loc["random", "people"] == 0  # one value everywhere has no rank


def test_outcomes_and_their_mean_maps():
    table = pd.DataFrame({"pain": [True, True, False, False], "probability": [0.9, 0.1, 0.6, 0.4]})
    samples = samples_of([SimpleNamespace(samples=table)])
    assert tuple(samples["outcome"]) == OUTCOMES
    maps = np.arange(4.0)[:, None, None, None] + np.arange(4.0)[:, None, None] * np.ones((2, 2))
    means = mean_maps(maps[:3], samples.iloc[:3])
    assert {name: one[:, 0, 0].tolist() for name, one in means.items()} == {
        OUTCOMES[place]: [place, place + 1, place + 2, place + 3] for place in range(3)
    }


def test_at_one_half_exactly_attention_says_what_scores_say():
    table = pd.DataFrame({"pain": [True, False], "probability": [0.5, 0.5]})
    scores = metrics.score(table["pain"], table["probability"])
    outcomes = list(samples_of([SimpleNamespace(samples=table)])["outcome"])
    assert (scores["tp"], scores["fp"], scores["fn"], scores["tn"]) == (0, 0, 1, 1)
    assert outcomes == ["pain missed", "no pain, none said"]
    assert telling_sample([told([[0, 4, 4, 4]], [0.5])]) is None
    hits = count_hits(table.assign(subject="a"), pd.Index(["a"]), "f1")
    assert hits[0].sum() == 0


def test_maps_are_of_people_alike_however_many_samples_they_have(monkeypatch):
    monkeypatch.setattr(attention_measures, "MAPPED", 2)
    table = pd.DataFrame({"subject": list("aaaaaabb"), "pain": [1, 0, 0, 0, 0, 0, 1, 0],
                          "probability": np.linspace(0, 1, 8)})  # fmt: skip
    folds = [SimpleNamespace(samples=table), SimpleNamespace(samples=table[:3])]
    chosen = spread_over_people(folds)
    assert [one.tolist() for one in chosen] == [[0, 2, 4, 6, 7], [0, 1, 2]]
    found = samples_of(folds, chosen)
    assert (
        found["probability"].tolist()
        == table["probability"].iloc[[0, 2, 4, 6, 7, 0, 1, 2]].tolist()
    )


def test_controls_of_clips_are_of_the_same_model_with_four_maps_a_clip():
    given, chosen = pictures(5, 4), np.array([0, 2, 4])
    model = model_of(4)
    last, rolled = (part(model, given[chosen]) for part in (cls_attention, rollout))
    one = SimpleNamespace(model=model, frames=lambda numbers: given[numbers])
    found = maps_of([one], [chosen])
    assert found.heads.shape == (3, 4, 4, 6, 6) and found.rolled.shape == (3, 4, 6, 6)
    np.testing.assert_allclose(found.heads, to_maps(last, model), atol=1e-7)
    np.testing.assert_allclose(found.rolled, to_maps(rolled, model), atol=1e-7)


def told(levels: list[list[float]], said: list[float]) -> SimpleNamespace:
    frames = pd.DataFrame({"pspi": np.concatenate(levels)})
    rows = np.arange(len(frames)).reshape(len(levels), 4)
    return SimpleNamespace(
        store=SimpleNamespace(frames=frames),
        rows=rows,
        run=SimpleNamespace(predictions=pd.DataFrame({"probability": said})),
        model=model_of(4),
        frames=lambda numbers: pictures(len(numbers), 4),
    )


def test_the_pictured_sample_is_the_largest_jump_that_was_found():
    levels = [[0, 4, 4, 4], [1, 9, 9, 9], [0, 8, 8, 8], [0, 6, 6, 9], [0, 6, 6, 6], [0, 9, 0, 9]]
    folds = [told(levels[:3], [0.9, 0.9, 0.2]), told(levels[3:], [0.6, 0.6, 0.9])]
    found = telling_sample(folds)
    assert (found.explained, found.number) == (folds[1], 0)
    assert found.heads.shape == (4, 4, 6, 6)
    assert {one.shape for one in found.together.values()} == {(4, 6, 6)}
    assert telling_sample([told(levels[1:3], [0.9, 0.2])]) is None


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """30 frames of two people, one of whom shows pain."""
    root = tmp_path_factory.mktemp("measured") / "corpus"
    synthesize(root, frames=30, subjects=2, seed=17, workers=1, progress=False)
    return open_corpus("synthetic", root, results=root.parent / "results")


@pytest.fixture(scope="module")
def one(corpus):
    """A model of random weights, as if tested on all of them."""
    results = corpus.root.parent / "results"
    store = registered(corpus, results=results, workers=1)
    rows = np.flatnonzero(store.usable)
    tested = store.frames.iloc[rows].reset_index(drop=True)
    predictions = tested[KEYS].assign(fold=1, probability=0.5, corrected=0.5)
    run = SimpleNamespace(predictions=predictions)
    shown = images_at(store, SIZE, results / "cache")
    return Explained(run, model_of(1), store, rows[:, None], shown)


def test_an_effect_is_what_taking_the_unit_away_does_to_the_prediction(corpus, one):
    other = replace(one, model=model_of(1, encoders.load_encoder("movement", 0)))
    drawn = drawn_again(corpus, {"trained": [one], "pretrained": [other]}, workers=1)
    assert 0 < drawn.samples["subject"].value_counts().max() <= attention_measures.AT_MOST
    row = drawn.units.iloc[0]
    sample = drawn.samples.iloc[int(row["sample"])]
    number = one.number(sample["sequence"], sample["frame"])
    changes = [Change(), Change((int(row["unit"]),)), PAINLESS]
    rows = one.rows[[number] * 3]
    again = render_again(corpus, one.store, rows, changes, one.model.image_size, 1)
    before, after, _ = probabilities(one.model, again.frames)
    assert row["effect"] == pytest.approx(before - after, abs=1e-6)
    regions = [NAMES.index(name) for name in AU_REGIONS[row["unit"]]]
    for name, model in (("trained", one.model), ("pretrained", other.model)):
        share = shares(to_maps(rollout(model, again.frames[:1]), model))[0, regions].sum()
        assert row[name] == pytest.approx(share / areas(6)[regions].sum(), abs=1e-5)
    moved = again.moved[2:] & again.visible[2:]  # by all units of PSPI, not by this one alone
    point = drawn.points.iloc[int(row["sample"])]
    assert point["chance"] == pytest.approx(moved.sum() / again.visible[2:].sum())
    assert point["oracle"] == pytest.approx(patch_shares(moved, 6).max())
    assert moved.sum() >= (again.moved[1:2] & again.visible[1:2]).sum()
    assert set(drawn.areas["replaced"]) == {"mean", "blurred", "neutral face"}
    assert len(drawn.areas) == 3 * len(drawn.maps) * len(drawn.samples)


def test_samples_that_are_all_lost_are_an_error_with_a_sentence(corpus, one, monkeypatch):
    def nothing(corpus, store, rows, changes, size, workers):
        black = np.zeros((*rows.shape, size, size), bool)
        found = np.zeros(rows.shape, bool)
        return Rendered(np.zeros((*black.shape, 3), np.uint8), found, black, black, ("no face",))

    monkeypatch.setattr(attention_measures, "render_again", nothing)
    with pytest.raises(InterventionError, match="no face"):
        drawn_again(corpus, {"trained": [one]})


def test_a_corpus_without_truth_is_measured_as_it_was_filmed(one):
    drawn = drawn_again(SimpleNamespace(truth=None), {"trained": [one]})
    assert drawn.units.empty and len(drawn.samples)
    assert set(drawn.areas["replaced"]) == {"mean", "blurred"}
