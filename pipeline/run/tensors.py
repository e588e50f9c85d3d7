"""Tensor columns on their way through a run: what they break, what they teach, what is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import positions_array, strings, to_numpy
from pipeline.batch import Batch, Finding
from pipeline.errors import InputError
from pipeline.features import is_finite_in
from pipeline.load import Source
from pipeline.manifest import Feature
from pipeline.repair import summarize_tensors
from pipeline.repair.statistics import Summary
from pipeline.run.rows import Rows

# Of a tensor whose shape is not the one that the model takes.
SHAPE = "shape"
# A shard of images is cut by its bytes, since one of them may be a thousand rows of a table.
MAX_SHARD_BYTES = 128 << 20


def list_tensors(sources: Sequence[Source], ignored: Collection[str]) -> dict[str, str]:
    """Return the tensor features and the dtype of their values.

    Raises:
        InputError: A file lacks one, or has it in another dtype.
    """
    first = next((source for source in sources if not source.fault), None)
    expected = {} if first is None else dict(first.tensors)
    for source in sources:
        found = dict(source.tensors)
        if first is not None and not source.fault and found != expected:
            raise InputError(
                f"{source.name} holds other arrays than {first.name}.",
                expected=_describe(expected),
                got=_describe(found),
                fix="give one kind of file in data.raw, or make their arrays alike.",
                file=source.name,
            )
    return {name: dtype for name, dtype in expected.items() if name not in ignored}


def _describe(tensors: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in tensors.items()) or "no array"


def judge_tensors(batch: Batch, tensors: Mapping[str, str]) -> list[Finding]:
    """Find the tensors that hold NaN, and those that hold an infinity but no NaN."""
    findings = []
    for name, dtype in tensors.items():
        where = np.flatnonzero(_fact(batch, f"{name}_nonfinite"))
        cells = batch.carried.column(name).combine_chunks().take(positions_array(where))
        is_nan = [bool(np.isnan(np.frombuffer(cell, dtype)).any()) for cell in cells.to_pylist()]
        for rule, mask in (("nan", np.array(is_nan, bool)), ("inf", ~np.array(is_nan, bool))):
            if mask.any():
                findings.append(Finding(name, rule, where[mask]))
    return findings


def tells_of(column: str, tensor: str) -> bool:
    """Tell whether a column is a tensor, or one of the numbers that describe it."""
    return column == tensor or column.startswith(f"{tensor}_")


def summarize_batch(batch: Batch, tensor: str, valid: npt.NDArray[np.bool_]) -> dict[str, Summary]:
    """Return what the valid tensors of one batch teach, by shape."""
    if not valid.any():
        return {}
    where = np.flatnonzero(valid)
    shapes = _fact(batch, f"{tensor}_shape").take(positions_array(where)).to_pylist()
    low, high, mean, std = (
        _fact(batch, f"{tensor}_{fact}")[where] for fact in ("min", "max", "mean", "std")
    )
    return summarize_tensors(shapes, low, high, mean, std)


def _fact(batch: Batch, name: str) -> Any:
    """Return a column that tells of a tensor: judged where the schema names it, else carried."""
    if name in batch.columns:
        return batch.columns[name].values
    array = batch.carried.column(name).combine_chunks()
    return array if pa.types.is_string(array.type) else to_numpy(array)


def cast_tensor(
    rows: Rows, feature: Feature, dtype: str, training_dtype: str
) -> tuple[pa.Array, list[Finding]]:
    """Return a tensor feature as it lies in a shard, and the rows where that is no model's input.

    Args:
        rows: The rows.
        feature: The feature.
        dtype: Of the values as read.
        training_dtype: What the values have to be finite in.
    """
    cells = rows.table.column(f"x:{feature.name}").combine_chunks()
    expected = "x".join(map(str, feature.shape))
    shapes = rows.table.column(_spilled_name(rows, f"{feature.name}_shape")).combine_chunks()
    findings = [
        Finding(
            feature.name,
            SHAPE,
            np.flatnonzero(to_numpy(pc.not_equal(shapes, strings([expected])[0]))),
        )
    ]
    offsets = np.frombuffer(cells.buffers()[1], np.int32, len(cells) + 1, cells.offset * 4)
    values = np.frombuffer(cells.buffers()[2], dtype, offset=0)
    first, last = offsets[0] // values.itemsize, offsets[-1] // values.itemsize
    with np.errstate(over="ignore"):  # what overflows is judged below
        stored = values[first:last].astype(feature.stored)
    starts = (offsets - offsets[0]) // values.itemsize
    if stored.dtype != np.uint8:  # of bytes, each is finite in any dtype
        finite = is_finite_in(stored.astype(np.float32), training_dtype)
        overflowing = ~np.logical_and.reduceat(finite, starts[:-1])
        findings.append(Finding(feature.name, "overflow", np.flatnonzero(overflowing)))
    buffers = [
        None,
        pa.py_buffer((starts * stored.itemsize).astype(np.int32)),
        pa.py_buffer(stored),
    ]
    array = pa.Array.from_buffers(pa.binary(), len(cells), buffers)
    return array, [finding for finding in findings if len(finding.positions)]


def _spilled_name(rows: Rows, name: str) -> str:
    return f"c:{name}" if f"c:{name}" in rows.table.column_names else f"x:{name}"


def pick_rows(values: Any, positions: npt.NDArray[np.int64]) -> Any:
    """Return some rows of a numpy or an Arrow array."""
    if isinstance(values, np.ndarray):
        return values[positions]
    return values.take(positions_array(positions))


def cap_shard_rows(rows: int, features: Sequence[Feature]) -> int:
    """Return how many rows a shard may hold, so that tensors do not make it too large."""
    row_bytes = sum(
        int(np.prod(f.shape)) * np.dtype(f.stored).itemsize for f in features if f.stored
    )
    return min(rows, max(1, MAX_SHARD_BYTES // max(1, row_bytes)))
