import numpy as np
import pytest

from synthpain.head import View, landmarks66, project
from synthpain.people import draw_people, face_vertices

# Where the points of the 68-point scheme lie among the 66: the inner mouth corners are left out.
NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT, BROW_INNER, BROW_OUTER = 30, 48, 54, (21, 22), (17, 26)
UPPER_LIDS, LOWER_LIDS = (37, 38, 43, 44), (41, 40, 47, 46)
UPPER_LIP, LOWER_LIP, INNER_UPPER, INNER_LOWER, CHIN = 51, 57, 61, 64, 8


@pytest.fixture(scope="module")
def person():
    return draw_people(1, 0)[0]


def points(person, view=None, **aus):
    return landmarks66(project(face_vertices(person, aus), view or View()))


def test_yaw_pitch_and_roll_turn_the_nose_as_the_docstring_says(person):
    front = points(person)
    assert points(person, View(yaw=20))[NOSE_TIP, 0] > front[NOSE_TIP, 0] + 5
    assert points(person, View(pitch=15))[NOSE_TIP, 1] < front[NOSE_TIP, 1] - 5
    brows = list(BROW_INNER)
    tilted = points(person, View(roll=15))
    assert (tilted[brows, 0] > front[brows, 0] + 5).all()  # clockwise: the forehead goes right


def test_au43_closes_the_eyes_of_everybody_and_a_blink_just_alike():
    upper, lower = list(UPPER_LIDS), list(LOWER_LIDS)
    for person in draw_people(25, 0):
        opened, closed = points(person), points(person, au43=1.0)
        gap = (opened[lower, 1] - opened[upper, 1]).mean()
        left = (closed[lower, 1] - closed[upper, 1]).mean()
        assert gap > 1.0
        assert abs(left) < 0.25 * gap  # the upper lid may overlap the lower one a little
    half = [face_vertices(person, {au: 0.7}) for au in ("au43", "au45")]
    assert np.array_equal(*half)


def test_action_units_move_what_facs_says(person):
    rest = points(person)
    aus = (1, 2, 4, 10, 12, 15, 20, 25, 26)
    moved = {au: points(person, **{f"au{au}": 5.0}) - rest for au in aus}
    up, down = -1.0, 1.0  # picture rows grow downwards
    assert np.sign(moved[1][list(BROW_INNER), 1]).tolist() == [up, up]
    assert np.sign(moved[2][list(BROW_OUTER), 1]).tolist() == [up, up]
    assert np.sign(moved[4][list(BROW_INNER), 1]).tolist() == [down, down]
    assert moved[10][UPPER_LIP, 1] < -1
    assert (moved[12][[MOUTH_LEFT, MOUTH_RIGHT], 1] < 0).all()
    assert (moved[15][[MOUTH_LEFT, MOUTH_RIGHT], 1] > 0).all()
    assert moved[20][MOUTH_LEFT, 0] < 0 < moved[20][MOUTH_RIGHT, 0]
    for au in (25, 26):
        assert moved[au][INNER_LOWER, 1] - moved[au][INNER_UPPER, 1] > 0.5
    assert moved[26][CHIN, 1] > 3


def test_a_person_is_the_same_however_many_are_drawn():
    few, many = draw_people(3, 7), draw_people(9, 7)
    for a, b in zip(few, many, strict=False):
        assert np.array_equal(a.neutral, b.neutral)
        assert a.texture_seed == b.texture_seed
    assert not np.allclose(few[0].neutral, few[1].neutral, atol=0.01)
