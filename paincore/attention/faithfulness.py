"""Whether maps explain a prediction: deletion, insertion, the pointing game, and true causes.

Maps are float32 (M, F, P, P), greater where a method sees more; of equal values the one further
above and left, and earlier in a clip, comes first. All values are per sample; `tables` puts them
together by person, since frames of one person are alike. A probability is that of pain.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from paincore.attention.attributions import attributions, mean_colour
from paincore.attention.explained import TRAINED, Explained, log_odds, probabilities
from paincore.attention.interventions import NEUTRAL, PAINLESS, Rendered, active_aus, render_again
from paincore.attention.maps import rollout, to_maps
from paincore.attention.regions import AU_REGIONS, patch_proportions, times_even
from paincore.data.corpus import Corpus
from paincore.data.facs import PSPI_AUS
from paincore.training.vit import PainTransformer
from synthpain.again import Change

BLUR = 1 / 6  # of a frame's side: standard deviation that leaves light and tone, and no feature


def blurred(frames: np.ndarray) -> np.ndarray:
    """Each frame of (M, F, S, S, 3) uint8, blurred by `BLUR`."""
    sigma = BLUR * frames.shape[2]
    each = [cv2.GaussianBlur(frame, (0, 0), sigma) for clip in frames for frame in clip]
    return np.array(each, np.uint8).reshape(frames.shape)


def curves(model: PainTransformer, maps: np.ndarray, start, end, steps=6) -> np.ndarray:
    """Probability of pain while samples become others, the most relevant patches first.

    Column k of float32 (M, steps + 1) has round(k n / steps) of a sample's n patches, of all its
    frames together, from `end` and the others from `start`, both uint8 (M, F, S, S, 3). Deletion
    goes from frames to what replaces them, insertion back. Petsiuk et al. 2018, "RISE".
    """
    count, patch = maps[0].size, start.shape[2] // maps.shape[-1]
    rank = rankdata(-maps.reshape(-1, count), "ordinal", axis=1).reshape(maps.shape)
    rank = rank.repeat(patch, axis=-2).repeat(patch, axis=-1)[..., None]  # of pixels
    taken = [round(step * count / steps) for step in range(steps + 1)]
    mixed = (np.where(rank <= number, end, start) for number in taken)
    return np.stack([probabilities(model, each) for each in mixed], axis=1)


def area_under(values: np.ndarray) -> np.ndarray:
    """Areas under curves (M, steps + 1) over the proportion of patches, 0 to 1: float64 (M,)."""
    return np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1).astype(np.float64)


def pointing_game(maps: np.ndarray, moved: np.ndarray, visible: np.ndarray) -> tuple:
    """Whether a map is greatest where AUs move the face: hits, chance, oracle, float64 (M,) each.

    `moved`, `visible` bool (M, F, S, S). A map is the same all over a patch, so its maximum is a
    patch, and a hit is the proportion of the patch's pixels that move: the chance that a random one
    of them does. Equal maxima count their mean. `chance` is the proportion of the visible face that
    moves, what a random pixel of the face would hit; `oracle` is the largest proportion of any
    patch, the most that a single maximum can hit. All are NaN where nothing visible moves. Zhang et
    al. 2016, "Top-down neural attention by excitation backprop".
    """
    flat, moved = maps.reshape(len(maps), -1), moved & visible
    moves = patch_proportions(moved, maps.shape[-1]).reshape(flat.shape).astype(np.float64)
    hits = np.ma.array(moves, mask=flat < flat.max(axis=1, keepdims=True)).mean(axis=1).data
    moving, face = (part.sum(axis=(1, 2, 3)) for part in (moved, visible))
    known = np.where(moving > 0, 1.0, np.nan)
    return hits * known, moving / np.maximum(face, 1) * known, moves.max(axis=1) * known


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


def measure_faithfulness(corpus: Corpus, models: dict[str, list[Explained]]) -> Faithfulness:
    """Samples with pain, rendered again without each acting unit, without all, and neutral.

    `models` is of `with_controls`: all is measured of the trained model, rollout in the units'
    regions of its controls too. Of a corpus that does not know what its frames were caused by,
    `units` and `points` are empty, and nothing is replaced by a neutral face.
    """
    folds = models[TRAINED]
    if corpus.truth is None:
        asked = [one for one in folds if len(one.rows)]
        areas = [_areas(one, attributions(one.model, one.frames()), {}) for one in asked]
        return Faithfulness(pd.concat(areas, ignore_index=True), pd.DataFrame(), pd.DataFrame())
    removals = [
        (fold, number, removed)
        for fold, one in enumerate(folds)
        for number, units in enumerate(active_aus(corpus, one.rows[:, -1]))
        for removed in ("painless", "neutral", *units)
    ]
    plan = pd.DataFrame(removals, columns=["fold", "number", "removed"])
    kinds = {"painless": PAINLESS, "neutral": NEUTRAL} | {u: Change((u,)) for u in PSPI_AUS}
    changes = [kinds[removed] for removed in plan["removed"]]
    rows = np.array([folds[fold].rows[number] for fold, number, _ in removals])
    again = render_again(corpus, folds[0].store, rows, changes, folds[0].model.image_size)
    whole = pd.Series(again.whole).groupby([plan["fold"], plan["number"]]).transform("all")
    parts = [
        _of_fold({name: each[fold] for name, each in models.items()}, own, again)
        for fold, own in plan[whole].groupby("fold")
    ]
    tables = (pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True))
    return Faithfulness(*tables, lost=len(plan[~whole].drop_duplicates(["fold", "number"])))


def _of_fold(models: dict[str, Explained], plan: pd.DataFrame, again: Rendered) -> tuple:
    """`areas`, `points` and `units` of one fold; the index of `plan` is the place in `again`."""
    kept, numbers = np.unique(plan["number"], return_inverse=True)
    models = {name: one.only(kept) for name, one in models.items()}
    one, plan = models[TRAINED], plan.assign(number=numbers)
    frames, subjects = one.frames(), one.samples["subject"]
    painless, neutral = (plan.index[plan["removed"] == kind] for kind in ("painless", "neutral"))
    maps = attributions(one.model, frames)
    areas = _areas(one, maps, {"neutral face": again.frames[neutral]})

    points = {"subject": subjects}
    for name, values in maps.items():
        hits = pointing_game(values, again.moved[painless], again.visible[painless])
        points[name], points["chance"], points["oracle"] = hits

    single = plan.drop([*painless, *neutral])
    at, removed = single["number"].to_numpy(), single["removed"].to_numpy()
    units = pd.DataFrame({"subject": subjects.to_numpy()[at], "unit": removed})
    without = log_odds(one.model, again.frames[single.index])
    units["log_odds"] = log_odds(one.model, frames)[at] - without
    for name, other in models.items():
        rolled = to_maps(rollout(other.model, frames), other.model)
        ratios = {unit: times_even(rolled, AU_REGIONS[unit]) for unit in set(removed)}
        units[name] = [ratios[unit][place] for unit, place in zip(removed, at, strict=True)]
    return areas, pd.DataFrame(points), units


def _areas(one: Explained, maps: dict, others: dict[str, np.ndarray]) -> pd.DataFrame:
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
