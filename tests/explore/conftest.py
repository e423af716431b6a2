from dataclasses import replace

import numpy as np
import pytest

from paincore.attention.explained import explain
from paincore.folds.designs import Fold
from paincore.training.configuration import configure
from paincore.training.train import train_fold


@pytest.fixture(scope="module")
def explained(drawn_corpus, drawn_store, tmp_path_factory):
    """A model trained on one of the two people of the drawn corpus, tested on the other; nobody in
    so few frames shows pain, so every other frame is called pain."""
    results, frames = tmp_path_factory.mktemp("results"), drawn_store.frames
    store = replace(
        drawn_store, frames=frames.assign(pain=(frames["frame"] % 2 == 0).astype("boolean"))
    )
    rows = np.flatnonzero(store.usable)
    first = frames["subject"].to_numpy()[rows] == frames["subject"].min()
    fold = Fold("leave_one_subject_out", 1, rows[first], rows[~first])
    one = configure(model="vit", backbone="movement", unfrozen_layers=2, learning_rate=1e-3)
    how = {"results": results, "device": "cpu", "show_progress": False}
    return explain(train_fold(store, one, fold, **how), store)
