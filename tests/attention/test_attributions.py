import numpy as np
import pytest
import torch

from paincore.attention.attributions import attributions, mean_colour
from paincore.attention.explained import explain, log_odds
from paincore.attention.faithfulness import area_under, curves, pointing_game
from paincore.attention.maps import cls_attention, rollout, to_maps
from paincore.training.configuration import configure
from paincore.training.train import train_fold
from tests.helpers.onepatch import SIZE, model_of, pictures
from tests.helpers.trainable import fold_of, write_store_with_a_signal

SIDE = SIZE // 8


def by_plain_loops(model, values):
    """Sums of (B, 3, H, W) over patches, pixel by pixel of the grid."""
    maps = np.zeros((len(values), model.frames, SIDE, SIDE))
    for frame, row, column in np.ndindex(maps.shape[1:]):
        top, left = (frame // 2) * SIZE + 8 * row, (frame % 2) * SIZE + 8 * column
        maps[:, frame, row, column] = values[:, :, top : top + 8, left : left + 8].sum((1, 2, 3))
    return maps


@pytest.mark.parametrize("frames", [1, 4])
def test_maps_are_what_their_methods_say(frames):
    model, given = model_of(frames), pictures(6, frames)  # more than are computed at once
    found = attributions(model.train(), given)
    assert not model.training and all(one.grad is None for one in model.parameters())
    kinds = {(maps.shape, maps.dtype) for maps in found.values()}
    assert kinds == {((6, frames, SIDE, SIDE), np.dtype(np.float32))}
    pixels = model.pixels(torch.from_numpy(given)).requires_grad_()
    [gradient] = torch.autograd.grad((model(pixels) @ torch.tensor([-1.0, 1.0])).sum(), pixels)
    plain = by_plain_loops(model, (gradient * pixels).detach().numpy())
    np.testing.assert_allclose(found["gradient x input"], plain, atol=1e-5)
    # Integrated gradients add up to the change of the log-odds.
    change = log_odds(model, given) - log_odds(model, mean_colour(given))
    added = found["integrated gradients"].sum((1, 2, 3))
    np.testing.assert_allclose(added, change, atol=0.02 * abs(change).max())
    heads = cls_attention(model, given, -1)
    rows = {"last layer mean": heads.mean(1), "last layer max": heads.max(1)}
    rows |= {f"rollout {how}": rollout(model, given, how) for how in ("mean", "max")}
    for name, each in rows.items():
        np.testing.assert_array_equal(found[name], to_maps(each, model))


def test_the_controls_know_nothing_of_the_image():
    one, other = (attributions(model_of(1), pictures(2, 1, seed)) for seed in (0, 1))
    for name in ("random", "centre"):
        np.testing.assert_array_equal(one[name], other[name])
    assert (one["random"][0] != one["random"][1]).any()
    centre = one["centre"][0, 0]
    np.testing.assert_array_equal(centre, centre[::-1, ::-1])
    assert (np.diff(centre[2, : SIDE // 2]) > 0).all()


def test_a_model_trained_on_a_square_is_seen_through(tmp_path):
    """Where training made the square the cause, gradients point at it and deleting it tells.

    Gradient x input points there less often than integrated gradients, and its order of the other
    patches is no better than chance.
    """
    store = write_store_with_a_signal(tmp_path / "store", subjects=8, frames=20)
    settings = configure(backbone="movement", unfrozen_layers=12, learning_rate=1e-3)
    how = {"device": "cpu", "show_progress": False}
    run = train_fold(store, settings, fold_of(store, 1), results=tmp_path, **how)
    assert run.metrics["auc"] > 0.95
    explained = explain(run, store)
    frames = explained.frames(np.flatnonzero(run.predictions["pain"]))
    square = np.zeros((*frames.shape[:4],), bool)
    square[:, :, 8:24, 8:24] = True
    found, hits, areas = attributions(explained.model, frames), {}, {}
    for name in ("random", "gradient x input", "integrated gradients"):
        game = pointing_game(found[name], square, np.ones_like(square))
        hits[name], chance = (part.mean() for part in game[:2])
        falls = curves(explained.model, found[name], frames, mean_colour(frames), steps=12)
        areas[name] = area_under(falls).mean()
    assert chance == pytest.approx(1 / 9)
    assert hits["random"] < 0.4
    assert hits["gradient x input"] > 2 * chance
    assert hits["integrated gradients"] > 0.8
    assert areas["integrated gradients"] < 0.5 * areas["random"]
