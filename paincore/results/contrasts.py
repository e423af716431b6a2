"""The six contrasts of chapter 06, planned here, the same for every corpus, and their tests.

A contrast is the F1 of one model minus that of another, on frames that both predict. The mean over
folds decides, by the corrected resampled t: the two differ where its interval excludes 0. The
pooled difference, by a paired bootstrap over subjects, is another quantity and decides nothing. The
intervals of both are adjusted for six by Bonferroni. A contrast that cannot be made, because a run
failed or no fold has both classes, stays in the list and counts in the adjustment.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import paper
from paincore.ablations.search import Ablation, second_best_rate
from paincore.data.frames import KEYS
from paincore.statistics import bootstrap as statistics
from paincore.statistics.contrast_tests import CorrectedT, corrected_t, holm
from paincore.training.comparison import VIEWS, both_views
from paincore.training.configuration import MODELS, Configuration
from paincore.training.runs import predictions_of

Predictions = pd.DataFrame | None
"""A table of predictions, None where a run failed."""


class Contrast(NamedTuple):
    """The answer to a planned contrast, on `frames` frames; None where a side is missing.

    `holm` is the p of `over_folds`, adjusted for all contrasts by Holm's method.
    """

    title: str
    frames: int
    pooled: statistics.Difference | None
    over_folds: CorrectedT | None
    holm: float


def counterparts(ablations: dict[str, Ablation], path: str) -> dict[str, Configuration]:
    """This run's ViT-1, ViViT-1 and ViViT-2, as the paper's section 4.2 defines them.

    The first two have the best number of layers and the best rate of each model, ViViT-2 the second
    best rate; on the path "paper" all three are the paper's.
    """
    best = {f"{MODELS[model]}-1": one.kept["rate"] for model, one in ablations.items()}
    return best | {"ViViT-2": second_best_rate(ablations["vivit"], path)}


def predictions_by_view(study, configuration: Configuration) -> dict[str, Predictions]:
    """Predictions of a configuration for each of `VIEWS`, on the frames that both views hold.

    Where every frame has a plain crop, the runs on frontal views are those of the search.
    """
    stores, folds = both_views(study)
    found = {}
    for view, store in stores.items():
        runs, failures = study.sweep.train(store, [configuration], folds, study.seeds)
        found[view] = None if failures else predictions_of(runs[configuration])
    return found


def planned_contrasts(ablations: dict[str, Ablation], views: dict) -> dict[str, tuple]:
    """The two sides of each: clips, frontal views, SAM and Mixup on each model.

    ViT-1 and ViViT-1 are the best number of layers and the best rate of each model. `views` is
    `predictions_by_view` of ViT-1.
    """
    best = {model: one.predictions.get(one.kept["rate"]) for model, one in ablations.items()}
    frontal, crops = VIEWS
    planned = {
        "ViViT-1 − ViT-1": (best["vivit"], best["vit"]),
        f"ViT-1 on {frontal} − on {crops}": (views[frontal], views[crops]),
    }
    for step, value, name in (("sam", True, "SAM"), ("mixup", paper.MIXUP_ALPHA, "Mixup")):
        for model, ablation in ablations.items():
            added = ablation.predictions.get(ablation.tried(step, value))
            planned[f"{MODELS[model]}-1 with {name} − without"] = added, best[model]
    return planned


def answer(planned: dict[str, tuple], resamples: pd.DataFrame) -> list[Contrast]:
    """Each contrast with its intervals, its test and its adjusted p.

    `resamples` is `resample_subjects` of all subjects. Nadeau & Bengio 2003; Holm 1979.
    """
    found = []
    for title, sides in planned.items():
        frames, pooled, over_folds = 0, None, None
        if not any(side is None for side in sides):
            one, other = statistics.on_shared_frames(*sides)
            frames = len(one[KEYS].drop_duplicates())
            pooled = statistics.difference(one, other, resamples, "f1", len(planned))
            over_folds = corrected_t(pooled.folds, len(planned))
        found.append(Contrast(title, frames, pooled, over_folds, np.nan))
    p = holm(np.array([one.over_folds.p if one.over_folds else np.nan for one in found]))
    return [one._replace(holm=float(each)) for one, each in zip(found, p, strict=True)]
