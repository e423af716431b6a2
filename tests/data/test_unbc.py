import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paincore.data.facs import AUS
from paincore.data.frames import SEQUENCE_LABELS, STATES
from paincore.data.unbc import PNG_START, CorpusError, list_corpus, read_frames, read_landmarks
from tests.helpers.miniature import FRAMES, SEQUENCE, Miniature


def read(corpus: Miniature) -> pd.DataFrame:
    return read_frames(list_corpus(corpus.root))[0]


def row(corpus: Miniature, frame: int, sequence: str = SEQUENCE) -> pd.Series:
    return read(corpus).set_index(["sequence", "frame"]).loc[(sequence, frame)]


# What facts are known of the data set


def test_each_frame_is_a_row_sorted_by_subject_sequence_and_number(miniature):
    frames = read(miniature)
    assert list(frames["subject"]) == ["ll042"] * 9 + ["tv095"] * 3
    assert list(frames["sequence"]) == np.repeat([*FRAMES], [*FRAMES.values()]).tolist()
    assert list(frames["frame"]) == [1, 2, 3, 4, 5, 1, 2, 3, 4, 1, 2, 3]
    assert set(frames["state"]) == {"ok"}
    for name, value in zip(SEQUENCE_LABELS, (3.5, 7, 4, 2), strict=True):
        assert frames[name].eq(value).all()


def test_a_row_has_the_paths_and_the_action_units_of_its_frame(miniature):
    frame = row(miniature, 3)
    assert frame["image"] == "Images/042-ll042/ll042t1aaaff/ll042t1aaaff003.png"
    assert frame["landmarks"] == "AAM_landmarks/042-ll042/ll042t1aaaff/ll042t1aaaff003_aam.txt"
    coded = {au: frame[f"au{au}"] for au in AUS if frame[f"au{au}"]}
    assert coded == {4: 1, 7: 3, 9: 1, 25: 2, 43: 1}  # the file has AU43 with intensity 0
    assert row(miniature, 1)[[f"au{au}" for au in AUS]].eq(0).all()
    points = read_landmarks(miniature.root, frame["landmarks"])
    np.testing.assert_array_equal(points, np.arange(66)[:, None] + [0, 0.5])


@pytest.mark.parametrize("landmarks", ["AAM_Landmarks", "AAM_landamrks", "AAM landmarks"])
def test_top_folders_may_be_doubled_and_that_of_landmarks_in_any_spelling(miniature, landmarks):
    plain = read(miniature)
    (miniature.root / "AAM_landmarks").rename(miniature.root / landmarks)
    for name in ("Images", "Frame_Labels"):
        (miniature.root / name).rename(miniature.root / "moved")
        (miniature.root / name).mkdir()
        (miniature.root / "moved").rename(miniature.root / name / name)
    found = read(miniature)
    assert found["image"].equals(plain["image"].str.replace("Images", "Images/Images"))
    assert found["landmarks"].str.startswith(f"{landmarks}/").all()
    others = plain.columns.difference(["image", "landmarks"])
    pd.testing.assert_frame_equal(plain[others], found[others])


def test_a_corpus_without_landmarks_and_sequence_labels_is_read(miniature):
    for name in ("AAM_landmarks", "Sequence_Labels"):
        shutil.rmtree(miniature.root / name)
    frames = read(miniature)
    assert frames[["landmarks", *SEQUENCE_LABELS]].isna().all(axis=None)
    assert set(frames["state"]) == {"ok"}


def test_a_sequence_of_landmarks_alone_has_no_frame_and_is_reported(miniature):
    for tree in ("Images", "Frame_Labels/PSPI", "Frame_Labels/FACS"):
        shutil.rmtree(miniature.root / tree / "095-tv095")
    frames, problems, _ = read_frames(list_corpus(miniature.root))
    assert len(frames) == 9
    assert problems == ["095-tv095/tv095t2aeunaff has neither images nor frame labels"]


# Faults of one frame: a counted state


def write(content: bytes):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "state", "sentence"),
    [
        ("picture", Path.unlink, "missing_image", "is missing"),
        ("pspi", Path.unlink, "missing_label", "is missing"),
        ("facs", write(b"4 strong 0 0"), "bad_facs", "strong"),
        ("pspi", write(b"-1"), "bad_pspi", "PSPI -1 is outside 0 to 16"),
        ("picture", write(PNG_START), "truncated", "is cut short at 16 bytes"),
        ("picture", write(b""), "truncated", "is cut short at 0 bytes"),
        ("picture", write(b"a text " * 99), "not_png", "does not begin like a PNG file"),
    ],
)
def test_a_fault_sets_one_frame_aside_and_names_the_file(miniature, file, damage, state, sentence):
    path = getattr(miniature, file)(2)
    damage(path)
    frames = read(miniature)
    faulty = frames[frames["state"] != "ok"]
    assert len(frames) == 12
    assert faulty[["sequence", "frame", "state"]].to_numpy().tolist() == [[SEQUENCE, 2, state]]
    problem = faulty["problem"].item()
    assert problem.startswith(path.relative_to(miniature.root).as_posix())
    assert sentence in problem


