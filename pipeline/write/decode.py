"""TFRecord shards back to columns, vectorised, every byte of them accounted for.

Only shards as `tfrecord` writes them are read: records of one layout. Whatever deviates from it
is an error, and so is a wrong checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ShardError
from pipeline.write.crc32c import Bytes, add_changes, crc32c, masked
from pipeline.write.layout import (
    HEAD_BYTES,
    LENGTH_BYTES,
    TAIL_BYTES,
    Layout,
    Shape,
    frame,
    make_layout,
)
from pipeline.write.tfrecord import CHUNK_ROWS, MAX_VARINT_BYTES


def decode_examples(path: Path) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the rows of a shard in stretches: feature to `(rows, size)` float32 or int64.

    Raises:
        ShardError: A byte is not what nanproof would have written.
    """
    data = np.fromfile(path, np.uint8)
    if not len(data):
        return
    layout = _find_layout(data, path)
    if len(data) % layout.record_bytes:
        raise _broken(path, len(data) // layout.record_bytes, "it is cut short")
    records = data.reshape(-1, layout.record_bytes)
    for start in range(0, len(records), CHUNK_ROWS):
        yield _decode_chunk(records[start : start + CHUNK_ROWS], layout, path, start)


def _decode_chunk(
    records: Bytes, layout: Layout, path: Path, first: int
) -> dict[str, npt.NDArray[Any]]:
    blank = frame(layout)
    template = np.frombuffer(layout.template, np.uint8)
    same = np.ones(layout.record_bytes, bool)
    same[-TAIL_BYTES:] = False
    checks = np.full(len(records), crc32c(layout.template), np.uint32)
    alike = np.ones(len(records), bool)
    data = records[:, HEAD_BYTES:-TAIL_BYTES]
    columns: dict[str, npt.NDArray[Any]] = {}
    for field in layout.fields:
        same[HEAD_BYTES:-TAIL_BYTES][field.span] = False
        cells = np.ascontiguousarray(data[:, field.span])
        add_changes(checks, cells, template[field.span], len(template) - field.offset)
        if field.dtype == "float32":
            columns[field.name] = cells.view(np.float32)
        else:
            columns[field.name] = _from_varints(cells, field.width)
            fixed = np.tile(_fixed_bits(field.width), field.size)
            alike &= ~((cells ^ template[field.span]) & fixed).any(axis=1)
    alike &= (records[:, same] == blank[same]).all(axis=1)
    stored = np.ascontiguousarray(records[:, -TAIL_BYTES:]).view(np.uint32)[:, 0]
    for wrong, what in ((~alike, "it has another layout"), (stored != masked(checks), "checksum")):
        if wrong.any():
            raise _broken(path, first + int(np.argmax(wrong)), what)
    return columns


def _fixed_bits(width: int) -> Bytes:
    """Return `(width,)` the bits of a varint that say where it ends, or lie beyond the 64th."""
    bits = np.full(width, 0x80, np.uint8)
    if width == MAX_VARINT_BYTES:
        bits[-1] = 0xFE
    return bits


def _from_varints(cells: Bytes, width: int) -> npt.NDArray[np.int64]:
    """Return `(rows, size)` of `(rows, size * width)`."""
    groups = cells.reshape(len(cells), -1, width)
    bits = np.zeros(groups.shape[:2], np.uint64)
    for place in range(width):
        bits |= (groups[..., place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return bits.view(np.int64)


def _find_layout(data: Bytes, path: Path) -> Layout:
    """Read the layout off the first record."""
    if len(data) < HEAD_BYTES:
        raise _broken(path, 0, "it is cut short")
    length = int.from_bytes(data[:LENGTH_BYTES].tobytes(), "little")
    record = data[HEAD_BYTES : HEAD_BYTES + length].tobytes()
    if len(record) < length:
        raise _broken(path, 0, "it is cut short")
    try:
        shapes = tuple(_read_shapes(record))
    except (IndexError, ValueError, KeyError):
        raise _broken(path, 0, "it is no tf.train.Example of numbers") from None
    layout = make_layout(shapes)
    if len(layout.template) != length:
        raise _broken(path, 0, "it has another layout")
    return layout


def _read_shapes(record: bytes) -> Iterator[Shape]:
    ((_, features),) = _read_fields(record)
    for _, entry in _read_fields(features):
        parts = dict(_read_fields(entry))
        ((kind, values),) = _read_fields(parts[2])
        ((_, packed),) = _read_fields(values)
        dtype = {2: "float32", 3: "int64"}[kind]
        width = 1
        if dtype == "int64":
            while packed[width - 1] & 0x80:
                width += 1
            if width > MAX_VARINT_BYTES:
                raise ValueError(width)
        yield parts[1].decode(), dtype, len(packed) // (4 if dtype == "float32" else width), width


def _read_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of length-delimited fields."""
    place = 0
    while place < len(data):
        tag, length, shift = data[place], 0, 0
        if tag & 7 != 2:
            raise ValueError(tag)
        while True:
            place += 1
            length |= (data[place] & 0x7F) << shift
            shift += 7
            if not data[place] & 0x80:
                break
        place += 1
        if place + length > len(data):
            raise ValueError(length)
        yield tag >> 3, data[place : place + length]
        place += length


def _broken(path: Path, record: int, what: str) -> ShardError:
    return ShardError(
        f"{path.name}: record {record} is not as it was written: {what}.",
        fix="restore the shard, or run the job again.",
        file=str(path),
        record=record,
    )
