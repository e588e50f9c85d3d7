"""Rows to TFRecord, vectorised: plain `tf.train.Example`, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import binaries
from pipeline.errors import ShardError
from pipeline.write.columns import Ragged, Values
from pipeline.write.crc32c import Bytes, Words, checksum_changes, crc32c, crc32c_each, masked
from pipeline.write.layout import HEAD_BYTES, LENGTH_BYTES, TAIL_BYTES, Layout, frame, make_layout

# Fewer bytes a chunk, or a feature of it, pay the overhead of NumPy; more leave the cache.
CHUNK_BYTES = 1 << 21
CHUNK_BYTES_PER_FEATURE = 1 << 14
MAX_VARINT_BYTES = 10
MAX_LENGTH_BYTES = 5
# Protobuf's own limit is 2 GiB, and so is that of an Arrow array, which holds a chunk.
MAX_RECORD_BYTES = 1 << 30
# Where the C library, at 130 ns a record, overtakes look-ups at 1.5 ns a byte.
MAX_TABLE_BYTES = 112


def encode_examples(examples: Mapping[str, Values]) -> Iterator[Bytes]:
    """Yield a shard's bytes in chunks of some 2 MiB, or one record where that is longer.

    Args:
        examples: Feature to `(rows,)` or `(rows, size)` float32 or int64, or `(rows,)` byte
            strings; one length for all.

    Raises:
        ShardError: A record is longer than protobuf allows.
    """
    columns = {
        name: values if isinstance(values, Ragged) else _as_matrix(values)
        for name, values in examples.items()
    }
    num_rows = len(next(iter(columns.values()), ()))
    if not num_rows:
        return
    inserted = np.zeros(num_rows, np.int64)
    for values in columns.values():
        if isinstance(values, Ragged):
            inserted += values.lengths
    layout = _fit_layout(columns, int(inserted.max()))
    ends = np.cumsum(inserted + layout.record_bytes)
    chunk_bytes = max(CHUNK_BYTES, CHUNK_BYTES_PER_FEATURE * len(columns))
    cuts = np.flatnonzero(np.diff(ends // chunk_bytes)) + 1
    for start, stop in zip([0, *cuts], [*cuts, num_rows], strict=True):
        yield encode_chunk(layout, {name: values[start:stop] for name, values in columns.items()})


def encode_chunk(layout: Layout, columns: Mapping[str, Values]) -> Bytes:
    """Return the bytes of some rows, numbers as `(rows, size)`."""
    records = _fill(layout, columns)
    inserted = [columns[field.name] for field in layout.insertions]
    if inserted:
        return _insert(layout, records, [v for v in inserted if isinstance(v, Ragged)])
    if layout.varying_bytes > MAX_TABLE_BYTES:
        checks = crc32c_each(records[:, HEAD_BYTES:-TAIL_BYTES])
    else:
        numbers = {name: v for name, v in columns.items() if isinstance(v, np.ndarray)}
        checks = _check_numbers(layout, numbers)
    records[:, -TAIL_BYTES:] = _as_bytes(masked(checks))
    return records.reshape(-1)


def _as_matrix(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.ascontiguousarray(values[:, None] if values.ndim == 1 else values)


def _fit_layout(columns: Mapping[str, Values], longest: int) -> Layout:
    """Return the layout whose lengths are just wide enough for `longest` inserted bytes."""
    numbers = {
        name: (name, values.dtype.name, values.shape[1], _varint_bytes(values))
        for name, values in columns.items()
        if isinstance(values, np.ndarray)
    }
    for width in range(1, MAX_LENGTH_BYTES + 1):
        layout = make_layout(
            tuple(numbers.get(name, (name, "bytes", 1, width)) for name in columns)
        )
        size = longest + len(layout.template)
        if size < 1 << 7 * width or not layout.insertions:
            break
    if size > MAX_RECORD_BYTES:
        raise ShardError(
            f"a row of {size:,} bytes is too long for one Example.",
            expected="at most 1 GiB",
            fix="split it, or store where it lies instead.",
        )
    return layout


def _fill(layout: Layout, columns: Mapping[str, Values]) -> Bytes:
    """Return `(rows, record_bytes)`: everything but inserted bytes and the last checksum."""
    num_rows = len(next(iter(columns.values())))
    records = np.empty((num_rows, layout.record_bytes), np.uint8)
    records[:] = frame(layout)
    data = records[:, HEAD_BYTES:-TAIL_BYTES]
    for field in layout.fields:
        values = columns[field.name]
        if isinstance(values, Ragged):
            for nest in field.nests:
                start = field.offset - nest - field.width
                lengths = values.lengths[:, None] + nest
                data[:, start : start + field.width] = _to_varints(lengths, field.width)
        elif field.dtype == "float32":
            # Floats at odd places: four times as fast as their bytes.
            shape, strides = values.shape, (layout.record_bytes, values.itemsize)
            np.ndarray(shape, "<f4", records, HEAD_BYTES + field.offset, strides)[:] = values
        else:
            data[:, field.span] = _to_varints(values, field.width)
    return records


def _check_numbers(layout: Layout, columns: Mapping[str, npt.NDArray[np.generic]]) -> Words:
    """Return `(rows,)` checksums of records without byte strings."""
    checks: Words = np.array([crc32c(layout.template)], np.uint32)
    for field in layout.fields:
        values = columns[field.name]
        # Continuation bits are the template's.
        floats = field.dtype == "float32"
        changes = _as_bytes(values) if floats else _to_groups(values, field.width)
        checks = checks ^ checksum_changes(changes, len(layout.template) - field.offset)
    return checks


def _insert(layout: Layout, records: Bytes, inserted: Sequence[Ragged]) -> Bytes:
    """Return the records with their byte strings, lengths and checksums."""
    lengths = np.sum([values.lengths for values in inserted], axis=0) + len(layout.template)
    width = layout.insertions[0].width
    head = _as_bytes(lengths)
    checks = checksum_changes(head, LENGTH_BYTES) ^ np.uint32(crc32c(bytes(LENGTH_BYTES)))
    records[:, :LENGTH_BYTES] = head
    records[:, LENGTH_BYTES:HEAD_BYTES] = _as_bytes(masked(checks))
    data = records[:, HEAD_BYTES:-TAIL_BYTES]
    data[:, 1 : 1 + width] = _to_varints(lengths[:, None] - (1 + width), width)
    ends = [HEAD_BYTES + field.offset for field in layout.insertions]
    fixed = np.split(records, ends, axis=1)
    if all(values.is_uniform for values in inserted):
        return _insert_uniform(fixed, [values.to_matrix() for values in inserted])
    fixed[0], fixed[-1] = fixed[0][:, HEAD_BYTES:], fixed[-1][:, :-TAIL_BYTES]
    pieces = [_as_binary(fixed[0])]
    for values, cells in zip(inserted, fixed[1:], strict=True):
        pieces += [values.to_arrow(), _as_binary(cells)]
    body = _join(pieces)
    text = body.buffers()[2].to_pybytes()
    places = np.frombuffer(body.buffers()[1], np.int32).tolist()
    tails = _as_bytes(masked(crc32c_each(text[a:b] for a, b in pairwise(places))))
    whole = _join([_as_binary(records[:, :HEAD_BYTES]), body, _as_binary(tails)])
    return np.frombuffer(whole.buffers()[2], np.uint8)


def _insert_uniform(fixed: Sequence[Bytes], inserted: Sequence[Bytes]) -> Bytes:
    """Return records whose byte strings are all of one length."""
    pieces = [fixed[0]]
    for values, cells in zip(inserted, fixed[1:], strict=True):
        pieces += [values, cells]
    whole = np.concatenate(pieces, axis=1)
    checks = crc32c_each(whole[:, HEAD_BYTES:-TAIL_BYTES])
    whole[:, -TAIL_BYTES:] = _as_bytes(masked(checks))
    return whole.reshape(-1)


def _join(pieces: Sequence[pa.Array]) -> pa.Array:
    """Return `(rows,)`: each row's pieces as one byte string."""
    return pc.binary_join_element_wise(*pieces, binaries([b""])[0])


