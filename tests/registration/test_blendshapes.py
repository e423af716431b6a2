import numpy as np
import pytest

from paincore.manifest import fetch
from paincore.registration.blendshapes import BLENDSHAPES, BlendshapeReader
from synthpain.head import View
from synthpain.people import draw_people
from synthpain.render import Renderer

MOVED = {
    "au4": "browDown", "au7": "eyeSquint", "au10": "mouthUpperUp", "au12": "mouthSmile",
    "au20": "mouthStretch", "au26": "jawOpen", "au43": "eyeBlink",
}  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> BlendshapeReader:
    return BlendshapeReader(fetch("landmarker"))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(draw_people(1, 0)[0])


@pytest.mark.parametrize("au", MOVED)
def test_an_action_unit_moves_its_blendshape_the_most(reader, renderer, au):
    view, utmost = View(yaw=5, roll=8), 1.0 if au == "au43" else 5.0
    rest, moved = (reader(renderer.render(aus, view, None)) for aus in ({}, {au: utmost}))
    rise = dict(zip(BLENDSHAPES, moved - rest, strict=True))
    assert max(rise, key=rise.get).startswith(MOVED[au])
    assert max(rise.values()) > 0.25


def test_left_is_the_persons_left_and_place_and_size_of_the_face_do_not_matter(reader, renderer):
    face = renderer.render({}, View(), None)
    raw = reader.landmarker.largest_face(face).crop_points[:, :2].astype(float)
    moved = reader.from_landmarks(raw * 2.5 + [300, -40])
    assert np.abs(moved - reader.from_landmarks(raw)).max() < 1e-3
    upper, lower = [386, 385, 387, 384, 388, 398, 466], [374, 380, 373, 381, 390, 382, 249]
    assert raw[upper, 0].min() > raw[159, 0]  # to the image's right of the other eye
    raw[upper, 1] = raw[lower, 1]
    winked = dict(zip(BLENDSHAPES, reader.from_landmarks(raw), strict=True))
    assert winked["eyeBlinkLeft"] > winked["eyeBlinkRight"] + 0.3
