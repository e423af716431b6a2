"""The widget of videos: what is watched and written."""

from dataclasses import replace

import av
import numpy as np
import pandas as pd
import pytest

from paincore.data.corpus import read_generator
from paincore.explore import face, video
from paincore.manifest import dataset_named
from paincore.registration.backends import load_backend
from paincore.registration.faces import Picture, find_faces
from paincore.registration.video import VideoError, read_video
from synthpain.avatar import draw_face
from tests.explore.test_explorer import asked


def write(path, images, seconds):
    return video.write_video(zip(seconds, images, strict=True), path)


@pytest.fixture(scope="module")
def images():
    return [draw_face(person=0, au4=float(n)) for n in range(6)]


def test_a_video_of_any_frame_rate_keeps_its_times(explained, drawn_corpus, images, tmp_path):
    seconds = [0, 0.04, 0.1, 0.5, 0.52, 1.3]
    path = write(tmp_path / "mine.mp4", images, seconds)
    watched = video.watch(path, explained, drawn_corpus)
    assert watched.frames["seconds"].tolist() == pytest.approx(seconds, abs=1e-3)
    assert watched.frames["probability"].between(0, 1).all()
    for number in (0, 5):
        expected = face.pain_probability(explained, watched.views[number])
        assert watched.frames["probability"][number] == pytest.approx(expected, abs=1e-5)
    video.export(watched, tmp_path / "out")
    [table], [film] = ([*(tmp_path / "out").glob(f"*.{kind}")] for kind in ("csv", "mp4"))
    assert video.LIMITS in table.read_text().splitlines()[0]
    back = pd.read_csv(table, comment="#")
    assert back["probability"].tolist() == pytest.approx(watched.frames["probability"].tolist())
    with av.open(str(film)) as again:
        times = [frame.time for frame in again.decode(video=0)]
    assert times == pytest.approx(seconds, abs=1e-3)
    assert video.LIMITS in video.video_shown(watched, 0).text


def test_what_is_no_video_or_shows_no_face_is_said(explained, drawn_corpus, tmp_path):
    grey = write(tmp_path / "grey.mp4", [np.full((240, 320, 3), 120, np.uint8)] * 3, [0, 0.1, 0.2])
    explorer = video.explore_video(drawn_corpus, explained, str(grey), tmp_path)
    assert "no face found" in explorer.text and "in 0 of the first 3 images" in explorer.text
    assert explorer._repr_mimebundle_()[0]["image/png"]
    text = tmp_path / "no.mp4"
    text.write_text("not a video")
    with pytest.raises(VideoError, match=r"no\.mp4"):
        video.watch(text, explained, drawn_corpus)
    explorer.set(file="/nowhere/me.mp4")
    assert "/nowhere/me.mp4" in explorer.text


def test_a_video_is_registered_as_the_models_training_data(
    explained, drawn_corpus, images, tmp_path
):
    path = write(tmp_path / "me.mp4", images[:2], [0, 0.1])
    for backend in ("landmarker", "none"):
        store = replace(explained.store, meta=explained.store.meta | {"backend": backend})
        watched = video.watch(path, replace(explained, store=store), drawn_corpus)
        read = [Picture("", image) for _, image in read_video(path)]
        expected = find_faces(read, load_backend(backend), 224)
        np.testing.assert_array_equal(watched.views, [one.view.image for one in expected])


def test_the_example_plays_as_fast_as_its_corpus(explained, drawn_corpus, tmp_path):
    taken = read_generator(drawn_corpus.root)["fps"]
    for corpus, rate in (
        (drawn_corpus, taken),
        (replace(drawn_corpus, root=tmp_path), video.ASSUMED_RATE),
    ):
        watched = video.watch_example(explained, corpus)
        assert watched.subject in set(explained.samples["subject"])
        np.testing.assert_allclose(watched.frames["seconds"], (watched.frames["frame"] - 1) / rate)


def press_export(explorer) -> str:
    """What is said beside the button once it is pressed."""
    button, beside = explorer.children[1].children
    button.click()
    return beside.value


def test_exports_go_to_the_results_and_nowhere_else(explained, drawn_corpus, images, tmp_path):
    own, results = tmp_path / "own", tmp_path / "results"
    own.mkdir()
    path = write(own / "me.mp4", images[:2], [0, 0.1])
    inside = drawn_corpus.root / drawn_corpus.frames.query("state == 'ok'")["image"].iloc[-1]
    before = {file: file.stat().st_mtime_ns for file in drawn_corpus.root.rglob("*")}
    explorer = video.explore_video(drawn_corpus, explained, str(path), results)
    for file in (path, inside):
        explorer.set(file=str(file))
        assert press_export(explorer).startswith("Written: ")
    assert {file.name for file in own.iterdir()} == {"me.mp4"}
    assert before == {file: file.stat().st_mtime_ns for file in drawn_corpus.root.rglob("*")}
    assert len(list((results / "videos").iterdir())) == 4  # a table and a video of each


@pytest.mark.parametrize("source", ["example", "file"])
def test_of_a_restricted_face_the_table_alone_is_exported(
    source, explained, drawn_corpus, tmp_path
):
    """Whose face a file of the corpus shows is not known, so a list of people shown is no help."""
    tested = explained.samples["subject"].iloc[0]
    shown = {"faces_may_be_shown": source == "file", "shown_subjects": (tested,)}
    corpus = replace(drawn_corpus, dataset=dataset_named("unbc").model_copy(update=shown))
    own = corpus.frames.query(f"state == 'ok' and subject == {tested!r}")["image"].iloc[-1]
    path = str(corpus.root / own) if source == "file" else None
    explorer = video.explore_video(corpus, explained, path, tmp_path)
    asked(explorer)
    assert press_export(explorer).startswith("Written: ")
    assert [file.suffix for file in (tmp_path / "videos").iterdir()] == [".csv"]
