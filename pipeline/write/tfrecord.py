"""Rows to TFRecord, vectorised: plain `tf.train.Example`, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.write.crc32c import Bytes, add_changes, crc32c, masked
from pipeline.write.layout import HEAD_BYTES, TAIL_BYTES, Layout, frame, make_layout

# So many rows keep matrix and tables in the cache; more were slower, fewer paid overhead.
CHUNK_ROWS = 4096
MAX_VARINT_BYTES = 10


def encode_examples(examples: Mapping[str, npt.NDArray[Any]]) -> Iterator[Bytes]:
    """Yield a shard's bytes in chunks.

    Args:
        examples: Feature to `(rows,)` or `(rows, size)` float32 or int64; one length for all.
    """
    columns = {
        name: np.ascontiguousarray(values[:, None] if values.ndim == 1 else values)
        for name, values in examples.items()
    }
    layout = make_layout(
        tuple(
            (name, values.dtype.name, values.shape[1], _varint_bytes(values))
            for name, values in columns.items()
        )
    )
    num_rows = len(next(iter(columns.values())))
    for start in range(0, num_rows, CHUNK_ROWS):
        part = {name: values[start : start + CHUNK_ROWS] for name, values in columns.items()}
        yield _encode_chunk(layout, part)


def _encode_chunk(layout: Layout, columns: Mapping[str, npt.NDArray[Any]]) -> Bytes:
    num_rows = len(next(iter(columns.values())))
    records = np.empty((num_rows, layout.record_bytes), np.uint8)
    records[:] = frame(layout)
    data = records[:, HEAD_BYTES:-TAIL_BYTES]
    template = np.frombuffer(layout.template, np.uint8)
    checks = np.full(num_rows, crc32c(layout.template), np.uint32)
    for field in layout.fields:
        values = columns[field.name]
        if field.dtype == "float32":
            cells = values.view(np.uint8).reshape(num_rows, -1)
        else:
            cells = _to_varints(values, field.width)
        data[:, field.span] = cells
        add_changes(checks, cells, template[field.span], len(template) - field.offset)
    records[:, -TAIL_BYTES:] = masked(checks).view(np.uint8).reshape(num_rows, TAIL_BYTES)
    return records.reshape(-1)


def _to_varints(values: npt.NDArray[np.int64], width: int) -> Bytes:
    """Return `(rows, size * width)` varints, each padded to `width` bytes."""
    bits = values.view(np.uint64)
    cells = np.empty((*values.shape, width), np.uint8)
    for place in range(width):
        cells[..., place] = (bits >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
    cells[..., : width - 1] |= 0x80
    return cells.reshape(len(values), -1)


def _varint_bytes(values: npt.NDArray[Any]) -> int:
    """Return how many bytes the widest value needs."""
    if values.dtype != np.int64 or not values.size:
        return 1
    if values.min() < 0:
        return MAX_VARINT_BYTES
    return max(1, -(-int(values.max()).bit_length() // 7))
