import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthpain.plan import plan_sequences


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 30), st.integers(0, 9))
def test_a_plan_has_exactly_the_frames_asked_for(data, subjects, seed):
    frames = data.draw(st.integers(subjects, 60000))
    plan = plan_sequences(frames, subjects, seed)
    assert sum(sequence.frames for sequence in plan) == frames
    assert min(sequence.frames for sequence in plan) >= 1
    assert {sequence.subject for sequence in plan} == set(range(subjects))
    assert len({sequence.name for sequence in plan}) == len(plan)
    assert any(sequence.black or sequence.damaged for sequence in plan)
    for sequence in plan:
        assert all(sequence.black < frame <= sequence.frames for frame in sequence.damaged)
        assert re.search(r"t[12]a[aefi](aff|unaff)", sequence.name)


def test_a_plan_of_unbcs_size_looks_like_unbc():
    plan = plan_sequences(48398, 25, seed=0)
    lengths = np.array([sequence.frames for sequence in plan])
    counts = np.bincount([sequence.subject for sequence in plan])
    assert len(plan) == 200 and lengths.min() >= 48 and lengths.max() <= 683
    assert counts.min() >= 2 and counts.max() <= 16
    assert sum(sequence.black for sequence in plan) == 7


@pytest.mark.parametrize(("frames", "each"), [(2000, 2), (300, 1)])
def test_a_small_plan_keeps_all_people(frames, each):
    counts = np.bincount([s.subject for s in plan_sequences(frames, 25, seed=0)])
    assert counts.tolist() == [each] * 25
    with pytest.raises(ValueError, match="3 frames cannot show 4 subjects"):
        plan_sequences(3, 4, seed=0)
