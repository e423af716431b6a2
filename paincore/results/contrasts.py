"""The six contrasts of chapter 06, fixed here and the same for every corpus, and their tests.

A contrast is the F1 of one model less that of another, on frames that both predict. What is called
different is decided by one test, the corrected resampled t over folds, whose p is adjusted by
Holm's method over all six. The pooled difference, by a paired bootstrap over subjects, is another
estimand and decides nothing; the intervals of both are adjusted for six by Bonferroni. A contrast
that could not be made, since a run failed or no fold has both classes, stays in the list, and
counts in the adjustment with a p of 1.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import paper
from paincore.training.comparison import VIEWS, shared_folds
from paincore.training.configuration import MODELS, Configuration
from paincore.data.corpus import Corpus
from paincore.ablations.search import Ablation, best_of
from paincore.folds.designs import Fold
from paincore.data.frames import KEYS
from paincore.registration.framestore import FrameStore
from paincore.registration import registered
from paincore.statistics.bootstrap import Difference, difference, on_shared_frames
from paincore.statistics.contrast_tests import CorrectedT, corrected_t, holm
from paincore.training.runs import predictions_of
from paincore.training.sweep import Sweep

ALPHA = 0.05  # the chance of calling any of the contrasts different where none is


class Planned(NamedTuple):
    """Two sides of a contrast: what it asks, the sides' names and predictions.

    The predictions of a side are None where a run of it failed.
    """

    asks: str
    name: str
    than: str
    one: pd.DataFrame | None
    other: pd.DataFrame | None


class Contrast(NamedTuple):
    """What came of a planned contrast: F1 of `name` less that of `than` on `frames` frames.

    `pooled` and `over_folds` are None where a side is missing. `holm` is the p of `over_folds`
    adjusted over all contrasts, NaN where there is none.
    """

    asks: str
    name: str
    than: str
    frames: int
    pooled: Difference | None
    over_folds: CorrectedT | None
    holm: float

    @property
    def different(self) -> bool:
        """Whether the adjusted test over folds calls the two different."""
        return self.holm < ALPHA


def counterparts(ablations: Mapping[str, Ablation], path: str) -> dict[str, Configuration]:
    """This run's ViT-1, ViViT-1 and ViViT-2, as the paper's section 4.2 defines them. Chapter 06.

    The first two are the best number of layers and the best rate of each model, the last the second
    best rate of ViViT; on the path "paper" all three are the paper's.
    """
    vit, vivit = (ablations[model] for model in MODELS)
    others = [trial for trial in vivit.step("rate") if trial.configuration != vivit.rate]
    if path == "paper":
        rate = paper.CHOSEN_SECOND["vivit"]["learning_rate"]
        second = next(trial.configuration for trial in others if trial.value == rate)
    else:
        second = best_of(others, vivit.predictions)
    return {"ViT-1": vit.rate, "ViViT-1": vivit.rate, "ViViT-2": second}


def predictions_by_name(
    ablations: Mapping[str, Ablation], named: Mapping[str, Configuration]
) -> dict[str, pd.DataFrame | None]:
    """The predictions of `counterparts` by their names, None where a run failed. Chapter 06."""
    return {name: ablations[one.model].predictions.get(one) for name, one in named.items()}


def both_views(
    sweep: Sweep,
    corpus: Corpus,
    store: FrameStore,
    folds: Sequence[Fold],
    configuration: Configuration,
    seeds: int = 1,
) -> dict[str, pd.DataFrame | None]:
    """Predictions of one configuration for each of `VIEWS`, on frames that both views hold.

    None for a view on which a run failed. Where plain crops lack no frame of `store`, its runs are
    those of the search. Chapter 06.
    """
    crops = registered(
        corpus, "none", results=sweep.results, device="cpu", scheduler=sweep.scheduler
    )
    folds = shared_folds(folds, store.usable & crops.usable)
    found = {}
    for view, pictures in zip(VIEWS, (store, crops), strict=True):
        runs, failures = sweep.train(pictures, [configuration], folds, seeds)
        found[view] = None if failures else predictions_of(runs[configuration])
    return found


def planned(
    ablations: Mapping[str, Ablation], views: Mapping[str, pd.DataFrame | None]
) -> list[Planned]:
    """The six contrasts, in the order of the chapter. Chapter 06.

    Each model is its best layers and rate (ViT-1, ViViT-1). `views` is `both_views` of ViT-1.
    """
    best = {model: one.predictions.get(one.rate) for model, one in ablations.items()}
    frontal, crops = VIEWS
    contrasts = [
        Planned("clips", "ViViT-1", "ViT-1", best["vivit"], best["vit"]),
        Planned(
            "frontal views", f"ViT-1 on {frontal}", f"on {crops}", views[frontal], views[crops]
        ),
    ]
    for step, value, title in (("sam", None, "SAM"), ("mixup", paper.MIXUP_ALPHA, "Mixup")):
        for model, ablation in ablations.items():
            trials = [t for t in ablation.step(step) if value is None or t.value == value]
            added = ablation.predictions.get(trials[0].configuration)
            name = f"{MODELS[model]}-1 with {title}" + (f" {value:g}" if value else "")
            contrasts.append(
                Planned(f"{title} on {MODELS[model]}", name, "without", added, best[model])
            )
    return contrasts


def answer(contrasts: Sequence[Planned], draws: pd.DataFrame) -> list[Contrast]:
    """Each contrast with its interval, its test and its adjusted p. Chapter 06.

    `draws` is `statistics.resample_subjects` of all subjects. Nadeau & Bengio 2003; Holm 1979.
    """
    found = [_answer(contrast, draws, len(contrasts)) for contrast in contrasts]
    adjusted = holm([np.nan if one.over_folds is None else one.over_folds.p for one in found])
    return [one._replace(holm=float(each)) for one, each in zip(found, adjusted, strict=True)]


def _answer(contrast: Planned, draws: pd.DataFrame, tests: int) -> Contrast:
    names = contrast[:3]
    if contrast.one is None or contrast.other is None:
        return Contrast(*names, 0, None, None, np.nan)
    one, other = on_shared_frames(contrast.one, contrast.other)
    pooled = difference(one, other, draws, "f1", tests)
    frames = len(one[KEYS].drop_duplicates())
    return Contrast(*names, frames, pooled, corrected_t(pooled.folds, tests), np.nan)
