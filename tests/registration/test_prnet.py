from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.registration.checkpoint import CheckpointError
from paincore.registration.prnet import (
    CONVERTED,
    FACE_VERTEX_COUNT,
    INDEX,
    PRNet,
    crop_around_detection,
    crop_around_landmarks,
    cut,
    grid_triangles,
    read_face_vertices,
    read_keypoints,
    to_image,
)
from paincore.registration.resfcn import Resfcn256, tensor_shapes
from tests.helpers.checkpoint_writer import write_checkpoint

RELEASED = Path(__file__).parents[3] / "shared/prnet"
needs_released = pytest.mark.skipif(
    not (RELEASED / "face_ind.txt").exists(), reason=f"PRNet's UV files are not in {RELEASED}"
)
CANONICAL = np.zeros((68, 3))
ANY_FACE = np.arange(FACE_VERTEX_COUNT) + 5000


@pytest.fixture(scope="module")
def released_size(tmp_path_factory) -> Path:
    """A folder as users make it, with PRNet's names and shapes, drawn weights and another face."""
    folder = tmp_path_factory.mktemp("prnet")
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in tensor_shapes(Resfcn256()).items():
        if len(shape) == 4:
            scale = np.float32((2 / np.prod(shape[:3])) ** 0.5)
            tensors[name] = scale * rng.standard_normal(shape, np.float32)
        else:
            tensors[name] = np.full(shape, not name.endswith(("beta", "mean")), np.float32)
    write_checkpoint(folder, INDEX.removesuffix(".index"), tensors)
    np.savetxt(folder / "face_ind.txt", ANY_FACE)
    np.savetxt(folder / "uv_kpt_ind.txt", [np.arange(68) + 90, np.arange(68) + 60])
    return folder


@pytest.fixture(scope="module")
def prnet(released_size) -> PRNet:
    return PRNet(released_size, CANONICAL)


