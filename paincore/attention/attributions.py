"""What each patch of a sample is worth to a prediction, by eight methods that can be compared.

Every method gives float32 (M, F, P, P) for frames uint8 (M, F, S, S, 3), in evaluation mode. What
is attributed is the log-odds of pain (its logit less that of no pain), from which the probability
follows and which does not saturate. Gradients are summed over a patch's pixels with their sign:
sums keep what integrated gradients promise (all patches together give the change of the log-odds),
and what is asked later is which patches speak for pain, not which matter for either class.
Attention has no sign. Chapter 07.
"""

from collections.abc import Sequence

import numpy as np
import torch

from paincore.attention.explained import ExplanationError
from paincore.attention.faithfulness import replacement
from paincore.attention.maps import cls_attention, fuse, rollout, to_maps
from paincore.training.vit import PainTransformer

METHODS = (
    "random",
    "centre",
    "gradient x input",
    "integrated gradients",
    "last layer mean",
    "last layer max",
    "rollout mean",
    "rollout max",
)
PATH_STEPS = 16  # Gauss-Legendre points between baseline and picture
BATCH = 64  # pictures of which gradients are computed together


def attributions(
    model: PainTransformer, frames: np.ndarray, methods: Sequence[str] = METHODS, seed: int = 0
) -> dict[str, np.ndarray]:
    """Maps float32 (M, F, P, P) of samples uint8 (M, F, S, S, 3), by method, in the order given.

    "random" draws from `seed`; "centre" falls with the distance from a frame's middle; integrated
    gradients (Sundararajan et al. 2017) begin at the sample's mean colour, so that they ask what
    deletion asks; gradient x input has its zero at mid-grey. Rollout is row-normalised, with half
    residual and nothing discarded. Raises ExplanationError for a method that there is not.
    """
    strange = [name for name in methods if name not in METHODS]
    if strange:
        raise ExplanationError(f"no method {strange[0]!r}; there are {', '.join(METHODS)}")
    model.eval()
    kept = {}

    def last_layer() -> np.ndarray:
        if "heads" not in kept:
            kept["heads"] = cls_attention(model, frames)
        return kept["heads"]

    compute = {
        "random": lambda: _random(model, len(frames), seed),
        "centre": lambda: _centre(model, len(frames)),
        "gradient x input": lambda: _gradients(model, frames, integrated=False),
        "integrated gradients": lambda: _gradients(model, frames, integrated=True),
        "last layer mean": lambda: to_maps(fuse(last_layer(), "mean"), model),
        "last layer max": lambda: to_maps(fuse(last_layer(), "max"), model),
        "rollout mean": lambda: to_maps(rollout(model, frames, "mean"), model),
        "rollout max": lambda: to_maps(rollout(model, frames, "max"), model),
    }
    return {name: compute[name]() for name in methods}


def log_odds(model: PainTransformer, pixels: torch.Tensor) -> torch.Tensor:
    """Log-odds of pain (B,) of pictures from `PainTransformer.pixels`."""
    logits = model(pixels)
    return logits[:, 1] - logits[:, 0]


def _side(model: PainTransformer) -> int:
    """Patches along a side of one frame."""
    return model.image_size // model.encoder.config.patch_size


def _random(model: PainTransformer, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, *b"random attribution"])
    return rng.random((count, model.frames, _side(model), _side(model)), dtype=np.float32)


def _centre(model: PainTransformer, count: int) -> np.ndarray:
    places = np.arange(_side(model)) - (_side(model) - 1) / 2
    distance = np.hypot(places[:, None], places).astype(np.float32)
    return np.tile(-distance, (count, model.frames, 1, 1))


def _gradients(model: PainTransformer, frames: np.ndarray, integrated: bool) -> np.ndarray:
    from captum.attr import InputXGradient, IntegratedGradients  # half a second: only if asked for

    def target(pixels: torch.Tensor) -> torch.Tensor:
        return log_odds(model, pixels)

    found = []
    for start in range(0, len(frames), BATCH):
        part = np.ascontiguousarray(frames[start : start + BATCH])
        pixels = _pixels(model, part)
        if integrated:
            each = IntegratedGradients(target).attribute(
                pixels,
                baselines=_pixels(model, replacement(part, "mean")),
                n_steps=PATH_STEPS,
                internal_batch_size=BATCH,
            )
        else:
            each = InputXGradient(target).attribute(pixels.requires_grad_())
        found.append(_by_patch(model, each.detach().float()))
    side = _side(model)
    empty = np.zeros((0, model.frames, side, side), np.float32)
    return np.concatenate(found) if found else empty


def _pixels(model: PainTransformer, frames: np.ndarray) -> torch.Tensor:
    device = next(model.parameters()).device
    return model.pixels(torch.from_numpy(frames).to(device))


def _by_patch(model: PainTransformer, values: torch.Tensor) -> np.ndarray:
    """Sums float32 (B, F, P, P) over the patches of values (B, 3, H, W) of pictures."""
    grid, side = (2 if model.frames == 4 else 1), _side(model)
    pixels = values.sum(1).unflatten(2, (grid, side, -1)).unflatten(1, (grid, side, -1))
    sums = pixels.sum((3, 6))  # B, grid row, row, grid column, column
    return sums.permute(0, 1, 3, 2, 4).flatten(1, 2).cpu().numpy()
