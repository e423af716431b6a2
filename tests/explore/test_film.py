"""The widget of videos without a browser: what is watched, said, drawn and written."""

from dataclasses import replace

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from paincore.data.corpus import read_generator
from paincore.explore import face, film
from paincore.manifest import dataset_named
from paincore.registration.backends import load_backend
from paincore.registration.faces import Picture, find_faces
from paincore.registration.video import VideoError, read_video, sampled


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


@pytest.mark.parametrize("backend", ["landmarker", "none"])
def test_a_video_is_registered_as_the_models_training_data(
    backend, explained, drawn_corpus, pictures, tmp_path
):
    path = write(tmp_path / "me.mp4", pictures[:2], [0, 0.1])
    watched = film.watch(path, registered_by(explained, backend), drawn_corpus)
    images = [Picture("", image) for _, image in read_video(path)]
    expected = find_faces(images, load_backend(backend), 224)
    np.testing.assert_array_equal(watched.views, [one.view.image for one in expected])


def test_a_model_that_needs_landmarks_watches_no_video(explained, drawn_corpus, pictures, tmp_path):
    path = write(tmp_path / "me.mp4", pictures[:1], [0])
    with pytest.raises(film.FilmError, match="landmarks"):
        film.watch(path, registered_by(explained, "landmarks"), drawn_corpus)


def registered_by(explained, backend):
    store = replace(explained.store, meta=explained.store.meta | {"backend": backend})
    return replace(explained, store=store)


def test_the_example_plays_as_fast_as_its_corpus(explained, drawn_corpus, tmp_path):
    path, subject = film.example_film(drawn_corpus, explained, tmp_path)
    assert subject in set(explained.samples["subject"])
    taken = read_generator(drawn_corpus.root)["fps"]
    times = np.array([seconds for seconds, _ in read_video(path)])
    np.testing.assert_allclose(np.diff(times) * taken, np.round(np.diff(times) * taken), atol=0.01)
    assert np.diff(times).min() == pytest.approx(1 / taken, abs=1e-3)
    unknown = film.example_film(replace(drawn_corpus, truth=None), explained, tmp_path / "other")
    times = [seconds for seconds, _ in read_video(unknown[0])]
    assert np.diff(times).min() == pytest.approx(1 / film.ASSUMED_RATE, abs=1e-3)


def test_examples_of_two_corpora_are_two_files_and_none_is_an_old_one(
    explained, drawn_corpus, tmp_path
):
    path, _ = film.example_film(drawn_corpus, explained, tmp_path)
    other, _ = film.example_film(replace(drawn_corpus, fingerprint="0" * 64), explained, tmp_path)
    assert path != other
    path.write_bytes(b"of another time")
    assert film.example_film(drawn_corpus, explained, tmp_path)[0].stat().st_size > 1000


def test_no_example_is_made_of_faces_that_may_not_be_shown(explained, drawn_corpus, tmp_path):
    corpus = replace(drawn_corpus, dataset=dataset_named("unbc"))
    explorer = film.explore_film(corpus, explained, results=tmp_path)
    assert explorer.said == film.NO_EXAMPLE
    assert explorer._repr_mimebundle_()[0]["image/png"][:4] == b"\x89PNG"
    assert not list(tmp_path.rglob("*.*"))
    with pytest.raises(film.FilmError):
        film.example_film(only_shown(corpus, "nobody who is tested"), explained, tmp_path)
    [tested] = explained.samples["subject"].unique()
    path, subject = film.example_film(only_shown(corpus, tested), explained, tmp_path)
    assert path.is_file() and subject == tested


def only_shown(corpus, subject):
    update = {"faces_may_be_shown": True, "shown_subjects": (subject,)}
    return replace(corpus, dataset=corpus.dataset.model_copy(update=update))


def test_exports_go_to_the_results_and_nowhere_else(explained, drawn_corpus, pictures, tmp_path):
    own, results = tmp_path / "own", tmp_path / "results"
    own.mkdir()
    path = write(own / "me.mp4", pictures[:2], [0, 0.1])
    inside = drawn_corpus.root / drawn_corpus.frames.query("state == 'ok'")["image"].iloc[-1]
    before = {file: file.stat().st_mtime_ns for file in drawn_corpus.root.rglob("*")}
    explorer = film.explore_film(drawn_corpus, explained, path, results)
    for file in (path, inside):
        explorer.set(file=str(file))
        assert press_export(explorer).startswith("Written: ")
    assert {file.name for file in own.iterdir()} == {"me.mp4"}
    assert before == {file: file.stat().st_mtime_ns for file in drawn_corpus.root.rglob("*")}
    assert len(list((results / "videos").iterdir())) == 4  # a table and a video of each


def test_of_a_restricted_face_the_table_alone_is_exported(explained, drawn_corpus, tmp_path):
    corpus = replace(drawn_corpus, dataset=dataset_named("unbc"))
    inside = corpus.root / corpus.frames.query("state == 'ok'")["image"].iloc[-1]
    said = press_export(film.explore_film(corpus, explained, inside, tmp_path))
    assert said.startswith("Written: ") and "must not be passed on" in said
    assert [file.suffix for file in (tmp_path / "videos").iterdir()] == [".csv"]


def press_export(explorer) -> str:
    """What is said beside the button once it is pressed."""
    button, exported = explorer.children[0].children[-1].children
    button.click()
    return exported.value


def test_what_was_exported_is_not_said_of_the_next_file(
    explained, drawn_corpus, pictures, tmp_path
):
    path = write(tmp_path / "me.mp4", pictures[:2], [0, 0.1])
    explorer = film.explore_film(drawn_corpus, explained, path, tmp_path / "results")
    assert press_export(explorer).startswith("Written: ")
    explorer.set(file="/nowhere/me.mp4")
    assert explorer.children[0].children[-1].children[1].value == ""
    assert "no such file" in press_export(explorer)


def test_a_photograph_has_its_probability_drawn(explained, drawn_corpus, pictures, tmp_path):
    path = tmp_path / "me.png"
    cv2.imwrite(str(path), pictures[0][..., ::-1])
    watched = film.watch(path, explained, drawn_corpus)
    [axes] = [axes for axes in film.film_figure(watched).axes if axes.get_xlabel() == "seconds"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [tuple(line.get_ydata()) for line in dots] == [tuple(watched.frames["probability"])]
    clip = replace(watched, frames=watched.frames.assign(probability=np.nan))
    [axes] = [axes for axes in film.film_figure(clip).axes if axes.get_xlabel() == "seconds"]
    assert axes.texts  # says why nothing is drawn


def test_a_video_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(film.FilmError, match="no image"):
        film.write_frames(iter([]), tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())
