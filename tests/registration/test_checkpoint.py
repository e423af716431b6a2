from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.registration.checkpoint import CheckpointError, read_index, read_tensors
from tests.helpers.checkpoint_writer import write_checkpoint

FIXTURES = Path(__file__).with_name("fixtures")
TENSORS = {
    "net/Conv/weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "net/Conv/weights/Adam": np.zeros((2, 3, 4), np.float32),
    "net/Conv_1/weights": np.linspace(-1, 1, 5, dtype=np.float32),
    "net/scale": np.float32(0.5).reshape(()),
    "step": np.array([3.0]),
}
WANTED = {"net/Conv/weights": (2, 3, 4), "net/Conv_1/weights": (5,), "net/scale": ()}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, "small", TENSORS)


def error_of(index: Path, shapes=WANTED) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_tensors(read_index(index), shapes)
    return str(caught.value)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


# What a whole checkpoint gives


def test_tensorflow_s_own_checkpoint_is_read_with_every_checksum():
    index = read_index(FIXTURES / "resfcn.index")
    assert len(index.entries) == 247
    assert index.entries["beta1_power"].shape == ()
    assert index.entries["resfcn256/Conv/weights"].shape == (4, 4, 3, 1)
    tensors = read_tensors(index, {name: e.shape for name, e in index.entries.items()})
    assert tensors["beta1_power"] == 0.5
    ends = [e.offset + e.size for e in index.entries.values()]
    assert max(ends) == index.shard_path(0).stat().st_size


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@settings(deadline=None)
@given(shapes=st.dictionaries(names, shapes, max_size=12))
def test_what_was_written_is_read(tmp_path_factory, shapes):
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    folder = tmp_path_factory.mktemp("checkpoint")
    read = read_tensors(read_index(write_checkpoint(folder, "any", tensors)), shapes)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


# What a fault gives


def test_a_flipped_byte_of_the_index_is_an_error_or_lies_in_its_padding(index):
    whole, entries = index.read_bytes(), read_index(index).entries
    for position in range(len(whole)):
        flip(index, position)
        try:
            assert read_index(index).entries == entries
            assert len(whole) - 48 < position < len(whole) - 8
            assert whole[position] == 0
        except CheckpointError as fault:
            assert str(index) in str(fault)
        index.write_bytes(whole)


def test_a_truncated_index_is_an_error_at_every_length(index):
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        assert str(index) in error_of(index)


def test_a_flipped_byte_of_the_values_names_the_file_and_the_tensor(index):
    values = read_index(index).shard_path(0)
    flip(values, read_index(index).entries["net/Conv_1/weights"].offset + 7)
    message = error_of(index)
    assert str(values) in message
    assert "net/Conv_1/weights does not match its checksum" in message


def test_truncated_values_name_the_tensor_that_is_cut(index):
    values = read_index(index).shard_path(0)
    entry = read_index(index).entries["net/scale"]
    values.write_bytes(values.read_bytes()[: entry.offset + 1])
    message = error_of(index)
    assert str(values) in message
    assert f"has {entry.offset + 1} bytes, and net/scale ends at byte {entry.offset + 4}" in message


def test_damage_to_a_tensor_that_nobody_wants_does_not_matter(index):
    flip(read_index(index).shard_path(0), read_index(index).entries["step"].offset)
    assert read_tensors(read_index(index), WANTED).keys() == WANTED.keys()


@pytest.mark.parametrize(
    ("shapes", "part"),
    [
        ({"net/bias": (2,)} | WANTED, "lacks 1 of 4 tensors, the first is net/bias"),
        ({"net/Conv/weights": (3, 2, 4)}, "has the shape [2, 3, 4], not [3, 2, 4]"),
        ({"step": (1,)}, "step is not float32"),
    ],
)
def test_another_network_s_checkpoint_is_an_error_that_names_the_tensor(index, shapes, part):
    message = error_of(index, shapes)
    assert str(index) in message
    assert part in message


def test_the_values_of_another_checkpoint_are_an_error(index, tmp_path):
    other = {name: tensor + 1 for name, tensor in TENSORS.items()}
    write_checkpoint(tmp_path, "other", other)
    values = read_index(index).shard_path(0)
    values.write_bytes((tmp_path / "other.data-00000-of-00001").read_bytes())
    assert "belongs to another index" in error_of(index)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n" * 9, bytes(500)])
def test_a_file_of_another_kind_is_not_an_index(tmp_path, content):
    path = tmp_path / "wrong.index"
    path.write_bytes(content)
    assert f"{path} is not the index of a TensorFlow checkpoint" in error_of(path)


def test_the_values_given_for_the_index_are_an_error(index):
    assert "is not the index" in error_of(read_index(index).shard_path(0))


def test_an_absent_file_is_named(index):
    assert "none.index cannot be read: No such file" in error_of(index.with_name("none.index"))
    values = read_index(index).shard_path(0)
    values.unlink()
    assert f"{values} cannot be read: No such file" in error_of(index)
