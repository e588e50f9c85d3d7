"""How the records of a shard are laid out: all alike, but for the bytes of their values.

Floats are four bytes anyway; an int64 is a varint, whose bytes differ in number, and protobuf
lets a varint be padded (0x85 0x00 is 5, as 0x05 is). So each int column is as wide as its widest
value, the lengths around bytes of any number are as wide as the longest record needs, and a shard
is a matrix of bytes: a template repeated, with a few columns overwritten. Bytes of any number are
inserted after it is filled, each at one place of the template.

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
# The fields of Feature, by what they hold.
LISTS = {"bytes": 1, "float32": 2, "int64": 3}

Shape = tuple[str, str, int, int]
"""A feature's name, dtype (float32, int64 or bytes), values a row, and bytes a varint."""


@dataclass(frozen=True)
class Field:
    """Where the values of one feature lie in the template.

    Attributes:
        name: The feature.
        dtype: `float32`, `int64` or `bytes`.
        offset: The first byte of the first value; where bytes are inserted.
        width: Bytes a value: 4 of a float, 1 to 10 of an int; of bytes, those of each length.
        size: Values a row.
        nests: Of bytes, what each length around the value counts beside it, innermost first.
    """

    name: str
    dtype: str
    offset: int
    width: int
    size: int
    nests: tuple[int, ...] = ()

    @property
    def span(self) -> slice:
        """Return where its numbers lie."""
        return slice(self.offset, self.offset + self.width * self.size)


@dataclass(frozen=True)
class Layout:
    """What all records of a shard have in common.

    Attributes:
        template: The data of a record whose numbers are all 0 and whose bytes are empty.
        fields: Where the values lie.
    """

    template: bytes
    fields: tuple[Field, ...]

    @property
    def record_bytes(self) -> int:
        """Return the length of a record with its frame, without inserted bytes."""
        return HEAD_BYTES + len(self.template) + TAIL_BYTES

    @property
    def insertions(self) -> tuple[Field, ...]:
        """Return the features of bytes, in their order."""
        return tuple(field for field in self.fields if field.dtype == "bytes")

    @property
    def varying_bytes(self) -> int:
        """Return how many bytes of the template are overwritten by numbers."""
        return sum(f.width * f.size for f in self.fields if f.dtype != "bytes")


@lru_cache(maxsize=16)
def make_layout(shapes: tuple[Shape, ...]) -> Layout:
    """Lay out a record of these features, in this order."""
    body = bytearray()  # in place: a record may have a thousand features
    fields = []
    for name, dtype, size, width in shapes:
        key = _nested(1, name.encode())
        length_bytes = 1 + width
        if dtype == "bytes":
            value = b""
            for number in (1, 1, 2):
                value = _nested(number, value, width)
            body += _nested(1, key + value, width)
            nests = (0, length_bytes, 2 * length_bytes, len(key) + 3 * length_bytes)
            fields.append(Field(name, dtype, len(body), width, size, nests))
        else:
            blank = bytes(4) if dtype == "float32" else _varint(0, width)
            feature = _nested(LISTS[dtype], _nested(1, blank * size))
            body += _nested(1, key + _nested(2, feature))
            start = len(body) - len(blank) * size
            fields.append(Field(name, dtype, start, len(blank), size))
    template = _nested(1, bytes(body), max((f.width for f in fields if f.nests), default=0))
    head = len(template) - len(body)
    return Layout(template, tuple(replace(f, offset=f.offset + head) for f in fields))


@lru_cache(maxsize=16)
def frame(layout: Layout) -> Bytes:
    """Return `(record_bytes,)`: the template, framed, 0 for the checksum of its data."""
    length = len(layout.template).to_bytes(LENGTH_BYTES, "little")
    check = masked(np.array([crc32c(length)], np.uint32)).tobytes()
    return np.frombuffer(length + check + layout.template + bytes(TAIL_BYTES), np.uint8)


def _nested(number: int, data: bytes, width: int = 0) -> bytes:
    """Return a length-delimited field, its length padded to `width` bytes."""
    return bytes([number << 3 | 2]) + _varint(len(data), width) + data


def _varint(value: int, width: int = 0) -> bytes:
    out = bytearray()
    while value > 0x7F or len(out) + 1 < width:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
