import math
from pathlib import Path

import numpy as np
import pytest
import torch

from paincore.registration.checkpoint import (
    CheckpointError,
    check_entries,
    read_index,
    read_tensors,
)
from paincore.registration.resfcn import OPTIMISER, Resfcn256, convert, load, tensor_shapes
from tests.helpers.checkpoint_writer import write_checkpoint

FIXTURES = Path(__file__).with_name("fixtures")  # written by tools/make_resfcn_fixture.py
SMALL = FIXTURES / "resfcn.index"
RELEASED = Path(__file__).parents[3] / "shared/prnet/256_256_resfcn256_weight.index"
WIDTH = 1


def small_tensors() -> dict[str, np.ndarray]:
    return read_tensors(read_index(SMALL), tensor_shapes(Resfcn256(WIDTH)))


def conversion_error(index: Path, out: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        convert(index, out, WIDTH)
    return str(caught.value)


@pytest.mark.skipif(not RELEASED.exists(), reason=f"PRNet's released index is not at {RELEASED}")
def test_names_shapes_and_count_are_those_of_the_released_checkpoint():
    index, shapes = read_index(RELEASED), tensor_shapes(Resfcn256())
    inference = {n for n in index.entries if n.rpartition("/")[2] not in OPTIMISER}
    assert shapes.keys() == inference
    check_entries(index, shapes)
    assert len(shapes) == 245
    assert sum(math.prod(shape) for shape in shapes.values()) == 13_365_508


def test_the_network_equals_tensorflow_s_operations(tmp_path):
    convert(SMALL, tmp_path / "small.safetensors", WIDTH)
    network, _ = load(tmp_path / "small.safetensors", WIDTH)
    with np.load(FIXTURES / "resfcn.npz", allow_pickle=False) as fixture:
        picture, expected, step = fixture["picture"], fixture["output"], int(fixture["step"])
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None].double() / 255
    output = network.double()(batch)[0].permute(1, 2, 0).numpy()
    assert output.shape == picture.shape
    assert np.abs(output[:, ::step] - expected).max() < 1e-9
    # A sigmoid at its ends would hide a difference.
    assert ((expected > 0.02) & (expected < 0.98)).mean() > 0.95
    assert (expected.std(axis=(0, 1)) > 0.1).all()


def test_making_the_network_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    Resfcn256(WIDTH)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_conversion_keeps_the_index_s_fingerprint_and_no_optimiser(tmp_path):
    out = tmp_path / "small.safetensors"
    convert(SMALL, out, WIDTH)
    network, source = load(out, WIDTH)
    assert source == "49e05549915728442c825f538f6e02e8ed4adf612d53e85d63de4af86b876641"
    values = sum(math.prod(shape) for shape in tensor_shapes(network).values())
    assert 4 * values < out.stat().st_size < 4 * values + 40_000


def test_a_missing_tensor_is_named(tmp_path):
    tensors = small_tensors()
    del tensors["resfcn256/resBlock_8/shortcut/weights"]
    message = conversion_error(write_checkpoint(tmp_path, "less", tensors), tmp_path / "out")
    assert "less.index lacks 1 of 245 tensors" in message
    assert "resfcn256/resBlock_8/shortcut/weights" in message


def test_a_tensor_that_is_not_the_network_s_is_named(tmp_path):
    tensors = small_tensors() | {"resfcn256/Conv/biases": np.zeros(1, np.float32)}
    message = conversion_error(write_checkpoint(tmp_path, "more", tensors), tmp_path / "out")
    assert "more.index holds 1 tensors that resfcn256 has not" in message
    assert "resfcn256/Conv/biases" in message


def test_a_checkpoint_of_another_width_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="has the shape"):
        convert(SMALL, tmp_path / "out")


def test_a_failed_conversion_leaves_no_file(tmp_path):
    index = write_checkpoint(tmp_path, "cut", small_tensors())
    values = tmp_path / "cut.data-00000-of-00001"
    values.write_bytes(values.read_bytes()[:-1])
    assert "is truncated" in conversion_error(index, tmp_path / "out.safetensors")
    (tmp_path / "a folder").mkdir()
    with pytest.raises(OSError):
        convert(SMALL, tmp_path / "a folder", WIDTH)
    assert {path.name for path in tmp_path.iterdir()} == {index.name, values.name, "a folder"}


@pytest.mark.parametrize("damage", ["absent", "truncated", "another kind", "another width"])
def test_converted_weights_that_cannot_be_used_are_an_error(tmp_path, damage):
    path = tmp_path / "small.safetensors"
    convert(SMALL, path, WIDTH)
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "another kind":
        path.write_bytes(SMALL.read_bytes())
    with pytest.raises(CheckpointError, match=r"small\.safetensors does not hold"):
        load(path, width=2 if damage == "another width" else WIDTH)
