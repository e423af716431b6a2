"""Whether maps explain a prediction: deletion, insertion, the pointing game, and true causes.

Maps are float32 (M, F, P, P), greater where a method sees more; of equal values the one further
above and left, and earlier in a clip, comes first. All values are per sample, for the chapter to
put together by subject: frames of one person are alike. A probability is that of pain. Chapter 07.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from paincore.attention.explained import ExplanationError, probabilities
from paincore.training.vit import PainTransformer

REPLACEMENTS = ("mean", "blurred")
BLUR = 1 / 6  # of a frame's side: standard deviation that leaves light and tone, and no feature
STEPS = 12
BATCH = 64


def replacement(frames: np.ndarray, kind: str) -> np.ndarray:
    """What patches are replaced by, uint8 of the shape of frames (M, F, S, S, 3).

    "mean": the mean colour of the sample's pixels that are not black, as registration leaves what
    the camera did not see. "blurred": each frame blurred by `BLUR`. Raises ExplanationError for
    another kind. A rendered neutral face (`paincore.attention.interventions`) is a third, made
    elsewhere.
    """
    if kind not in REPLACEMENTS:
        raise ExplanationError(f"no replacement {kind!r}; there are {', '.join(REPLACEMENTS)}")
    if kind == "blurred":
        sigma = BLUR * frames.shape[2]
        each = [cv2.GaussianBlur(frame, (0, 0), sigma) for clip in frames for frame in clip]
        return np.array(each, np.uint8).reshape(frames.shape)
    seen = frames.any(axis=-1, keepdims=True)
    count = np.maximum(seen.sum(axis=(1, 2, 3)), 1)
    mean = frames.sum(axis=(1, 2, 3), dtype=np.int64) / count
    colour = np.round(mean).astype(np.uint8)[:, None, None, None]
    return np.broadcast_to(colour, frames.shape).copy()


def curves(
    model: PainTransformer,
    frames: np.ndarray,
    maps: np.ndarray,
    replaced: np.ndarray,
    insertion: bool = False,
    steps: int = STEPS,
) -> np.ndarray:
    """Probability of pain while patches go, the most relevant first: float32 (M, steps + 1).

    Column k has round(k n / steps) of a sample's n patches, of all its frames together, taken from
    `replaced` (both uint8 (M, F, S, S, 3)). With `insertion` they come instead: a replaced sample
    gets its own patches back. Petsiuk et al. 2018, "RISE". Raises ExplanationError for maps,
    frames and replacements that do not fit, and for fewer than one step or more than patches.
    """
    _check(model, frames, maps, replaced, steps)
    count = int(np.prod(maps.shape[1:]))
    relevance = maps.reshape(len(maps), count)
    order = np.argsort(-relevance, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(count)[None], axis=1)
    given = np.round(np.arange(steps + 1) * count / steps).astype(int)
    start, end = (replaced, frames) if insertion else (frames, replaced)
    found, at_once = [], max(1, BATCH // (steps + 1))
    for first in range(0, len(frames), at_once):
        part = slice(first, first + at_once)
        taken = rank[part, None] < given[:, None]  # (m, steps + 1, n)
        taken = _pixels_of(taken.reshape(*taken.shape[:2], *maps.shape[1:]), frames.shape[2])
        mixed = np.where(taken[..., None], end[part, None], start[part, None])
        values = probabilities(
            model, mixed.reshape(-1, *frames.shape[1:]), batch=len(mixed[0]) * at_once
        )
        found.append(values.reshape(-1, steps + 1))
    return np.concatenate(found) if found else np.zeros((0, steps + 1), np.float32)


def _check(
    model: PainTransformer, frames: np.ndarray, maps: np.ndarray, replaced: np.ndarray, steps: int
) -> None:
    side = model.image_size // model.encoder.config.patch_size
    wanted = (len(frames), model.frames, side, side)
    if maps.shape != wanted or replaced.shape != frames.shape:
        raise ExplanationError(
            f"maps are {maps.shape} and replacements {replaced.shape}; frames {frames.shape} of "
            f"this model need {wanted} and the frames' own shape"
        )
    if not np.isfinite(maps).all():
        raise ExplanationError("maps hold values that are not finite: they have no order")
    patches = model.frames * side**2
    if not 1 <= steps <= patches:
        raise ExplanationError(f"{steps} steps; take 1 to {patches}, the patches of a sample")


def _pixels_of(patches: np.ndarray, size: int) -> np.ndarray:
    """Values of patches (..., P, P) as values of pixels (..., S, S)."""
    patch = size // patches.shape[-1]
    return patches.repeat(patch, axis=-2).repeat(patch, axis=-1)


def patch_shares(pixels: np.ndarray, side: int) -> np.ndarray:
    """The share of each patch's pixels that are True: float32 (..., P, P) of bool (..., S, S)."""
    patch = pixels.shape[-1] // side
    blocks = pixels.reshape(*pixels.shape[:-2], side, patch, side, patch)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)


