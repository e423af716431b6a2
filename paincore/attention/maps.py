"""Attention maps of a trained model: heads of one layer, and rollout through all of them.

Tokens are CLS first, then the patches row by row; for ViViT patches of the 2x2 grid of four frames.
Layers are computed one after the other and reduced at once, so that memory never holds the
attention of all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from paincore.attention.explained import Explained, pixels_of
from paincore.statistics.scores import called_pain
from paincore.training.vit import PainTransformer

FUSIONS = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}
LAYER_BYTES = 64 * 2**20  # that one layer's attention of a batch, all heads, may take


def attention_by_layer(model: PainTransformer, pixels: Tensor) -> Iterator[Tensor]:
    """The attention (B, H, T, T) of one layer after the other, from below, rows sum to one.

    `pixels` (B, 3, H, W) as of `PainTransformer.pixels`. Attention is computed eagerly, since sdpa
    keeps none; at the end the model's own kind is put back.
    """
    encoder = model.encoder
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        hidden = encoder.embeddings(pixels)
        for block in encoder.layers:
            mixed, heads = block.attention(block.layernorm_before(hidden))
            hidden = hidden + mixed
            hidden = hidden + block.mlp(block.layernorm_after(hidden))
            yield heads
    finally:
        encoder.set_attn_implementation(before)


def rollout_step(flow: Tensor, heads: Tensor, fusion: str, residual: float) -> Tensor:
    """Rollout, one layer further: `flow` (B, T, T) from below through `heads` (B, H, T, T)."""
    fused = FUSIONS[fusion](heads, dim=1)
    mixed = residual * torch.eye(fused.shape[-1], device=fused.device) + (1 - residual) * fused
    mixed = mixed / mixed.sum(-1, keepdim=True)
    return mixed @ flow


@torch.inference_mode()
def cls_attention(model: PainTransformer, frames: np.ndarray, layer: int) -> np.ndarray:
    """What each head of a layer lets the CLS token attend to: float32 (M, H, T), rows sum to one.

    `frames` uint8 (M, F, S, S, 3), of at least one sample; `layer` counts from 0 below. Raises
    IndexError for a layer that is not there, ModelError for frames that do not fit the model.
    """
    found, number = [], range(len(model.encoder.layers))[layer]
    for pixels in _batches(model, frames):
        heads = next(islice(attention_by_layer(model, pixels), number, None))
        found.append(heads[:, :, 0].cpu())
    return torch.cat(found).numpy()


def rollout(model: PainTransformer, frames: np.ndarray, fusion="mean", residual=0.5) -> np.ndarray:
    """How attention flows from the input to the CLS token through all layers: float32 (M, T).

    Heads of a layer are fused by "mean", "max" or "min"; `residual`, 0 to 1, is the weight of the
    identity beside attention. Rows sum to one. Abnar & Zuidema 2020, "Quantifying attention flow in
    transformers".
    """
    return last_layer_and_rollout(model, frames, fusion, residual)[1]


@torch.inference_mode()
def last_layer_and_rollout(model: PainTransformer, frames, fusion="mean", residual=0.5) -> tuple:
    """`cls_attention` of the last layer, (M, H, T), and `rollout`, (M, T), in one forward pass."""
    last, rolled = [], []
    for pixels in _batches(model, frames):
        flow = torch.eye(_tokens(model), device=pixels.device).expand(len(pixels), -1, -1)
        for heads in attention_by_layer(model, pixels):
            flow = rollout_step(flow, heads, fusion, residual)
        last.append(heads[:, :, 0].cpu())
        rolled.append(flow[:, 0].cpu())
    return torch.cat(last).numpy(), torch.cat(rolled).numpy()


def to_maps(rows: np.ndarray, model: PainTransformer) -> np.ndarray:
    """Values of all tokens (..., T) as maps of patches (..., F, P, P), without the CLS token.

    The grid of a clip is taken apart into its four frames, in order of time.
    """
    side, patches = (2 if model.frames == 4 else 1), patches_along(model)
    grid = rows[..., 1:].reshape(*rows.shape[:-1], side, patches, side, patches)
    return np.moveaxis(grid, -2, -3).reshape(*rows.shape[:-1], model.frames, patches, patches)


def patches_along(model: PainTransformer) -> int:
    """The number of patches along a side of one frame."""
    return model.image_size // model.encoder.config.patch_size


def scaled(maps: np.ndarray) -> np.ndarray:
    """Maps (M, ...) from 0 at the least value of a sample to 1 at its greatest; 0 if all equal."""
    flat = maps.reshape(len(maps), -1)
    low = flat.min(axis=1, keepdims=True)
    width = flat.max(axis=1, keepdims=True) - low
    return ((flat - low) / np.where(width > 0, width, 1)).reshape(maps.shape)


def above(maps: np.ndarray, threshold: float) -> np.ndarray:
    """Scaled maps where they reach the threshold, NaN elsewhere: what the paper's figures colour.

    The paper shows values between 0.7 and 1; its notebook applies 0.7 to the bytes of a coloured
    image instead.
    """
    return np.where(maps >= threshold, maps, np.nan)


def maps_of(models: Mapping[str, Sequence[Explained]]) -> tuple[dict, dict]:
    """The last layer's heads, (M, H, F, P, P), and mean rollout, (M, F, P, P), float32, by model.

    Of all samples of each model's folds, those of each fold by its own network.
    """
    heads, rolled = {}, {}
    for name, folds in models.items():
        each = [last_layer_and_rollout(one.model, one.frames()) for one in folds]
        last, flow = (np.concatenate(rows) for rows in zip(*each, strict=True))
        heads[name], rolled[name] = (to_maps(rows, folds[0].model) for rows in (last, flow))
    return heads, rolled


class ChosenSample(NamedTuple):
    """One sample, by its model and number, with maps (F, P, P) by name: of each head of the last
    layer, and of all heads together."""

    explained: Explained
    number: int
    heads: dict[str, np.ndarray]
    together: dict[str, np.ndarray]


def choose_sample(folds: Sequence[Explained]) -> ChosenSample | None:
    """The sample of the paper's figures 8 to 10, chosen by rule, with its maps.

    Of the clips of test subjects whose first frame has PSPI 0, whose others are painful and whose
    pain the model finds, the one with the largest step from the first PSPI to the second; of equals
    the one with the greater PSPI in all, then the first. None if there is no such clip.
    """
    found = []
    for one in folds:
        pspi = one.store.frames["pspi"].to_numpy()[one.rows]
        called = called_pain(one.samples["probability"].to_numpy())
        fits = np.flatnonzero((pspi[:, 0] == 0) & (pspi[:, 1:] > 0).all(axis=1) & called)
        found += [(pspi[number, 1], pspi[number].sum(), one, number) for number in fits]
    if not found:
        return None
    *_, one, number = max(found, key=lambda each: each[:2])
    last, flow = last_layer_and_rollout(one.model, one.frames([number]), "max")
    [heads], [rolled] = to_maps(last, one.model), to_maps(flow, one.model)
    together = {"rollout, max": rolled, "last layer, max": heads.max(axis=0)}
    return ChosenSample(one, number, {f"head {n}": each for n, each in enumerate(heads)}, together)


def _batches(model: PainTransformer, frames: np.ndarray) -> Iterator[Tensor]:
    """The model's images of samples, in batches whose attention fits into `LAYER_BYTES`."""
    each = model.encoder.config.num_attention_heads * _tokens(model) ** 2 * 4
    return pixels_of(model, frames, max(1, LAYER_BYTES // each))


def _tokens(model: PainTransformer) -> int:
    return model.encoder.embeddings.position_embeddings.shape[1]
