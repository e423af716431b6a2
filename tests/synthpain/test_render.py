import cv2
import numpy as np
import pytest

from synthpain.head import View, landmarks66, project
from synthpain.people import draw_people, face_vertices
from synthpain.render import Renderer
from synthpain.shading import PLANE_LEFT, PLANE_SCALE, PLANE_TOP
from synthpain.skin import CREASES, wrinkle_heights


@pytest.fixture(scope="module")
def renderer():
    return Renderer(draw_people(2, 0)[1])


def picture(renderer, view=None, **aus):
    return renderer.render(aus, view or View(), np.random.default_rng(0))


def test_a_picture_is_the_same_to_the_byte_from_a_new_renderer(renderer):
    again = Renderer(renderer.person)
    view = View(yaw=12, pitch=-4)
    assert np.array_equal(picture(renderer, view, au4=3.0), picture(again, view, au4=3.0))


def test_a_picture_has_the_asked_size_and_a_head_before_the_room(renderer):
    image = picture(renderer, View(width=200, height=160))
    assert image.shape == (160, 200, 3) and image.dtype == np.uint8
    room = picture(renderer, View(width=200, height=160, x=5.0))  # the head far outside
    assert 0.2 < (abs(image.astype(int) - room).max(2) > 25).mean() < 0.7
    larger = View(width=700, height=525)  # than the noise, which may be left out
    noisy, clean = (renderer.render({}, larger, rng) for rng in (np.random.default_rng(0), None))
    assert noisy.shape == (525, 700, 3)
    assert 1.5 < (noisy.astype(float) - clean).std() < 3


def test_landmarks_lie_on_the_drawn_face(renderer):
    view = View(yaw=15, x=0.05)
    image = picture(renderer, view).astype(int)
    gone = picture(renderer, View(x=9.0)).astype(int)
    marks = landmarks66(project(face_vertices(renderer.person, {}), view))[17:]
    columns, rows = np.round(marks).astype(int).T
    assert (abs(image - gone).max(2)[rows, columns] > 8).mean() > 0.95


@pytest.mark.parametrize("au", [1, 2, 4, 6, 7, 9, 10, 12, 15, 20, 25, 26])
def test_every_action_unit_shows(renderer, au):
    """At full intensity the mean change around the face's moving parts is well above the noise."""
    still = picture(renderer).astype(float)
    moved = picture(renderer, **{f"au{au}": 5.0}).astype(float)
    change = cv2.GaussianBlur(abs(moved - still).max(2), (0, 0), 2)  # the noise is the same draw
    assert np.sort(change.ravel())[-200:].mean() > 12


FOLDS = [
    (4, (7.30, 7.60), (-0.12, 0.12)),
    (6, (7.05, 7.20), (0.15, 0.50)),
    (9, (7.15, 7.30), (-0.12, 0.12)),
]


@pytest.mark.parametrize(("au", "rows", "columns"), FOLDS)
def test_wrinkles_change_the_shading_where_they_fold(renderer, au, rows, columns):
    """The paint alone, without any movement of the mesh."""
    folded = renderer.skin.relief_at({f"au{au}": 5.0}) - renderer.skin.relief_at({})
    top, bottom = (int((PLANE_TOP - y) * PLANE_SCALE) for y in rows[::-1])
    left, right = (int((x - PLANE_LEFT) * PLANE_SCALE) for x in columns)
    inside = abs(folded[top:bottom, left:right, :2]).max(2)
    assert np.percentile(inside, 90) > 0.25  # a slope of a quarter: 14 degrees of tilt
    assert abs(folded[2 * PLANE_SCALE :, :, :2]).max() < 0.02  # the chin stays smooth


def test_wrinkles_are_symmetrical_and_grow_with_intensity(renderer):
    for au in CREASES:
        height = wrinkle_heights()[au]
        assert np.allclose(height[:, 1:], height[:, :0:-1], atol=2e-3)
    slopes = [abs(renderer.skin.relief_at({"au4": i})[..., 0]).sum() for i in range(6)]
    assert slopes == sorted(slopes)


def test_light_from_the_left_brightens_the_left_half(renderer):
    left = picture(renderer, View(light_yaw=-60, light_strength=0.9)).astype(float)
    right = picture(renderer, View(light_yaw=60, light_strength=0.9)).astype(float)
    face = slice(90, 180), slice(110, 210)
    balance = [np.diff([h.mean() for h in np.split(i[face], 2, axis=1)])[0] for i in (left, right)]
    assert balance[0] < -10 and balance[1] > 10
