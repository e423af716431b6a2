"""Attention maps of a trained model: heads of one layer, and rollout through all of them.

Tokens are CLS first, then the patches row by row; for ViViT patches of the 2x2 grid of four frames.
Attention is recorded by hooks that come off again, in eager attention, since sdpa keeps none; the
model's own kind of attention is put back afterwards. Layers are recorded one after the other and
reduced at once, so that memory holds one layer of a batch, not all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from paincore.attention.explained import Explained, ExplanationError
from paincore.statistics.scores import called_pain
from paincore.training.vit import PainTransformer

FUSIONS = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}
LAYER_BYTES = 64 * 2**20  # that one layer's attention of a batch, all heads, may take


class AttentionError(ExplanationError):
    """A layer, a head or a setting that there is not."""


def rollout_step(
    flow: torch.Tensor, heads: torch.Tensor, fusion: str, residual: float = 0.5, discard: float = 0
) -> torch.Tensor:
    """Rollout, one layer further: `flow` (B, T, T) from below through `heads` (B, H, T, T)."""
    fused = FUSIONS[fusion](heads, dim=1)
    fused = without_lowest(fused, discard)
    identity = torch.eye(fused.shape[-1], device=fused.device)
    mixed = residual * identity + (1 - residual) * fused
    mixed = mixed / mixed.sum(-1, keepdim=True)
    return mixed @ flow


def without_lowest(attention: torch.Tensor, discard: float) -> torch.Tensor:
    """Matrices (B, T, T) in whose lowest values, a proportion `discard` of each, 0 stands."""
    flat = attention.flatten(1)
    lowest = flat.topk(int(flat.shape[1] * discard), largest=False).indices
    return flat.scatter(1, lowest, 0).view_as(attention)


def cls_attention(
    model: PainTransformer, frames: np.ndarray, layer: int = -1, heads: Sequence[int] | None = None
) -> np.ndarray:
    """What heads of a layer let the CLS token attend to: float32 (M, H, T), rows sum to one.

    `frames` uint8 (M, F, S, S, 3); `layer` counts from 0 below, or from -1 above; `heads` None are
    all. Raises AttentionError for a layer or head that is not there, ModelError for frames that do
    not fit the model.
    """
    layers, number = len(model.encoder.layers), model.encoder.config.num_attention_heads
    if not -layers <= layer < layers:
        raise AttentionError(f"no layer {layer}; this model has layers 0 to {layers - 1}")
    asked = list(range(number) if heads is None else heads)
    for head in asked:
        if not 0 <= head < number:
            raise AttentionError(f"no head {head}; this model has heads 0 to {number - 1}")
    found = [torch.zeros(0, len(asked), _tokens(model))]
    for batch in _batches(model, frames):
        with recording(model, [layer], lambda weights: found.append(weights[:, asked, 0].cpu())):
            model.below(model.pixels(batch), layer % layers + 1)
    return torch.cat(found).numpy()


def rollout(
    model: PainTransformer, frames: np.ndarray, fusion: str = "mean", **settings: float
) -> np.ndarray:
    """How attention flows from the input to the CLS token through all layers: float32 (M, T).

    Heads of a layer are fused by "mean", "max" or "min". Settings are those of `rollout_step`: the
    proportion `discard` of the lowest values of each matrix is set to 0; `residual` is the weight
    of the identity beside attention. Rows sum to one. Abnar & Zuidema 2020, "Quantifying attention
    flow in transformers". Raises AttentionError for another fusion, or a setting beyond its bounds.
    """
    return last_layer_and_rollout(model, frames, fusion, **settings)[1]


def last_layer_and_rollout(
    model: PainTransformer, frames: np.ndarray, fusion: str = "mean", **settings: float
) -> tuple[np.ndarray, np.ndarray]:
    """`cls_attention` of the last layer, (M, H, T), and `rollout`, (M, T), in one forward pass."""
    check_fusion(fusion)
    if not (0 <= settings.get("residual", 0) <= 1 and 0 <= settings.get("discard", 0) < 1):
        raise AttentionError(f"{settings}: take a residual of 0 to 1, a discard of 0 to below 1")
    layers, tokens = len(model.encoder.layers), _tokens(model)
    last = [torch.zeros(0, model.encoder.config.num_attention_heads, tokens)]
    rolled = [torch.zeros(0, tokens)]
    for batch in _batches(model, frames):
        flow, top = torch.eye(tokens, device=batch.device).expand(len(batch), -1, -1), None

        def pass_on(heads: torch.Tensor) -> None:
            nonlocal flow, top
            flow, top = rollout_step(flow, heads, fusion, **settings), heads[:, :, 0]

        with recording(model, range(layers), pass_on):
            model.below(model.pixels(batch), layers)
        last.append(top.cpu())
        rolled.append(flow[:, 0].cpu())
    return torch.cat(last).numpy(), torch.cat(rolled).numpy()


def check_fusion(fusion: str) -> None:
    """Raises AttentionError for another fusion of heads than there are."""
    if fusion not in FUSIONS:
        raise AttentionError(f"no fusion {fusion!r}; there are {', '.join(FUSIONS)}")


def fuse(heads: np.ndarray, how: str) -> np.ndarray:
    """Heads (M, H, ...) as one, (M, ...), by "mean", "max" or "min"; AttentionError for another."""
    check_fusion(how)
    return getattr(heads, how)(axis=1)


def to_maps(rows: np.ndarray, model: PainTransformer) -> np.ndarray:
    """Values of all tokens (..., T) as maps of patches (..., F, P, P), without the CLS token.

    The grid of a clip is taken apart into its four frames, in order of time. Raises AttentionError
    for another number of tokens than the model's.
    """
    if rows.shape[-1] != _tokens(model):
        raise AttentionError(f"{rows.shape[-1]} tokens; this model has {_tokens(model)}")
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


class MeasuredMaps(NamedTuple):
    """The last layer's heads, (M, H, F, P, P), and mean rollout, (M, F, P, P), float32."""

    heads: np.ndarray
    rolled: np.ndarray

    @property
    def last(self) -> np.ndarray:
        """The last layer's mean over heads, (M, F, P, P)."""
        return fuse(self.heads, "mean")


