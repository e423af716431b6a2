"""Widgets without a browser: a state in, an image and a text out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from paincore.attention import maps
from paincore.data import facs
from paincore.explore import ablations, attention, face, folds, registration, video
from paincore.explore.explorer import pixels
from paincore.folds.designs import FoldError, make_folds, ranges_over_folds
from paincore.manifest import dataset_named
from paincore.registration.backends import load_backend
from paincore.registration.faces import Picture, find_faces
from synthpain.avatar import draw_face, landmarks_of
from tests.folds.test_designs import drawn
from tests.helpers.predicted import predictions
from tests.helpers.searched import peak, search


def test_a_slider_of_the_face_moves_it_and_pspi_is_that_of_facs(explained):
    explorer = face.explore_face(explained)
    rest = explorer.shown.render()
    for change in ({"au4": 4.0}, {"au43": 1.0}, {"yaw": 20}, {"light_yaw": 60}, {"person": 2}):
        moved = explorer.show(**explorer.state | change).render()
        assert (moved != rest).any(axis=2).sum() > 100
    explorer.set(au4=2.4, au6=1.0, au7=3.6, au9=0.4, au10=0.6, au43=0.7)
    units = {"au4": 2, "au6": 1, "au7": 4, "au9": 0, "au10": 1, "au43": 1}
    assert explorer.text.startswith(f"PSPI {facs.pspi(**units)} = AU4 2 ")


def test_the_face_is_asked_as_an_image_of_a_store_is(explained):
    number = int(np.flatnonzero(explained.store.usable[explained.rows[:, -1]])[0])
    view = explained.store.images[explained.rows[number, -1]]
    expected = explained.run.predictions["probability"].iloc[number]
    assert face.pain_probability(explained, view) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("backend", ["none", "landmarks"])
def test_the_face_is_registered_as_the_models_training_data(explained, backend):
    store = replace(explained.store, meta=explained.store.meta | {"backend": backend})
    state = {"person": 3, "yaw": 12, "au4": 3.0}
    image = Picture("a face", draw_face(**state), landmarks_of(**state))
    [expected] = find_faces([image], load_backend(backend), 224)
    found = face.register_face(replace(explained, store=store), state)
    np.testing.assert_array_equal(found.view.image, expected.view.image)
    assert not np.array_equal(found.view.image, face.register_face(explained, state).view.image)


TEN = drawn(10)
EVEN = make_folds(TEN, "balanced")
ABLATION = search(peak(6, 2e-4), ["vit"])["vit"]  # of 14 configurations


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from([f"aa{n:03d}" for n in range(10)]), st.integers(1, 5)))
def test_people_who_are_moved_are_tested_once_where_they_were_put(tested_in):
    where = folds.home_folds(TEN, EVEN) | tested_in
    if len(set(where.values())) < 5:
        with pytest.raises(FoldError, match="would be tested on nobody"):
            folds.moved(TEN, EVEN, tested_in)
        return
    moved = folds.moved(TEN, EVEN, tested_in)
    assert folds.home_folds(TEN, moved) == where
    assert sorted(np.concatenate([fold.test for fold in moved])) == list(range(len(TEN)))
    for fold in moved:
        assert set(fold.train) == set(range(len(TEN))) - set(fold.test)


def test_the_folds_start_at_the_optimum_and_who_was_moved_stays(drawn_corpus):
    explorer = folds.explore_folds(drawn_corpus, TEN, EVEN)
    [first, other] = EVEN[0].test_subjects(TEN)
    begun = explorer.text
    explorer.set(subject=first)
    explorer.set(fold=2)
    explorer.set(subject=other)
    apart = ranges_over_folds(TEN, {"moved": folds.moved(TEN, EVEN, {first: 2})})
    assert f"{apart.loc['moved', 'frames']:.0f} frames" in explorer.text != begun
    explorer.children[1].click()
    explorer.set(subject=first)
    assert explorer.text == begun


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 50), st.integers(2, 30))
def test_f1_at_all_thresholds_is_that_of_scikit_learn(seed, frames):
    rng = np.random.default_rng(seed)
    pain = np.r_[True, False, rng.random(frames) < 0.4]
    probability = np.round(rng.random(len(pain)), 1)
    table = pd.DataFrame({"pain": pain, "probability": probability})
    f1 = ablations.at_all_thresholds(table)["F1"]
    assert len(f1) == len(np.unique(probability))
    for threshold, value in f1.items():
        assert value == pytest.approx(f1_score(pain, probability > threshold, zero_division=0))


def test_a_threshold_from_other_folds_knows_nothing_of_its_own():
    table = predictions(folds=3, subjects=2, frames=30)
    before = ablations.thresholds_from_other_folds(table)
    turned = table.assign(pain=np.where(table["fold"] == 2, ~table["pain"], table["pain"]))
    assert before[2] == ablations.thresholds_from_other_folds(turned)[2]


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_a_threshold_decides_what_scikit_learn_counts(drawn_corpus, threshold):
    table = ABLATION.predictions[ABLATION.best]
    explorer = ablations.explore_ablations(drawn_corpus, {"vit": ABLATION})
    explorer.set(threshold=threshold)
    expected = f1_score(table["pain"], table["probability"] > threshold)
    assert f"F1 {expected:.2f}" in explorer.text
    counts = explorer.shown.render().axes[1].images[0].get_array()
    assert counts.sum() == len(table)
    assert counts[:, 1].sum() == (table["probability"] > threshold).sum()
    explorer.set(titles=())
    assert "no configuration is chosen" in explorer.text


def test_the_map_of_the_widget_is_that_of_the_module(explained):
    frames, model = explained.frames([1]), explained.model
    heads = maps.cls_attention(model, frames, 5)
    for layer, how, expected in (
        ("rollout", "max", maps.rollout(model, frames, "max")),
        (5, "mean", heads.mean(axis=1)),
        (5, "2", heads[:, 2]),
    ):
        expected = maps.scaled(maps.to_maps(expected, model))[0]
        np.testing.assert_array_equal(attention.attention_map(explained, 1, layer, how), expected)


def test_each_person_is_shown_by_the_model_that_was_not_trained_on_them(explained, drawn_corpus):
    explorer = attention.explore_attention(drawn_corpus, [explained])
    tested = tuple(sorted(explained.run.predictions["subject"].unique()))
    assert explorer.controls["subject"].options == tested
    explorer.set(place=3)
    own = explained.samples[explained.samples["sequence"] == explorer.state["sequence"]].iloc[3]
    assert f"probability of pain {own['probability']:.2f}" in explorer.text


BACKENDS = {"landmarker": load_backend("landmarker"), "prnet": "weights not here"}


def test_registration_says_what_each_backend_finds_or_why_not(drawn_corpus):
    explorer = registration.explore_registration(drawn_corpus, BACKENDS)
    states = set()
    for subject in explorer.controls["subject"].options:
        explorer.set(subject=subject)
        for place in range(explorer.controls["place"].max + 1):
            explorer.set(place=place)
            states.add("visible" in explorer.text)
            assert "prnet: weights not here" in explorer.text
    assert states == {True, False}  # one is black, one is cut short


WIDGETS = {
    "face": lambda corpus, one, path: face.explore_face(one),
    "registration": lambda corpus, one, path: registration.explore_registration(corpus, BACKENDS),
    "ablations": lambda corpus, one, path: ablations.explore_ablations(corpus, {"": ABLATION}),
    "attention": lambda corpus, one, path: attention.explore_attention(corpus, [one]),
    "video": lambda corpus, one, path: video.explore_video(corpus, one, None, path),
}


def outcome(explorer):
    shown = explorer.show(**explorer.state)
    return shown.text, pixels(shown.render(), 40).tobytes()


@pytest.mark.parametrize("name", WIDGETS)
def test_a_state_gives_the_same_whatever_came_before(name, explained, drawn_corpus, tmp_path):
    explorer = WIDGETS[name](drawn_corpus, explained, tmp_path)
    begun, first = explorer.state, outcome(explorer)
    explorer.set(
        **{label: one.max for label, one in explorer.controls.items() if hasattr(one, "max")}
    )
    assert outcome(explorer) != first
    explorer.set(**begun)
    assert outcome(explorer) == first


@pytest.mark.parametrize("name", ["registration", "attention", "video"])
def test_a_still_of_a_restricted_corpus_shows_no_face(name, explained, drawn_corpus, tmp_path):
    free = WIDGETS[name](drawn_corpus, explained, tmp_path)
    corpus = replace(drawn_corpus, dataset=dataset_named("unbc"))
    closed = WIDGETS[name](corpus, explained, tmp_path)
    place = free.controls["place"].max
    for explorer in (free, closed):
        explorer.set(place=place)

    def photos(explorer) -> list:
        drawn = [i.get_array() for axes in explorer.shown.render().axes for i in axes.images]
        return [image for image in drawn if image.ndim == 3 and image.shape[2] == 3]

    assert photos(free) and not photos(closed)
    assert not list(tmp_path.rglob("*.*"))
