"""Runs of several models on the same folds: backbones and views, side by side.

What their predictions show is for `paincore.statistics.bootstrap` to say.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from paincore.data.corpus import Corpus
from paincore.folds.designs import Fold
from paincore.registration.store import registered
from paincore.registration.store import FrameStore
from paincore.training.backbones import DEMO_BACKBONES
from paincore.training.configuration import Configuration
from paincore.training.runs import by_setting
from paincore.training.sweep import Sweep

COMPARED = (*DEMO_BACKBONES, "random")
VIEWS = ("frontal views", "plain crops")


def shared_folds(folds: Sequence[Fold], usable: np.ndarray) -> list[Fold]:
    """The folds without the frames that are not `usable`, bool (N,). Chapter 04."""
    return [
        replace(fold, train=fold.train[usable[fold.train]], test=fold.test[usable[fold.test]])
        for fold in folds
    ]


def backbones_and_views(
    sweep: Sweep,
    corpus: Corpus,
    store: FrameStore,
    folds: Sequence[Fold],
    configuration: Configuration,
    seeds: int = 1,
) -> dict[tuple[str, str], pd.DataFrame] | None:
    """Predictions by backbone of `COMPARED` and view of `VIEWS`, on frames that both views hold.

    None where `configuration` does not start from a backbone of the demo: there it would be 30
    trainings of full size, and the demo's backbones have no place. Raises as `Sweep.train_all`.
    Chapter 04.
    """
    if configuration.backbone not in DEMO_BACKBONES:
        return None
    crops = registered(
        corpus, "none", results=sweep.results, device="cpu", scheduler=sweep.scheduler
    )
    folds = shared_folds(folds, store.usable & crops.usable)
    arms = [configuration.model_copy(update={"backbone": backbone}) for backbone in COMPARED]
    found = {}
    for view, pictures in zip(VIEWS, (store, crops), strict=True):
        runs = sweep.train_all(pictures, arms, folds, seeds)
        for backbone, predictions in by_setting(runs, "backbone").items():
            found[backbone, view] = predictions
    return {(backbone, view): found[backbone, view] for backbone in COMPARED for view in VIEWS}
