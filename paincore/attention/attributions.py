"""What each patch of a sample is worth to a prediction, by eight methods that can be compared.

Every method gives float32 (M, F, P, P) for frames uint8 (M, F, S, S, 3), in evaluation mode. What
is attributed is the log-odds of pain (its logit − that of no pain), from which the probability
follows and which does not saturate. Gradients are summed over a patch's pixels with their sign:
sums keep what integrated gradients promise (all patches together give the change of the log-odds),
and what is asked later is which patches speak for pain, not which matter for either class.
Attention has no sign.
"""

import numpy as np
import torch

from paincore.attention.maps import last_layer_and_rollout, patches_along, rollout, to_maps
from paincore.training.vit import PainTransformer

PATH_STEPS = 16  # Gauss-Legendre points between baseline and image
GRADIENTS_TOGETHER = 64  # images of which gradients are computed at once


def attributions(
    model: PainTransformer, frames: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    """Maps float32 (M, F, P, P) of samples uint8 (M, F, S, S, 3), by method.

    "random" is noise from `seed`; "centre" falls with the distance from a frame's middle;
    integrated gradients (Sundararajan et al. 2017) begin at the sample's mean colour, so that they
    ask what deletion asks; gradient x input has its zero at mid-grey. Rollout has half residual and
    discards nothing.
    """
    model.eval()
    heads, flow = last_layer_and_rollout(model, frames)
    attention = {
        "last layer mean": heads.mean(axis=1),
        "last layer max": heads.max(axis=1),
        "rollout mean": flow,
        "rollout max": rollout(model, frames, "max"),
    }
    return {
        "random": _random(model, len(frames), seed),
        "centre": _centre(model, len(frames)),
        "gradient x input": _gradients(model, frames, integrated=False),
        "integrated gradients": _gradients(model, frames, integrated=True),
    } | {name: to_maps(rows, model) for name, rows in attention.items()}


def log_odds(model: PainTransformer, pixels: torch.Tensor) -> torch.Tensor:
    """Log-odds of pain (B,) of images from `PainTransformer.pixels`."""
    logits = model(pixels)
    return logits[:, 1] - logits[:, 0]


def mean_colour(frames: np.ndarray) -> np.ndarray:
    """The mean colour of each sample, uint8 of the shape of frames (M, F, S, S, 3).

    It is that of the pixels that are not black, as registration leaves what the camera did not see.
    """
    seen = frames.any(axis=-1, keepdims=True)
    count = np.maximum(seen.sum(axis=(1, 2, 3)), 1)
    mean = frames.sum(axis=(1, 2, 3), dtype=np.int64) / count
    colour = np.round(mean).astype(np.uint8)[:, None, None, None]
    return np.broadcast_to(colour, frames.shape).copy()


def _random(model: PainTransformer, count: int, seed: int) -> np.ndarray:
    rng, side = np.random.default_rng([seed, *b"random attribution"]), patches_along(model)
    return rng.random((count, model.frames, side, side), dtype=np.float32)


def _centre(model: PainTransformer, count: int) -> np.ndarray:
    places = np.arange(patches_along(model)) - (patches_along(model) - 1) / 2
    distance = np.hypot(places[:, None], places).astype(np.float32)
    return np.tile(-distance, (count, model.frames, 1, 1))


def _gradients(model: PainTransformer, frames: np.ndarray, integrated: bool) -> np.ndarray:
    from captum.attr import InputXGradient, IntegratedGradients  # half a second: only if asked for

    def target(pixels: torch.Tensor) -> torch.Tensor:
        return log_odds(model, pixels)

    def pixels_of(part: np.ndarray) -> torch.Tensor:
        return model.pixels(torch.from_numpy(part).to(next(model.parameters()).device))

    found = [np.zeros((0, model.frames, *[patches_along(model)] * 2), np.float32)]
    for start in range(0, len(frames), GRADIENTS_TOGETHER):
        part = np.ascontiguousarray(frames[start : start + GRADIENTS_TOGETHER])
        pixels, baseline = pixels_of(part), pixels_of(mean_colour(part))
        if integrated:
            how = {"n_steps": PATH_STEPS, "internal_batch_size": GRADIENTS_TOGETHER}
            each = IntegratedGradients(target).attribute(pixels, baseline, **how)
        else:
            each = InputXGradient(target).attribute(pixels.requires_grad_())
        found.append(_by_patch(model, each.detach().float()))
    return np.concatenate(found)


def _by_patch(model: PainTransformer, values: torch.Tensor) -> np.ndarray:
    """Sums float32 (B, F, P, P) over the patches of values (B, 3, H, W) of images."""
    grid, side = (2 if model.frames == 4 else 1), patches_along(model)
    pixels = values.sum(1).unflatten(2, (grid, side, -1)).unflatten(1, (grid, side, -1))
    sums = pixels.sum((3, 6))  # B, grid row, row, grid column, column
    return sums.permute(0, 1, 3, 2, 4).flatten(1, 2).cpu().numpy()
