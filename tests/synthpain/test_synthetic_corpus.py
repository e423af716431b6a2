import time

import cv2
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from paincore import paper
from paincore.data import unbc
from paincore.data.tables import percent_by_pspi
from synthpain import SynthesisError, corpus
from synthpain.behaviour import ALL_OFF
from synthpain.plan import plan_sequences
from tests.helpers.workers import calling, processes

TINY = {"frames": 60, "subjects": 3, "width": 48, "height": 36, "progress": False}


def content(root):
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return corpus.synthesize(tmp_path_factory.mktemp("made") / "corpus", workers=1, **TINY)


@pytest.fixture(scope="module")
def frames(made):
    return unbc.read_frames(unbc.list_corpus(made))[0]


@pytest.fixture(scope="module")
def truth(made):
    return pd.read_parquet(made / "Truth" / "frames.parquet")


def test_the_reader_takes_every_file_and_finds_only_the_faults_put_in(made, frames, truth):
    assert unbc.list_corpus(made).ignored == []
    assert len(frames) == TINY["frames"] and frames["subject"].nunique() == TINY["subjects"]
    assert frames[["subject", "sequence", "frame"]].equals(truth[["subject", "sequence", "frame"]])
    assert (frames["state"] == "truncated").equals(truth["state"] == "damaged")
    assert set(truth["state"]) == {"ok", "black", "damaged"}
    assert set(frames["state"]) == {"ok", "truncated"}


def test_labels_agree_with_facs_and_the_truth_and_keep_to_their_scales(frames, truth):
    assert (frames["pspi_difference"] == 0).all()
    assert frames["pspi"].equals(truth["coded_pspi"])
    for au in (4, 6, 12, 43, 45):
        assert frames[f"au{au}"].equals(truth[f"coded_au{au}"])
    for scale, most in (("vas", 10), ("sen", 15), ("aff", 15), ("opr", 5)):
        assert frames[scale].between(0, most).all()


@pytest.mark.parametrize("count", [2000, 10000])
def test_shares_of_pspi_are_close_to_those_of_unbc(count):
    settings = corpus.Settings(count, 25, seed=0, width=320, height=240, dials=ALL_OFF)
    plan = plan_sequences(count, settings.subjects, settings.seed)
    truth = pd.concat(corpus.sequence_truth(sequence, settings) for sequence in plan)
    shares = percent_by_pspi(truth.rename(columns={"coded_pspi": "pspi"}))
    assert (shares - pd.Series(paper.PSPI_SHARES)).abs().max() < 1.5


def test_pictures_are_black_only_where_the_truth_says_and_landmarks_lie_about_them(
    made, frames, truth
):
    for image, state in zip(frames["image"], truth["state"], strict=True):
        if state != "damaged":
            picture = cv2.imread(str(made / image))
            assert picture.shape == (TINY["height"], TINY["width"], 3)
            assert (picture.max() == 0) == (state == "black")
    points = np.array([unbc.read_landmarks(made, path) for path in frames["landmarks"]])
    assert points.shape[1:] == (66, 2)
    assert (abs(points.mean(1) / (TINY["width"], TINY["height"]) - 0.5) < 0.35).all()


def synthesize_alone(out: str) -> None:
    corpus.synthesize(out, workers=1, **TINY)


def test_two_workers_finish_what_a_killed_one_began_with_the_same_bytes(made, tmp_path):
    out = tmp_path / "killed"
    with processes(calling(synthesize_alone, out)) as (process,):
        while not (done := list(tmp_path.glob("killed.partial-*/Images/*/*"))):
            assert process.poll() is None
            time.sleep(0.002)
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in done}
    corpus.synthesize(out, workers=2, **TINY)
    assert content(out) == content(made)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("Images/*/*")}
    assert 0 < len(kept) < len(after) and kept.items() <= after.items()


def test_a_whole_corpus_is_returned_untouched_and_is_no_other(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert corpus.synthesize(made, **TINY) == made
    with pytest.raises(SynthesisError, match=rf"{made} is a different .*seed 0, not 1"):
        corpus.synthesize(made, seed=1, **TINY)
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_a_folder_that_holds_something_else_or_cannot_be_written_is_named(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(SynthesisError, match="holds something else"):
        corpus.synthesize(tmp_path, **TINY)
    assert content(tmp_path) == {"thesis.txt": b"do not touch"}
    with pytest.raises(SynthesisError, match=r"/proc/.* cannot be written"):
        corpus.synthesize("/proc/corpus", **TINY)


def test_a_second_process_does_not_write_into_the_same_folder(tmp_path):
    busy = FileLock(tmp_path / "busy.synthesis.lock")
    with busy, pytest.raises(SynthesisError, match="busy is being made by another process"):
        corpus.synthesize(tmp_path / "busy", **TINY)
    assert not (tmp_path / "busy").exists()
