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
from torch.nn import functional

from paincore.attention.explained import pixels_of
from paincore.attention.maps import last_layer_and_rollout, patches_along, rollout, to_maps
from paincore.training.vit import PainTransformer

PATH_STEPS = 16  # Gauss-Legendre points between baseline and image
GRADIENTS_TOGETHER = 4  # samples of whose paths gradients are computed at once


def attributions(model: PainTransformer, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Maps float32 (M, F, P, P) by method, of at least one sample, uint8 (M, F, S, S, 3).

    "random" is noise, the same for every model; "centre" falls with the distance from a frame's
    middle; integrated gradients (Sundararajan et al. 2017) begin at the sample's mean colour, so
    that they ask what deletion asks; gradient x input has its zero at mid-grey. Rollout has half
    residual.
    """
    model.eval()
    shape, places = (*frames.shape[:2], *[patches_along(model)] * 2), range(patches_along(model))
    distance = np.hypot(*(axis - np.mean(places) for axis in np.meshgrid(places, places)))
    heads, flow = last_layer_and_rollout(model, frames)
    rows = {
        "gradient x input": _gradients(model, frames, integrated=False),
        "integrated gradients": _gradients(model, frames, integrated=True),
        "last layer mean": heads.mean(axis=1),
        "last layer max": heads.max(axis=1),
        "rollout mean": flow,
        "rollout max": rollout(model, frames, "max"),
    }
    return {
        "random": np.random.default_rng([0, *b"random attribution"]).random(shape, np.float32),
        "centre": np.broadcast_to(-distance.astype(np.float32), shape),
    } | {name: to_maps(each, model) for name, each in rows.items()}


def mean_colour(frames: np.ndarray) -> np.ndarray:
    """The mean colour of each sample, uint8 of the shape of frames (M, F, S, S, 3).

    It is that of the pixels that are not black, as registration leaves what the camera did not see.
    """
    seen = frames.any(axis=-1, keepdims=True)
    mean = frames.sum(axis=(1, 2, 3), dtype=np.int64) / np.maximum(seen.sum(axis=(1, 2, 3)), 1)
    colour = np.round(mean).astype(np.uint8)[:, None, None, None]
    return np.broadcast_to(colour, frames.shape).copy()


def _gradients(model: PainTransformer, frames: np.ndarray, integrated: bool) -> np.ndarray:
    """Sums over the patches of the model's images, float32 (M, T) with 0 for the CLS token."""
    from captum.attr import InputXGradient, IntegratedGradients  # half a second: only if asked for

    def target(pixels: torch.Tensor) -> torch.Tensor:
        logits = model(pixels)
        return logits[:, 1] - logits[:, 0]

    found, patch = [], model.encoder.config.patch_size
    both = (pixels_of(model, part, GRADIENTS_TOGETHER) for part in (frames, mean_colour(frames)))
    for pixels, baseline in zip(*both, strict=True):
        if integrated:
            each = IntegratedGradients(target).attribute(pixels, baseline, n_steps=PATH_STEPS)
        else:
            each = InputXGradient(target).attribute(pixels.requires_grad_())
        one_channel = each.detach().float().sum(1, keepdim=True)
        sums = functional.avg_pool2d(one_channel, patch, divisor_override=1)
        found.append(functional.pad(sums.flatten(1), (1, 0)).cpu())
    return torch.cat(found).numpy()
