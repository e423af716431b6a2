import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paincore.data.facs import AUS
from paincore.data.frames import FRAMES, SEQUENCE_LABELS, STATES
from paincore.data.unbc import CorpusError, list_corpus, read_frames, read_landmarks
from tests.helpers.miniature import SEQUENCE, Miniature


def read(corpus: Miniature) -> pd.DataFrame:
    return read_frames(list_corpus(corpus.root))[0]


def row(corpus: Miniature, frame: int, sequence: str = SEQUENCE) -> pd.Series:
    return read(corpus).set_index(["sequence", "frame"]).loc[(sequence, frame)]


def snapshot(root: Path) -> list[tuple]:
    paths = sorted(root.rglob("*"))
    return [(path, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths]


# What facts are known of the data set


def test_each_frame_is_a_row_sorted_by_subject_sequence_and_number(miniature):
    frames = read(miniature)
    FRAMES.validate(frames)
    assert list(frames.groupby(["subject", "sequence"]).size().items()) == [
        (("ll042", "ll042t1aaaff"), 5),
        (("ll042", "ll042t2aiunaff"), 4),
        (("tv095", "tv095t2aeunaff"), 3),
    ]
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
    uncoded = row(miniature, 1)
    assert [uncoded[f"au{au}"] for au in AUS] == [0] * len(AUS)
    points = read_landmarks(miniature.root, frame["landmarks"])
    assert points.shape == (66, 2)
    np.testing.assert_array_equal(points[10], [10, 10.5])


def test_pspi_recomputed_from_facs_is_compared_with_the_label(miniature):
    miniature.pspi(3).write_text("   5.0000000e+00\n")
    frame = row(miniature, 3)
    assert (frame["pspi"], frame["pspi_facs"], frame["pspi_difference"]) == (5, 6, -1)
    assert frame["state"] == "ok"


def test_an_action_unit_outside_the_usual_ones_gets_a_column(miniature):
    miniature.facs(2).write_text("17 3 0 0\n")
    frames = read(miniature).set_index(["sequence", "frame"])["au17"]
    assert frames[SEQUENCE, 2] == 3
    assert frames.drop((SEQUENCE, 2)).eq(0).all()


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
    assert set(frames["subject"]) == {"ll042"}
    assert problems == ["095-tv095/tv095t2aeunaff has neither images nor frame labels"]


def test_a_black_picture_is_whole_until_it_is_decoded(miniature):
    cv2.imwrite(str(miniature.picture(1, "tv095t2aeunaff")), np.zeros((24, 32, 3), np.uint8))
    assert row(miniature, 1, "tv095t2aeunaff")["state"] == "ok"


# Faults of one frame: a counted state


def write(content: bytes):
    return lambda path: path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("file", "damage", "state", "sentence"),
    [
        ("picture", Path.unlink, "missing_image", "is missing"),
        ("pspi", Path.unlink, "missing_label", "is missing"),
        ("facs", Path.unlink, "missing_label", "is missing"),
        ("facs", write(b"4 strong 0 0"), "bad_facs", "'strong' is not a number"),
        ("pspi", write(b"1.0 2.0"), "bad_pspi", "2 values instead of one"),
        ("pspi", write(b"-1"), "bad_pspi", "PSPI -1 is outside 0 to 16"),
        ("picture", cut, "truncated", "does not end as a PNG file does"),
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
    assert gap["state"] == "missing_frame" and pd.isna(gap["image"]) and pd.isna(gap["pain"])
    assert frame["state"] == "missing_image"
    assert "is missing; Frame_Labels/FACS" in frame["problem"]


def test_labels_that_cannot_be_read_leave_unknowns_and_not_zeros(miniature):
    miniature.pspi(2).write_text("text")
    miniature.facs(3).write_text("text")
    frames = read(miniature).set_index(["sequence", "frame"]).loc[SEQUENCE]
    assert np.isnan(frames.loc[2, "pspi"])
    assert pd.isna(frames.loc[2, "pain"])
    assert np.isnan(frames.loc[3, [f"au{au}" for au in AUS]].to_numpy(float)).all()
    assert np.isnan(frames.loc[3, "pspi_facs"])
    assert frames.loc[3, "pain"]


def test_a_sequence_label_that_cannot_be_read_is_reported_and_unknown(miniature):
    miniature.rating("VAS").write_text("3 4")
    frames, problems, _ = read_frames(list_corpus(miniature.root))
    assert len(problems) == 1
    assert "VAS/042-ll042/ll042t1aaaff.txt cannot be used: 2 values" in problems[0]
    assert frames.loc[frames["sequence"] == SEQUENCE, "vas"].isna().all()


def test_a_file_that_the_system_refuses_to_read_is_set_aside(miniature):
    listing = list_corpus(miniature.root)
    miniature.pspi(2).unlink()
    frames, _, _ = read_frames(listing)
    assert frames["state"].value_counts().to_dict() == {"ok": 11, "unreadable": 1}


def test_what_the_layout_does_not_explain_is_listed(miniature):
    folder = miniature.picture(1).parent
    for stray in ("Thumbs.db", f"{SEQUENCE}1.png", f"{SEQUENCE}0001.png", f"{SEQUENCE}000.png"):
        (folder / stray).touch()
    (folder.parent / "notes.txt").touch()
    ignored = list_corpus(miniature.root).ignored
    assert len(ignored) == 5
    assert all(sentence.startswith("'Images/042-ll042") for sentence in ignored)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(st.binary(max_size=200), st.sampled_from(["picture", "pspi", "facs", "rating"]))
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


def remove_pictures(root: Path) -> None:
    for picture in root.rglob("*.png"):
        picture.unlink()


def copy_of_subject(root: Path) -> None:
    (root / "Images/043-ll042/ll042t1aaaff").mkdir(parents=True)
    (root / "Images/043-ll042/ll042t1aaaff/ll042t1aaaff001.png").touch()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (rename("Images", "Pictures"), "no folder Images"),
        (rename("Frame_Labels/PSPI", "Frame_Labels/pain"), "no folder PSPI"),
        (rename("Frame_Labels/FACS", "FACS"), "no folder FACS"),
        (rename("Images/042-ll042", "Images/ll042"), "'ll042' is not named as in 042-ll042"),
        (rename("Frame_Labels/FACS/042-ll042", "Frame_Labels/FACS/x"), "'x' is not named as in"),
        (remove_pictures, "the corpus is empty"),
        (copy_of_subject, "042-ll042 and 043-ll042 are one subject"),
        (lambda root: (root / "images").mkdir(), "Images and images. Keep one"),
        (lambda root: (root / "Images/Images").mkdir(), "Images and other folders. Keep one level"),
        (lambda root: (root / "Images/loop").symlink_to("loop"), "loop cannot be listed"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_by_name(miniature, damage, sentence):
    damage(miniature.root)
    with pytest.raises(CorpusError, match=re.escape(str(miniature.root))) as error:
        list_corpus(miniature.root)
    assert sentence in str(error.value)


def test_a_missing_corpus_folder_is_refused_by_name(tmp_path):
    with pytest.raises(CorpusError, match="nowhere: no such folder"):
        list_corpus(tmp_path / "nowhere")


def test_landmarks_that_cannot_be_read_are_refused_by_name(miniature):
    miniature.landmarks(1).write_text("1 2\n")
    with pytest.raises(CorpusError, match=r"001_aam.txt: 1 rows of x and y"):
        read_landmarks(miniature.root, row(miniature, 1)["landmarks"])


# What reading leaves behind


def test_reading_changes_nothing_in_the_corpus_folder(miniature):
    before = snapshot(miniature.root)
    read(miniature)
    assert snapshot(miniature.root) == before


def test_the_stamp_changes_with_any_file_of_the_corpus_and_with_nothing_else(miniature):
    def stamp():
        return list_corpus(miniature.root).stamp

    first = stamp()
    assert stamp() == first
    stamps = {first}
    for path in (miniature.pspi(1), miniature.landmarks(1), miniature.rating("SEN")):
        os.utime(path, ns=(0, 0))
        stamps.add(stamp())
    assert len(stamps) == 4
