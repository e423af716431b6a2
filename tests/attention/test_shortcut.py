from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from paincore.attention import shortcut
from paincore.attention.explained import Explained, probabilities
from paincore.attention.interventions import Change, render_again
from paincore.attention.shortcut import CLEAN, OTHER_SEED, PLANTED, TURN, copied
from paincore.data.corpus import label_fingerprint, read_generator
from paincore.folds.designs import Fold
from synthpain.behaviour import ALL_OFF, Dials
from tests.helpers.onepatch import SIZE, model_of, pictures


@pytest.fixture(scope="module")
def study(corpus, store):
    results = corpus.root.parent / "results"
    return SimpleNamespace(corpus=corpus, store=store, results=results, workers=1)


@pytest.fixture(scope="module")
def copies(study):
    """The planted and the clean copy of as many frames, each with its store."""
    return copied(study, Dials(pain_pose=20.0), 30), copied(study, ALL_OFF, 30)


def test_a_copy_has_the_same_people_and_pain_and_turns_with_it(corpus, store, copies):
    (turned, turned_store), (clean, clean_store) = copies
    for copy in (turned, clean):
        columns = [name for name in corpus.truth if name not in ("yaw", "pitch")]
        pd.testing.assert_frame_equal(copy.truth[columns], corpus.truth[columns])
        assert label_fingerprint(copy.frames, "") == label_fingerprint(corpus.frames, "")
    pain = clean.truth["pain"]
    np.testing.assert_allclose(turned.truth["yaw"] - clean.truth["yaw"], 2 * pain, atol=1e-9)
    np.testing.assert_allclose(clean.truth["pitch"] - turned.truth["pitch"], 2 * pain, atol=1e-9)
    assert read_generator(clean.root) == read_generator(corpus.root)
    # Labels do not know the pose, and yet copies are never taken for one another.
    assert turned.fingerprint != clean.fingerprint == corpus.fingerprint
    assert turned_store.fingerprint != clean_store.fingerprint == store.fingerprint
    np.testing.assert_array_equal(clean_store.images, store.images)


def test_folds_of_a_copy_test_the_same_people_on_its_usable_frames(corpus, store, copies):
    (_, copy), _ = copies
    people, usable = store.frames["subject"], store.usable
    first = (people == people.min()).to_numpy()
    fold = Fold("balanced", 1, np.flatnonzero(usable & first), np.flatnonzero(usable & ~first))
    [own] = shortcut.same_people([fold], store.frames, copy)
    assert own.train_subjects(copy.frames) == [people.min()]
    both = np.sort(np.concatenate([own.train, own.test]))
    np.testing.assert_array_equal(both, np.flatnonzero(copy.usable))


def explained_by(place: tuple[int, int, int], images: np.ndarray) -> Explained:
    """Six samples of three people with pain, and a model that reads one patch of them."""
    samples = pd.DataFrame({"subject": list("aabbcc"), "sequence": "s", "frame": range(6)})
    samples["pain"] = True
    model, rows = model_of(1, place=place), np.arange(6)[:, None]
    return Explained(None, model, None, rows, samples, images)


def test_the_model_that_looks_at_the_hidden_part_is_told_from_the_one_that_does_not():
    """Gradients of a model that reads one hidden patch lie there, on whichever images."""
    planted, clean = (np.maximum(pictures(6, 1, seed)[:, 0], 1) for seed in (0, 1))
    planted[:, 8:24, 40:48] = 0  # two patches
    planted[:, 0:4, 0:8] = clean[:, 0:4, 0:8] = 0  # outside the face in both
    models = {PLANTED: explained_by((0, 2, 5), planted), CLEAN: explained_by((0, 3, 2), clean)}
    found = shortcut.proportions_hidden({name: [one] for name, one in models.items()})
    found = found.groupby(["model", "method", "images"])["proportion"].mean()
    assert found[PLANTED]["integrated gradients"][CLEAN] == pytest.approx(1, abs=1e-5)
    for kind in (PLANTED, CLEAN):
        assert found[CLEAN]["integrated gradients"][kind] == pytest.approx(0, abs=1e-5)
        assert found[CLEAN]["random"][kind] == found[PLANTED]["random"][kind]  # the same map


def test_turning_a_head_changes_what_a_model_of_the_hidden_side_predicts(corpus, tested):
    places = {PLANTED: (0, 3, 4), CLEAN: (0, 0, 0), OTHER_SEED: (0, 2, 4)}
    models = {name: [replace(tested, model=model_of(1, place=at))] for name, at in places.items()}
    found, some = shortcut.turning_effects(corpus, models), tested.some(4, labels=(False,))
    changes = [Change(turn=TURN)] * len(some.rows)
    again = render_again(corpus, tested.store, some.rows, changes, SIZE)
    kept = again.whole
    change, model = (found.loc[found["model"] == PLANTED, "change"], models[PLANTED][0].model)
    before, after = (probabilities(model, part[kept]) for part in (some.frames(), again.frames))
    np.testing.assert_array_equal(change, after - before)
    assert found["subject"].tolist() == some.samples["subject"][kept].tolist() * 3
    rim = found.loc[found["model"] == CLEAN, "change"]
    assert abs(change.mean()) > 0.01 and abs(rim.mean()) < abs(change.mean()) / 5  # nearly black
