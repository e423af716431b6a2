from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from paincore.attention.explained import ExplanationError, explain, probabilities
from paincore.attention.interventions import Change, InterventionError, render_again
from paincore.attention.shortcut import (
    clean_copy,
    finds,
    hidden_by_turning,
    hidden_shares,
    partners,
    planted,
    same_people,
    turning_effects,
)
from paincore.data.corpus import label_fingerprint, open_corpus, read_generator
from paincore.registration.store import registered
from paincore.statistics.bootstrap import resample_subjects
from paincore.training.configuration import configure
from paincore.training.feed import images_at
from paincore.training.train import train_fold
from synthpain.behaviour import Dials
from synthpain.corpus import synthesize
from tests.helpers.onepatch import SIZE, model_of, pictures
from tests.helpers.trainable import fold_of, write_store_with_a_signal

SIDE = SIZE // 8
TURNED = Dials(pain_pose=20.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("shortcut") / "corpus"
    synthesize(root, frames=30, subjects=2, seed=17, workers=1, progress=False)
    return open_corpus("synthetic", root, results=root.parent / "results")


@pytest.fixture(scope="module")
def copies(corpus):
    """The store of the corpus, its planted and its clean copy of as many frames."""
    how = {"frames": 30, "results": corpus.root.parent / "results", "workers": 1}
    store = registered(corpus, results=how["results"], workers=1)
    return store, planted(corpus, store, TURNED, **how), clean_copy(corpus, store, **how)


def test_a_copy_has_the_same_people_and_pain_and_turns_with_it(corpus, copies):
    _, (turned, _), (clean, _) = copies
    for copy in (turned, clean):
        columns = [name for name in corpus.truth if name not in ("yaw", "pitch")]
        pd.testing.assert_frame_equal(copy.truth[columns], corpus.truth[columns])
    pain = clean.truth["pain"]
    np.testing.assert_allclose(turned.truth["yaw"] - clean.truth["yaw"], 2 * pain, atol=1e-9)
    np.testing.assert_allclose(clean.truth["pitch"] - turned.truth["pitch"], 2 * pain, atol=1e-9)
    made, original = (read_generator(one.root) for one in (clean, corpus))
    assert made == original
    assert read_generator(turned.root)["dials"]["pain_pose"] == 20


def test_copies_with_equal_labels_are_never_taken_for_one_another(corpus, copies):
    """Labels do not know the pose; a clean copy of all frames is the corpus itself."""
    store, (turned, turned_store), (clean, clean_store) = copies
    version = "the same"
    labels = [label_fingerprint(one.frames, version) for one in (corpus, turned, clean)]
    assert len(set(labels)) == 1
    assert turned.fingerprint != clean.fingerprint == corpus.fingerprint
    assert turned_store.fingerprint != clean_store.fingerprint == store.fingerprint
    np.testing.assert_array_equal(clean_store.images, store.images)
    hurting = (turned.truth["pain"] > 5).to_numpy() & turned_store.usable
    assert hurting.any()
    assert (turned_store.images[hurting] != clean_store.images[hurting]).any(axis=(1, 2, 3)).all()


def test_a_copy_that_is_there_is_opened(corpus, copies):
    store, (turned, turned_store), _ = copies
    before = {path: path.stat().st_mtime_ns for path in turned.root.rglob("*")}
    again, opened = planted(corpus, store, TURNED, 30, corpus.root.parent / "results", 1)
    assert again.fingerprint == turned.fingerprint
    assert opened.folder == turned_store.folder
    assert {path: path.stat().st_mtime_ns for path in turned.root.rglob("*")} == before


def test_turning_hides_the_side_that_it_turns_to(copies):
    _, (turned, turned_store), (_, clean_store) = copies
    hurting = (turned.truth["pain"] > 5).to_numpy() & turned_store.usable
    both = (each.images[hurting][:, None] for each in (clean_store, turned_store))
    hidden = hidden_by_turning(*both, 14).mean(axis=(0, 1))
    assert hidden[:, 7:].sum() > 3 * hidden[:, :7].sum()
    assert hidden.max() <= 1
    still = (turned.truth["pain"] == 0).to_numpy() & turned_store.usable
    both = (each.images[still][:, None] for each in (clean_store, turned_store))
    assert not hidden_by_turning(*both, 14).any()


def test_what_is_hidden_is_counted_pixel_by_pixel():
    clean, turned = np.full((2, 1, 1, SIZE, SIZE, 3), 9, np.uint8)
    turned[0, 0, 8:12, 16:24] = 0
    clean[0, 0, 40:] = turned[0, 0, 40:] = 0
    hidden = hidden_by_turning(clean, turned, SIDE)
    assert hidden[0, 0, 1, 2] == 0.5
    assert hidden.sum() == 0.5


def test_the_model_that_looks_at_the_hidden_part_is_told_from_the_one_that_does_not():
    """Gradients of a model that reads one hidden patch lie there, on whichever pictures."""
    frames = {name: pictures(6, 1, seed) for seed, name in enumerate(("planted", "clean"))}
    hidden = np.zeros((6, 1, SIDE, SIDE), np.float32)
    hidden[:, 0, 1:3, 5] = 1
    subjects = np.array(list("aabbcc"))
    models = {"planted": model_of(1, place=(0, 2, 5)), "clean": model_of(1, place=(0, 3, 2))}
    methods = ("random", "centre", "integrated gradients")
    shares = hidden_shares(models, frames, hidden, subjects, methods)
    assert len(shares) == 2 * 2 * 3 * 6
    assert shares["area"].unique() == pytest.approx([2 / 36])
    exact = shares[shares["method"] == "integrated gradients"].groupby("model")["share"]
    assert exact.min()["planted"] == pytest.approx(1, abs=1e-5)
    assert exact.max()["clean"] == pytest.approx(0, abs=1e-5)
    people = pd.DataFrame({"subject": list("abcde"), "fold": [1, 1, 1, 2, 2]})
    draws = resample_subjects(people, count=500)
    told = finds(shares, draws).set_index(["pictures", "method"])
    assert told["found"].to_dict() == {
        (kind, method): method == "integrated gradients"
        for kind in ("clean", "planted")
        for method in methods
    }
    assert told["difference"]["clean", "integrated gradients"] == pytest.approx(1, abs=1e-5)
    assert told["difference"]["clean", "random"] == 0  # the same map for both models
    assert not finds(shares, draws, model="clean", against="planted")["found"].any()


def test_subjects_count_alike_however_many_samples_they_have():
    rows = [("planted", "s", 1.0)] * 9 + [("planted", "t", 0.0), ("clean", "s", 0.5)]
    rows += [("clean", "t", 0.5)]
    shares = pd.DataFrame(rows, columns=["model", "subject", "share"])
    shares = shares.assign(pictures="clean", method="one", area=0.1)
    people = pd.DataFrame({"subject": ["s", "t"], "fold": [1, 2]})
    [row] = finds(shares, resample_subjects(people, count=2000)).itertuples()
    assert row.difference == 0
    assert (row.low, row.high) == (-0.5, 0.5)
    assert not row.found


def test_partners_are_test_samples_of_the_same_frames(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store", subjects=6)
    how = {"results": tmp_path, "device": "cpu", "keep_weights": True, "show_progress": False}
    one, other = (
        explain(train_fold(store, configure(unfrozen_layers=1), fold_of(store, n), **how), store,
                tmp_path)
        for n in (1, 2)
    )  # fmt: skip
    first, second = partners(one, one)
    np.testing.assert_array_equal(first, second)
    fewer = replace(one, run=replace(one.run, folder=one.run.folder))
    vars(fewer.run)["predictions"] = one.run.predictions.iloc[[5, 2]].reset_index(drop=True)
    first, second = partners(one, fewer)
    assert first.tolist() == [2, 5]
    assert second.tolist() == [1, 0]
    with pytest.raises(ExplanationError, match="tested on no common frame"):
        partners(one, other)


def test_turning_a_head_changes_what_a_model_of_the_hidden_side_says(corpus, copies):
    store, _, _ = copies
    still = np.flatnonzero(store.usable & (corpus.truth["pain"] == 0).to_numpy())[:2, None]
    models = {"side": model_of(1, place=(0, 3, 4)), "rim": model_of(1, place=(0, 0, 0))}
    stored = images_at(store, SIZE, corpus.root.parent / "results" / "cache")[still]
    again = render_again(corpus, store, still, [Change(turn=20.0)] * 2, SIZE, workers=1)
    table = turning_effects(models, stored, again, np.array(["a", "b"]))
    assert table["subject"].tolist() == ["a", "b"] * 2
    np.testing.assert_array_equal(table["before"][:2], probabilities(models["side"], stored))
    np.testing.assert_array_equal(table["after"][2:], probabilities(models["rim"], again.frames))
    by_model = table.groupby("model")
    change = (by_model["after"].mean() - by_model["before"].mean()).abs()
    assert change["side"] > 0.01
    assert change["rim"] < change["side"] / 10  # nearly all black, turned or not


def test_samples_whose_face_was_lost_are_left_out(corpus, copies):
    store, _, _ = copies
    rows = np.flatnonzero(store.usable)[:3, None]
    changes = [Change(turn=150.0), Change(turn=5.0), Change(turn=150.0)]
    again = render_again(corpus, store, rows, changes, SIZE, workers=1)
    table = turning_effects({"one": model_of(1)}, pictures(3, 1), again, np.array(list("abc")))
    assert table["sample"].tolist() == [1]
    assert table["subject"].tolist() == ["b"]
    assert len(again.lost) == 2


def test_a_real_corpus_cannot_be_copied(corpus, copies):
    with pytest.raises(InterventionError, match="only a synthetic corpus can be drawn again"):
        planted(replace(corpus, truth=None), copies[0])


def test_folds_of_a_copy_test_the_same_people_on_its_own_usable_frames(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store", subjects=6)
    copy = write_store_with_a_signal(tmp_path / "copy", subjects=6, frames=5, seed=1)
    folds = [fold_of(store, number) for number in (1, 2, 3)]
    for fold, own in zip(folds, same_people(folds, store, copy), strict=True):
        assert own.test_subjects(copy.frames) == fold.test_subjects(store.frames)
        assert own.train_subjects(copy.frames) == fold.train_subjects(store.frames)
        both = np.sort(np.concatenate([own.train, own.test]))
        np.testing.assert_array_equal(both, np.flatnonzero(copy.usable))
