"""Widgets without a browser: a state in, a picture and a sentence out."""

import random
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from paincore import PaincoreError
from paincore.attention.maps import AttentionError, rollout, scaled, to_maps
from paincore.data import facs
from paincore.explore import ablations, attention, face, film, folds, players, registration
from paincore.explore.explorer import drawn_or_said, encoded
from paincore.folds.designs import FoldError, make_folds
from paincore.manifest import dataset_named
from paincore.registration.backends import load_backend
from paincore.registration.faces import Picture, find_faces
from paincore.statistics.scores import MetricError
from paincore.training.configuration import configure
from synthpain.avatar import landmarks_of
from tests.helpers.predicted import predictions
from tests.helpers.searched import search


def test_a_slider_of_the_face_moves_its_face_and_pspi_is_that_of_facs():
    rest = face.draw_face(person=1)
    assert rest.shape == (256, 256, 3) and rest.dtype == np.uint8
    assert (face.draw_face(person=1) == rest).all()
    for change in ({"au4": 4.0}, {"au43": 1.0}, {"yaw": 20}, {"light_yaw": 60}, {"person": 2}):
        assert (face.draw_face(**{"person": 1} | change) != rest).any(axis=2).sum() > 100
    state = {"au4": 2.4, "au6": 1.0, "au7": 3.6, "au9": 0.4, "au10": 0.6, "au43": 0.7}
    units = face.coded(**state)
    assert units == {"au4": 2, "au6": 1, "au7": 4, "au9": 0, "au10": 1, "au43": 1}
    explorer = face.explore_face()
    explorer.set(**state)
    assert explorer.said.startswith(f"PSPI {facs.pspi(**units)} = AU4 2 ")
    assert "no trained model" in explorer.said
    explorer.set(yaw=60, pitch=-40)
    assert "yaw of" in explorer.said or "No registered view" in explorer.said


def test_the_face_is_asked_as_a_picture_of_a_store_is(explained):
    number = int(np.flatnonzero(explained.store.usable[explained.rows[:, -1]])[0])
    view = explained.store.images[explained.rows[number, -1]]
    expected = explained.run.predictions["probability"].iloc[number]
    assert face.pain_probability(explained, view) == pytest.approx(expected, abs=1e-5)


def table_of_people(frames_each, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        {"subject": f"p{person:02d}", "sequence": f"p{person:02d}a", "frame": frame + 1,
         "pain": bool(rng.random() < 0.3), "state": "ok"}
        for person, count in enumerate(frames_each) for frame in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"pain": "boolean"})


@lru_cache
def ten_people():
    """Ten people and their most even folds, which take a while to find."""
    frames = table_of_people([20 + n for n in range(10)])
    return frames, make_folds(frames, "balanced")


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from([f"p{n:02d}" for n in range(10)]), st.integers(1, 5)))
def test_people_who_are_moved_are_tested_once_where_they_were_put(tested_in):
    frames, even = ten_people()
    where = {s: fold.number for fold in even for s in fold.test_subjects(frames)} | tested_in
    if len(set(where.values())) < 5:
        with pytest.raises(FoldError, match="would be tested on nobody"):
            folds.moved(frames, even, tested_in)
        return
    moved = folds.moved(frames, even, tested_in)
    assert {s: f.number for f in moved for s in f.test_subjects(frames)} == where
    assert sorted(np.concatenate([fold.test for fold in moved])) == list(range(len(frames)))
    for fold in moved:
        assert set(fold.train) == set(range(len(frames))) - set(fold.test)


def test_the_folds_start_at_the_optimum_and_say_how_far_one_has_moved(drawn_corpus):
    frames, even = ten_people()
    explorer = folds.explore_folds(drawn_corpus, frames, even)
    assert explorer.said.count("(+0") == 3 and "2 people a fold" in explorer.said
    person = even[0].test_subjects(frames)[0]
    explorer.set(subject=person)
    explorer.set(fold=2)
    assert "1 to 3 people a fold" in explorer.said and "(+0 beside" not in explorer.said
    with pytest.raises(FoldError, match="no fold 9"):
        folds.moved(frames, even, {person: 9})
    with pytest.raises(FoldError, match="tested in none"):
        folds.moved(frames, even, {"nobody": 1})


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 50), st.integers(2, 30))
def test_no_threshold_has_a_higher_f1_than_the_best(seed, frames):
    rng = np.random.default_rng(seed)
    pain = np.r_[True, False, rng.random(frames) < 0.4]
    probability = np.round(rng.random(len(pain)), 1)
    best = ablations.best_threshold(pain, probability)
    each = [f1_score(pain, probability > value, zero_division=0)
            for value in [-0.01, *np.unique(probability)]]  # fmt: skip
    assert f1_score(pain, probability > best, zero_division=0) == pytest.approx(max(each))


