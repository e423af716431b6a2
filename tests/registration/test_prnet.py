import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore import PaincoreError
from paincore.registration import backends, checkpoint, prnet

FIXTURES = Path(__file__).with_name("fixtures")  # written by tools/make_resfcn_fixture.py
SMALL, SMALL_VALUES = FIXTURES / "resfcn.index", FIXTURES / "resfcn.data-00000-of-00001"
LAST = "resfcn256/resBlock_9/Conv_2/weights"  # in the file, too
RELEASED = Path(__file__).parents[3] / "shared/prnet"
RELEASED_INDEX = RELEASED / "256_256_resfcn256_weight.index"
needs_released = pytest.mark.skipif(
    not RELEASED_INDEX.exists(), reason=f"PRNet's files are not in {RELEASED}"
)
VERTICES = 43_867
ANY_FACE = np.arange(VERTICES) + 5000
KEYPOINTS = np.arange(68) + 90, np.arange(68) + 60  # columns and rows of the position map
NEAR = 0.05  # pixels, to which batches of other sizes agree: rounding grows through 28 layers


# The checkpoint


def test_tensorflow_s_own_checkpoint_is_read_without_its_optimiser():
    entries, tensors = checkpoint.read_index(SMALL), checkpoint.read_tensors(SMALL)
    assert entries.keys() - tensors.keys() == {"beta1_power", "resfcn256/Conv/weights/Adam"}
    assert len(tensors) == 245
    assert tensors["resfcn256/Conv/weights"].shape == (4, 4, 3, 1)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_damaged_values_name_the_file_and_the_tensor(tmp_path, damage):
    index, values = (Path(shutil.copy(path, tmp_path)) for path in (SMALL, SMALL_VALUES))
    start, content = checkpoint.read_index(index)[LAST][1], values.read_bytes()
    flipped = content[:start] + bytes([content[start] ^ 16]) + content[start + 1 :]
    values.write_bytes({"flipped": flipped, "cut": content[:-1], "empty": content[:start]}[damage])
    with pytest.raises(checkpoint.CheckpointError, match=f"{values}.*{LAST}"):
        checkpoint.read_tensors(index)


# The network


@needs_released
def test_names_shapes_and_count_are_those_of_the_released_checkpoint():
    shapes = {n: shape for n, (shape, *_) in checkpoint.read_index(RELEASED_INDEX).items()}
    inference = {
        n: s for n, s in shapes.items() if n.rpartition("/")[2] not in checkpoint.OPTIMISER
    }
    assert len(inference) == 245
    assert sum(math.prod(shape) for shape in inference.values()) == 13_365_508
    empty = {n: torch.empty(s, device="meta") for n, s in inference.items()}
    network = prnet.Resfcn256(empty, "meta")
    assert network(torch.empty(1, 3, 256, 256, device="meta")).shape == (1, 3, 256, 256)


def test_the_network_equals_tensorflow_s_operations():
    network = prnet.Resfcn256(checkpoint.read_tensors(SMALL))
    network.tensors = {name: tensor.double() for name, tensor in network.tensors.items()}
    with np.load(FIXTURES / "resfcn.npz", allow_pickle=False) as fixture:
        image, expected, step = fixture["picture"], fixture["output"], int(fixture["step"])
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    output = network(batch)[0].permute(1, 2, 0).numpy()
    assert output.shape == image.shape
    assert np.abs(output[:, ::step] - expected).max() < 1e-9
    # A sigmoid at its ends would hide a difference.
    assert ((expected > 0.02) & (expected < 0.98)).mean() > 0.95
    assert (expected.std(axis=(0, 1)) > 0.1).all()


# The crop


def around_landmarks(points: np.ndarray) -> prnet.Crop:
    return prnet.crop_around(np.append(points.min(0), points.max(0)), *prnet.AROUND_LANDMARKS)


def around_detection(box: np.ndarray) -> prnet.Crop:
    return prnet.crop_around(box, *prnet.AROUND_DETECTION)


def test_crops_are_1_6_times_the_landmarks_box_and_1_58_times_the_detector_s_moved_down():
    crop = around_landmarks(np.array([[100, 50], [180, 130], [120, 170]]))
    assert crop == (140 - 80, 110 - 80, 160)  # 1.6 times the mean of 80 and 120
    box = np.array([100, 50, 200, 150])
    assert around_detection(box) == (150 - 79, pytest.approx(100 + 14 - 79), 158)


@settings(deadline=None)
@given(left=st.floats(-40, 200), top=st.floats(-40, 200), side=st.integers(16, 300))
def test_uncropping_leads_back_to_the_pixel_that_the_crop_showed(left, top, side):
    rows, columns = np.mgrid[:256, :256]
    image = np.stack([columns, rows, rows], -1).astype(np.uint8)  # each pixel shows where it is
    crop = around_detection(np.array([left, top, left + side, top + side]))
    shown = 255 * prnet.cut(image, crop).reshape(-1, 3)[:, :2]
    places = np.stack([columns, rows, rows], -1).reshape(-1, 3)
    place = prnet.to_image(places, crop)[:, :2]
    inside = ((place >= 0) & (place <= 255)).all(1)
    np.testing.assert_allclose(shown[inside], place[inside], atol=1e-2)


