"""Whether maps explain a prediction: deletion, insertion, the pointing game, and true causes.

Maps are float32 (M, F, P, P), greater where a method sees more; of equal values the one further
above and left, and earlier in a clip, comes first. All values are per sample; `tables` puts them
together by person, since frames of one person are alike. A probability is that of pain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from paincore.attention.attributions import attributions, mean_colour
from paincore.attention.explained import TOGETHER, TRAINED, Explained, probabilities
from paincore.attention.interventions import (
    NEUTRAL,
    PAINLESS,
    Change,
    Rendered,
    active_aus,
    render_again,
)
from paincore.attention.maps import rollout, to_maps
from paincore.attention.regions import AU_REGIONS, times_even
from paincore.data.corpus import Corpus
from paincore.training.vit import PainTransformer

BLUR = 1 / 6  # of a frame's side: standard deviation that leaves light and tone, and no feature


def blurred(frames: np.ndarray) -> np.ndarray:
    """Each frame of (M, F, S, S, 3) uint8, blurred by `BLUR`."""
    sigma = BLUR * frames.shape[2]
    each = [cv2.GaussianBlur(frame, (0, 0), sigma) for clip in frames for frame in clip]
    return np.array(each, np.uint8).reshape(frames.shape)


def curves(
    model: PainTransformer, maps: np.ndarray, start: np.ndarray, end: np.ndarray, steps: int = 6
) -> np.ndarray:
    """Probability of pain while samples become others, the most relevant patches first.

    Column k of float32 (M, steps + 1) has round(k n / steps) of a sample's n patches, of all its
    frames together, from `end` and the others from `start`, both uint8 (M, F, S, S, 3). Deletion
    goes from frames to what replaces them, insertion back. Petsiuk et al. 2018, "RISE".
    """
    count, patch = int(np.prod(maps.shape[1:])), start.shape[2] // maps.shape[-1]
    rank = np.argsort(np.argsort(-maps.reshape(len(maps), count), axis=1, kind="stable"), axis=1)
    given = np.round(np.arange(steps + 1) * count / steps).astype(int)
    found, at_once = [np.zeros((0, steps + 1), np.float32)], max(1, TOGETHER // (steps + 1))
    for first in range(0, len(start), at_once):
        part = slice(first, first + at_once)
        taken = (rank[part, None] < given[:, None]).reshape(-1, steps + 1, *maps.shape[1:])
        taken = taken.repeat(patch, axis=-2).repeat(patch, axis=-1)  # of patches, now of pixels
        mixed = np.where(taken[..., None], end[part, None], start[part, None])
        values = probabilities(model, mixed.reshape(-1, *start.shape[1:]))
        found.append(values.reshape(-1, steps + 1))
    return np.concatenate(found)


def area_under(values: np.ndarray) -> np.ndarray:
    """Areas under curves (M, steps + 1) over the proportion of patches, 0 to 1: float64 (M,)."""
    return np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1).astype(np.float64)


def patch_proportions(pixels: np.ndarray, side: int) -> np.ndarray:
    """The proportion of each patch's pixels that are True: float32 (..., P, P) of (..., S, S)."""
    patch = pixels.shape[-1] // side
    blocks = pixels.reshape(*pixels.shape[:-2], side, patch, side, patch)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)


