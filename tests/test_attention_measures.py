from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore import attention_measures
from paincore.attention_measures import (
    OUTCOMES,
    Drawn,
    drawn_again,
    effects,
    faithful,
    follows_causes,
    mean_maps,
    pointing,
    samples_of,
    telling_sample,
)
from paincore.corpus import open_corpus
from paincore.explained import Explained, probabilities
from paincore.frames import KEYS
from paincore.inputs import pictures_at
from paincore.interventions import Change, InterventionError, Rendered, render_again
from paincore.registration import registered
from paincore.statistics import subject_draws
from synthpain.corpus import synthesize
from tests.onepatch import SIZE, model_of, pictures

METHODS = ("random", "good", "centre")


def known_drawn(people: int = 20, each: int = 4) -> Drawn:
    """Samples whose method "good" is right by 0.3 and whose AU6 alone adds to the prediction."""
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
            (sample, names[sample], unit, gain / 10, gain, share, 0.2, 0.1, 0.6, 0.1)
            for sample in range(len(names))
            for unit, gain, share in ((6, 1 + rng.normal(0, 0.05), 2.0), (10, 0.0, 1.0),
                                      (4, -0.5, 0.5))
        ],
        columns=["sample", "subject", "unit", "effect", "log_odds", "share", "chance",
                 "hit random", "hit good", "hit centre"],
    )  # fmt: skip
    maps = {method: np.zeros((len(names), 1, 2, 2), np.float32) for method in METHODS}
    return Drawn(samples, maps, units, pd.concat(areas, ignore_index=True), ())


DRAWN = known_drawn()
DRAWS = subject_draws(DRAWN.samples, 500)


def test_a_method_that_is_right_stands_clear_of_random_order_and_random_does_not():
    table = faithful(DRAWN, DRAWS).set_index("method")
    assert table.loc["good", "less_random"] == pytest.approx(0.3)
    assert table.loc["random", "less_random"] == 0
    assert table.loc["good", "low"] <= 0.3 + 1e-9 and table.loc["good", "low"] > 0.29
    assert table.loc["good", "gained"] == pytest.approx(table.loc["random", "gained"] + 0.3)


def test_pointing_and_effects_are_means_of_people():
    game = pointing(DRAWN, DRAWS).set_index("method")["mean"]
    assert game.to_dict() == pytest.approx(
        {"random": 0.1, "good": 0.6, "centre": 0.1, "chance": 0.2}
    )
    found = effects(DRAWN, DRAWS).set_index("unit")
    assert found.loc[6, "mean"] == pytest.approx(1, abs=0.03)
    assert found.loc[10, "mean"] == 0 and found.loc[4, "high"] < 0
    assert list(found.index) == [4, 6, 10] and (found["samples"] == 80).all()


def test_attention_that_is_where_causes_are_is_seen_to_follow_them():
    assert follows_causes(DRAWN, DRAWS)["low"].iloc[0] > 0.8
    turned = DRAWN.units.assign(share=-DRAWN.units["share"])
    against = Drawn(DRAWN.samples, DRAWN.maps, turned, DRAWN.areas, ())
    assert follows_causes(against, DRAWS)["high"].iloc[0] < -0.8


def test_outcomes_and_their_mean_maps():
    table = pd.DataFrame({"pain": [True, True, False, False], "probability": [0.9, 0.1, 0.5, 0.4]})
    samples = samples_of([SimpleNamespace(samples=table)])
    assert tuple(samples["outcome"]) == OUTCOMES
    maps = np.arange(4.0)[:, None, None, None] * np.ones((4, 1, 2, 2))
    means = mean_maps(maps[:3], samples.iloc[:3])
    assert {name: one[0, 0] for name, one in means.items()} == dict(
        zip(OUTCOMES[:3], (0, 1, 2), strict=True)
    )


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
    shown = pictures_at(store, SIZE, results / "cache")
    return Explained(run, model_of(1), store, rows[:, None], shown)


def test_an_effect_is_what_taking_the_unit_away_does_to_the_prediction(corpus, one):
    drawn = drawn_again(corpus, [one], workers=1)
    assert 0 < drawn.samples["subject"].value_counts().max() <= attention_measures.AT_MOST
    row = drawn.units.iloc[0]
    sample = drawn.samples.iloc[int(row["sample"])]
    number = one.number(sample["sequence"], sample["frame"])
    changes = [Change(), Change((int(row["unit"]),))]
    rows = one.rows[[number, number]]
    again = render_again(corpus, one.store, rows, changes, one.model.image_size, 1)
    before, after = probabilities(one.model, again.frames)
    assert row["effect"] == pytest.approx(before - after, abs=1e-6)
    assert set(drawn.areas["replaced"]) == {"mean", "blurred", "neutral face"}
    assert len(drawn.areas) == 3 * len(drawn.maps) * len(drawn.samples)


def test_samples_that_are_all_lost_are_an_error_with_a_sentence(corpus, one, monkeypatch):
    def nothing(corpus, store, rows, changes, size, workers):
        black = np.zeros((*rows.shape, size, size), bool)
        found = np.zeros(rows.shape, bool)
        return Rendered(np.zeros((*black.shape, 3), np.uint8), found, black, black, ("no face",))

    monkeypatch.setattr(attention_measures, "render_again", nothing)
    with pytest.raises(InterventionError, match="no face"):
        drawn_again(corpus, [one])


def test_a_corpus_without_truth_is_measured_as_it_was_filmed(one):
    drawn = drawn_again(SimpleNamespace(truth=None), [one])
    assert drawn.units.empty and len(drawn.samples)
    assert set(drawn.areas["replaced"]) == {"mean", "blurred"}