def test_a_threshold_from_other_folds_is_the_best_on_what_they_predict():
    table = predictions(folds=3, subjects=2, frames=30)
    before = ablations.thresholds_from_other_folds(table)
    turned = table.assign(pain=np.where(table["fold"] == 2, ~table["pain"], table["pain"]))
    after = ablations.thresholds_from_other_folds(turned)
    assert before[2] == after[2]
    others = table[table["fold"] != 2]
    assert before[2] == ablations.best_threshold(others["pain"], others["probability"])
    with pytest.raises(MetricError, match="both classes"):
        ablations.best_threshold(np.zeros(3, bool), np.ones(3))


def test_configurations_are_shown_at_the_threshold_that_no_data_chose(drawn_corpus):
    found = search(lambda *_: 3, ["vit"])  # of 2 x 10 frames of pain 6 are above 0.5, all above 0.1
    explorer = ablations.explore_ablations(drawn_corpus, found)
    at_half = ablations.decided(found["vit"].predictions[found["vit"].best], 0.5)
    assert (at_half["tp"], at_half["fn"]) == (6, 14)
    assert "6 frames of pain found, 14 missed" in explorer.said
    assert "threshold 0.50," in explorer.said
    explorer.set(rule=ablations.BY_HAND, value=0.1)
    assert "20 frames of pain found, 0 missed" in explorer.said


@pytest.mark.parametrize("threshold", [0.3, pd.Series({1: 0.2, 2: 0.7})])
def test_what_is_decided_is_what_scikit_learn_counts(threshold):
    table = predictions(folds=2)
    each = table["fold"].map(threshold) if isinstance(threshold, pd.Series) else threshold
    said = table["probability"] > each
    found = ablations.decided(table, threshold)
    tn, fp, fn, tp = confusion_matrix(table["pain"], said).ravel()
    assert (found["tn"], found["fp"], found["fn"], found["tp"]) == (tn, fp, fn, tp)
    assert found["f1"] == pytest.approx(f1_score(table["pain"], said))


def test_the_map_of_the_widget_is_the_rollout_of_the_module(explained):
    frames, model = explained.frames(np.array([1])), explained.model
    expected = scaled(to_maps(rollout(model, frames, "max", discard=0.3), model))[0]
    found = attention.attention_map(explained, 1, attention.Reading(None, "max", 0.3))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(AttentionError, match="no head 99"):
        attention.attention_map(explained, 1, attention.Reading(0, "99"))


def test_each_person_is_shown_by_the_model_that_was_not_trained_on_them(explained, drawn_corpus):
    explorer = attention.explore_attention(drawn_corpus, [explained])
    assert explorer.controls["subject"].options == tuple(
        sorted(explained.run.predictions["subject"].unique())
    )
    before = explorer.said
    explorer.set(place=3)
    assert explorer.said != before and "probability of pain" in explorer.said
    explorer.set(head="0")
    assert explorer.said.startswith("Rollout takes all heads")
    explorer.set(layer=0)
    assert "layer 0, head 0" in explorer.said


def test_registration_walks_through_frames_and_says_why_there_is_no_face(drawn_corpus):
    backends = {"landmarker": load_backend("landmarker"), "prnet": "weights not here"}
    explorer = registration.explore_registration(drawn_corpus, backends)
    assert "Not here: prnet" in explorer.said
    states = set()
    for subject in explorer.controls["subject"].options:
        explorer.set(subject=subject)
        for frame in range(explorer.controls["frame"].max + 1):
            explorer.set(frame=frame)
            states.add("visible" in explorer.said)
            explorer.draw(**explorer.state)
    assert states == {True, False}  # one is black, one is cut short
    explorer.set(file="/nowhere/me.mp4")
    assert explorer.said == "/nowhere/me.mp4: no such file"
    begun_badly = registration.explore_registration(drawn_corpus, backends, "/nowhere/me.mp4")
    assert "no such file" in begun_badly.said and figure_of(begun_badly)
    lost = registration.explore_registration(drawn_corpus, {"prnet": "weights not here"})
    assert "no backend that is here" in lost.said and figure_of(lost)


def test_a_file_of_the_corpus_is_nobodys_who_happens_to_be_chosen(drawn_corpus):
    """The person of the list may be shown; whose face the file shows is not known."""
    first, second = sorted(drawn_corpus.frames["subject"].unique())
    entry = dataset_named("unbc").model_copy(
        update={"faces_may_be_shown": True, "shown_subjects": (first,)}
    )
    corpus = replace(drawn_corpus, dataset=entry)
    image = corpus.frames.query(f"subject == {second!r} and state == 'ok'")["image"].iloc[0]
    backends = {"landmarker": load_backend("landmarker")}
    for path, shown in ((None, True), (corpus.root / image, False)):
        explorer = registration.explore_registration(corpus, backends, path)
        explorer.set(frame=3)
        assert explorer.state["subject"] == first
        assert bool(figure_of(explorer).axes[0].images) is shown


def figure_of(explorer):
    """The still of the page, as the notebook keeps it."""
    return drawn_or_said(explorer.still)


