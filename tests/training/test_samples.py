import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.training.samples import (
    ClipError,
    SamplingError,
    balanced_draws,
    left_out,
    mix,
    samples,
)


def table(frames, pain=None):
    """A frames table of (sequence, frame) pairs; a sequence's first letter is its subject."""
    sequences, numbers = zip(*frames, strict=True)
    return pd.DataFrame(
        {
            "subject": [name[0] for name in sequences],
            "sequence": sequences,
            "frame": numbers,
            "pain": pd.array(pain if pain is not None else [False] * len(frames), "boolean"),
        }
    )


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
    missing = left_out(frames, usable, model, stride)
    if expected:
        assert samples(frames, usable, model, stride).tolist() == expected
    else:
        with pytest.raises(ClipError):
            samples(frames, usable, model, stride)
    assert missing["frames"].sum() + len(expected) == len(frames)


def test_every_frame_that_ends_no_clip_is_counted_under_its_reason():
    numbers = [("a1", n) for n in (*range(1, 10), 11, *range(12, 15))]
    usable = np.ones(13, bool)
    usable[5] = False
    pain = [False] * 12 + [None]
    counts = left_out(table(numbers, pain), usable, "vivit").set_index("reason")["frames"]
    assert counts.to_dict() == {"no_face": 1, "no_label": 1, "short": 6, "broken": 3, "stride": 0}


def test_a_clip_is_labelled_by_its_last_frame_alone():
    frames = table([("a1", n) for n in range(1, 6)], [None, None, None, True, None])
    assert samples(frames, np.ones(5, bool), "vivit").tolist() == [[0, 1, 2, 3]]


def test_sequences_of_three_frames_give_no_clip_and_an_error_that_counts():
    frames = table([("a1", 1), ("a1", 2), ("a1", 3)])
    with pytest.raises(ClipError, match=r"4 subsequent frames .* 3 frames .*'short': 3"):
        samples(frames, np.ones(3, bool), "vivit")


@pytest.mark.parametrize(("model", "stride"), [("vit-b", 1), ("vit", 0)])
def test_an_unknown_model_and_a_stride_below_one_are_refused(model, stride):
    with pytest.raises(SamplingError, match=r"vit-b|stride of 0"):
        samples(table([("a1", 1)]), np.ones(1, bool), model, stride)


def test_half_of_the_draws_are_pain_and_each_frame_of_a_class_is_as_likely():
    pain = np.arange(40_000) % 20 == 0
    draws = balanced_draws(pain, rng())
    assert draws.dtype == np.int64 and len(draws) == 40_000
    assert abs(pain[draws].mean() - 0.5) < 4 * 0.5 / np.sqrt(40_000)
    times = np.bincount(draws, minlength=40_000)
    assert abs(times[pain].var() / 10 - 1) < 0.2  # Poisson: as scattered as its mean, 10
    assert abs(times[pain][:1000].mean() - 10) < 4 * np.sqrt(10 / 1000)


@pytest.mark.parametrize("pain", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_one_class_cannot_be_balanced(pain):
    with pytest.raises(SamplingError, match="a class is empty"):
        balanced_draws(pain, rng())


@pytest.fixture
def people():
    """600 samples of four subjects, the last without pain: pain (m,) and subjects (m,)."""
    subjects = np.repeat(["a", "b", "c", "d"], 150)
    pain = (rng(1).random(600) < 0.2) & (subjects != "d")
    return pain, subjects


@pytest.mark.parametrize("rows", ["random", "every_fifth"])
def test_a_partner_is_of_the_same_subject_and_the_other_class(people, rows):
    pain, subjects = people
    draws = balanced_draws(pain, rng())
    result = mix(draws, pain, subjects, 0.8, rng(), rows)
    mixed = result.second != result.first
    assert (result.first == draws).all()
    assert (subjects[result.first] == subjects[result.second]).all()
    assert (pain[result.first[mixed]] != pain[result.second[mixed]]).all()
    assert (result.weight[~mixed] == 1).all() and (result.weight[mixed] < 1).all()
    assert result.weight.dtype == np.float32


def test_random_rows_are_a_fifth_of_the_draws_less_those_of_one_class(people):
    pain, subjects = people
    draws = rng().integers(600, size=1003)
    result = mix(draws, pain, subjects, 0.8, rng())
    mixed = result.second != result.first
    assert mixed.sum() + result.left_out == round(0.2 * 1003)
    assert result.left_out > 20 and not (subjects[draws[mixed]] == "d").any()


def test_every_fifth_mixes_the_samples_whose_number_is_a_multiple_of_five_but_0(people):
    pain, subjects = people
    result = mix(np.arange(600), pain, subjects, 0.8, rng(), "every_fifth")
    mixed = np.flatnonzero(result.second != result.first)
    assert mixed.tolist() == list(range(5, 450, 5))
    assert result.left_out == 30


def test_all_frames_of_the_other_class_are_partners_and_weights_are_beta():
    pain = np.arange(40) % 4 == 0
    result = mix(np.ones(20_000, int), pain, np.full(40, "a"), 0.4, rng(), share=1)
    assert set(result.second) == set(np.flatnonzero(pain))
    assert abs(result.weight.mean() - 0.5) < 0.01
    assert abs(result.weight.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01


def test_draws_follow_from_the_generator_alone(people):
    pain, subjects = people
    np.random.seed(0)  # noqa: NPY002 (the global state that must not matter)
    once = mix(balanced_draws(pain, rng(3)), pain, subjects, 0.8, rng(4))
    np.random.seed(1)  # noqa: NPY002
    again = mix(balanced_draws(pain, rng(3)), pain, subjects, 0.8, rng(4))
    other = mix(balanced_draws(pain, rng(3)), pain, subjects, 0.8, rng(5))
    assert (once.second == again.second).all() and (once.weight == again.weight).all()
    assert (once.weight != other.weight).any()


@pytest.mark.parametrize(
    ("alpha", "rows", "message"),
    [
        (0, "random", "mixup_alpha 0 "),
        (-1, "random", "mixup_alpha -1 "),
        (float("nan"), "random", "nan"),
        (0.8, "every_second", "'every_second'"),
    ],
)
def test_impossible_settings_of_mixup_are_refused(people, alpha, rows, message):
    with pytest.raises(SamplingError, match=message):
        mix(np.arange(600), *people, alpha, rng(), rows)
