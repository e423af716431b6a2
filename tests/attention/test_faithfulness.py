import numpy as np
import pandas as pd
import pytest
import torch

from paincore.attention.explained import ExplanationError, probabilities
from paincore.attention.faithfulness import (
    area_under,
    causal_effects,
    curves,
    patch_shares,
    pointing_game,
    rank_correlations,
    replacement,
)
from paincore.training import backbones as encoders
from tests.helpers.onepatch import SIZE, model_of, pictures

SIDE = SIZE // 8


def plain_curve(model, clip, ranked, replaced, given, insertion):
    """A curve of one sample, patch by patch; `ranked` lists (frame, row, column)."""
    values = []
    for count in given:
        mixed = (replaced if insertion else clip).copy()
        source = clip if insertion else replaced
        for frame, row, column in ranked[:count]:
            rows, columns = slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8)
            mixed[frame, rows, columns] = source[frame, rows, columns]
        values.append(probabilities(model, mixed[None])[0])
    return values


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("insertion", [False, True])
def test_curves_are_those_of_plain_loops(frames, insertion):
    encoder = encoders.load_encoder("random", 0)
    model = model_of(frames, encoder)
    given = pictures(3, frames)
    rng = np.random.default_rng(1)
    maps = rng.integers(0, 9, (3, frames, SIDE, SIDE)).astype(np.float32)  # with equal values
    replaced = replacement(given, "blurred")
    found = curves(model, given, maps, replaced, insertion, steps=5)
    total = frames * SIDE**2
    counts = [round(k * total / 5) for k in range(6)]
    places = [(f, r, c) for f in range(frames) for r in range(SIDE) for c in range(SIDE)]
    for number in range(3):
        ranked = sorted(places, key=lambda place, n=number: -maps[n][place])
        plain = plain_curve(model, given[number], ranked, replaced[number], counts, insertion)
        np.testing.assert_allclose(found[number], plain, atol=1e-6)


def test_curves_begin_and_end_at_the_sample_and_its_replacement():
    model, given = model_of(1, place=(0, 2, 3)), pictures(2, 1)
    replaced = replacement(given, "mean")
    maps = np.random.default_rng(0).random((2, 1, SIDE, SIDE), dtype=np.float32)
    deleted, inserted = (curves(model, given, maps, replaced, way) for way in (False, True))
    whole, none = probabilities(model, given), probabilities(model, replaced)
    for first, last, found in ((whole, none, deleted), (none, whole, inserted)):
        np.testing.assert_allclose(found[:, 0], first, atol=1e-6)
        np.testing.assert_allclose(found[:, -1], last, atol=1e-6)


@pytest.mark.parametrize(("frames", "place"), [(1, (0, 2, 3)), (4, (2, 5, 0))])
def test_the_patch_that_decides_falls_first_where_a_map_knows_it(frames, place):
    model = model_of(frames, place=place)
    given = np.full((2, frames, SIZE, SIZE, 3), 60, np.uint8)
    rows, columns = (slice(8 * n, 8 * n + 8) for n in place[1:])
    given[:, place[0], rows, columns] = 250
    maps = np.zeros((2, frames, SIDE, SIDE), np.float32)
    maps[0][place], maps[1][place] = 1, -1
    replaced = np.full_like(given, 60)
    patches = frames * SIDE**2
    knows, last = curves(model, given, maps, replaced, steps=patches)
    assert knows[0] > 0.9 > 0.6 > knows[1:].max()
    assert last[:-1].min() > 0.9 > last[-1]
    assert area_under(np.stack([knows, last])).argmin() == 0
    comes, late = curves(model, given, maps, replaced, insertion=True, steps=patches)
    assert comes[1:].min() > 0.9 > late[:-1].max()


def test_the_area_of_a_straight_fall_is_one_half():
    assert area_under(np.array([[1, 0.5, 0], [1, 1, 1], [0.2, 0.2, 1]])).tolist() == [0.5, 1, 0.4]


def test_the_mean_colour_is_that_of_what_is_not_black():
    frames = np.zeros((2, 1, 4, 4, 3), np.uint8)
    frames[0, 0, 0, 0], frames[0, 0, 1, 1] = (10, 20, 30), (30, 40, 51)
    colours = replacement(frames, "mean")
    assert (colours[0] == (20, 30, 40)).all()  # 40.5 rounds to even
    assert not colours[1].any()
    frames[:] = 77
    np.testing.assert_array_equal(replacement(frames, "blurred"), frames)