def area_under(values: np.ndarray) -> np.ndarray:
    """Areas under curves (M, steps + 1) over the share of patches, 0 to 1: float64 (M,)."""
    return np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1).astype(np.float64)


def pointing_game(
    maps: np.ndarray, moved: np.ndarray, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether a map is greatest where AUs move the face: hits, chance, oracle, float64 (M,) each.

    `moved`, `visible` bool (M, F, S, S). A map is the same all over a patch, so its maximum is a
    patch, and a hit is the share of the patch's pixels that move: the chance that one of them drawn
    at random does. Equal maxima count their mean. `chance` is the share of the visible face that
    moves, what a pixel of the face drawn at random would hit; `oracle` is the largest share of any
    patch, the most that a single maximum can hit. All are NaN where nothing visible moves. Zhang et
    al. 2016, "Top-down neural attention by excitation backprop".
    """
    count = int(np.prod(maps.shape[1:]))
    flat = maps.reshape(len(maps), count)
    moved = moved & visible
    shares = patch_shares(moved, maps.shape[-1]).reshape(len(maps), count)
    greatest = flat == flat.max(axis=1, keepdims=True, initial=-np.inf)
    hits = (shares * greatest).sum(axis=1, dtype=np.float64) / greatest.sum(axis=1)
    moving, face = (part.sum(axis=(1, 2, 3)).astype(np.float64) for part in (moved, visible))
    nothing = moving == 0
    chance = np.divide(moving, face, out=np.full(len(maps), np.nan), where=~nothing)
    oracle = shares.max(axis=1).astype(np.float64)
    return np.where(nothing, np.nan, hits), chance, np.where(nothing, np.nan, oracle)


def causal_effects(
    model: PainTransformer, frames: np.ndarray, without: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By how much an AU raises the prediction: with it less without it, float64 (K,) each.

    `frames` and `without` uint8 (K, F, S, S, 3) are the same samples with and without the AU, the
    latter from `paincore.attention.interventions`. The first are differences of the probability of
    pain, the second of its log-odds, which a sure prediction does not flatten.
    """
    before, after = (
        probabilities(model, part).astype(np.float64).clip(1e-7, 1 - 1e-7)
        for part in (frames, without)
    )
    with_it, without_it = (np.log(p) - np.log1p(-p) for p in (before, after))
    return before - after, with_it - without_it


def rank_correlations(
    effects: np.ndarray, shares: np.ndarray, subjects: Sequence[str], least: int = 3
) -> pd.DataFrame:
    """Spearman's correlation of effects and shares within each subject: subject, pairs, rho.

    `effects` and `shares` (K,) have a value for each sample and AU. rho is NaN with fewer than
    `least` pairs, or where either is the same in all of them; such subjects keep their row. Pairs
    with a NaN are left out of `pairs`.
    """
    table = pd.DataFrame({"subject": np.asarray(subjects), "effect": effects, "share": shares})
    rows = []
    for subject, group in table.groupby("subject", sort=True):
        known = group.dropna()
        varied = len(known) >= least and known[["effect", "share"]].nunique().min() > 1
        rho = float(spearmanr(known["effect"], known["share"]).statistic) if varied else np.nan
        rows.append((subject, len(known), rho))
    return pd.DataFrame(rows, columns=["subject", "pairs", "rho"])
