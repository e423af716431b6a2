"""Writes TensorFlow v2 checkpoints, to test their reader with: one data shard, small blocks."""

import struct
from collections.abc import Mapping
from pathlib import Path

import google_crc32c
import numpy as np

DTYPES = {"float32": 1, "float64": 2}
ROWS_PER_BLOCK = 3
ROWS_PER_RESTART = 2


def write_checkpoint(folder: Path, name: str, tensors: Mapping[str, np.ndarray]) -> Path:
    """Write NAME.index and NAME.data-00000-of-00001 into the folder; returns the index's path."""
    values, rows = bytearray(), {b"": field(1, 1) + field(3, field(1, 1))}
    for key, tensor in sorted(tensors.items()):
        data = tensor.tobytes()
        rows[key.encode()] = entry(tensor, len(values), data)
        values += data
    index = folder / f"{name}.index"
    (folder / f"{name}.data-00000-of-00001").write_bytes(values)
    index.write_bytes(table(sorted(rows.items())))
    return index


def entry(tensor: np.ndarray, offset: int, data: bytes) -> bytes:
    shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
    numbers = field(4, offset) * (offset > 0) + field(5, len(data))
    crc = varint(6 << 3 | 5) + struct.pack("<I", masked_crc(data))
    return field(1, DTYPES[tensor.dtype.name]) + field(2, shape) + numbers + crc


def table(rows: list[tuple[bytes, bytes]]) -> bytes:
    out, handles = bytearray(), []
    for first in range(0, len(rows), ROWS_PER_BLOCK):
        chosen = rows[first : first + ROWS_PER_BLOCK]
        handles.append((chosen[-1][0], append_block(out, chosen)))
    footer = append_block(out, []) + append_block(out, handles)
    return bytes(out) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def append_block(out: bytearray, rows: list[tuple[bytes, bytes]]) -> bytes:
    """Append a block of the rows with its trailer; returns its handle."""
    block, restarts, last = bytearray(), [0], b""
    for number, (key, value) in enumerate(rows):
        shared = 0
        if number % ROWS_PER_RESTART == 0:
            restarts[number // ROWS_PER_RESTART :] = [len(block)]
        else:
            while shared < min(len(last), len(key)) and last[shared] == key[shared]:
                shared += 1
        block += varint(shared) + varint(len(key) - shared) + varint(len(value))
        block += key[shared:] + value
        last = key
    block += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    handle = varint(len(out)) + varint(len(block))
    out += block + b"\0" + struct.pack("<I", masked_crc(bytes(block) + b"\0"))
    return handle


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) % 2**32
