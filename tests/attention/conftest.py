import numpy as np
import pandas as pd
import pytest

from paincore.attention.explained import PRETRAINED, RANDOM_WEIGHTS, TRAINED, Explained
from paincore.attention.faithfulness import Faithfulness
from paincore.cluster import shared_workers
from paincore.data.corpus import open_corpus
from paincore.registration.store import registered
from paincore.statistics.bootstrap import resample_subjects
from paincore.training.feed import images_at
from synthpain.corpus import synthesize
from tests.helpers.onepatch import SIZE, model_of


@pytest.fixture(scope="module", autouse=True)  # "package" would last for the whole session
def workers():
    with shared_workers():
        yield


@pytest.fixture(scope="package")
def corpus(tmp_path_factory):
    """30 frames of two people, one of whom closes the eyes and lowers the brow in pain."""
    root = tmp_path_factory.mktemp("attention") / "corpus"
    synthesize(root, frames=30, subjects=2, seed=17, workers=1, progress=False)
    return open_corpus("synthetic", root, results=root.parent / "results")


@pytest.fixture(scope="package")
def store(corpus):
    return registered(corpus, results=corpus.root.parent / "results")


@pytest.fixture(scope="package")
def tested(corpus, store):
    """A model of random weights, as if tested on all usable frames."""
    usable = np.flatnonzero(store.usable)
    samples = store.frames.iloc[usable].reset_index(drop=True).assign(fold=1, probability=0.5)
    images = images_at(store, SIZE, corpus.root.parent / "results" / "cache")
    return Explained(None, model_of(1), store, usable[:, None], samples, images)


@pytest.fixture(scope="package")
def known() -> Faithfulness:
    """20 people whose method "good" is right by 0.3 and whose AU6 alone adds to the prediction.

    Rollout goes along with what units add, before fine-tuning as after; that of random weights is
    the same everywhere. Chance differs from person to person, and "good" is 0.5 above it.
    """
    rng = np.random.default_rng(0)
    names = np.repeat([f"aa{person:03d}" for person in range(20)], 4)
    one, other = rng.normal(0, 0.02, (2, len(names)))
    gains = {"random": 0.0, "good": 0.3, "rollout mean": 0.0}
    areas = pd.DataFrame({"subject": names, "replaced": "mean colour", "deletion": 0.5 + one})
    areas = [
        areas.assign(method=method, insertion=0.5 + other + gain) for method, gain in gains.items()
    ]
    effects = {6: (1, 2.0), 10: (0, 1.0), 4: (-0.5, 0.5)}
    units = [
        (name, unit, gain + (unit == 6) * rng.normal(0, 0.05), ratio, ratio, 1.0)
        for name in names
        for unit, (gain, ratio) in effects.items()
    ]
    columns = ["subject", "unit", "log_odds", TRAINED, PRETRAINED, RANDOM_WEIGHTS]
    chance = np.repeat(rng.uniform(0, 0.4, 20), 4)
    points = {"subject": names, "random": 0.1, "good": chance + 0.5, "chance": chance}
    points = pd.DataFrame(points).assign(oracle=0.95)
    return Faithfulness(pd.concat(areas), points, pd.DataFrame(units, columns=columns))


@pytest.fixture(scope="package")
def resamples(known):
    people = known.points[["subject"]]
    return resample_subjects(people.assign(fold=np.arange(len(people)) // 4 % 5), 500)
