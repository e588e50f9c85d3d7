"""TFRecord shards of either layout as rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import broken_shard
from pipeline.manifest import Spec
from pipeline.write import decode_shard

Columns = dict[str, npt.NDArray[Any]]


def read_examples(path: Path, spec: Spec) -> Iterator[Columns]:
    """Yield the rows of a shard in stretches: name to `(rows,)`, or `(rows, *shape)` for tensors.

    Tensors have their stored dtype; everything else is float32 or int64.

    Raises:
        ShardError: The shard is not as nanproof writes it, or of another spec.
    """
    described = spec.list_columns()
    for stretch in decode_shard(path, spec):
        if stretch.keys() != described.keys():
            raise broken_shard(path, "its features are not the manifest's")
        columns = {}
        for name, (dtype, shape) in described.items():
            try:
                columns[name] = _to_rows(stretch[name], dtype, shape)
            except ValueError:
                raise broken_shard(path, f"{name!r} is not as in the manifest") from None
        if len({len(values) for values in columns.values()}) > 1:
            raise broken_shard(path, "its features have different numbers of rows")
        yield columns


def bytes_to_rows(cells: pa.Array, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return `(rows, *shape)` of little-endian bytes, of one row a cell.

    Raises:
        ValueError: A cell has more or fewer.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    texts = cells.to_pylist()
    if any(len(text) != size for text in texts):
        raise ValueError(f"not {size} bytes a row")
    values = np.frombuffer(b"".join(texts), np.dtype(dtype).newbyteorder("<"))
    return values.astype(dtype, copy=False).reshape(len(texts), *shape)


def _to_rows(cells: Any, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if not isinstance(cells, np.ndarray):
        return bytes_to_rows(cells, dtype, shape)
    if cells.dtype != dtype:
        raise ValueError(f"{cells.dtype} instead of {dtype}")
    return cells.reshape(len(cells), *shape)
