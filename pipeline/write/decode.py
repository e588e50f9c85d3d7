"""TFRecord shards back to columns, vectorised, every byte of them accounted for.

Only shards as `tfrecord` writes them are read: records of one layout. What is read is encoded
again, and any byte that deviates from that is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array
from pipeline.errors import ShardError, broken_shard
from pipeline.write.columns import Ragged, Values, to_values
from pipeline.write.crc32c import Bytes
from pipeline.write.layout import (
    HEAD_BYTES,
    LENGTH_BYTES,
    LISTS,
    TAIL_BYTES,
    Layout,
    Shape,
    make_layout,
)
from pipeline.write.tfrecord import MAX_LENGTH_BYTES, MAX_VARINT_BYTES, encode_chunk

Offsets = npt.NDArray[np.int64]
# Read at once, but for a record that is longer.
STRETCH_BYTES = 1 << 22
OTHER_LAYOUT = "it has another layout"


class _BrokenRecord(Exception):
    """A record of a chunk is not as it was written."""

    def __init__(self, record: int, what: str) -> None:
        super().__init__(what)
        self.record = record
        self.what = what


def decode_examples(path: Path) -> Iterator[dict[str, npt.NDArray[Any] | pa.Array]]:
    """Yield the Examples of a shard in stretches of some 4 MiB, or one record where that is longer.

    Numbers are `(rows, size)` float32 or int64, byte strings `(rows,)` Arrow binary.

    Raises:
        ShardError: A byte is not what nanproof would have written.
    """
    layout = None
    for first, chunk, offsets in _read_stretches(path):
        try:
            layout = layout or _find_layout(chunk[: offsets[1]].tobytes())
            columns = _decode_chunk(chunk, offsets, layout)
        except _BrokenRecord as broken:
            raise _broken(path, first + broken.record, broken.what) from None
        yield {n: v.to_arrow() if isinstance(v, Ragged) else v for n, v in columns.items()}


def _decode_chunk(chunk: Bytes, offsets: Offsets, layout: Layout) -> dict[str, Values]:
    records, columns = _take_apart(chunk, offsets, layout)
    for field in layout.fields:
        cells = np.ascontiguousarray(records[:, HEAD_BYTES:][:, field.span])
        if field.dtype == "float32":
            columns[field.name] = cells.view(np.float32)
        elif field.dtype == "int64":
            columns[field.name] = _from_varints(cells, field.width)
    different = encode_chunk(layout, columns) != chunk
    if different.any():
        place = int(np.argmax(different))
        record = int(np.searchsorted(offsets, place, side="right")) - 1
        in_tail = place >= offsets[record + 1] - TAIL_BYTES
        raise _BrokenRecord(record, "its checksum is wrong" if in_tail else OTHER_LAYOUT)
    return {field.name: columns[field.name] for field in layout.fields}


def _take_apart(chunk: Bytes, offsets: Offsets, layout: Layout) -> tuple[Bytes, dict[str, Values]]:
    """Return `(rows, record_bytes)` without the byte strings, and those."""
    at = offsets[:-1].copy()
    left = np.diff(offsets) - layout.record_bytes
    pieces, inserted, start = [], {}, 0
    for field in layout.insertions:
        stop = HEAD_BYTES + field.offset
        pieces.append(_gather(chunk, at, stop - start, left))
        lengths = _from_varints(pieces[-1][:, -field.width :], field.width)[:, 0]
        at += stop - start
        left -= lengths
        _check(left >= 0)
        bounds = np.stack([at, at + lengths], axis=1).reshape(-1)
        apart = Ragged(bounds, chunk).to_arrow().take(positions_array(2 * np.arange(len(at))))
        inserted[field.name] = to_values(field.name, apart)
        at += lengths
        start = stop
    _check(left == 0)
    pieces.append(_gather(chunk, at, layout.record_bytes - start, left))
    return np.concatenate(pieces, axis=1), inserted


def _gather(chunk: Bytes, at: Offsets, width: int, left: Offsets) -> Bytes:
    """Return `(rows, width)` bytes, those of a row from `at` on."""
    _check(left >= 0)
    windows = np.ndarray((len(chunk) - width + 1,), f"V{width}", chunk, strides=(1,))
    return windows[at].view(np.uint8).reshape(-1, width)


def _check(right: npt.NDArray[np.bool_]) -> None:
    if not right.all():
        raise _BrokenRecord(int(np.argmin(right)), OTHER_LAYOUT)


def _from_varints(cells: Bytes, width: int) -> npt.NDArray[np.int64]:
    """Return `(rows, size)` of `(rows, size * width)`."""
    groups = cells.reshape(len(cells), -1, width)
    bits = np.zeros(groups.shape[:2], np.uint64)
    for place in range(width):
        bits |= (groups[..., place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return bits.view(np.int64)


def _read_stretches(path: Path) -> Iterator[tuple[int, Bytes, Offsets]]:
    """Yield whole records: the number of the first, the bytes, `(records + 1,)` their places."""
    size = path.stat().st_size
    first, data, missing = 0, b"", 0
    with path.open("rb") as file:
        while file.tell() < size:
            data += file.read(max(STRETCH_BYTES, missing))
            places, missing = _find_records(data)
            if missing > size - file.tell():
                raise _broken(path, first + len(places) - 1, "it is cut short")
            if len(places) > 1:
                yield first, np.frombuffer(data, np.uint8)[: places[-1]], np.array(places)
            first += len(places) - 1
            data = data[places[-1] :]


def _find_records(data: bytes) -> tuple[list[int], int]:
    """Return where whole records start and the last ends, and how many bytes the next lacks.

    Of a record whose length is not there yet, the bytes up to its data.
    """
    places = [0]
    while (at := places[-1]) < len(data):
        length = int.from_bytes(data[at : at + LENGTH_BYTES], "little")
        known = at + HEAD_BYTES <= len(data)
        end = at + HEAD_BYTES + (length + TAIL_BYTES if known else 0)
        if end > len(data):
            return places, end - len(data)
        places.append(end)
    return places, 0


def _find_layout(record: bytes) -> Layout:
    """Read the layout off a record."""
    try:
        shapes = tuple(_read_shapes(record[HEAD_BYTES:-TAIL_BYTES]))
    except (IndexError, ValueError, KeyError):
        raise _BrokenRecord(0, "it is no tf.train.Example of ours") from None
    if not shapes or len({name for name, *_ in shapes}) < len(shapes):
        raise _BrokenRecord(0, OTHER_LAYOUT)
    return make_layout(shapes)


def _read_shapes(record: bytes) -> Iterator[Shape]:
    dtypes = {number: dtype for dtype, number in LISTS.items()}
    ((_, features, _),) = _read_fields(record)
    for _, entry, _ in _read_fields(features):
        parts = {number: content for number, content, _ in _read_fields(entry)}
        ((kind, values, _),) = _read_fields(parts[2])
        ((_, packed, width),) = _read_fields(values)
        dtype, size = dtypes[kind], 1
        if dtype == "float32":
            width, size = 1, len(packed) // 4
        elif dtype == "int64":  # a list of size 0 has no varint
            width = _varint_at(packed, 0)[1] if packed else 1
            size = len(packed) // width
        if width > (MAX_LENGTH_BYTES if dtype == "bytes" else MAX_VARINT_BYTES):
            raise ValueError(width)
        yield parts[1].decode(), dtype, size, width


def _read_fields(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield number, content and the bytes of the length of length-delimited fields."""
    place = 0
    while place < len(data):
        tag = data[place]
        length, width = _varint_at(data, place + 1)
        place += 1 + width
        if tag & 7 != 2 or place + length > len(data):
            raise ValueError(tag)
        yield tag >> 3, data[place : place + length], width
        place += length


def _varint_at(data: bytes, place: int) -> tuple[int, int]:
    """Return a varint and how many bytes it takes."""
    value = 0
    for width in range(MAX_VARINT_BYTES):
        byte = data[place + width]
        value |= (byte & 0x7F) << 7 * width
        if not byte & 0x80:
            return value, width + 1
    raise ValueError(f"a varint of more than {MAX_VARINT_BYTES} bytes")


def _broken(path: Path, record: int, what: str) -> ShardError:
    return broken_shard(path, f"record {record} is not as it was written: {what}", record=record)
