"""The same trainings on frontal views and on plain crops, on the frames that both views hold."""

import pandas as pd

from paincore.folds.designs import Fold
from paincore.registration.frame_store import FrameStore
from paincore.registration.store import registered
from paincore.training.backbones import DEMO_BACKBONES
from paincore.training.configuration import Configuration
from paincore.training.runs import by_setting

COMPARED = (*DEMO_BACKBONES, "random")
VIEWS = ("frontal views", "plain crops")


def both_views(study) -> tuple[dict[str, FrameStore], list[Fold]]:
    """A study's store for each of `VIEWS`, and its folds on the frames that both stores hold."""
    crops = registered(study.corpus, "none", study.results, scheduler=study.scheduler)
    stores = dict(zip(VIEWS, (study.store, crops), strict=True))
    usable = study.store.usable & crops.usable
    return stores, [fold.among(usable) for fold in study.folds]


def backbones_and_views(study, configuration: Configuration) -> dict[str, pd.DataFrame]:
    """Predictions by backbone of `COMPARED` and view of `VIEWS`, such as "random, plain crops".

    Empty where `configuration` does not start from a backbone of the demo: from one of full size it
    would be 30 trainings that answer no question of the paper. Raises as `Sweep.train_all`.
    """
    if configuration.backbone not in DEMO_BACKBONES:
        return {}
    stores, folds = both_views(study)
    arms = [configuration.model_copy(update={"backbone": backbone}) for backbone in COMPARED]
    found = {}
    for view, store in stores.items():
        found[view] = by_setting(study.sweep.train_all(store, arms, folds, study.seeds), "backbone")
    return {f"{start}, {view}": found[view][start] for start in COMPARED for view in VIEWS}
