"""Google's wire formats: varints, and the fields of a protobuf message without its schema.

The manifest has the SHA-256 of every file that is read with these, so nothing is checked again.
"""

from collections.abc import Iterator
from io import BytesIO

FIXED_LENGTHS = {1: 8, 5: 4}  # bytes of a value, by protobuf's wire type


def read_varint(stream: BytesIO) -> int:
    """The unsigned varint at which the stream stands: seven bits a byte, the low ones first."""
    byte = stream.read(1)[0]
    return byte if byte < 128 else byte - 128 + 128 * read_varint(stream)


def wire_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protobuf message: an int, or the bytes as they stand."""
    stream = BytesIO(message)
    while stream.tell() < len(message):
        number, wire_type = divmod(read_varint(stream), 8)
        if wire_type == 0:
            yield number, read_varint(stream)
        else:
            length = FIXED_LENGTHS.get(wire_type) or read_varint(stream)
            yield number, stream.read(length)
