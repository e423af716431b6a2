"""TensorFlow v2 checkpoints, read without TensorFlow.

A checkpoint is an index and its values: `NAME.index`, `NAME.data-00000-of-00001`. The index is a
LevelDB table (sorted keys in blocks) from a tensor's name to a protobuf message `BundleEntryProto`:
data type, shape, byte offset, size and checksum of its values. The first entry, with an empty key,
is the header. Checksums are CRC-32C, masked as LevelDB does.
Formats: TensorFlow's tensor_bundle.proto and tensor_bundle.h, LevelDB's table_format.md.

The manifest knows PRNet's index by its SHA-256, but not its values: these are checked here, each
tensor against the index's checksum. All tensors are float32, in one little-endian file.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import google_crc32c
import numpy as np

from paincore import PaincoreError
from paincore.registration.wire import read_varint, wire_fields

FOOTER_BYTES = 48  # two block handles, padding, and a magic number
CRC_MASK = 0xA282EAD8
OPTIMISER = ("beta1_power", "beta2_power", "Adam", "Adam_1")
"""Last parts of the names of what a checkpoint holds of the optimiser, which inference ignores."""


class CheckpointError(PaincoreError):
    """Values that are not those of their index; the message names the file and the tensor."""


def read_tensors(index: Path) -> dict[str, np.ndarray]:
    """The tensors, float32 by name, of the checkpoint with that index; those of the optimiser are
    left out. Raises CheckpointError, which names the file and the tensor, for damaged values."""
    values, tensors = index.with_suffix(".data-00000-of-00001"), {}
    for name, (shape, offset, crc) in read_index(index).items():
        if name.rpartition("/")[2] in OPTIMISER:
            continue
        tensor = np.fromfile(values, "<f4", int(np.prod(shape)), offset=offset)
        if masked_crc(tensor.tobytes()) != crc:
            wrong = f"{values}: {name} does not match its checksum in the index"
            raise CheckpointError(f"{wrong}. Get both files again, from one download.")
        tensors[name] = tensor.reshape(shape)
    return tensors


def read_index(path: Path) -> dict[str, tuple]:
    """Of each tensor by its name: shape, the byte at which its values begin, and their masked
    CRC-32C."""
    table = path.read_bytes()
    footer = BytesIO(table[-FOOTER_BYTES:])
    read_block(table, footer)  # a filter, which is not needed
    rows = {}
    for _, handle in block_rows(read_block(table, footer)):
        rows |= block_rows(read_block(table, BytesIO(handle)))
    return {key.decode(): read_entry(message) for key, message in rows.items() if key}


def read_block(table: bytes, handle: BytesIO) -> bytes:
    """The contents of the block to which a handle, its offset and size, points."""
    offset, size = read_varint(handle), read_varint(handle)
    return table[offset : offset + size]


def block_rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; each key says how much it shares with the one before."""
    restarts = struct.unpack("<I", block[-4:])[0]
    stream, key = BytesIO(block), b""
    while stream.tell() < len(block) - 4 * (restarts + 1):
        shared, unshared, length = (read_varint(stream) for _ in range(3))
        key = key[:shared] + stream.read(unshared)
        yield key, stream.read(length)


def read_entry(message: bytes) -> tuple[tuple[int, ...], int, int]:
    """A `BundleEntryProto`; a field that is left out is 0 or empty."""
    fields = dict(wire_fields(message))
    sizes = [dict(wire_fields(dimension)) for _, dimension in wire_fields(fields.get(2, b""))]
    return tuple(size[1] for size in sizes), fields.get(4, 0), int.from_bytes(fields[6], "little")


def masked_crc(data: bytes) -> int:
    """CRC-32C of the bytes, rotated and shifted, since they may hold checksums themselves."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + CRC_MASK) & 0xFFFFFFFF
