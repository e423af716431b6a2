"""Attention maps of a trained model: heads of one layer, and rollout through all of them.

Tokens are CLS first, then the patches row by row; for ViViT patches of the 2x2 grid of four frames.
Attention is recorded by hooks that come off again, in eager attention, since sdpa keeps none; the
model's own kind of attention is put back afterwards. Layers are recorded one after the other and
reduced at once, so that memory holds one layer of a batch, not all of them. Chapter 07.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from paincore.attention.explained import ExplanationError
from paincore.training.vit import PainTransformer

FUSIONS = ("mean", "max", "min")
VARIANTS = ("rows", "released")
RELEASED_DISCARD = 0.9  # what the authors' notebook drops of each matrix
ROOM = 64 * 2**20  # bytes of one layer's attention, all heads, that a batch may take


class AttentionError(ExplanationError):
    """A layer, a head or a setting that there is not."""


def cls_attention(
    model: PainTransformer,
    frames: np.ndarray,
    layer: int = -1,
    heads: Sequence[int] | None = None,
) -> np.ndarray:
    """What heads of a layer let the CLS token attend to: float32 (M, H, T), rows sum to one.

    `frames` uint8 (M, F, S, S, 3); `layer` counts from 0 below, or from -1 above; `heads` None are
    all. Raises AttentionError for a layer or head that is not there, ModelError for frames that do
    not fit the model.
    """
    layers, there = len(model.encoder.layers), model.encoder.config.num_attention_heads
    if not -layers <= layer < layers:
        raise AttentionError(f"no layer {layer}; this model has layers 0 to {layers - 1}")
    asked = list(range(there) if heads is None else heads)
    for head in asked:
        if not 0 <= head < there:
            raise AttentionError(
                f"no head {head}; a layer of this model has heads 0 to {there - 1}"
            )
    found = []

    def keep(number: int, weights: torch.Tensor) -> None:
        found.append(weights[:, asked, 0].cpu())

    for part in _batches(model, frames):
        _record(model, part, keep, [layer])
    return _joined(found, (len(asked), _tokens(model)))


def rollout(
    model: PainTransformer,
    frames: np.ndarray,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    variant: str = "rows",
) -> np.ndarray:
    """How attention flows from the input to the CLS token through all layers: float32 (M, T).

    Heads of a layer are fused by "mean", "max" or "min"; the share `discard` of the lowest values
    of each matrix is set to 0; `residual` is the weight of the identity beside attention. `variant`
    "rows" divides each row by its sum, so that rows of the product sum to one; "released" divides
    each column by the sum of the row of its number, as the authors' notebook does, and never
    discards the first value. Abnar & Zuidema 2020, "Quantifying attention flow in transformers".
    Raises AttentionError for another fusion or variant, `residual` outside 0 to 1, `discard`
    outside 0 to below 1.
    """
    return last_layer_and_rollout(model, frames, fusion, residual, discard, variant)[1]


def last_layer_and_rollout(
    model: PainTransformer,
    frames: np.ndarray,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    variant: str = "rows",
) -> tuple[np.ndarray, np.ndarray]:
    """`cls_attention` of the last layer, (M, H, T), and `rollout`, (M, T), in one forward pass."""
    _check(fusion, residual, discard, variant)
    last, rolled = [], []
    for part in _batches(model, frames):
        flow = torch.eye(_tokens(model), device=part.device).expand(len(part), -1, -1)
        top = None

        def add(number: int, heads: torch.Tensor) -> None:
            nonlocal flow, top
            flow = _step(_fused(heads, fusion), residual, discard, variant) @ flow
            top = heads[:, :, 0]

        _record(model, part, add, range(len(model.encoder.layers)))
        last.append(top.cpu())
        rolled.append(flow[:, 0].cpu())
    heads = model.encoder.config.num_attention_heads
    return _joined(last, (heads, _tokens(model))), _joined(rolled, (_tokens(model),))


def _check(fusion: str, residual: float, discard: float, variant: str) -> None:
    if fusion not in FUSIONS:
        raise AttentionError(f"no fusion {fusion!r}; there are {', '.join(FUSIONS)}")
    if variant not in VARIANTS:
        raise AttentionError(f"no variant {variant!r}; there are {', '.join(VARIANTS)}")
    if not 0 <= residual <= 1:
        raise AttentionError(f"residual is {residual}; it is a weight from 0 to 1")
    if not 0 <= discard < 1:
        raise AttentionError(
            f"discard is {discard}; it is the share that is dropped, from 0 to below 1: with all "
            "dropped nothing flows"
        )


def _step(fused: torch.Tensor, residual: float, discard: float, variant: str) -> torch.Tensor:
    """One layer's matrices (B, T, T), thinned out, with the residual path, and normalised."""
    count = int(fused[0].numel() * discard)
    if count:
        flat = fused.flatten(1)
        lowest = flat.topk(count, largest=False).indices
        kept = torch.ones_like(flat).scatter_(1, lowest, 0)
        if variant == "released":
            kept[:, 0] = 1
        fused = (flat * kept).view_as(fused)
    eye = torch.eye(fused.shape[-1], device=fused.device)
    both = residual * eye + (1 - residual) * fused
    sums = both.sum(-1)
    # The notebook forgets to keep the dimension: what is divided are the columns.
    return both / (sums[:, None, :] if variant == "released" else sums[:, :, None])


