from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paincore.registration import accuracy
from paincore.registration import figures as registration_figures
from paincore.registration.backends import load_backend
from tests.data.test_figures import texts


@pytest.fixture(scope="module")
def landmarker():
    return load_backend("landmarker")


@pytest.fixture(scope="module")
def heads(landmarker):
    return accuracy.turned_heads(landmarker, people=1, turns=(-30, 0, 30, 85))


@pytest.fixture
def face() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 100, (66, 2))


@given(scale=st.floats(0.1, 50), x=st.floats(-500, 500), y=st.floats(-500, 500))
def test_the_landmark_error_is_that_of_any_size_and_place_of_the_face(scale, x, y):
    reference, points = np.random.default_rng(0).uniform(0, 100, (2, 66, 2))
    moved = accuracy.landmark_error(scale * points + [x, y], scale * reference + [x, y])
    assert moved == pytest.approx(accuracy.landmark_error(points, reference), rel=1e-6)


def test_a_shift_by_a_tenth_of_the_face_is_an_error_of_ten_per_cent(face):
    side = np.sqrt(np.ptp(face, axis=0).prod())
    assert accuracy.landmark_error(face + np.array([side / 10, 0]), face) == pytest.approx((10, 10))


def test_an_error_of_the_jaw_alone_counts_in_all_points_only(face):
    off = face.copy()
    off[: accuracy.JAW] += 7
    without_jaw, every = accuracy.landmark_error(off, face)
    assert without_jaw == 0
    assert every > 0


def test_frames_fall_into_the_bin_of_their_yaw_either_way():
    errors = pd.DataFrame({"yaw": [-12.0, 12.0, 10.0, 9.9, -89.0]})
    assert accuracy.by_yaw(errors)["bin"].tolist() == [
        "10-20°", "10-20°", "10-20°", "0-10°", "60-90°",
    ]  # fmt: skip


def test_pose_errors_compare_a_frame_with_its_own_truth():
    keys = pd.DataFrame({"subject": "sy001", "sequence": "a", "frame": [1, 2, 3]})
    truth = keys.assign(yaw=[1.0, 2.0, 3.0], pitch=0.0, roll=0.0)
    found = truth.assign(yaw=truth["yaw"] + 0.5, pitch=-1.0).iloc[[2, 0]]
    errors = accuracy.pose_errors(found, truth)
    assert errors.to_dict("list") == {"yaw": [0.5, 0.5], "pitch": [-1, -1], "roll": [0, 0]}


def test_the_sample_of_all_frames_has_the_mean_of_the_stores_pictures(
    drawn_corpus, drawn_store, landmarker
):
    sample = accuracy.inspect(drawn_corpus, drawn_store, landmarker)
    assert sample.count == drawn_store.usable.sum() == 22
    assert sample.mean_view == pytest.approx(drawn_store.images[drawn_store.usable].mean(0))
    assert len(sample.errors) == 22


def test_landmarks_and_yaw_of_drawn_frames_are_found(drawn_corpus, drawn_store, landmarker):
    sample = accuracy.inspect(drawn_corpus, drawn_store, landmarker, most=6)
    frames = drawn_store.frames[drawn_store.usable]
    assert len(sample.errors) == 6
    assert sample.errors["inner"].median() < 4
    assert accuracy.pose_errors(frames, drawn_corpus.truth)["yaw"].abs().median() < 3


def test_a_head_in_profile_is_kept_as_one_without_a_face(heads, landmarker):
    assert [head.face.state == "ok" for head in heads] == [True, True, True, False]
    assert heads[-1].crop is None
    assert accuracy.turned_table(heads, landmarker)["yaw"].tolist() == [-30, 0, 30]


def test_turning_changes_a_frontal_view_far_less_than_a_plain_crop(heads, landmarker):
    table = accuracy.turned_table(heads, landmarker).set_index("yaw")
    assert table.loc[0, ["view", "crop_face", "crop"]].tolist() == [0, 0, 0]
    for yaw in (-30, 30):
        assert table.loc[yaw, "crop"] > 2 * table.loc[yaw, "view"]
        assert table.loc[yaw, "crop_face"] > 1.3 * table.loc[yaw, "view"]


def test_a_face_that_is_not_found_again_is_listed_and_not_counted(
    drawn_corpus, drawn_store, landmarker
):
    whole = accuracy.inspect(drawn_corpus, drawn_store, landmarker)
    calls = iter(range(100))

    def find(images, landmarks):
        every_other = next(calls) % 2
        return [None] * len(images) if every_other else landmarker.find(images, landmarks)

    sample = accuracy.inspect(drawn_corpus, drawn_store, replace(landmarker, find=find))
    assert (sample.count, len(sample.lost), len(sample.errors)) == (11, 11, 11)
    assert "no face found" in sample.lost[0]
    kept = np.flatnonzero(drawn_store.usable)[::2]
    assert sample.mean_view == pytest.approx(drawn_store.images[kept].mean(0))
    assert whole.lost == ()
    blind = replace(landmarker, find=lambda images, landmarks: [None] * len(images))
    nothing = accuracy.inspect(drawn_corpus, drawn_store, blind)
    assert nothing.count == 0 and nothing.errors.empty and not nothing.mean_view.any()
    figures = [
        registration_figures.steps(drawn_corpus, drawn_store, blind),
        registration_figures.same_patches(drawn_corpus, drawn_store, blind, nothing),
    ]
    assert all("no face" in texts(figure) for figure in figures)
