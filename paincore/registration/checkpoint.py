"""TensorFlow v2 checkpoints, read without TensorFlow.

A checkpoint is an index and its values: `NAME.index`, `NAME.data-00000-of-00001`. The index is a
LevelDB table (sorted keys in blocks, each with a checksum) from a tensor's name to a protobuf
message `BundleEntryProto`: data type, shape, byte offset, size and checksum of its values. The
first entry, with an empty key, is the header. Checksums are CRC-32C, masked as LevelDB does.
Formats: TensorFlow's tensor_bundle.proto and tensor_bundle.h, LevelDB's table_format.md.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from paincore import PaincoreError
from paincore.registration.wire import read_varint, wire_fields

FOOTER_BYTES = 48  # two block handles, padding, and the magic number
MAGIC = 0xDB4775248B80FB57
FLOAT32 = 1  # DT_FLOAT in TensorFlow's types.proto
CRC_MASK = 0xA282EAD8


class CheckpointError(PaincoreError):
    """A file that is no checkpoint, or is damaged; the message names it."""


class TensorEntry(NamedTuple):
    """TensorFlow's number of a tensor's data type, its shape, and where its values lie in the file
    of values: byte offset, size, and the masked CRC-32C of those bytes."""

    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    crc: int


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what fails on a file into a CheckpointError that names it and says what to do."""
    try:
        yield
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise CheckpointError(
            f"{path} cannot be read: {reason}. Get both files of the checkpoint again, from one "
            "download."
        ) from fault


def read_index(path: Path) -> dict[str, TensorEntry]:
    """The entries of an index by name, every checksum checked; CheckpointError names the file."""
    with _naming(path):
        data = path.read_bytes()
        if len(data) < FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != MAGIC:
            raise ValueError("it is no TensorFlow index, or its end is missing")
        rows = dict(table_rows(data))
        header = dict(wire_fields(rows.pop(b"", b"")))
        if header.get(1) != 1 or header.get(2):
            raise ValueError("its values are not in one little-endian file")
        return {key.decode(): read_entry(row) for key, row in rows.items()}


def read_tensors(path: Path, skipped: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The tensors, float32 by name, of the checkpoint whose index is `path`, checksums checked.

    `skipped` are last parts of names, such as the optimiser's "Adam". Raises CheckpointError, which
    names the file and the tensor.
    """
    entries = read_index(path)
    wanted = {n: e for n, e in entries.items() if n.rpartition("/")[2] not in skipped}
    values = path.with_suffix(".data-00000-of-00001")
    with _naming(values):
        data = np.memmap(values, np.uint8, mode="r")
        return {name: read_tensor(data, name, entry) for name, entry in wanted.items()}


def read_tensor(data: np.ndarray, name: str, entry: TensorEntry) -> np.ndarray:
    """One tensor out of the bytes of the values."""
    if entry.dtype != FLOAT32 or entry.size != 4 * math.prod(entry.shape):
        raise ValueError(f"{name} is not float32 (data type {entry.dtype}, {entry.size} bytes)")
    values = data[entry.offset : entry.offset + entry.size].tobytes()
    if len(values) < entry.size:
        raise ValueError(f"it is truncated, {name} ends at byte {entry.offset + entry.size}")
    if masked_crc(values) != entry.crc:
        raise ValueError(f"{name} does not match its checksum")
    return np.frombuffer(values, "<f4").reshape(entry.shape)


def table_rows(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table, in order; ValueError where it is damaged."""
    footer = data[-FOOTER_BYTES:]
    _, position = read_block(data, footer, 0)  # a filter, which may be damaged and is not needed
    index_block, _ = read_block(data, footer, position)
    for _, handle in block_rows(index_block):
        yield from block_rows(read_block(data, handle, 0)[0])


def read_block(data: bytes, handle: bytes, position: int) -> tuple[bytes, int]:
    """The contents of the block that the handle at `position` points to, checked against its
    checksum, and the position behind the handle."""
    offset, position = read_varint(handle, position)
    size, position = read_varint(handle, position)
    end = offset + size
    if end + 5 > len(data) - FOOTER_BYTES:  # behind each block: its compression and its checksum
        raise ValueError(f"a block at byte {offset} runs beyond the end of the table")
    compression, crc = struct.unpack_from("<BI", data, end)
    if masked_crc(data[offset : end + 1]) != crc or compression:
        raise ValueError(f"the block at byte {offset} is compressed or misses its checksum")
    return data[offset:end], position


def block_rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; each key says how much it shares with the one before."""
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        length, position = read_varint(block, position)
        middle = position + unshared
        key = key[:shared] + block[position:middle]
        position = middle + length
        yield key, block[middle:position]


def read_entry(message: bytes) -> TensorEntry:
    """A `BundleEntryProto`; a field that is left out is 0."""
    fields = dict(wire_fields(message))
    dimensions = [dict(wire_fields(v)) for n, v in wire_fields(fields.get(2, b"")) if n == 2]
    shape = tuple(dimension.get(1, 0) for dimension in dimensions)
    crc = int.from_bytes(fields.get(6, b""), "little")
    return TensorEntry(fields.get(1, 0), shape, fields.get(4, 0), fields.get(5, 0), crc)


def masked_crc(data: bytes) -> int:
    """CRC-32C of the bytes, rotated and shifted, since they may hold checksums themselves."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + CRC_MASK) & 0xFFFFFFFF
