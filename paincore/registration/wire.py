"""Google's wire formats: varints, and the fields of a protobuf message without its schema."""

from collections.abc import Iterator

FIXED_LENGTHS = {1: 8, 5: 4}  # bytes of a value, by protobuf's wire type


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned varint at `position`, and the position behind it; ValueError if data ends."""
    value = 0
    for count, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            return value, position + count + 1
    raise ValueError(f"no varint at byte {position} of {len(data)}")


def wire_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protobuf message: an int, or the bytes as they stand.

    Raises ValueError if the message ends inside a field or has an obsolete wire type.
    """
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        length = FIXED_LENGTHS.get(wire_type)
        if wire_type in (0, 2):
            length, position = read_varint(message, position)
        if length is None:
            raise ValueError(f"wire type {wire_type} before byte {position}")
        if wire_type == 0:  # what was read is the value itself
            yield number, length
            continue
        if position + length > len(message):
            raise ValueError(f"field {number} runs beyond the {len(message)} bytes of the message")
        yield number, message[position : position + length]
        position += length
