from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from paincore.attention.explained import probabilities
from paincore.attention.maps import (
    AttentionError,
    above,
    choose_sample,
    cls_attention,
    recording,
    rollout,
    scaled,
    to_maps,
)
from paincore.training.vit import ModelError, PainTransformer
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
        found = cls_attention(model, given, layer)
        np.testing.assert_allclose(found, reference[layer][:, :, 0], atol=1e-5)
    some = cls_attention(model, given, 3, [2, 0])
    np.testing.assert_array_equal(some, cls_attention(model, given, 3)[:, [2, 0]])
    assert cls_attention(model, given[:0]).shape == (0, *reference.shape[2:4])


def plain_rollout(matrices, fusion, residual, discard) -> np.ndarray:
    """Rollout of one sample's (L, H, T, T) in loops, row CLS; after Abnar & Zuidema 2020."""
    tokens = matrices.shape[-1]
    result = np.eye(tokens)
    for heads in matrices.astype(np.float64):
        fused = getattr(heads, fusion)(axis=0).copy()
        for place in np.argsort(fused, axis=None, kind="stable")[: int(fused.size * discard)]:
            fused[place // tokens, place % tokens] = 0
        mixed = residual * np.eye(tokens) + (1 - residual) * fused
        for row in range(tokens):
            mixed[row] /= mixed[row].sum()
        result = mixed @ result
    return result[0]


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_rollout_is_that_of_plain_loops(frames, fusion):
    model, given = model_of(frames), pictures(2, frames, 1)
    reference = attentions_of(model, given)
    for residual, discard in ((0.5, 0.0), (0.3, 0.4)):
        found = rollout(model, given, fusion, residual=residual, discard=discard)
        for sample in range(2):
            expected = plain_rollout(reference[:, sample], fusion, residual, discard)
            np.testing.assert_allclose(found[sample], expected, atol=1e-5)
    assert rollout(model, given, residual=1.0)[:, 0].tolist() == [1, 1]


def test_frames_of_a_clip_come_back_in_order_of_time():
    grid = np.empty((12, 12))
    for frame in range(4):
        top, left = 6 * (frame // 2), 6 * (frame % 2)
        grid[top : top + 6, left : left + 6] = frame * 100 + np.arange(36).reshape(6, 6)
    maps = to_maps(np.append(-1, grid)[None], model_of(4))
    np.testing.assert_array_equal(maps[0, :, 0, 0], [0, 100, 200, 300])
    np.testing.assert_array_equal(maps[0, 2], 200 + np.arange(36).reshape(6, 6))


def test_recording_leaves_the_model_as_it_was_also_after_an_error():
    model, given, shapes = model_of(1), pictures(2, 1), []
    before = probabilities(model, given)
    with recording(model, [0, 11], lambda heads: shapes.append(tuple(heads.shape))):
        model.below(model.pixels(torch.from_numpy(given)), 12)
    assert shapes == [(2, 4, 37, 37)] * 2
    with pytest.raises(ZeroDivisionError), recording(model, [0], lambda heads: 1 / 0):
        model.below(model.pixels(torch.from_numpy(given)), 12)
    np.testing.assert_array_equal(probabilities(model, given), before)
    assert model.encoder.config._attn_implementation == "sdpa"
    assert not any(block.attention._forward_hooks for block in model.encoder.layers)


def test_min_max_and_threshold_act_on_values_of_each_sample():
    one, even = scaled(np.array([[[[0.1, 0.2], [0.3, 0.2]]], [[[5.0, 5.0], [5.0, 5.0]]]]))
    np.testing.assert_allclose(one, [[[0, 0.5], [1, 0.5]]])
    assert (even == 0).all()
    np.testing.assert_array_equal(np.isnan(above(one, 0.5)), [[[True, False], [False, False]]])


def test_what_there_is_not_is_named():
    model, given = model_of(1), pictures(1, 1)
    for named, call in {
        "layer 12": lambda: cls_attention(model, given, 12),
        "head 4": lambda: cls_attention(model, given, 0, [4]),
        "'discard': 1.0": lambda: rollout(model, given, discard=1.0),
        "'residual': 1.5": lambda: rollout(model, given, residual=1.5),
        "'median'": lambda: rollout(model, given, "median"),
        "145 tokens": lambda: to_maps(np.zeros(145), model),
    }.items():
        with pytest.raises(AttentionError, match=named):
            call()
    with pytest.raises(ModelError):
        rollout(model_of(4), pictures(1, 3))


def clips_of(levels: list[list[float]], predicted: list[float]) -> SimpleNamespace:
    frames = pd.DataFrame({"pspi": np.concatenate(levels)})
    return SimpleNamespace(
        store=SimpleNamespace(frames=frames),
        rows=np.arange(len(frames)).reshape(len(levels), 4),
        run=SimpleNamespace(predictions=pd.DataFrame({"probability": predicted})),
        model=model_of(4),
        frames=lambda numbers: pictures(len(numbers), 4),
    )


def test_the_chosen_sample_has_the_largest_step_of_those_that_the_model_finds():
    levels = [[0, 4, 4, 4], [1, 9, 9, 9], [0, 8, 8, 8], [0, 6, 6, 9], [0, 6, 6, 6], [0, 9, 0, 9]]
    folds = [clips_of(levels[:3], [0.9, 0.9, 0.2]), clips_of(levels[3:], [0.6, 0.6, 0.9])]
    found = choose_sample(folds)
    assert (found.explained, found.number) == (folds[1], 0)
    assert list(found.heads) == [f"head {number}" for number in range(4)]
    assert {one.shape for one in found.together.values()} == {(4, 6, 6)}
    assert choose_sample([clips_of(levels[1:3], [0.9, 0.5])]) is None  # at 0.5 no pain is predicted
