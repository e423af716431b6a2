from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from paincore.attention.attributions import mean_colour
from paincore.attention.explained import PRETRAINED, TRAINED, log_odds, probabilities
from paincore.attention.faithfulness import blurred, curves, measure_faithfulness, pointing_game
from paincore.attention.interventions import PAINLESS, Change, active_aus, render_again
from paincore.attention.maps import rollout, to_maps
from paincore.attention.regions import AU_REGIONS, patch_proportions, times_even
from paincore.training import backbones
from tests.helpers.onepatch import SIZE, model_of, pictures

SIDE = SIZE // 8


@pytest.mark.parametrize("frames", [1, 4])
def test_curves_are_those_of_plain_loops(frames):
    model, given = model_of(frames), pictures(3, frames)
    maps = np.random.default_rng(1).integers(0, 9, (3, frames, SIDE, SIDE)).astype(np.float32)
    places = list(np.ndindex(frames, SIDE, SIDE))  # with equal values among them
    for start, end in ((given, blurred(given)), (mean_colour(given), given)):
        found = curves(model, maps, start, end, steps=5)
        for number in range(3):
            ranked = sorted(places, key=lambda place, n=number: -maps[n][place])
            for step in range(6):
                mixed = start[number].copy()
                for frame, row, column in ranked[: round(step * len(places) / 5)]:
                    patch = (frame, slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
                    mixed[patch] = end[number][patch]
                expected = probabilities(model, mixed[None])[0]
                assert found[number, step] == pytest.approx(expected, abs=1e-6)


def test_a_pixel_of_the_greatest_patch_moves_as_often_as_its_proportion():
    moved = np.zeros((4, 1, SIZE, SIZE), bool)
    visible = np.ones_like(moved)
    visible[:, :, 24:] = False
    moved[:3, 0, 0:4, 0:8] = True  # half of the first patch
    moved[:, 0, 40:] = True  # hidden: does not count
    maps = np.zeros((4, 1, SIDE, SIDE), np.float32)
    maps[0, 0, 0, 0] = maps[1, 0, 3, 3] = 1
    maps[2, 0, 0, :2] = 1  # two are greatest
    hits, chance, oracle = pointing_game(maps, moved, visible)
    np.testing.assert_allclose(hits, [0.5, 0, 0.25, np.nan])
    np.testing.assert_allclose(oracle, [0.5] * 3 + [np.nan])  # no patch moves more
    np.testing.assert_allclose(chance, [32 / 1152] * 3 + [np.nan])


def test_an_effect_is_what_taking_the_unit_away_does_to_the_prediction(corpus, tested):
    some = tested.some(2)
    other = replace(some, model=model_of(1, backbones.load_encoder("movement", 0)))
    found = measure_faithfulness(corpus, {TRAINED: [some], PRETRAINED: [other]})
    frames, acting = some.frames(), active_aus(corpus, some.rows[:, -1])
    assert found.units["unit"].tolist() == [unit for units in acting for unit in units]
    unit, number = found.units["unit"].iloc[-1], len(frames) - 1
    changes, rows = [Change((int(unit),)), PAINLESS], some.rows[[number] * 2]
    again = render_again(corpus, some.store, rows, changes, SIZE)
    row = found.units.iloc[-1]
    with_it, without = log_odds(some.model, np.stack([frames[number], again.frames[0]]))
    assert row["log_odds"] == pytest.approx(with_it - without, abs=1e-5)
    for name, model in ((TRAINED, some.model), (PRETRAINED, other.model)):
        rolled = to_maps(rollout(model, frames[[number]]), model)
        assert row[name] == pytest.approx(times_even(rolled, AU_REGIONS[unit])[0], abs=1e-4)
    moved = again.moved & again.visible  # by all units of PSPI, not by this one alone
    point = found.points.iloc[number]
    assert point["chance"] == pytest.approx(moved[1].sum() / again.visible[1].sum())
    assert point["oracle"] == pytest.approx(patch_proportions(moved[1], SIDE).max())
    assert set(found.areas["replaced"]) == {"mean colour", "blurred face", "neutral face"}
    assert len(found.areas) == 3 * 8 * len(frames) and found.lost == 0


def test_a_corpus_without_truth_is_measured_as_its_images_are(tested):
    painless = tested.only(np.array([], int))  # the person of a fold may have no pain
    models = {TRAINED: [tested.some(2), painless]}
    found = measure_faithfulness(SimpleNamespace(truth=None), models)
    assert found.units.empty and found.points.empty
    assert set(found.areas["replaced"]) == {"mean colour", "blurred face"}
