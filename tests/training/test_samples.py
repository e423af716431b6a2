import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.training import samples
from paincore.training.configuration import configure
from paincore.training.samples import Task, TrainingError, balanced_sample, mix
from tests.helpers.trainable import fold_of, write_store_with_a_signal


def table(frames, pain):
    """A frames table of (sequence, frame) pairs; a sequence's first letter is its subject."""
    made = pd.DataFrame(frames, columns=["sequence", "frame"])
    return made.assign(subject=made["sequence"].str[0], pain=pd.array(pain, "boolean"))


def rng(seed=0):
    return np.random.default_rng(seed)


@st.composite
def corpora(draw):
    """A sorted table with gaps in the numbering and in the labels, and which frames are usable."""
    keys = st.tuples(st.sampled_from(["a1", "a2", "b1"]), st.integers(1, 12))
    frames = sorted(draw(st.sets(keys, min_size=1)))
    flags = st.lists(st.sampled_from([True, True, True, False]), min_size=36, max_size=36)
    labels = st.lists(st.sampled_from([True, False, False, None]), min_size=36, max_size=36)
    usable = np.array(draw(flags)[: len(frames)])
    return table(frames, draw(labels)[: len(frames)]), usable


def clips_by_hand(frames, usable, length, stride):
    found = []
    rows = {(r.sequence, r.frame): i for i, r in enumerate(frames.itertuples())}
    for sequence in frames["sequence"].unique():
        clips = []
        for frame in range(1, 13):
            clip = [rows.get((sequence, n)) for n in range(frame - length + 1, frame + 1)]
            good = None not in clip and all(usable[i] for i in clip)
            if good and frames["pain"].iloc[clip[-1]] is not pd.NA:
                clips.append(clip)
        found += clips[::stride]
    return found


@settings(max_examples=40, deadline=None)
@given(corpora(), st.sampled_from(["vit", "vivit"]), st.integers(1, 3))
def test_samples_are_those_that_a_loop_over_sequences_finds(corpus, model, stride):
    frames, usable = corpus
    expected = clips_by_hand(frames, usable, {"vit": 1, "vivit": 4}[model], stride)
    against = samples.reasons_against(frames, usable, model, stride)
    assert np.flatnonzero(against == "").tolist() == [clip[-1] for clip in expected]
    if expected:
        assert samples.sample_rows(frames, usable, model, stride).tolist() == expected
    else:
        with pytest.raises(TrainingError, match="no sample for"):
            samples.sample_rows(frames, usable, model, stride)


def test_half_of_a_balanced_sample_is_pain_and_each_frame_of_a_class_is_as_likely():
    pain = np.arange(40_000) % 20 == 0
    order = balanced_sample(pain, rng())
    assert abs(pain[order].mean() - 0.5) < 4 * 0.5 / np.sqrt(40_000)
    times = np.bincount(order, minlength=40_000)
    assert abs(times[pain].var() / 10 - 1) < 0.2  # Poisson: its variance is its mean, 10
    assert abs(times[pain][:1000].mean() - 10) < 4 * np.sqrt(10 / 1000)


@pytest.fixture
def people():
    """600 samples of four subjects, the last without pain: pain (m,) and subjects (m,)."""
    subjects = np.repeat(["a", "b", "c", "d"], 150)
    return (rng(1).random(600) < 0.2) & (subjects != "d"), subjects


@pytest.mark.parametrize("rows", ["random", "every_fifth"])
def test_a_fifth_is_mixed_with_the_same_subject_s_other_class_or_left_out(people, rows):
    pain, subjects = people
    order = balanced_sample(pain, rng())
    result = mix(order, pain, subjects, 0.8, rng(), rows)
    mixed = result.second != result.first
    assert (result.first == order).all()
    assert (subjects[result.first] == subjects[result.second]).all()
    assert (pain[result.first[mixed]] != pain[result.second[mixed]]).all()
    assert (result.weight[~mixed] == 1).all() and (result.weight[mixed] < 1).all()
    fifth = 120 if rows == "random" else ((order % 5 == 0) & (order > 0)).sum()
    assert mixed.sum() + result.left_out == fifth and result.left_out > 5
    assert rows == "random" or (order[mixed] % 5 == 0).all()


def test_all_frames_of_the_other_class_are_partners_and_weights_are_beta():
    pain = np.arange(40) % 4 == 0
    result = mix(np.ones(50_000, int), pain, np.full(40, "a"), 0.4, rng())
    mixed = result.second != 1
    assert set(result.second[mixed]) == set(np.flatnonzero(pain))
    assert abs(result.weight[mixed].mean() - 0.5) < 0.02
    assert abs(result.weight[mixed].var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01


@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_labels_shuffled_within_subjects_keep_what_is_a_person_s_and_all_do_not(tmp_path, model):
    store = write_store_with_a_signal(tmp_path / "store", subjects=8)

    def selected(shuffled):
        one = configure(model=model, shuffled_labels=shuffled)
        return samples.fold_samples(Task(store, one, fold_of(store, 1), 0, torch.device("cpu")))

    true, within, across = (selected(how) for how in (False, "within_subjects", "all"))
    people = store.frames["subject"].to_numpy()[true.rows[true.train, -1]]

    def pain_of(labels):
        return [int(labels[people == person].sum()) for person in np.unique(people)]

    assert pain_of(within.labels) == pain_of(true.labels) != pain_of(across.labels)
    assert across.labels.sum() == true.labels.sum()
    for one in np.unique(people):
        assert (within.labels != true.labels)[people == one].any(), one
    for shuffled in (within, across):  # what is tested stays true
        np.testing.assert_array_equal(shuffled.pain, true.pain)
