"""How the records of a shard are laid out: all alike, but for the bytes of their values.

Floats are four bytes anyway; an int64 is a varint, whose bytes differ in number, and protobuf
lets a varint be padded (0x85 0x00 is 5, as 0x05 is). So each int column is as wide as its widest
value, and a shard is a matrix of bytes: a template repeated, with a few columns overwritten.

Sources: tensorflow/core/lib/io/record_writer.h, tensorflow/core/example/example.proto,
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pipeline.write.crc32c import Bytes, crc32c, masked

LENGTH_BYTES, CRC_BYTES = 8, 4
# Before and after a record's data.
HEAD_BYTES, TAIL_BYTES = LENGTH_BYTES + CRC_BYTES, CRC_BYTES

Shape = tuple[str, str, int, int]
"""A feature's name, dtype (float32 or int64), values a row, and bytes a varint."""


@dataclass(frozen=True)
class Field:
    """Where the values of one feature lie in a record's data.

    Attributes:
        name: The feature.
        dtype: `float32` or `int64`.
        offset: The first byte of the first value.
        width: Bytes a value: 4 of a float, 1 to 10 of an int.
        size: Values a row.
    """

    name: str
    dtype: str
    offset: int
    width: int
    size: int

    @property
    def span(self) -> slice:
        """Return where its values lie."""
        return slice(self.offset, self.offset + self.width * self.size)


@dataclass(frozen=True)
class Layout:
    """What all records of a shard have in common.

    Attributes:
        template: The data of a record whose values are all 0.
        fields: Where the values lie.
    """

    template: bytes
    fields: tuple[Field, ...]

    @property
    def record_bytes(self) -> int:
        """Return the length of a record with its frame."""
        return HEAD_BYTES + len(self.template) + TAIL_BYTES


@lru_cache(maxsize=64)
def make_layout(shapes: tuple[Shape, ...]) -> Layout:
    """Lay out a record of these features, in this order."""
    body = b""
    fields = []
    for name, dtype, size, width in shapes:
        blank = bytes(4) if dtype == "float32" else b"\x80" * (width - 1) + b"\0"
        feature = _nested(2 if dtype == "float32" else 3, _nested(1, blank * size))
        body += _nested(1, _nested(1, name.encode()) + _nested(2, feature))
        fields.append(Field(name, dtype, len(body) - len(blank) * size, len(blank), size))
    template = _nested(1, body)
    head = len(template) - len(body)
    return Layout(template, tuple(replace(f, offset=f.offset + head) for f in fields))


@lru_cache(maxsize=64)
def frame(layout: Layout) -> Bytes:
    """Return `(record_bytes,)`: a record of blank values, 0 for the checksum of its data."""
    length = len(layout.template).to_bytes(LENGTH_BYTES, "little")
    check = int(masked(np.array([crc32c(length)], np.uint32))[0])
    head = length + check.to_bytes(CRC_BYTES, "little")
    return np.frombuffer(head + layout.template + bytes(TAIL_BYTES), np.uint8)


def _nested(number: int, data: bytes) -> bytes:
    """Return a length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
