"""TensorFlow v2 checkpoints, read without TensorFlow.

A checkpoint is an index and its data shards: `NAME.index`, `NAME.data-00000-of-00001`. The index is
a LevelDB table (sorted keys in blocks, each with a checksum) from a tensor's name to a protobuf
message `BundleEntryProto`: data type, shape, shard, byte offset, size and checksum of its values.
The first entry, with an empty key, is the header. Checksums are CRC-32C, masked as LevelDB does.
Formats: TensorFlow's tensor_bundle.proto and tensor_bundle.h, LevelDB's table_format.md. Used to
convert PRNet's released weights (chapter 02).
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from paincore import PaincoreError
from paincore.registration.wire import read_varint, wire_fields

FOOTER_BYTES = 48  # two block handles, padding, and the magic number
MAGIC = 0xDB4775248B80FB57
TRAILER_BYTES = 5  # behind each block: its compression and its checksum
FLOAT32 = 1  # DT_FLOAT in TensorFlow's types.proto
CRC_MASK = 0xA282EAD8
ANEW = "Get the checkpoint's files anew, all from one download."


class CheckpointError(PaincoreError):
    """A file is no checkpoint, is damaged, or is another network's; the message says which."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: TensorFlow's number of its data type, its shape, the data shard, byte
    offset and size in it, and the masked CRC-32C of those bytes."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Index:
    """A checkpoint's index: its file, the number of data shards, and the entries by name."""

    path: Path
    shards: int
    entries: Mapping[str, Entry]

    def shard_path(self, shard: int) -> Path:
        """The file of a data shard, numbered from 0."""
        return self.path.with_suffix(f".data-{shard:05d}-of-{self.shards:05d}")


def read_index(path: Path) -> Index:
    """The index of a checkpoint, every block's checksum checked.

    Raises CheckpointError, which names the file, if it is absent, truncated, damaged or not an
    index.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise CheckpointError(f"{path} cannot be read: {fault.strerror}. {ANEW}") from fault
    if len(data) < FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise CheckpointError(
            f"{path} is not the index of a TensorFlow checkpoint, or its end is missing: it does "
            f"not end in a table's magic number. {ANEW}"
        )
    try:
        rows = dict(table_rows(data))
        shards = read_header(rows.pop(b""))
        return Index(path, shards, {key.decode(): read_entry(row) for key, row in rows.items()})
    except KeyError as fault:
        raise CheckpointError(f"{path} has no checkpoint's header. {ANEW}") from fault
    except ValueError as fault:
        raise CheckpointError(f"{path} is damaged: {fault}. {ANEW}") from fault


def table_rows(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table, in order; ValueError where it is damaged."""
    footer = data[-FOOTER_BYTES:]
    filter_block, position = read_handle(footer, 0)
    index_block, _ = read_handle(footer, position)
    read_block(data, filter_block)  # says nothing about a checkpoint, but may be damaged
    for _, handle in block_rows(read_block(data, index_block)):
        yield from block_rows(read_block(data, read_handle(handle, 0)[0]))


def read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's offset and size, and the position behind them."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def read_block(data: bytes, handle: tuple[int, int]) -> bytes:
    """The contents of a block, checked against its checksum."""
    offset, size = handle
    end = offset + size
    if end + TRAILER_BYTES > len(data) - FOOTER_BYTES:
        raise ValueError(f"a block at byte {offset} runs beyond the end of the table")
    compression, crc = struct.unpack_from("<BI", data, end)
    if masked_crc(data[offset : end + 1]) != crc:
        raise ValueError(f"the block at byte {offset} does not match its checksum")
    if compression:
        raise ValueError(f"the block at byte {offset} is compressed, as no checkpoint's index is")
    return data[offset:end]


def block_rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; each key says how much it shares with the one before."""
    if len(block) < 4:
        raise ValueError("a block is too short")
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


def read_header(message: bytes) -> int:
    """The number of data shards in a `BundleHeaderProto`."""
    fields = dict(wire_fields(message))
    if fields.get(2, 0) != 0:
        raise ValueError("its values are big-endian, which is not read here")
    return fields.get(1, 0)


def read_entry(message: bytes) -> Entry:
    """A `BundleEntryProto`; a field that is left out is 0."""
    fields = dict(wire_fields(message))
    dimensions = [
        dict(wire_fields(value)) for number, value in wire_fields(fields.get(2, b"")) if number == 2
    ]
    return Entry(
        dtype=fields.get(1, 0),
        shape=tuple(dimension.get(1, 0) for dimension in dimensions),
        shard=fields.get(3, 0),
        offset=fields.get(4, 0),
        size=fields.get(5, 0),
        crc=int.from_bytes(fields.get(6, b""), "little"),
    )


def masked_crc(data: bytes) -> int:
    """CRC-32C of the bytes, rotated and shifted, since they may hold checksums themselves."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + CRC_MASK) & 0xFFFFFFFF


def read_tensors(index: Index, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The named tensors, float32, each checked for its shape, its size and its checksum.

    Raises CheckpointError, which names file and tensor, if one is missing, has another shape or
    type, lies beyond the end of its file, or is damaged.
    """
    check_entries(index, shapes)
    by_shard: dict[int, dict[str, Entry]] = {}
    for name in shapes:
        entry = index.entries[name]
        by_shard.setdefault(entry.shard, {})[name] = entry
    tensors = {}
    for shard, entries in by_shard.items():
        path = index.shard_path(shard)
        try:
            with path.open("rb") as file:
                tensors |= {name: read_tensor(file, name, e) for name, e in entries.items()}
        except OSError as fault:
            raise CheckpointError(f"{path} cannot be read: {fault.strerror}. {ANEW}") from fault
    return tensors


def check_entries(index: Index, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise CheckpointError if the index lacks a tensor or says another shape, type or size."""
    missing = sorted(set(shapes) - set(index.entries))
    if missing:
        raise CheckpointError(
            f"{index.path} lacks {len(missing)} of {len(shapes)} tensors, the first is "
            f"{missing[0]}: it is another network's checkpoint, or another version of it. {ANEW}"
        )
    for name, shape in shapes.items():
        entry = index.entries[name]
        if entry.shape != tuple(shape):
            raise CheckpointError(
                f"{index.path}: {name} has the shape {list(entry.shape)}, not {list(shape)}: it "
                f"is another network's checkpoint. {ANEW}"
            )
        if entry.dtype != FLOAT32 or entry.size != 4 * math.prod(shape):
            raise CheckpointError(
                f"{index.path}: {name} is not float32 (data type {entry.dtype}, {entry.size} "
                f"bytes): it is another network's checkpoint. {ANEW}"
            )


def read_tensor(file: BinaryIO, name: str, entry: Entry) -> np.ndarray:
    """One tensor out of an open data shard."""
    length = os.fstat(file.fileno()).st_size
    if entry.offset + entry.size > length:
        raise CheckpointError(
            f"{file.name} is truncated: it has {length} bytes, and {name} ends at byte "
            f"{entry.offset + entry.size}. {ANEW}"
        )
    file.seek(entry.offset)
    values = file.read(entry.size)
    if masked_crc(values) != entry.crc:
        raise CheckpointError(
            f"{file.name} is damaged, or belongs to another index: {name} does not match its "
            f"checksum. {ANEW}"
        )
    return np.frombuffer(values, "<f4").reshape(entry.shape)
