"""Widgets without a browser: a state in, a picture and a sentence out."""

from dataclasses import replace
from functools import lru_cache

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from paincore import facs
from paincore.attention import AttentionError, rollout, scaled, to_maps
from paincore.configuration import configure
from paincore.explained import ExplanationError, explain
from paincore.folds import Fold, FoldError, make_folds
from paincore.manifest import dataset_named
from paincore.metrics import MetricError
from paincore.registration.backends import load_backend
from paincore.registration.video import VideoError, sampled
from paincore.training import train_fold
from paincore.widgets import ablations, attention, face, film, folds, registration
from tests.predicted import predictions
from tests.test_experiments import search


@pytest.fixture(scope="module")
def explained(drawn_corpus, drawn_store, tmp_path_factory):
    """A model trained on one of the two people of the drawn corpus, tested on the other."""
    results = tmp_path_factory.mktemp("results")
    frames = (
        drawn_store.frames
    )  # nobody in so few frames shows pain: every other frame is called it
    pain = (frames["frame"] % 2 == 0).astype("boolean")
    drawn_store = replace(drawn_store, frames=frames.assign(pain=pain))
    rows = np.flatnonzero(drawn_store.usable)
    first = frames["subject"].to_numpy()[rows] == frames["subject"].min()
    fold = Fold("leave_one_subject_out", 1, rows[first], rows[~first])
    one = configure(model="vit", backbone="movement", unfrozen_layers=2, learning_rate=1e-3)
    run = train_fold(drawn_store, one, fold, results=results, device="cpu", keep_weights=True,
                     show_progress=False)  # fmt: skip
    return explain(run, drawn_store, results)


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


def write(path, pictures, seconds, size=(240, 320)):
    film.write_frames(zip(seconds, pictures, strict=True), path)
    return path


@pytest.fixture(scope="module")
def pictures():
    return [face.draw_face(person=0, au4=float(n)) for n in range(6)]


def test_a_film_of_any_frame_rate_keeps_its_times(explained, drawn_corpus, pictures, tmp_path):
    seconds = [0, 0.04, 0.1, 0.5, 0.52, 1.3]
    path = write(tmp_path / "mine.mp4", pictures, seconds)
    watched = film.watch(path, explained, drawn_corpus)
    assert watched.frames["seconds"].tolist() == pytest.approx(seconds, abs=1e-3)
    assert watched.frames["probability"].between(0, 1).all() and not watched.more
    for number in (0, 5):
        expected = face.pain_probability(explained, watched.views[number])
        assert watched.frames["probability"][number] == pytest.approx(expected, abs=1e-5)
    table = film.write_csv(watched, tmp_path / "out.csv")
    assert film.LIMITS in table.read_text().splitlines()[0]
    back = pd.read_csv(table, comment="#")
    assert back["probability"].tolist() == pytest.approx(watched.frames["probability"].tolist())
    out = film.write_film(watched, tmp_path / "out.mp4")
    with av.open(str(out)) as again:
        times = [frame.time for frame in again.decode(video=0)]
    assert times == pytest.approx(seconds, abs=1e-3)
    assert film.LIMITS in film.film_sentence(watched, 0)
    assert film.film_figure(watched, 2).axes


def test_a_film_of_4k_is_shrunk_where_it_is_kept_and_watched_all_the_same(
    explained, drawn_corpus, pictures, tmp_path
):
    large = [cv2.resize(p, (2160, 2160), interpolation=cv2.INTER_CUBIC) for p in pictures[:2]]
    wide = [np.pad(p, ((0, 0), (840, 840), (0, 0))) for p in large]
    path = write(tmp_path / "4k.mp4", wide, [0, 0.04])
    kept = sampled(path, most=1)
    assert [image.shape for _, image in kept] == [(720, 1280, 3)]
    assert (film.watch(path, explained, drawn_corpus).frames["state"] == "ok").all()


def test_frames_are_sampled_evenly_from_the_first_to_the_last(pictures, tmp_path):
    path = write(tmp_path / "long.mp4", pictures * 10, np.arange(60) / 30)
    times = [seconds for seconds, _ in sampled(path, most=7)]
    assert len(times) == 7 and times[0] == 0
    assert np.diff(times).max() <= 2 * np.diff(times).min() + 1e-6 and times[-1] > 1.7


def test_what_is_no_film_or_shows_no_face_is_said(explained, drawn_corpus, tmp_path):
    grey = [np.full((240, 320, 3), 120, np.uint8)] * 3
    path = write(tmp_path / "grey.mp4", grey, [0, 0.1, 0.2])
    with pytest.raises(film.FilmError, match=r"no face in its 3 frames"):
        film.watch(path, explained, drawn_corpus)
    text = tmp_path / "no.mp4"
    text.write_text("not a film")
    with pytest.raises(VideoError, match="neither a photograph nor a video"):
        film.watch(text, explained, drawn_corpus)
    with pytest.raises(ExplanationError):
        explained.number("nothing", 1)


def test_a_restricted_face_is_not_exported_as_a_film(explained, drawn_corpus, tmp_path):
    corpus = replace(drawn_corpus, dataset=dataset_named("unbc"))
    path, subject = film.example_film(corpus, explained, tmp_path)
    watched = film.watch(path, explained, corpus, subject)
    with pytest.raises(film.FilmError, match="must not be passed on"):
        film.write_film(watched, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