def test_depth_is_scaled_as_the_image_is_and_beyond_the_image_is_black():
    crop = around_detection(np.array([0, 0, 100, 100]))
    near, far = prnet.to_image(np.array([[0, 0, 255.0], [255, 255, 0]]), crop)
    np.testing.assert_allclose(near - far, [-158, -158, 158])
    crop = around_detection(np.array([-100, -100, 20, 20]))
    square = prnet.cut(np.full((50, 50, 3), 200, np.uint8), crop)
    assert square[:100, :100].max() == 0
    assert square.max() == pytest.approx(200 / 255)


# The mesh


@needs_released
def test_the_released_face_s_vertices_keypoints_and_triangles_are_in_their_places():
    face = np.loadtxt(RELEASED / "face_ind.txt").astype(int)
    triangles = prnet.grid_triangles(face)
    assert (len(face), triangles.shape) == (VERTICES, (86_850, 3))
    assert len(np.unique(np.sort(triangles, axis=1), axis=0)) == len(triangles)
    assert set(triangles.ravel()) == set(range(len(face)))
    frontal = np.stack([face % 256, -(face // 256)], -1)  # y up
    a, b, c = frontal[triangles].swapaxes(0, 1)
    towards_camera = np.linalg.det(np.stack([b - a, c - a], 1).astype(float))
    np.testing.assert_allclose(towards_camera, 1)


def test_only_squares_whose_four_corners_are_on_the_face_have_triangles():
    rows, columns = np.mgrid[10:13, 20:23]
    face = (rows * 256 + columns).ravel()
    assert len(prnet.grid_triangles(face)) == 8
    assert len(prnet.grid_triangles(face[:-1])) == 6
    assert (
        len(prnet.grid_triangles(np.array([255, 256, 511, 512]))) == 0
    )  # no neighbours across the edge


# The backend, with names and shapes of the released one, drawn weights and another face


@pytest.fixture
def load_prnet(tmp_path, monkeypatch):
    """Loads the backend `prnet` on a device; the network is the fixture's, of width 1."""
    lists = tmp_path / "face_ind.txt", tmp_path / "uv_kpt_ind.txt"
    for path, numbers in zip(lists, (ANY_FACE, KEYPOINTS), strict=True):
        np.savetxt(path, numbers)
    here = dict(zip(backends.PRNET_FILES, (SMALL, *lists), strict=True)) | {"prnet-weights": None}
    here["landmarker"] = backends.fetch("landmarker")
    monkeypatch.setattr(backends, "fetch", lambda name, **_: here[name])
    return lambda device: backends.load_backend("prnet", device)


def photograph(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_vertices_are_pixels_of_the_image_and_a_batch_gives_each_image_its_own(load_prnet):
    backend, images = load_prnet("cpu"), [photograph(1), photograph(2, 100, 90)]
    landmarks = [np.array([[100.0, 60], [180, 150]]), np.array([[10.0, 10], [70, 80]])]
    together = backend.find(images, landmarks)
    for image, points, mesh in zip(images, landmarks, together, strict=True):
        (alone,) = backend.find([image], [points])
        np.testing.assert_allclose(mesh.vertices, alone.vertices, atol=NEAR)
        assert mesh.vertices.shape == (VERTICES, 3) and mesh.vertices.dtype == np.float32
        crop = around_landmarks(points)
        low = np.array([crop.left, crop.top, 0])
        assert (mesh.vertices >= low).all() and (mesh.vertices <= low + 1.11 * crop.side).all()
        assert (mesh.vertices.std(0) > 1).all()  # the network is no constant


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_cpu_s_mesh(load_prnet):
    arguments = [photograph(3)], [np.array([[100.0, 60], [180, 150]])]
    (expected,), (mesh,) = (load_prnet(device).find(*arguments) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=NEAR)


def test_the_topology_aligns_the_68_keypoints_by_those_that_keep_still(load_prnet):
    topology, (columns, rows) = load_prnet("cpu").topology, KEYPOINTS
    np.testing.assert_array_equal(ANY_FACE[topology.anchors], rows * 256 + columns)
    assert topology.canonical.shape == (68, 3)
    assert topology.weights.sum() == 13
    assert topology.weights[[30, 36]].all()
    assert not topology.weights[[8, 19, 57]].any()  # chin, brow, lower lip


def test_prnet_looks_around_landmarks_or_else_around_the_detected_face(faces, load_prnet):
    backend, room = load_prnet("cpu"), np.full_like(faces[0], 90)
    marks = np.array([[10.0, 20], [60, 20], [60, 70], [10, 70]])
    images, landmarks = [room, faces[0], room, faces[1]], [None, None, marks, marks]
    meshes = backend.find(images, landmarks)
    assert [mesh is not None for mesh in meshes] == [False, True, True, True]
    (alone,) = backend.find([faces[0]], [None])
    assert np.allclose(alone.vertices, meshes[1].vertices, atol=NEAR)
    assert not np.allclose(meshes[1].vertices.mean(0), meshes[3].vertices.mean(0), atol=5)
    assert backend.find([room], [None]) == [None]


def test_an_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(PaincoreError, match=r"'mediapipe'.*landmarker, prnet, landmarks, none"):
        backends.load_backend("mediapipe")
