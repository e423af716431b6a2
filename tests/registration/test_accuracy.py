from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paincore.registration import accuracy


@given(scale=st.floats(0.1, 50), x=st.floats(-500, 500), y=st.floats(-500, 500))
def test_the_landmark_error_is_that_of_any_size_and_place_of_the_face(scale, x, y):
    reference, points = np.random.default_rng(0).uniform(0, 100, (2, 66, 2))
    moved = accuracy.landmark_error(scale * points + [x, y], scale * reference + [x, y])
    assert moved == pytest.approx(accuracy.landmark_error(points, reference), rel=1e-6)


def test_a_shift_counts_by_the_face_s_size_and_the_jaw_not_at_all():
    face = np.random.default_rng(0).uniform(0, 100, (66, 2))
    side = np.sqrt(np.ptp(face, axis=0).prod())
    off = face + np.array([side / 10, 0])
    off[: accuracy.JAW] += 7
    assert accuracy.landmark_error(off, face) == pytest.approx(10)


def test_drawn_frames_are_found_again_with_their_landmarks_pose_and_mean_view(
    drawn_corpus, drawn_store, landmarker
):
    sample = accuracy.inspect(drawn_corpus, drawn_store, landmarker)
    frames = drawn_store.frames[drawn_store.usable]
    assert sample.count == len(sample.errors) == len(frames) == 22
    mean = drawn_store.images[drawn_store.usable].mean(0)
    assert np.abs(sample.mean_view - mean).max() <= 0.5
    assert sample.errors["error"].median() < 4
    assert accuracy.pose_errors(frames, drawn_corpus.truth)["yaw"].abs().median() < 3


def test_a_face_that_is_not_found_again_is_not_counted(drawn_corpus, drawn_store, landmarker):
    calls = iter(range(100))

    def find(images, landmarks):
        every_other = next(calls) % 2
        return [None] * len(images) if every_other else landmarker.find(images, landmarks)

    sample = accuracy.inspect(drawn_corpus, drawn_store, replace(landmarker, find=find))
    assert (sample.count, len(sample.errors)) == (11, 11)
    kept = np.flatnonzero(drawn_store.usable)[::2]
    assert np.abs(sample.mean_view - drawn_store.images[kept].mean(0)).max() <= 0.5


def test_turning_changes_a_frontal_view_far_less_than_a_plain_crop(landmarker):
    heads = accuracy.turned_heads(landmarker, people=1, turns=(-30, 0, 30, 85))
    assert [head.face.state == "ok" for head in heads] == [True, True, True, False]
    table = accuracy.turned_table(heads).set_index("yaw")
    assert table.index.tolist() == [-30, 0, 30]
    assert table.loc[0, ["plain crop", "frontal view"]].tolist() == [0, 0]
    assert (table.loc[[-30, 30], "plain crop"] > 1.3 * table.loc[[-30, 30], "frontal view"]).all()


def test_findings_have_means_over_people_and_claim_no_truth_on_films(
    drawn_corpus, drawn_store, landmarker
):
    sample = accuracy.inspect(drawn_corpus, drawn_store, landmarker, most=6)
    turned = pd.DataFrame(
        [(p, yaw, 20.0 + p, 8.0) for p in range(3) for yaw in (-30, 30)],
        columns=["person", "yaw", "plain crop", "frontal view"],
    )
    count, error, *pose, change = accuracy.registration_findings(
        drawn_corpus, drawn_store, sample, turned
    )
    assert count.estimate == "22 of 24"
    mean = sample.errors.groupby("subject")["error"].mean().mean()
    assert error.estimate.startswith(f"{mean:.2f} [")
    assert [row.question.partition(",")[0] for row in pose] == accuracy.ANGLES
    assert (change.estimate, change.verdict) == ("13.00 [10.52, 15.48]", "higher")
    films = replace(drawn_corpus, truth=None)
    assert len(accuracy.registration_findings(films, drawn_store, sample, None)) == 2
