from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from paincore.attention import maps
from paincore.attention.explained import Explained, probabilities
from paincore.training.vit import PainTransformer
from tests.helpers import onepatch
from tests.helpers.onepatch import pictures


def model_of(frames: int) -> PainTransformer:
    model = onepatch.model_of(frames)
    with torch.no_grad():  # as at the start of a training, attention is all but even
        for block in model.encoder.layers:
            for part in (block.attention.q_proj, block.attention.k_proj):
                part.weight.mul_(30)
    return model


def attentions_of(model: PainTransformer, frames: np.ndarray) -> np.ndarray:
    """What transformers returns when it is asked for attentions: (L, M, H, T, T)."""
    model.encoder.set_attn_implementation("eager")
    with torch.no_grad():
        given = model.encoder(model.pixels(torch.from_numpy(frames)), output_attentions=True)
    model.encoder.set_attn_implementation("sdpa")
    return torch.stack(given.attentions).numpy()


@pytest.mark.parametrize("frames", [1, 4])
def test_attention_of_cls_is_what_transformers_returns(frames):
    model, given = model_of(frames), pictures(3, frames)
    reference = attentions_of(model, given)
    assert reference.std() > 1e-3  # not even: a mix-up of layers, heads or tokens would show
    for layer in (0, 5, -1):
        found = maps.cls_attention(model, given, layer)
        np.testing.assert_allclose(found, reference[layer][:, :, 0], atol=1e-5)


def plain_rollout(matrices, fusion, residual) -> np.ndarray:
    """Rollout of one sample's (L, H, T, T), row CLS; after Abnar & Zuidema 2020."""
    tokens = matrices.shape[-1]
    result = np.eye(tokens)
    for heads in matrices.astype(np.float64):
        mixed = residual * np.eye(tokens) + (1 - residual) * getattr(heads, fusion)(axis=0)
        for row in range(tokens):
            mixed[row] /= mixed[row].sum()
        result = mixed @ result
    return result[0]


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_rollout_is_that_of_plain_loops(frames, fusion):
    model, given = model_of(frames), pictures(2, frames, 1)
    reference = attentions_of(model, given)
    for residual in (0.5, 0.3):
        found = maps.rollout(model, given, fusion, residual)
        for sample in range(2):
            expected = plain_rollout(reference[:, sample], fusion, residual)
            np.testing.assert_allclose(found[sample], expected, atol=1e-5)
    assert maps.rollout(model, given, residual=1.0)[:, 0].tolist() == [1, 1]


def test_frames_of_a_clip_come_back_in_order_of_time():
    grid = np.empty((12, 12))
    for frame in range(4):
        top, left = 6 * (frame // 2), 6 * (frame % 2)
        grid[top : top + 6, left : left + 6] = frame * 100 + np.arange(36).reshape(6, 6)
    [found] = maps.to_maps(np.append(-1, grid)[None], model_of(4))
    np.testing.assert_array_equal(found[:, 0, 0], [0, 100, 200, 300])
    np.testing.assert_array_equal(found[2], 200 + np.arange(36).reshape(6, 6))


def test_looking_at_attention_leaves_the_model_as_it_was_also_after_an_error():
    model, given = model_of(1), pictures(2, 1)
    before = probabilities(model, given)
    with pytest.raises(ZeroDivisionError):
        for _ in maps.attention_by_layer(model, model.pixels(torch.from_numpy(given))):
            raise ZeroDivisionError
    assert model.encoder.config._attn_implementation == "sdpa"
    np.testing.assert_array_equal(probabilities(model, given), before)


def test_min_max_and_threshold_act_on_values_of_each_sample():
    one, even = maps.scaled(np.array([[[[0.1, 0.2], [0.3, 0.2]]], [[[5.0, 5.0], [5.0, 5.0]]]]))
    np.testing.assert_allclose(one, [[[0, 0.5], [1, 0.5]]])
    assert (even == 0).all()
    np.testing.assert_array_equal(np.isnan(maps.above(one, 0.5)), [[[True, False], [False, False]]])


def clips_of(levels: list[list[float]], predicted: list[float]) -> Explained:
    store = SimpleNamespace(frames=pd.DataFrame({"pspi": np.concatenate(levels)}))
    rows, samples = (
        np.arange(4 * len(levels)).reshape(-1, 4),
        pd.DataFrame({"probability": predicted}),
    )
    return Explained(None, model_of(4), store, rows, samples, pictures(4 * len(levels), 1)[:, 0])


def test_the_chosen_sample_has_the_largest_step_of_those_that_the_model_finds():
    levels = [[0, 4, 4, 4], [1, 9, 9, 9], [0, 8, 8, 8], [0, 6, 6, 9], [0, 6, 6, 6], [0, 9, 0, 9]]
    folds = [clips_of(levels[:3], [0.9, 0.9, 0.2]), clips_of(levels[3:], [0.6, 0.6, 0.9])]
    found = maps.choose_sample(folds)
    assert (found.explained, found.number) == (folds[1], 0)
    assert list(found.heads) == [f"head {number}" for number in range(4)]
    assert {one.shape for one in found.together.values()} == {(4, 6, 6)}
    assert (
        maps.choose_sample([clips_of(levels[1:3], [0.9, 0.5])]) is None
    )  # at 0.5 no pain is predicted