def _as_binary(cells: Bytes) -> pa.Array:
    """Return `(rows, width)` bytes as `(rows,)` byte strings."""
    offsets = np.arange(len(cells) + 1, dtype=np.int64) * cells.shape[1]
    return Ragged(offsets, np.ascontiguousarray(cells).reshape(-1)).to_arrow()


def _as_bytes(words: npt.NDArray[np.generic]) -> Bytes:
    """Return `(rows,)` words as `(rows, bytes)`."""
    return words.view(np.uint8).reshape(len(words), -1)


def _to_varints(values: npt.NDArray[np.generic], width: int) -> Bytes:
    """Return `(rows, size)` int64 as `(rows, size * width)` varints, each of `width` bytes."""
    cells = _to_groups(values, width)
    cells.reshape(len(values), -1, width)[..., : width - 1] |= 0x80
    return cells


def _to_groups(values: npt.NDArray[np.generic], width: int) -> Bytes:
    """Return `(rows, size)` int64 as `(rows, size * width)`, seven bits a byte, lowest first."""
    bits = values.view(np.uint64)
    cells = np.empty((*values.shape, width), np.uint8)
    for place in range(width):
        cells[..., place] = (bits >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
    return cells.reshape(len(values), -1)


def _varint_bytes(values: npt.NDArray[np.generic]) -> int:
    """Return how many bytes the widest value needs."""
    if values.dtype != np.int64 or not values.size:
        return 1
    low, high = int(values.min()), int(values.max())
    return MAX_VARINT_BYTES if low < 0 else max(1, -(-high.bit_length() // 7))
