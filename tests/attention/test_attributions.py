import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients

from paincore.attention.attributions import METHODS, attributions, log_odds
from paincore.attention.explained import ExplanationError, explain
from paincore.attention.faithfulness import area_under, curves, pointing_game, replacement
from paincore.attention.maps import cls_attention, rollout, to_maps
from paincore.training.configuration import configure
from paincore.training.train import train_fold
from tests.helpers.onepatch import SIZE, model_of, pictures
from tests.helpers.trainable import fold_of, write_store_with_a_signal

SIDE = SIZE // 8
GRADIENTS = ("gradient x input", "integrated gradients")


def pixels_of(model, frames):
    return model.pixels(torch.from_numpy(frames))


def by_plain_loops(model, values):
    """Sums of (B, 3, H, W) over patches, pixel by pixel of the grid."""
    maps = np.zeros((len(values), model.frames, SIDE, SIDE))
    for frame in range(model.frames):
        for row in range(SIDE):
            for column in range(SIDE):
                top, left = (frame // 2) * SIZE + 8 * row, (frame % 2) * SIZE + 8 * column
                part = values[:, :, top : top + 8, left : left + 8]
                maps[:, frame, row, column] = part.sum((1, 2, 3))
    return maps


@pytest.mark.parametrize("frames", [1, 4])
def test_every_method_gives_a_finite_map_for_each_frame(frames):
    model, given = model_of(frames), pictures(3, frames)
    found = attributions(model, given)
    assert tuple(found) == METHODS
    for maps in found.values():
        assert maps.shape == (3, frames, SIDE, SIDE)
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()
    nothing = attributions(model, given[:0])
    assert {maps.shape for maps in nothing.values()} == {(0, frames, SIDE, SIDE)}


@pytest.mark.parametrize("frames", [1, 4])
def test_gradient_times_input_is_the_plain_gradient_summed_over_patches(frames):
    model, given = model_of(frames), pictures(3, frames)
    pixels = pixels_of(model, given).requires_grad_()
    [gradient] = torch.autograd.grad(log_odds(model, pixels).sum(), pixels)
    plain = by_plain_loops(model, (gradient * pixels).detach().numpy())
    found = attributions(model, given, ["gradient x input"])["gradient x input"]
    np.testing.assert_allclose(found, plain, atol=1e-5)
    captums = InputXGradient(lambda each: log_odds(model, each)).attribute(pixels)
    np.testing.assert_allclose(found, by_plain_loops(model, captums.detach().numpy()), atol=1e-5)


@pytest.mark.parametrize("frames", [1, 4])
def test_integrated_gradients_add_up_to_the_change_of_the_log_odds(frames):
    model, given = model_of(frames), pictures(3, frames)
    found = attributions(model, given, ["integrated gradients"])["integrated gradients"]
    pixels, start = pixels_of(model, given), pixels_of(model, replacement(given, "mean"))
    with torch.no_grad():
        change = log_odds(model, pixels) - log_odds(model, start)
    np.testing.assert_allclose(found.sum((1, 2, 3)), change, atol=0.02 * change.abs().max())
    fine = IntegratedGradients(lambda each: log_odds(model, each)).attribute(
        pixels, start, n_steps=32, internal_batch_size=32
    )
    plain = by_plain_loops(model, fine.detach().numpy())
    assert np.corrcoef(plain.ravel(), found.ravel())[0, 1] > 0.99


def test_attention_methods_are_heads_and_rollout_by_name():
    model, given = model_of(4), pictures(2, 4)
    found = attributions(model, given, METHODS[4:])
    heads = cls_attention(model, given)
    for name, rows in (
        ("last layer mean", heads.mean(1)),
        ("last layer max", heads.max(1)),
        ("rollout mean", rollout(model, given, "mean")),
        ("rollout max", rollout(model, given, "max")),
    ):
        np.testing.assert_array_equal(found[name], to_maps(rows, model))


def test_the_controls_know_nothing_of_the_picture():
    model = model_of(1)
    one, other = (attributions(model, pictures(2, 1, seed), METHODS[:2]) for seed in (0, 1))
    for name in METHODS[:2]:
        np.testing.assert_array_equal(one[name], other[name])
    assert (one["random"][0] != one["random"][1]).any()
    assert (attributions(model, pictures(2, 1), ["random"], 1)["random"] != one["random"]).any()
    centre = one["centre"][0, 0]
    np.testing.assert_array_equal(centre, centre[::-1, ::-1])
    assert (np.diff(centre[2, : SIDE // 2]) > 0).all()


@pytest.mark.parametrize(("frames", "place"), [(1, (0, 2, 3)), (4, (1, 5, 0))])
@pytest.mark.parametrize("method", GRADIENTS)
def test_gradients_find_the_one_patch_that_decides(frames, place, method):
    model, given = model_of(frames, place=place), pictures(4, frames)
    given[:, place[0], 8 * place[1] : 8 * place[1] + 8, 8 * place[2] : 8 * place[2] + 8] = 250
    maps = attributions(model, given, [method])[method]
    elsewhere = np.ones(maps.shape[1:], bool)
    elsewhere[place] = False
    assert (maps[:, *place] > 0.5).all()
    np.testing.assert_allclose(maps[:, elsewhere], 0, atol=1e-6)


def test_a_model_trained_on_a_square_is_seen_through(tmp_path):
    """Where training made the square the cause, gradients point at it and deleting it tells.

    Gradient x input points there less often than integrated gradients, and its order of the other
    patches is no better than chance.
    """
    store = write_store_with_a_signal(tmp_path / "store", subjects=8, frames=20)
    settings = configure(backbone="movement", unfrozen_layers=12, learning_rate=1e-3)
    run = train_fold(
        store, settings, fold_of(store, 1), results=tmp_path, device="cpu", keep_weights=True,
        show_progress=False,
    )  # fmt: skip
    explained = explain(run, store, tmp_path)
    assert run.metrics["auc"] > 0.95
    pain = np.flatnonzero(run.predictions["pain"])
    frames = explained.frames(pain)
    square = np.zeros((len(pain), 1, SIZE, SIZE), bool)
    square[:, :, 8:24, 8:24] = True
    everywhere = np.ones_like(square)
    found = attributions(explained.model, frames, ("random", *GRADIENTS))
    replaced = replacement(frames, "mean")
    hits, areas = {}, {}
    for name, maps in found.items():
        hits[name], chance = (part.mean() for part in pointing_game(maps, square, everywhere))
        areas[name] = area_under(curves(explained.model, frames, maps, replaced)).mean()
    assert chance == pytest.approx(1 / 9)
    assert hits["random"] < 0.4
    assert hits["gradient x input"] > 2 * chance
    assert hits["integrated gradients"] > 0.8
    assert areas["integrated gradients"] < 0.5 * areas["random"]


def test_a_model_is_explained_in_evaluation_mode_and_keeps_no_gradient():
    model, given = model_of(1), pictures(2, 1)
    first = attributions(model.train(), given, GRADIENTS)
    assert not model.training
    second = attributions(model, given, GRADIENTS)
    for name in GRADIENTS:
        np.testing.assert_array_equal(first[name], second[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_unknown_method_is_named():
    with pytest.raises(ExplanationError, match="no method 'lime'; there are random, centre"):
        attributions(model_of(1), pictures(1, 1), ["lime"])
