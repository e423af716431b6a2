import re
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.folds import even
from paincore.folds.even import FoldError, most_even_partition


def partitions(subjects: tuple[int, ...], size: int) -> Iterator[list[tuple[int, ...]]]:
    """Every way to deal the subjects to groups of `size`, once each."""
    if not subjects:
        yield []
        return
    first, *others = subjects
    for mates in combinations(others, size - 1):
        left = tuple(one for one in others if one not in mates)
        for rest in partitions(left, size):
            yield [(first, *mates), *rest]


def ranges(groups, frames, pain) -> tuple[int, int, float]:
    n = [sum(frames[one] for one in group) for group in groups]
    p = [sum(pain[one] for one in group) for group in groups]
    proportions = [a / b for a, b in zip(p, n, strict=True)]
    return max(p) - min(p), max(n) - min(n), max(proportions) - min(proportions)


def counts(subjects: int, most: int):
    """Frames and pain frames of each subject: few different values, or many."""
    subject = st.integers(1, most).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
    return st.lists(subject, min_size=subjects, max_size=subjects)


@pytest.mark.parametrize(("subjects", "folds"), [(10, 5), (9, 3), (8, 2), (5, 5)])
@pytest.mark.parametrize("most", [4, 3000])
def test_no_partition_is_more_even_than_the_one_found(subjects, folds, most):
    every = list(partitions(tuple(range(subjects)), subjects // folds))

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(counts(subjects, most))
    def compare(counted):
        frames, pain = np.array(counted).T
        found = most_even_partition(frames, pain, folds)
        assert sorted(found.ravel()) == list(range(subjects))
        best = min(ranges(groups, frames, pain) for groups in every)
        assert ranges(found, frames, pain) == pytest.approx(best, rel=0, abs=1e-6)

    compare()


def test_a_perfectly_even_partition_of_25_people_is_found_where_there_is_one():
    rng = np.random.default_rng(1)
    frames, pain = rng.integers(500, 2000, (5, 5)), rng.integers(0, 300, (5, 5))
    frames[:, 4], pain[:, 4] = 9000 - frames[:, :4].sum(1), 1200 - pain[:, :4].sum(1)
    hidden = rng.permutation(25)
    frames, pain = frames.ravel()[hidden], pain.ravel()[hidden]
    found = most_even_partition(frames, pain, 5)
    assert found.shape == (5, 5)
    assert sorted(found.ravel()) == list(range(25))
    assert ranges(found, frames, pain) == (0, 0, 0)


def test_the_optimum_is_that_of_all_1401400_partitions_of_15_people():
    frames = [295, 35, 176, 348, 136, 168, 374, 50, 201, 281, 142, 126, 103, 148, 375]
    pain = [188, 1, 124, 336, 113, 21, 146, 29, 64, 13, 98, 41, 69, 24, 325]
    found = most_even_partition(np.array(frames), np.array(pain), 5)
    assert ranges(found, frames, pain) == pytest.approx((73, 403, 0.25553), abs=1e-5)


def test_many_optima_are_no_long_search_and_the_same_one_is_found():
    pain = np.array([*range(13), *range(12)])  # 144 over five folds: the range is 1 at least
    found = most_even_partition(np.full(25, 12), pain, 5)
    assert ranges(found, [12] * 25, pain) == (1, 0, pytest.approx(1 / 60))
    assert (found == most_even_partition(np.full(25, 12), pain, 5)).all()


def test_a_search_that_is_stopped_gives_its_best_folds_and_what_is_proven(monkeypatch):
    rng = np.random.default_rng(28)
    frames = (rng.pareto(1.5, 25) * 500 + 300).astype(int)
    pain = (frames * rng.beta(0.6, 2.5, 25)).astype(int)
    pain[rng.random(25) < 0.4] = 0
    monkeypatch.setattr(even, "MOST_TRIED", 1_000_000)
    with pytest.warns(UserWarning, match="range of frames") as told:
        found = most_even_partition(frames, pain, 5)
    assert sorted(found.ravel()) == list(range(25))
    reached, least = map(float, re.findall(r"[\d.]*\d", str(told[0].message)))
    assert reached == ranges(found, frames, pain)[1] > least > 0
    monkeypatch.setattr(even, "MOST_TRIED", 0)
    with pytest.raises(FoldError, match="pair_and_shuffle"):
        most_even_partition(frames, pain, 5)


def test_more_subjects_than_can_be_listed_are_refused_with_another_design():
    with pytest.raises(FoldError, match=r"40 subjects are too many.* pair_and_shuffle"):
        most_even_partition(np.full(40, 9), np.full(40, 3), 5)