def test_a_gap_in_the_numbering_and_a_frame_with_two_faults_tell_so(miniature):
    for file in (miniature.picture, miniature.pspi, miniature.facs):
        file(2).unlink()
    miniature.picture(3).unlink()
    miniature.facs(3).write_text("text")
    gap, frame = row(miniature, 2), row(miniature, 3)
    assert gap["state"] == "missing_frame" and gap[["image", "pain"]].isna().all()
    assert frame["state"] == "missing_image"
    assert "is missing; Frame_Labels/FACS" in frame["problem"]


def test_labels_that_cannot_be_read_leave_unknowns_and_not_zeros(miniature):
    miniature.pspi(2).write_text("text")
    miniature.facs(3).write_text("text")
    without_pspi, without_facs = row(miniature, 2), row(miniature, 3)
    assert without_pspi[["pspi", "pain"]].isna().all()
    assert without_facs[["pspi_facs", *(f"au{au}" for au in AUS)]].isna().all()
    assert without_facs["pain"]


def test_a_file_that_the_system_refuses_to_read_is_set_aside(miniature):
    listing = list_corpus(miniature.root)
    miniature.pspi(2).unlink()
    frames, _, _ = read_frames(listing)
    assert frames["state"].value_counts().to_dict() == {"ok": 11, "unreadable": 1}


def test_what_the_layout_does_not_explain_is_listed(miniature):
    folder = miniature.picture(1).parent
    strays = ["../notes.txt", "Thumbs.db", *(f"{SEQUENCE}{end}.png" for end in ("000", "0001", 1))]
    for stray in strays:
        (folder / stray).touch()
    ignored = list_corpus(miniature.root).ignored
    assert len(ignored) == len(strays)
    assert all(sentence.startswith("'Images/042-ll042") for sentence in ignored)


words = st.sampled_from([b"4", b"43", b"0", b"-1", b"1e309", b"nan", b"x", b" ", b"\n", b"\xff"])
rows, QUIET = st.lists(words).map(b" ".join), [HealthCheck.function_scoped_fixture]


@settings(suppress_health_check=QUIET, deadline=None, max_examples=50)
@given(st.binary(max_size=200) | rows, st.sampled_from(["picture", "pspi", "facs", "rating"]))
def test_any_bytes_in_a_file_end_in_a_counted_state(miniature, content, file):
    path = miniature.rating("OPR") if file == "rating" else getattr(miniature, file)(1)
    whole = path.read_bytes()
    path.write_bytes(content)
    frames, problems, _ = read_frames(list_corpus(miniature.root))
    path.write_bytes(whole)
    assert len(frames) == 12
    assert set(frames["state"]) <= set(STATES)
    assert (frames["state"] != "ok").sum() + len(problems) <= 1


# Faults of the corpus: an error that names the folder


def rename(old: str, new: str):
    return lambda root: (root / old).rename(root / new)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (rename("Images", "Pictures"), "no folder of image files"),
        (rename("Frame_Labels/PSPI", "Frame_Labels/pain"), "no folder of pspi files"),
        (rename("Frame_Labels", "Labels"), "no folder of pspi files"),
        (rename("Images/042-ll042", "Images/ll042"), "'ll042' is not named as in 042-ll042"),
        (rename("Frame_Labels/FACS/042-ll042", "Frame_Labels/FACS/x"), "'x' is not named as in"),
        (
            lambda root: (shutil.rmtree(root / "Images"), (root / "Images").mkdir()),
            "has no Images/",
        ),
        (lambda root: (root / "images").mkdir(), "Images and images. Keep one"),
        (lambda root: (root / "Images/Images").mkdir(), "'Images' is not named as in 042-ll042"),
        (lambda root: root.rename(root / "../moved"), "no such folder"),
        (lambda root: (root / "Images/loop").symlink_to("loop"), "loop cannot be listed"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_by_name(miniature, damage, sentence):
    damage(miniature.root)
    with pytest.raises(CorpusError, match=re.escape(str(miniature.root))) as error:
        list_corpus(miniature.root)
    assert sentence in str(error.value)


# What reading leaves behind