def photograph(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# The crop


def test_a_landmark_crop_is_1_6_times_the_box_around_its_centre():
    crop = crop_around_landmarks(np.array([[100, 50, 7], [180, 130, 0], [120, 170, 3]]))
    assert crop.side == 160  # 1.6 times the mean of 80 and 120
    assert (crop.left, crop.top) == (140 - 80, 110 - 80)


def test_a_detector_crop_is_1_58_times_the_box_moved_down():
    crop = crop_around_detection(np.array([100, 50, 200, 150]))
    assert crop.side == 158
    assert (crop.left, crop.top) == (150 - 79, pytest.approx(100 + 14 - 79))


@pytest.mark.parametrize("box", [[10, 10, 10, 10], [20, 20, 5, 5], [0, 0, np.nan, 9]])
def test_a_box_without_extent_is_an_error(box):
    with pytest.raises(ValueError, match="no face fits into the box"):
        crop_around_detection(np.array(box))


@settings(deadline=None)
@given(left=st.floats(-40, 200), top=st.floats(-40, 200), side=st.integers(16, 300))
def test_uncropping_leads_back_to_the_pixel_that_the_crop_showed(left, top, side):
    rows, columns = np.mgrid[:256, :256]
    image = np.stack([columns, rows, rows], -1).astype(np.uint8)  # each pixel shows where it is
    crop = crop_around_detection(np.array([left, top, left + side, top + side]))
    shown = 255 * cut(image, crop).reshape(-1, 3)[:, :2]
    map_places = np.stack([columns, rows, rows], -1).reshape(-1, 3)
    place = to_image(map_places, crop)[:, :2]
    inside = ((place >= 0) & (place <= 255)).all(1)
    np.testing.assert_allclose(shown[inside], place[inside], atol=1e-2)


def test_depth_is_scaled_as_the_picture_is():
    crop = crop_around_detection(np.array([0, 0, 100, 100]))
    near, far = to_image(np.array([[0, 0, 255.0], [255, 255, 0]]), crop)
    np.testing.assert_allclose(near - far, [-158, -158, 158])


def test_beyond_the_image_the_crop_is_black():
    crop = crop_around_detection(np.array([-100, -100, 20, 20]))
    picture = cut(np.full((50, 50, 3), 200, np.uint8), crop)
    assert picture[:100, :100].max() == 0
    assert picture.max() == pytest.approx(200 / 255)


# The mesh


@needs_released
def test_the_released_face_has_43867_vertices_and_68_keypoints_in_their_places():
    face = read_face_vertices(RELEASED / "face_ind.txt")
    keypoints = face[read_keypoints(RELEASED / "uv_kpt_ind.txt", face)]
    columns, rows = keypoints % 256, keypoints // 256
    assert len(set(keypoints)) == 68
    assert (np.diff(columns[:17]) > 0).all()  # the jaw, from the picture's left to its right
    assert rows[8] == rows.max()  # the chin
    assert (np.diff(rows[27:31]) > 0).all()  # down the nose
    assert (columns[27:31] == 128).all()


@needs_released
def test_the_released_face_s_triangles_face_the_camera_and_none_is_there_twice():
    face = read_face_vertices(RELEASED / "face_ind.txt")
    triangles = grid_triangles(face)
    assert triangles.shape == (86_850, 3)
    assert len(np.unique(np.sort(triangles, axis=1), axis=0)) == len(triangles)
    assert set(triangles.ravel()) == set(range(len(face)))
    frontal = np.stack([face % 256, -(face // 256)], -1)  # y up
    a, b, c = frontal[triangles].swapaxes(0, 1)
    towards_camera = np.linalg.det(np.stack([b - a, c - a], 1).astype(float))
    np.testing.assert_allclose(towards_camera, 1)


def test_only_squares_whose_four_corners_are_on_the_face_have_triangles():
    rows, columns = np.mgrid[10:13, 20:23]
    face = (rows * 256 + columns).ravel()
    assert len(grid_triangles(face)) == 8
    assert len(grid_triangles(face[:-1])) == 6
    assert len(grid_triangles(np.array([255, 256, 511, 512]))) == 0  # no neighbours across the edge


# The backend


def test_vertices_are_pixels_of_the_image_that_the_crop_reaches(prnet):
    crop = crop_around_detection(np.array([100, 60, 180, 150]))
    (mesh,) = prnet([photograph(0)], [crop])
    assert mesh.vertices.shape == (FACE_VERTEX_COUNT, 3)
    assert mesh.vertices.dtype == np.float32
    low = np.array([crop.left, crop.top, 0])
    assert (mesh.vertices >= low).all()
    assert (mesh.vertices <= low + 1.11 * crop.side).all()
    assert (mesh.vertices.std(0) > 5).all()  # the drawn network is no constant


def test_a_batch_gives_each_image_its_own_mesh(prnet):
    images = [photograph(1), photograph(2, 100, 90)]
    crops = [crop_around_detection(np.array(b)) for b in ([100, 60, 180, 150], [10, 10, 70, 80])]
    together = prnet(images, crops)
    for image, crop, mesh in zip(images, crops, together, strict=True):
        (alone,) = prnet([image], [crop])
        np.testing.assert_allclose(mesh.vertices, alone.vertices, atol=0.01)
    assert prnet([], []) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_cpu_s_mesh(prnet, released_size):
    on_gpu = PRNet(released_size, CANONICAL, device="cuda")
    arguments = [photograph(3)], [crop_around_detection(np.array([100, 60, 180, 150]))]
    (expected,), (mesh,) = prnet(*arguments), on_gpu(*arguments)
    np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=0.01)


def test_the_topology_aligns_the_68_keypoints_by_those_that_keep_still(prnet):
    topology = prnet.topology
    columns, rows = np.arange(68) + 90, np.arange(68) + 60
    np.testing.assert_array_equal(ANY_FACE[topology.anchors], rows * 256 + columns)
    assert topology.canonical is CANONICAL
    assert topology.weights.sum() == 13
    assert topology.weights[[30, 36]].all()
    assert not topology.weights[[8, 19, 57]].any()  # chin, brow, lower lip


# What the user gives


def test_the_checkpoint_is_converted_once(prnet, released_size, tmp_path):
    for name in (CONVERTED, "face_ind.txt", "uv_kpt_ind.txt"):
        (tmp_path / name).symlink_to(released_size / name)
    assert PRNet(tmp_path, CANONICAL).fingerprint == prnet.fingerprint


def test_a_folder_without_the_weights_says_what_is_absent_and_where_to_get_it(tmp_path):
    (tmp_path / "face_ind.txt").touch()
    with pytest.raises(CheckpointError) as caught:
        PRNet(tmp_path, CANONICAL)
    absent = f"{INDEX}, 256_256_resfcn256_weight.data-00000-of-00001, uv_kpt_ind.txt"
    assert str(caught.value).startswith(f"{tmp_path} lacks {absent}. ")
    assert "github.com/yfeng95/PRNet" in str(caught.value)


def test_weights_converted_from_another_checkpoint_are_an_error(prnet, released_size, tmp_path):
    for name in (CONVERTED, "face_ind.txt", "uv_kpt_ind.txt"):
        (tmp_path / name).symlink_to(released_size / name)
    (tmp_path / INDEX).write_bytes(b"another")
    with pytest.raises(CheckpointError, match="was made from another checkpoint"):
        PRNet(tmp_path, CANONICAL)


@pytest.mark.parametrize(
    "numbers",
    [[], ANY_FACE[:-1], ANY_FACE[::-1], ANY_FACE + 60_000, ANY_FACE - 0.5],
    ids=["empty", "truncated", "not ascending", "beyond the map", "not whole"],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_face_vertices_that_are_not_prnet_s_are_an_error(tmp_path, numbers):
    np.savetxt(tmp_path / "face_ind.txt", numbers)
    with pytest.raises(CheckpointError, match=r"face_ind\.txt"):
        read_face_vertices(tmp_path / "face_ind.txt")


@pytest.mark.parametrize("text", ["1 2 3", "a picture", "1 2\n3"])
def test_keypoints_that_are_not_prnet_s_are_an_error(tmp_path, text):
    (tmp_path / "uv_kpt_ind.txt").write_text(text)
    with pytest.raises(CheckpointError, match=r"uv_kpt_ind\.txt"):
        read_keypoints(tmp_path / "uv_kpt_ind.txt", ANY_FACE)
