import numpy as np
import pytest
import torch
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from paincore.attention.maps import (
    AttentionError,
    above,
    cls_attention,
    fuse,
    recording,
    rollout,
    scaled,
    to_maps,
)
from paincore.training import backbones as encoders
from paincore.training.vit import ModelError, PainTransformer

HEADS, LAYERS, SIZE = 4, 12, 48


def model_of(frames: int, seed: int = 0) -> PainTransformer:
    encoder = encoders.load_encoder("random", seed)
    with torch.no_grad():  # drawn as for a training, attention is all but even
        for block in encoder.layers:
            for part in (block.attention.q_proj, block.attention.k_proj):
                part.weight.mul_(30)
    return PainTransformer(encoder, frames, torch.Generator().manual_seed(seed)).eval()


def pictures(count: int, frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, frames, SIZE, SIZE, 3), np.uint8)


def attentions_of(model: PainTransformer, frames: np.ndarray) -> np.ndarray:
    """What transformers returns when it is asked for attentions: (L, M, H, T, T)."""
    implementation = model.encoder.config._attn_implementation
    model.encoder.set_attn_implementation("eager")
    with torch.no_grad():
        given = model.encoder(model.pixels(torch.from_numpy(frames)), output_attentions=True)
    model.encoder.set_attn_implementation(implementation)
    return torch.stack(given.attentions).numpy()


@pytest.mark.parametrize("frames", [1, 4])
def test_attention_of_cls_is_what_transformers_returns(frames):
    model, given = model_of(frames), pictures(3, frames)
    reference = attentions_of(model, given)
    assert reference.std() > 1e-3  # not even: a mix-up of layers, heads or tokens would show
    for layer in (0, 5, -1):
        found = cls_attention(model, given, layer)
        np.testing.assert_allclose(found, reference[layer][:, :, 0], atol=1e-5)
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        cls_attention(model, given, 3, [2, 0]), cls_attention(model, given, 3)[:, [2, 0]]
    )