def pointing_game(
    maps: np.ndarray, moved: np.ndarray, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether a map is greatest where AUs move the face: hits, chance, oracle, float64 (M,) each.

    `moved`, `visible` bool (M, F, S, S). A map is the same all over a patch, so its maximum is a
    patch, and a hit is the proportion of the patch's pixels that move: the chance that a random one
    of them does. Equal maxima count their mean. `chance` is the proportion of the visible face that
    moves, what a random pixel of the face would hit; `oracle` is the largest proportion of any
    patch, the most that a single maximum can hit. All are NaN where nothing visible moves. Zhang et
    al. 2016, "Top-down neural attention by excitation backprop".
    """
    count = int(np.prod(maps.shape[1:]))
    flat, moved = maps.reshape(len(maps), count), moved & visible
    moves = patch_proportions(moved, maps.shape[-1]).reshape(len(maps), count)
    greatest = flat == flat.max(axis=1, keepdims=True, initial=-np.inf)
    hits = (moves * greatest).sum(axis=1, dtype=np.float64) / greatest.sum(axis=1)
    moving, face = (part.sum(axis=(1, 2, 3)).astype(np.float64) for part in (moved, visible))
    nothing = moving == 0
    chance = np.divide(moving, face, out=np.full(len(maps), np.nan), where=~nothing)
    oracle = moves.max(axis=1).astype(np.float64)
    return np.where(nothing, np.nan, hits), chance, np.where(nothing, np.nan, oracle)


def causal_effects(model: PainTransformer, frames: np.ndarray, without: np.ndarray) -> np.ndarray:
    """By how much an AU raises the log-odds of pain: with it − without it, float64 (K,).

    `frames` and `without` uint8 (K, F, S, S, 3) are the same samples with and without the AU, the
    latter from `interventions`. The log-odds do not flatten where a prediction is sure.
    """
    both = (probabilities(model, part).astype(np.float64) for part in (frames, without))
    with_it, without_it = (p.clip(1e-7, 1 - 1e-7) for p in both)
    return np.log(with_it / (1 - with_it)) - np.log(without_it / (1 - without_it))


@dataclass(frozen=True)
class Faithfulness:
    """What was measured of samples with pain.

    `areas` has a row for each sample, method and replacement: subject, deletion and insertion.
    `points` has a row for each sample: subject, hits by method, chance and oracle of the pointing
    game on what all units of PSPI together move. `units` has a row for each sample and unit that
    acts in it: subject, unit, log_odds (by how much it raises them), and for each model by its name
    the ratio of its rollout in the unit's regions. `lost` samples are left out, as registration
    finds no face in them once they are changed.
    """

    areas: pd.DataFrame
    points: pd.DataFrame
    units: pd.DataFrame
    lost: int = 0


def measure_faithfulness(
    corpus: Corpus, compared: Mapping[str, Sequence[Explained]], workers: int | None = None
) -> Faithfulness:
    """Samples with pain, rendered again without each acting unit, without all, and neutral.

    `compared` is of `with_controls`: all is measured of the trained model, rollout in the units'
    regions of its controls too. Raises InterventionError if all samples lose their faces. Of a
    corpus that does not know what its frames were caused by, `units` and `points`
    are empty, and nothing is replaced by a neutral face.
    """
    folds = compared[TRAINED]
    if corpus.truth is None:
        areas = [_areas(one, attributions(one.model, one.frames()), {}) for one in folds]
        return Faithfulness(pd.concat(areas, ignore_index=True), pd.DataFrame(), pd.DataFrame())
    plan = pd.DataFrame(
        [
            (fold, number, change)
            for fold, one in enumerate(folds)
            for number, units in enumerate(active_aus(corpus, one.rows[:, -1]))
            for change in (PAINLESS, NEUTRAL, *(Change((unit,)) for unit in units))
        ],
        columns=["fold", "number", "change"],
    )
    rows = np.array([folds[one.fold].rows[one.number] for one in plan.itertuples()])
    size = folds[0].model.image_size
    again = render_again(corpus, folds[0].store, rows, list(plan["change"]), size, workers)
    whole = plan.assign(whole=again.whole).groupby(["fold", "number"])["whole"].transform("all")
    again.check_some_left(whole.to_numpy())
    parts = []
    for fold, own in plan[whole].groupby("fold"):
        models = {name: each[fold].only(own["number"].unique()) for name, each in compared.items()}
        own = own.assign(number=own["number"].rank(method="dense").astype(int) - 1)
        parts.append(_of_fold(models, own, again))
    tables = (pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True))
    return Faithfulness(*tables, lost=len(plan[~whole].drop_duplicates(["fold", "number"])))


def _of_fold(
    models: Mapping[str, Explained], plan: pd.DataFrame, again: Rendered
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`areas`, `points` and `units` of one fold; the index of `plan` is the place in `again`."""
    one = models[TRAINED]
    painless, neutral = (
        plan.index[plan["change"].map(kind.__eq__)] for kind in (PAINLESS, NEUTRAL)
    )
    frames, subjects = one.frames(), one.samples["subject"]
    maps = attributions(one.model, frames)
    areas = _areas(one, maps, {"neutral face": again.frames[neutral]})

    points = {"subject": subjects}
    for name, values in maps.items():
        hits = pointing_game(values, again.moved[painless], again.visible[painless])
        points[name], points["chance"], points["oracle"] = hits

    single = plan.drop([*painless, *neutral])
    at, removed = single["number"].to_numpy(), [change.removed[0] for change in single["change"]]
    effects = causal_effects(one.model, frames[at], again.frames[single.index])
    units = pd.DataFrame({"subject": subjects[at].to_numpy(), "unit": removed, "log_odds": effects})
    for name, other in models.items():
        rolled = to_maps(rollout(other.model, frames), other.model)
        ratios = {unit: times_even(rolled, AU_REGIONS[unit]) for unit in set(removed)}
        units[name] = [ratios[unit][place] for unit, place in zip(removed, at, strict=True)]
    return areas, pd.DataFrame(points), units


def _areas(
    one: Explained, maps: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """`Faithfulness.areas` of one fold; `others` are replacements beside those of every corpus."""
    frames, tables = one.frames(), []
    kinds = {"mean colour": mean_colour(frames), "blurred face": blurred(frames), **others}
    for method, values in maps.items():
        for kind, replaced in kinds.items():
            table = {"subject": one.samples["subject"], "method": method, "replaced": kind}
            table["deletion"] = area_under(curves(one.model, values, frames, replaced))
            table["insertion"] = area_under(curves(one.model, values, replaced, frames))
            tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)
