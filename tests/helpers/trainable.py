"""A small store whose label can be learnt: noise, with a bright square in the frames of pain."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from paincore.folds.designs import Fold
from paincore.registration import frame_store
from paincore.registration import store as stores
from paincore.registration.frame_store import FrameStore
from paincore.training.configuration import configure
from paincore.training.runs import Run, write_run

SIZE = 48


def write_store_with_a_signal(
    folder: Path, subjects: int = 10, sequences: int = 2, frames: int = 10, seed: int = 0
) -> FrameStore:
    """A store of subjects aa000, aa001 ... in whose sequences the last frames are pain."""
    rng = np.random.default_rng(seed)
    names = [f"aa{number:03d}" for number in range(subjects)]
    each = product(names, range(1, sequences + 1), range(1, frames + 1))
    table = pd.DataFrame(each, columns=["subject", "sequence", "frame"])
    table["sequence"] = table["subject"] + "t" + table["sequence"].astype(str) + "aaaff"
    pain = (table["frame"] > 0.7 * frames).astype("boolean")
    table = table.assign(pain=pain, state="ok")
    images = rng.integers(0, 160, (len(table), SIZE, SIZE, 3), np.uint8)
    images[table["pain"].to_numpy(bool), 8:24, 8:24] += 90
    folder.mkdir(parents=True)
    stores.reserve_array(folder / frame_store.IMAGES, images.shape, np.uint8)
    stores.write_images(folder, 0, images)
    frame_store.write_store(
        folder, table, {"size": SIZE, "fingerprint": f"signal {seed} {len(table)}"}
    )
    return frame_store.open_store(folder)


def fold_of(store: FrameStore, number: int, people: int = 2) -> Fold:
    """A fold that tests on so many subjects: the first ones for number 1, and so on."""
    tested = sorted(store.frames["subject"].unique())[people * (number - 1) : people * number]
    test = store.frames["subject"].isin(tested).to_numpy()
    return Fold("balanced", number, np.flatnonzero(~test), np.flatnonzero(test))


QUICK = {"backbone": "random", "unfrozen_layers": 2, "learning_rate": 1e-3}
"""Settings of a training that takes a second."""

TABLES = (
    pd.DataFrame({"pain": [True, False], "probability": [0.75, 0.5]}),
    pd.DataFrame({"step": [1], "loss": [0.7]}),
)
"""Predictions and history."""


def simulate(results: Path, count: int, first: int = 0, **settings: object) -> dict[str, Run]:
    """So many runs of all kinds, written as a training writes them, by their keys."""
    basis = {"store": "f00df00df00d", "design": "balanced", "device": "cpu"}
    basis |= {"engine": 7, "torch": "2.0.1", "transformers": "5.0.0", "backbone": "c0ffee"}
    clock = {"prepare_seconds": 1.0, "train_seconds": 2.0, "test_seconds": 0.5, "started": 1e9}
    clock |= {"corpus": "1abe1"}
    runs = {}
    for number in range(first, first + count):
        rate = (2e-2, 2e-3, 2e-4, 2e-5)[number % 4]
        mixed = {} if number % 3 else {"mixup_alpha": 0.8}
        configuration = configure(learning_rate=rate, sam=number % 7 == 0, **mixed, **settings)
        rests_on = basis | {"fold": number % 5 + 1, "seed": number // 20}
        metrics = {"f1": number / 10_000 if number % 11 else math.nan, "auc": 0.75, "steps": number}
        key = f"{number * 2654435761 % 2**64:016x}"
        folder = results / "runs" / key
        runs[key] = write_run(Run(folder, configuration, rests_on, metrics, clock), *TABLES, {})
    return runs
