import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore import paper
from paincore.folds import designs
from paincore.folds.designs import Fold, FoldError, balance, check_leakage, make_folds
from paincore.manifest import dataset_named

MADE_OF_PEOPLE = [design for design in designs.DESIGNS if design != "published"]
OF_FIVE = ["pair_and_shuffle", "balanced"]
UNBC = {name: found["frames"] for name, found in dataset_named("unbc").expected.by_subject.items()}


def table(**people: tuple[int, int]) -> pd.DataFrame:
    """A frames table of one sequence a subject: its frames, of which the last so many are pain."""
    rows = [
        (name, f"{name}t1aaaff", number + 1, number >= frames - pain, "ok")
        for name, (frames, pain) in people.items()
        for number in range(frames)
    ]
    frames = pd.DataFrame(rows, columns=["subject", "sequence", "frame", "pain", "state"])
    return frames.astype({"pain": "boolean"})


def people(counts) -> dict[str, tuple[int, int]]:
    return {f"aa{number:03d}": tuple(count) for number, count in enumerate(counts)}


def drawn(subjects: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = rng.integers(4, 40, subjects)
    pain = (frames * rng.beta(0.7, 2, subjects)).astype(int)
    return table(**people(zip(frames, pain, strict=True)))


def groups(frames: pd.DataFrame, folds: list[Fold]) -> list[list[str]]:
    return [fold.test_subjects(frames) for fold in folds]


@pytest.mark.parametrize("design", [*MADE_OF_PEOPLE, "random_frames"])
def test_every_usable_labelled_frame_is_tested_once_and_no_other_enters(design):
    frames = drawn(10)
    frames.loc[[3, 100], "state"] = "truncated"
    frames.loc[[7, 8], "pain"] = pd.NA
    entering = sorted(set(range(len(frames))) - {3, 100, 7, 8})
    folds = make_folds(frames, design)
    assert sorted(np.concatenate([fold.test for fold in folds])) == entering
    for number, fold in enumerate(folds, start=1):
        assert (fold.design, fold.number) == (design, number)
        assert sorted([*fold.train, *fold.test]) == entering
        assert (np.diff(fold.train) > 0).all() and (np.diff(fold.test) > 0).all()


def test_usable_is_what_the_caller_says_and_counts_follow_it():
    frames = drawn(10)
    usable = np.ones(len(frames), bool)
    usable[::2] = False
    found = balance(frames, make_folds(frames, "balanced", usable))
    assert sum(found["frames"]) == usable.sum()
    ranges = designs.ranges_over_folds(frames, {"balanced": make_folds(frames, "balanced", usable)})
    assert ranges.loc["balanced", "pain"] == found["pain"].max() - found["pain"].min()
    with pytest.raises(FoldError, match="no frame of this table"):
        make_folds(frames, "balanced", np.zeros(len(frames), bool))


@pytest.mark.parametrize("design", MADE_OF_PEOPLE)
def test_rows_in_another_order_give_the_same_people(design):
    frames = drawn(10)
    mixed = frames.sample(frac=1, random_state=1)
    assert groups(frames, make_folds(frames, design)) == groups(mixed, make_folds(mixed, design))


def test_the_published_folds_hold_the_frames_that_the_notebook_counts():
    frames = table(**{name: (count, count // 5) for name, count in UNBC.items()})
    folds = make_folds(frames, "published")
    assert balance(frames, folds)["frames"].tolist() == list(paper.RELEASED_FOLD_FRAMES)
    assert "bn080" in folds[0].test_subjects(frames)
    assert sum(paper.RELEASED_FOLD_FRAMES) == paper.UNBC_FRAMES


def test_the_published_folds_are_refused_for_anybody_else():
    names = [*list(UNBC)[1:], "xx001"]
    with pytest.raises(FoldError, match="ll042 are missing, xx001 are not in them"):
        make_folds(table(**dict.fromkeys(names, (4, 1))), "published")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 60), min_size=25, max_size=25, unique=True))
def test_shuffling_moves_four_people_at_most_and_never_for_the_worse(amounts):
    frames = table(**people((61, pain) for pain in amounts))
    order = sorted(range(25), key=lambda one: -amounts[one])
    dealt = [set() for _ in range(5)]
    for place in range(5):
        dealt[place] |= {order[place], order[24 - place], order[10 + place]}
        dealt[4 - place] |= {order[5 + place], order[19 - place]}
    found = [
        {int(name[2:]) for name in group}
        for group in groups(frames, make_folds(frames, "pair_and_shuffle"))
    ]
    matched = [max(dealt, key=lambda pairs: len(pairs & group)) for group in found]
    assert sum(len(group - pairs) for group, pairs in zip(found, matched, strict=True)) <= 4
    before, after = (
        np.ptp([sum(amounts[one] for one in group) for group in folds]) for folds in (dealt, found)
    )
    assert after <= before


def test_a_seed_orders_only_those_with_as_many_pain_frames():
    distinct = table(**people((30, pain) for pain in range(25)))
    equal = table(**people((30, pain // 5) for pain in range(25)))
    by_seed = [
        [groups(frames, make_folds(frames, "pair_and_shuffle", seed=seed)) for seed in range(4)]
        for frames in (distinct, equal)
    ]
    assert all(folds == by_seed[0][0] for folds in by_seed[0])
    assert by_seed[1][0] != by_seed[1][1]
    assert by_seed[1][0] == groups(equal, make_folds(equal, "pair_and_shuffle", seed=0))


@pytest.mark.parametrize("subjects", [24, 4])
@pytest.mark.parametrize("design", OF_FIVE)
def test_people_that_five_folds_cannot_share_out_are_an_error_with_their_number(design, subjects):
    with pytest.raises(FoldError, match=f"{subjects} subjects .* to 5 folds"):
        make_folds(drawn(subjects), design)


def test_one_person_left_out_at_a_time_may_show_no_pain_and_has_a_fold():
    frames = table(aa001=(5, 0), aa002=(4, 2), aa003=(3, 3))
    folds = make_folds(frames, "leave_one_subject_out")
    assert groups(frames, folds) == [["aa001"], ["aa002"], ["aa003"]]
    rows = balance(frames, folds)
    assert rows["pain"].tolist() == [0, 2, 3] and rows["subjects"].tolist() == [1, 1, 1]
    assert rows["proportion"].tolist() == [0, 50, 100]


def test_a_training_part_of_one_class_is_an_error_that_names_the_fold():
    for others in ({"b": (4, 0), "c": (3, 0)}, {"b": (4, 4)}):
        with pytest.raises(FoldError, match=r"fold 1 .* one class, the frames of b"):
            make_folds(table(a=(5, 2), **others), "leave_one_subject_out")


def test_a_design_that_there_is_not_is_an_error_with_those_there_are():
    with pytest.raises(FoldError, match=r"'stratified'; the designs are .*pair_and_shuffle"):
        make_folds(drawn(10), "stratified")


def test_random_frames_share_out_both_classes_evenly_and_by_seed_alone():
    frames = drawn(10)
    folds = make_folds(frames, "random_frames", seed=1)
    rows = balance(frames, folds)
    assert np.ptp(rows["pain"]) <= 1 and np.ptp(rows["frames"]) <= 2
    again, other = (make_folds(frames, "random_frames", seed=seed) for seed in (1, 2))
    assert all((a.test == b.test).all() for a, b in zip(folds, again, strict=True))
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(folds, other, strict=True))


@pytest.mark.parametrize("design", [*MADE_OF_PEOPLE, "random_frames"])
def test_only_frames_dealt_at_random_leak(design):
    frames = drawn(10)
    starts = np.flatnonzero(frames["subject"] == frames["subject"].shift(-3))
    clips = starts[:, None] + np.arange(4)
    for fold in make_folds(frames, design):
        if design in MADE_OF_PEOPLE:
            check_leakage(frames, fold)
            check_leakage(frames, fold, clips)
        else:
            with pytest.raises(designs.LeakageError, match=r"trained and tested on aa00"):
                check_leakage(frames, fold)


def test_a_clip_that_reaches_over_the_border_is_a_leak_even_by_a_frame_of_neither_side():
    frames = table(aa001=(8, 2), aa002=(8, 2))
    fold = Fold("by hand", 1, np.arange(8), np.arange(9, 16))  # row 8 is on neither side
    inside = np.array([[4, 5, 6, 7], [9, 10, 11, 12]])
    check_leakage(frames, fold, inside)
    for clip, person in (([6, 7, 8, 9], "1"), ([5, 6, 7, 10], "1"), ([8, 5, 6, 7], "2")):
        with pytest.raises(designs.LeakageError, match=f"fold 1 .* aa00{person}"):
            check_leakage(frames, fold, np.vstack([inside, [clip]]))


def test_designs_that_cannot_be_made_have_a_reason_unless_they_are_the_one_asked_for():
    ten, six = drawn(10), table(**people((9, pain) for pain in range(1, 7)))
    made, reasons = designs.possible_designs(ten, np.ones(len(ten), bool), "balanced")
    assert (list(made), list(reasons)) == (OF_FIVE, ["published"])
    usable = np.ones(len(six), bool)
    made, reasons = designs.possible_designs(six, usable, "leave_one_subject_out")
    assert [len(folds) for folds in made.values()] == [6]
    assert list(reasons) == ["published", *OF_FIVE]
    with pytest.raises(FoldError, match="leave_one_subject_out"):
        designs.possible_designs(six, usable, "balanced")
