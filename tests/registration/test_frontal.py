import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.registration import frontal
from paincore.registration.frontal import FaceMesh, frontalise
from paincore.registration.landmarker import WITHOUT_INNER_CORNERS, PosedCanonicalFace, points_68
from synthpain.head import rotation

ANGLE = st.floats(-55, 55)


def posed_canonical(landmarker, yaw=0.0, pitch=0.0, roll=0.0, scale=12.0):
    """The canonical face as a mesh in a 320x240 image, turned by known angles."""
    points = scale * landmarker.find.canonical @ rotation(yaw, pitch, roll).T
    return FaceMesh((points * [1, -1, 1] + [160, 120, 0]).astype(np.float32), score=1.0)


@given(st.integers(0, 1000), ANGLE, st.floats(0.1, 30))
def test_the_similarity_that_was_applied_is_found(seed, yaw, size):
    rng = np.random.default_rng(seed)
    points, shift = rng.normal(size=(12, 3)), rng.normal(size=3)
    target = size * points @ rotation(yaw, yaw / 2, -yaw).T + shift
    scale, turn, moved = frontal.similarity(points, target, rng.uniform(0.1, 1, 12))
    assert np.isclose(scale, size)
    assert np.allclose(turn, rotation(yaw, yaw / 2, -yaw))
    assert np.allclose(moved, shift)


@settings(max_examples=15, deadline=None)
@given(st.floats(-40, 40), st.floats(-20, 20), st.floats(-30, 30))
def test_known_pose_is_read_off_the_mesh_and_the_view_is_frontal(landmarker, yaw, pitch, roll):
    mesh = posed_canonical(landmarker, yaw, pitch, roll)
    ramp = np.zeros((240, 320, 3), np.uint8)
    view = frontalise(ramp, mesh, landmarker.topology)
    assert np.allclose((view.yaw, view.pitch, view.roll), (yaw, pitch, roll), atol=0.05)


def test_the_frontal_view_shows_each_point_where_the_canonical_face_has_it(landmarker):
    """A dot painted on a turned face appears at the dot's place in the frontal view."""
    mesh = posed_canonical(landmarker, yaw=25, pitch=5)
    for vertex in (4, 61, 33, 105, 152):
        image = np.zeros((240, 320, 3), np.uint8)
        x, y = mesh.vertices[vertex, :2]
        cv2.circle(image, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
        view = frontalise(image, mesh, landmarker.topology, 224)
        rows, columns = np.nonzero(view.image[..., 0] > 100)
        expected = frontal.view_points(landmarker.find.canonical[[vertex]], 224)[0, :2]
        if vertex == 152 and not len(rows):
            continue
        assert np.hypot(columns.mean() - expected[0], rows.mean() - expected[1]) < 4


def test_a_frontal_face_is_wholly_visible_without_holes(landmarker):
    grey = np.full((240, 320, 3), 128, np.uint8)
    view = frontalise(grey, posed_canonical(landmarker), landmarker.topology)
    assert view.visible_share > 0.87  # all but the margin at the outline
    holes = cv2.connectedComponents((~view.visible).astype(np.uint8))[0] - 1
    assert holes == 1  # what is around the face, nothing inside it


@pytest.mark.parametrize("yaw", [-45, -30, 30, 45])
def test_the_background_never_bleeds_in(landmarker, yaw):
    """A face painted green before red: whatever the yaw, no red gets into the view."""
    mesh = posed_canonical(landmarker, yaw)
    image = np.zeros((240, 320, 3), np.uint8)
    image[..., 0] = 255
    for triangle in landmarker.topology.triangles:
        cv2.fillConvexPoly(image, np.round(mesh.vertices[triangle, :2]).astype(int), (0, 255, 0))
    view = frontalise(image, mesh, landmarker.topology)
    assert view.image[view.visible][:, 0].max() < 60
    assert view.visible_share < 0.97
    assert (view.image[~view.visible] == 0).all()


def test_landmarks_pose_the_canonical_face(landmarker):
    backend = PosedCanonicalFace(landmarker.find)
    turned = posed_canonical(landmarker, yaw=20, pitch=-8, roll=10)
    marks = points_68(turned.vertices)[WITHOUT_INNER_CORNERS, :2]
    (mesh, nothing) = backend([None, None], [marks, None])
    assert nothing is None
    assert np.abs(mesh.vertices[:, :2] - turned.vertices[:, :2]).max() < 0.1


def test_a_crop_turns_in_the_plane_only(landmarker):
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    view = frontal.crop(image, posed_canonical(landmarker, yaw=30, roll=20), landmarker.topology)
    assert view.image.shape == (224, 224, 3)
    assert np.isclose(view.yaw, 30, atol=0.1) and np.isclose(view.roll, 20, atol=0.1)