def test_blurring_does_not_mix_frames_and_leaves_no_detail():
    frames = pictures(1, 4)
    frames[0, 1:] = 0
    blurred = replacement(frames, "blurred")
    assert not blurred[0, 1:].any()
    assert blurred[0, 0].std(axis=(0, 1)).max() < 0.1 * frames[0, 0].std()


def test_a_pixel_of_the_greatest_patch_moves_as_often_as_its_share():
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


def test_chance_is_what_random_pixels_of_the_face_hit():
    rng = np.random.default_rng(0)
    visible = np.zeros((1, 1, SIZE, SIZE), bool)
    visible[..., 8:40, 8:32] = True
    moved = rng.random((1, 1, SIZE, SIZE)) < 0.3
    # every patch of the face in turn is the greatest: the mean hit is that of random pixels
    hits = []
    for row in range(1, 5):
        for column in range(1, 4):
            maps = np.zeros((1, 1, SIDE, SIDE), np.float32)
            maps[0, 0, row, column] = 1
            hits.append(pointing_game(maps, moved, visible)[0][0])
    assert np.mean(hits) == pytest.approx(pointing_game(maps, moved, visible)[1][0])


def test_shares_of_patches_are_counted_pixel_by_pixel():
    pixels = np.random.default_rng(0).random((2, 1, SIZE, SIZE)) < 0.4
    shares = patch_shares(pixels, SIDE)
    assert shares.shape == (2, 1, SIDE, SIDE)
    assert shares.dtype == np.float32
    assert shares[1, 0, 2, 3] == pytest.approx(pixels[1, 0, 16:24, 24:32].mean())


def test_an_effect_is_the_prediction_with_less_that_without():
    model = model_of(1, place=(0, 2, 3))
    frames = pictures(3, 1)
    without = frames.copy()
    without[:2, 0, 16:24, 24:32] = 0
    change, odds = causal_effects(model, frames, without)
    with_it, without_it = probabilities(model, frames), probabilities(model, without)
    np.testing.assert_allclose(change, with_it - without_it, atol=1e-7)
    assert (change[:2] > 0).all()
    assert change[2] == odds[2] == 0
    with torch.inference_mode():
        logits = [model(model.pixels(torch.from_numpy(part))) for part in (frames, without)]
    one, other = ((part[:, 1] - part[:, 0]).numpy() for part in logits)
    np.testing.assert_allclose(odds, one - other, rtol=1e-3, atol=1e-4)


def test_correlations_are_within_subjects():
    effects = np.array([1, 2, 3, 10, 20, 30, 5, 5, 5, 1, 2, 1, 2, 3], float)
    shares = np.array([3, 2, 1, 0.1, 0.2, 0.4, 1, 2, 3, 1, 2, 1, np.nan, 3], float)
    people = list("aaabbbcccddeee")
    table = rank_correlations(effects, shares, people).set_index("subject")
    assert table["pairs"].to_dict() == {"a": 3, "b": 3, "c": 3, "d": 2, "e": 2}
    assert table["rho"]["a"] == pytest.approx(-1)
    assert table["rho"]["b"] == pytest.approx(1)
    assert table["rho"][["c", "d", "e"]].isna().all()


def test_what_does_not_fit_is_named():
    model, frames = model_of(1), pictures(2, 1)
    maps = np.zeros((2, 1, SIDE, SIDE), np.float32)
    with pytest.raises(ExplanationError, match="no replacement 'grey'; there are mean, blurred"):
        replacement(frames, "grey")
    with pytest.raises(ExplanationError, match=r"maps are \(2, 1, 3, 6\)"):
        curves(model, frames, maps[:, :, :3], frames)
    with pytest.raises(ExplanationError, match="37 steps; take 1 to 36"):
        curves(model, frames, maps, frames, steps=37)
    with pytest.raises(ExplanationError, match="not finite"):
        curves(model, frames, np.full_like(maps, np.nan), frames)
    assert curves(model, frames[:0], maps[:0], frames[:0]).shape == (0, 13)
    none = np.zeros((0, 1, SIZE, SIZE), bool)
    assert [part.shape for part in pointing_game(maps[:0], none, none)] == [(0,)] * 3
    empty = pd.Series([], dtype=str)
    assert rank_correlations(np.zeros(0), np.zeros(0), empty).empty