def maps_of(folds: Sequence[Explained]) -> MeasuredMaps:
    """The maps of all samples, those of each fold by its own model."""
    heads, rolled = [], []
    for one in folds:
        last, flow = last_layer_and_rollout(one.model, one.frames())
        heads.append(to_maps(last, one.model))
        rolled.append(to_maps(flow, one.model))
    return MeasuredMaps(np.concatenate(heads), np.concatenate(rolled))


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
        called = called_pain(one.run.predictions["probability"].to_numpy())
        fits = np.flatnonzero((pspi[:, 0] == 0) & (pspi[:, 1:] > 0).all(axis=1) & called)
        found += [(pspi[number, 1], pspi[number].sum(), one, int(number)) for number in fits]
    if not found:
        return None
    *_, one, number = max(found, key=lambda each: each[:2])
    last, flow = last_layer_and_rollout(one.model, one.frames(np.array([number])), "max")
    [heads], [rolled] = to_maps(last, one.model), to_maps(flow, one.model)
    together = {"rollout, max": rolled, "last layer, max": heads.max(axis=0)}
    return ChosenSample(one, number, {f"head {n}": each for n, each in enumerate(heads)}, together)


@contextmanager
def recording(
    model: PainTransformer, layers: Sequence[int], record: Callable[[torch.Tensor], None]
) -> Iterator[None]:
    """Within it, `record(heads)` gets the attention (B, H, T, T) of these layers, from below.

    Nothing else is computed with gradients either. The encoder computes eagerly meanwhile;
    afterwards, also after an error, hooks are off and its own kind of attention is back.
    """
    encoder = model.encoder
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    hooks = [
        encoder.layers[number].attention.register_forward_hook(
            lambda module, inputs, outputs: record(outputs[1])
        )
        for number in layers
    ]
    try:
        with torch.inference_mode():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        encoder.set_attn_implementation(before)


def _batches(model: PainTransformer, frames: np.ndarray) -> Iterator[torch.Tensor]:
    """Frames uint8 (M, F, S, S, 3) in batches whose attention fits into `LAYER_BYTES`."""
    each = model.encoder.config.num_attention_heads * _tokens(model) ** 2 * 4
    count, device = max(1, LAYER_BYTES // each), next(model.parameters()).device
    for start in range(0, len(frames), count):
        yield torch.from_numpy(np.ascontiguousarray(frames[start : start + count])).to(device)


def _tokens(model: PainTransformer) -> int:
    return model.encoder.embeddings.position_embeddings.shape[1]