def fuse(heads: np.ndarray, how: str) -> np.ndarray:
    """Heads (M, H, ...) as one, (M, ...), by "mean", "max" or "min"; AttentionError for another."""
    if how not in FUSIONS:
        raise AttentionError(f"no fusion {how!r}; there are {', '.join(FUSIONS)}")
    return getattr(heads, how)(axis=1)


def _fused(heads: torch.Tensor, how: str) -> torch.Tensor:
    return {"mean": torch.mean, "max": torch.amax, "min": torch.amin}[how](heads, dim=1)


def to_maps(rows: np.ndarray, model: PainTransformer) -> np.ndarray:
    """Values of all tokens (..., T) as pictures of patches (..., F, P, P), without the CLS token.

    The grid of a clip is taken apart into its four frames, in order of time. Raises AttentionError
    for another number of tokens than the model's.
    """
    if rows.shape[-1] != _tokens(model):
        raise AttentionError(f"{rows.shape[-1]} tokens; this model has {_tokens(model)}")
    side = 2 if model.frames == 4 else 1
    patches = model.image_size // model.encoder.config.patch_size
    grid = rows[..., 1:].reshape(*rows.shape[:-1], side, patches, side, patches)
    return np.moveaxis(grid, -2, -3).reshape(*rows.shape[:-1], model.frames, patches, patches)


def scaled(maps: np.ndarray) -> np.ndarray:
    """Maps (M, ...) from 0 at the least value of a sample to 1 at its greatest; 0 if all equal."""
    flat = maps.reshape(len(maps), -1)
    low = flat.min(axis=1, keepdims=True)
    width = flat.max(axis=1, keepdims=True) - low
    return ((flat - low) / np.where(width > 0, width, 1)).reshape(maps.shape)


def above(maps: np.ndarray, threshold: float) -> np.ndarray:
    """Scaled maps where they reach the threshold, NaN elsewhere: what the paper's figures colour.

    The paper shows values between 0.7 and 1; its notebook applies 0.7 to the bytes of a coloured
    picture instead.
    """
    return np.where(maps >= threshold, maps, np.nan)


@contextmanager
def recording(
    model: PainTransformer, layers: Sequence[int], record: Callable[[int, torch.Tensor], None]
) -> Iterator[None]:
    """Within it, `record(number, heads)` gets the attention (B, H, T, T) of these layers.

    The encoder computes eagerly meanwhile; afterwards, also after an error, hooks are off and its
    own kind of attention is back.
    """
    encoder = model.encoder
    before = encoder.config._attn_implementation

    def hook(number: int) -> Callable:
        return lambda module, inputs, outputs: record(number, outputs[1])

    encoder.set_attn_implementation("eager")
    hooks = [
        encoder.layers[number].attention.register_forward_hook(hook(number)) for number in layers
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()
        encoder.set_attn_implementation(before)


def _record(
    model: PainTransformer, part: torch.Tensor, record: Callable, layers: Sequence[int]
) -> None:
    """Run a batch of frames through all blocks, whole, with `recording` on."""
    numbers = [number % len(model.encoder.layers) for number in layers]
    with torch.inference_mode(), recording(model, numbers, record):
        model.below(model.pixels(part), max(numbers) + 1)


def _batches(model: PainTransformer, frames: np.ndarray) -> Iterator[torch.Tensor]:
    """Frames uint8 (M, F, S, S, 3) in batches whose attention fits into `ROOM`."""
    each = model.encoder.config.num_attention_heads * _tokens(model) ** 2 * 4
    count, device = max(1, ROOM // each), next(model.parameters()).device
    for start in range(0, len(frames), count):
        yield torch.from_numpy(np.ascontiguousarray(frames[start : start + count])).to(device)


def _tokens(model: PainTransformer) -> int:
    return model.encoder.embeddings.position_embeddings.shape[1]


def _joined(parts: list[torch.Tensor], shape: tuple[int, ...]) -> np.ndarray:
    return torch.cat(parts).numpy() if parts else np.zeros((0, *shape), np.float32)
