"""Shards in `block` layout: many rows an Example, each feature one byte string of its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import ShardError, broken_shard
from pipeline.manifest import Spec
from pipeline.write.columns import Ragged, Values, to_ragged
from pipeline.write.decode import decode_examples

Examples = dict[str, npt.NDArray[Any] | pa.Array]
"""Feature to `(rows, 1)` float32 or int64, or `(rows,)` Arrow binary."""


def pack_blocks(columns: Mapping[str, Values], block_rows: int) -> dict[str, Ragged]:
    """Return each column as `(blocks,)` byte strings, without a copy of contiguous values.

    Args:
        columns: `(rows,)` or `(rows, size)` float32 or int64, or byte strings of one length.
        block_rows: Rows a block; the last has what is left.

    Raises:
        ShardError: Byte strings differ in length, so that nobody could cut the block again.
    """
    packed = {}
    for name, values in columns.items():
        num_rows = len(values)
        bounds = np.append(np.arange(0, num_rows, block_rows), num_rows)
        if isinstance(values, Ragged):
            if len(np.unique(values.lengths)) > 1:
                raise ShardError(
                    f"column {name!r}: byte strings of several lengths make no block.",
                    fix='write them with layout = "row".',
                    column=name,
                )
            packed[name] = Ragged(values.offsets[bounds], values.data)
        else:
            data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
            packed[name] = Ragged(bounds * (len(data) // max(num_rows, 1)), data)
    return packed


def decode_shard(path: Path, spec: Spec) -> Iterator[Examples]:
    """Yield the rows of a shard in stretches, whatever its layout.

    Numbers are `(rows, 1)` float32 or int64, tensors `(rows,)` Arrow binary.

    Raises:
        ShardError: A byte is not what nanproof would have written for this spec.
    """
    full = True
    for examples in decode_examples(path):
        if spec.layout == "row":
            yield examples
            continue
        if not full:
            raise _foreign(path, "a block follows one that is not full")
        columns, full = _unpack(path, examples, spec)
        yield columns


def _unpack(path: Path, examples: Examples, spec: Spec) -> tuple[Examples, bool]:
    """Return the rows of some blocks, and whether all of these are full."""
    columns: Examples = {}
    described = spec.list_columns()
    if set(described) != set(examples):
        raise _foreign(path, "its features are not those of the spec")
    blocks: list[npt.NDArray[np.int64]] = []
    for name, (dtype, shape) in described.items():
        row_bytes = np.dtype(dtype).itemsize * prod(shape)
        packed = examples[name]
        if not isinstance(packed, pa.Array):
            raise _foreign(path, f"{name!r} is no block")
        values = to_ragged(packed)
        rows, rest = np.divmod(values.lengths, row_bytes)
        blocks.append(rows)
        if rest.any() or not np.array_equal(rows, blocks[0]):
            raise _foreign(path, f"{name!r} has a block of another length")
        data = values.data[values.offsets[0] : values.offsets[-1]]
        if shape:
            bounds = np.arange(0, len(data) + 1, row_bytes)
            columns[name] = Ragged(bounds, data).to_arrow()
        else:
            columns[name] = data.view(dtype)[:, None]
    *others, last = blocks[0].tolist()
    if any(rows != spec.block_rows for rows in others) or not 0 < last <= spec.block_rows:
        raise _foreign(path, f"a block has not {spec.block_rows:,} rows")
    return columns, last == spec.block_rows


def _foreign(path: Path, what: str) -> ShardError:
    return broken_shard(path, f"not as it was written: {what}")
