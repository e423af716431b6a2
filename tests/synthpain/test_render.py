import cv2
import numpy as np
import pytest

from synthpain.head import View, landmarks66, project
from synthpain.people import draw_people, face_vertices
from synthpain.render import Renderer


@pytest.fixture(scope="module")
def renderer():
    return Renderer(draw_people(2, 0)[1])


def picture(renderer, view=None, **aus):
    return renderer.render(aus, view or View(), np.random.default_rng(0))


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