def plain_rollout(matrices, fusion, residual, discard, released=False) -> np.ndarray:
    """Rollout of one sample's (L, H, T, T) in loops, row CLS; after Abnar & Zuidema 2020."""
    tokens = matrices.shape[-1]
    result = np.eye(tokens)
    for heads in matrices.astype(np.float64):
        fused = {"mean": heads.mean(0), "max": heads.max(0), "min": heads.min(0)}[fusion].copy()
        lowest = np.argsort(fused, axis=None, kind="stable")[: int(fused.size * discard)]
        for place in lowest:
            if not (released and place == 0):
                fused[place // tokens, place % tokens] = 0
        mixed = residual * np.eye(tokens) + (1 - residual) * fused
        sums = [mixed[row].sum() for row in range(tokens)]
        for row in range(tokens):
            for column in range(tokens):
                mixed[row, column] /= sums[column if released else row]
        result = mixed @ result
    return result[0]


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_rollout_is_that_of_plain_loops(frames, fusion):
    model, given = model_of(frames, 1), pictures(2, frames, 1)
    reference = attentions_of(model, given)
    for residual, discard in ((0.5, 0.0), (0.3, 0.4)):
        found = rollout(model, given, fusion, residual, discard)
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
        for sample in range(2):
            expected = plain_rollout(reference[:, sample], fusion, residual, discard)
            np.testing.assert_allclose(found[sample], expected, atol=1e-5)


def test_the_released_variant_divides_columns_and_keeps_the_first_value():
    model, given = model_of(1, 2), pictures(2, 1, 2)
    reference = attentions_of(model, given)
    found = rollout(model, given, "max", 0.5, 0.9, "released")
    for sample in range(2):
        expected = plain_rollout(reference[:, sample], "max", 0.5, 0.9, released=True)
        np.testing.assert_allclose(found[sample], expected, rtol=1e-4, atol=1e-7)
    assert abs(found.sum(-1) - 1).max() > 0.01  # it is no distribution, unlike the paper's


def with_attention(model: PainTransformer, target: int | None) -> PainTransformer:
    """A model all of whose heads attend evenly, or to one token alone, whatever they see."""
    size = model.encoder.config.hidden_size
    with torch.no_grad():
        for block in model.encoder.layers:
            attention = block.attention
            for part in (attention.q_proj, attention.k_proj):
                part.weight.zero_()
                part.bias.zero_()
            attention.q_proj.bias.fill_(1)
            # Values and the rest add nothing, so that the marked token stays marked.
            for part in (attention.o_proj, block.mlp.fc2):
                part.weight.zero_()
                part.bias.zero_()
            block.layernorm_before.weight.fill_(1)
            block.layernorm_before.bias.zero_()
        if target is not None:
            embeddings = model.encoder.embeddings
            embeddings.position_embeddings.zero_()
            embeddings.cls_token.zero_()
            embeddings.patch_embeddings.projection.weight.zero_()
            mark = torch.zeros(size)
            mark[: size // 2], mark[size // 2 :] = 1, -1
            embeddings.position_embeddings[0, target] = mark
            for block in model.encoder.layers:
                block.attention.k_proj.weight[:] = 100 * mark / size
    return model


@pytest.mark.parametrize("frames", [1, 4])
def test_a_uniform_attention_gives_a_uniform_map(frames):
    model, given = with_attention(model_of(frames), None), pictures(2, frames)
    tokens = 1 + 36 * frames
    np.testing.assert_allclose(cls_attention(model, given), 1 / tokens, atol=1e-6)
    found = to_maps(rollout(model, given), model)
    assert np.ptp(found) < 1e-6


@pytest.mark.parametrize(
    ("frames", "target", "place"), [(1, 8, (0, 1, 1)), (4, 1 + 7 * 12 + 3, (2, 1, 3))]
)
def test_an_implanted_attention_to_one_patch_is_found(frames, target, place):
    model, given = with_attention(model_of(frames), target), pictures(2, frames)
    for rows in (cls_attention(model, given)[:, 0], rollout(model, given, "max")):
        maps = to_maps(rows, model)
        for one in maps:
            assert np.unravel_index(one.argmax(), one.shape) == place


def test_frames_of_a_clip_come_back_in_order_of_time():
    model = model_of(4)
    grid = np.empty((12, 12))
    for frame in range(4):
        top, left = 6 * (frame // 2), 6 * (frame % 2)
        grid[top : top + 6, left : left + 6] = frame * 100 + np.arange(36).reshape(6, 6)
    maps = to_maps(np.append(-1, grid)[None], model)
    np.testing.assert_array_equal(maps[0, :, 0, 0], [0, 100, 200, 300])
    np.testing.assert_array_equal(maps[0, 2], 200 + np.arange(36).reshape(6, 6))


@pytest.mark.parametrize("fails", [False, True])
def test_recording_leaves_the_model_as_it_was_and_its_output_the_same(fails):
    model, given = model_of(1), torch.from_numpy(pictures(2, 1))
    with torch.no_grad():
        before = model(model.pixels(given))
    seen = []

    def record(number, heads):
        seen.append((number, tuple(heads.shape)))
        if fails:
            raise RuntimeError("full")

    try:
        with torch.no_grad(), recording(model, [0, 11], record):
            hidden = model.below(model.pixels(given), LAYERS)
            during = model.head(model.encoder.layernorm(hidden[:, 0]))
    except RuntimeError:
        assert fails
    else:
        torch.testing.assert_close(during, before, atol=1e-5, rtol=1e-5)
        assert seen == [(0, (2, HEADS, 37, 37)), (11, (2, HEADS, 37, 37))]
    assert model.encoder.config._attn_implementation == "sdpa"
    assert not any(block.attention._forward_hooks for block in model.encoder.layers)


def test_a_batch_is_as_large_as_memory_allows_and_changes_nothing(monkeypatch):
    model, given = model_of(4), pictures(5, 4)
    whole = rollout(model, given, "max", discard=0.5), cls_attention(model, given)
    monkeypatch.setattr("paincore.attention.maps.ROOM", 2 * HEADS * 145**2 * 4)
    for one, again in zip(
        whole, (rollout(model, given, "max", discard=0.5), cls_attention(model, given)), strict=True
    ):
        np.testing.assert_allclose(one, again, atol=1e-6)
    assert cls_attention(model, given[:0]).shape == (0, HEADS, 145)


def test_min_max_and_threshold_act_on_values_of_each_sample():
    maps = np.array([[[[0.1, 0.2], [0.3, 0.2]]], [[[5.0, 5.0], [5.0, 5.0]]]])
    one, even = scaled(maps)
    np.testing.assert_allclose(one, [[[0, 0.5], [1, 0.5]]])
    assert (even == 0).all()
    np.testing.assert_array_equal(np.isnan(above(one, 0.5)), [[[True, False], [False, False]]])


def test_heads_are_fused_by_name():
    heads = np.array([[[1.0, 4.0], [3.0, 0.0]]])
    assert [fuse(heads, how).tolist() for how in ("mean", "max", "min")] == [
        [[2, 2]],
        [[3, 4]],
        [[1, 0]],
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, f: cls_attention(m, f, 12), "no layer 12; this model has layers 0 to 11"),
        (lambda m, f: cls_attention(m, f, -13), "no layer -13"),
        (lambda m, f: cls_attention(m, f, 0, [4]), "no head 4; a layer of this model has heads 0"),
        (lambda m, f: rollout(m, f, discard=1.0), "discard is 1.0"),
        (lambda m, f: rollout(m, f, discard=-0.1), "discard is -0.1"),
        (lambda m, f: rollout(m, f, residual=1.5), "residual is 1.5"),
        (lambda m, f: rollout(m, f, "median"), "no fusion 'median'"),
        (lambda m, f: rollout(m, f, variant="paper"), "no variant 'paper'"),
        (lambda m, f: fuse(f, "median"), "no fusion 'median'"),
        (lambda m, f: to_maps(np.zeros(145), m), "145 tokens; this model has 37"),
    ],
)
def test_what_there_is_not_is_named(call, said):
    with pytest.raises(AttentionError, match=said):
        call(model_of(1), pictures(1, 1))


def test_clips_that_are_short_and_pictures_of_another_size_are_refused():
    model = model_of(4)
    with pytest.raises(ModelError, match=r"\(B, 4, 48, 48, 3\)"):
        cls_attention(model, pictures(1, 3))
    with pytest.raises(ModelError, match=r"\(B, 4, 48, 48, 3\)"):
        rollout(model, np.zeros((1, 4, 32, 32, 3), np.uint8))


def test_attention_of_the_papers_size_has_its_tokens():
    config = ViTConfig(image_size=224, patch_size=16, hidden_size=24, num_hidden_layers=2,
                       num_attention_heads=3, intermediate_size=24)  # fmt: skip
    encoder = ViTModel._from_config(config, attn_implementation="sdpa", add_pooling_layer=False)
    model = PainTransformer(encoder, 4, torch.Generator()).eval()
    frames = np.random.default_rng(0).integers(0, 256, (1, 4, 224, 224, 3), np.uint8)
    assert to_maps(cls_attention(model, frames), model).shape == (1, 3, 4, 14, 14)