def fourteen():
    """An ablation of 14 configurations, as far as the widget looks into it."""
    settings_of = [(layers, rate) for rate in (2e-4, 2e-5, 1e-3) for layers in (2, 4, 6, 8, 12)][
        :14
    ]
    tried = [configure(unfrozen_layers=layers, learning_rate=rate) for layers, rate in settings_of]
    tables = {one: predictions(folds=2, seed=seed) for seed, one in enumerate(tried)}
    rows = [{"title": one.title, "fold": fold, "f1": 0.5, "auc": 0.5} for one in tried
            for fold in (1, 2)]  # fmt: skip
    trials = [SimpleNamespace(configuration=one) for one in tried]
    return SimpleNamespace(
        trials=trials, predictions=tables, scores=pd.DataFrame(rows), best=tried[3]
    )


def test_fourteen_configurations_stay_in_their_axes_and_apart(drawn_corpus):
    ablation = fourteen()
    titles = [trial.configuration.title for trial in ablation.trials]
    figure = ablations.ablations_figure(drawn_corpus, ablation, titles)
    scores, curves = figure.axes[:2]
    across = np.concatenate([line.get_xdata() for line in scores.lines if len(line.get_xdata())])
    low, high = scores.get_xlim()
    assert low <= across.min() and across.max() <= high
    assert across[across < 0.5].max() < across[across > 0.5].min() - 0.05  # F1 and AUC
    assert not any(axes.get_legend() for axes in figure.axes)
    looks = {(line.get_color(), line.get_linestyle()) for line in curves.lines}
    assert len(looks) == 14


def explorers(corpus, explained, tmp_path):
    frames, even = ten_people()
    backends = {"landmarker": load_backend("landmarker"), "prnet": "weights not here"}
    return {
        "face": face.explore_face(explained),
        "registration": registration.explore_registration(corpus, backends),
        "folds": folds.explore_folds(corpus, frames, even),
        "ablations": ablations.explore_ablations(corpus, {"ViT": fourteen(), "other": fourteen()}),
        "attention": attention.explore_attention(corpus, [explained]),
        "film": film.explore_film(corpus, explained, results=tmp_path),
    }


def some_state(explorer, bad_file, rng) -> dict:
    """Any values that the controls can take, fitting each other or not."""
    state = explorer.state
    for name, control in explorer.controls.items():
        if name == "file":
            state[name] = rng.choice([control.value, bad_file, "/nowhere/me.mp4", ""])
        elif hasattr(control, "max"):
            state[name] = rng.choice([control.value, control.min, control.max])
        elif name == "titles":
            state[name] = rng.choice([(), ("none of these",), control.options[:2]])
        else:
            state[name] = rng.choice(control.options)
    return state | ({"sequence": "nothing"} if "sequence" in state and rng.random() < 0.2 else {})


def outcome(function, state):
    try:
        found = function(**state)
    except PaincoreError as fault:
        return str(fault)
    return found if isinstance(found, str) else encoded(found, 40)


@pytest.mark.parametrize(
    "name", ["face", "registration", "folds", "ablations", "attention", "film"]
)
def test_a_state_gives_a_picture_or_a_sentence_whatever_came_before(
    name, explained, drawn_corpus, tmp_path
):
    text = tmp_path / "no.mp4"
    text.write_text("not a video")
    rng = random.Random(0)
    explorer = explorers(drawn_corpus, explained, tmp_path)[name]
    states = [some_state(explorer, str(text), rng) for _ in range(5)]
    asked = [(kind, number) for kind in ("say", "draw") for number in range(len(states))] * 2
    rng.shuffle(asked)
    found = {}
    for kind, number in asked:
        got = outcome(getattr(explorer, kind), states[number])
        assert found.setdefault((kind, number), got) == got


def test_of_every_list_an_option_is_chosen(explained, drawn_corpus, tmp_path):
    for name, explorer in explorers(drawn_corpus, explained, tmp_path).items():
        for control in explorer.controls.values():
            assert not isinstance(control, ipywidgets.Dropdown) or control.index is not None, name


@pytest.mark.parametrize("backend", ["none", "landmarks"])
def test_the_face_is_registered_as_the_models_training_data(explained, backend):
    store = replace(explained.store, meta=explained.store.meta | {"backend": backend})
    state = {"person": 3, "yaw": 12, "au4": 3.0}
    picture = Picture("a face", face.draw_face(**state), landmarks_of(**state))
    [expected] = find_faces([picture], load_backend(backend), 224)
    found = face.registered_for(replace(explained, store=store), state)
    np.testing.assert_array_equal(found.view.image, expected.view.image)
    assert not np.array_equal(found.view.image, face.registered_for(explained, state).view.image)


def test_no_angle_is_minus_nothing(drawn_corpus, drawn_store):
    frames = drawn_store.frames[drawn_store.usable].assign(yaw=-0.3)
    _, stack = players.turn_head(drawn_corpus, drawn_store, frames, most=2).children
    assert all("yaw 0°" in picture.value for picture in stack.children)
