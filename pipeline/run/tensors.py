"""Tensor columns on their way through a run: what they break, what they teach, what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import positions_array, strings, to_numpy
from pipeline.batch import Batch, Finding
from pipeline.features import is_finite_in
from pipeline.load.tensors import measure
from pipeline.manifest import Feature
from pipeline.repair import summarize_tensors
from pipeline.repair.statistics import Summary
from pipeline.run.rows import Rows, spilled_name

Floats = npt.NDArray[np.float64]

# What `measure` returns, in its order, as the derived columns are called.
FACTS = ("min", "max", "mean", "std", "nonfinite")
# Of a tensor whose shape is not the one that the model takes.
SHAPE = "shape"
# A shard of images is cut by its bytes, since one of them may be a thousand rows of a table.
MAX_SHARD_BYTES = 128 << 20


@dataclass(frozen=True)
class Measured:
    """What is known of the tensors of one feature in a batch, `(rows,)` each.

    Attributes:
        shapes: Such as "28x28x1".
        low: The smallest finite value, NaN where there is none.
        high: The largest.
        mean: Of the finite values.
        std: Their population standard deviation.
        nonfinite: How many values are not finite.
    """

    shapes: pa.Array
    low: Floats
    high: Floats
    mean: Floats
    std: Floats
    nonfinite: Floats


def measure_tensors(batch: Batch, tensors: Mapping[str, str]) -> dict[str, Measured]:
    """Return what is known of the tensors of a batch as it was read, by feature.

    Args:
        batch: Its cells before any parser of the schema.
        tensors: The tensor features and the dtype of their values.
    """
    return {name: _measure(batch, name, dtype) for name, dtype in tensors.items()}


def _measure(batch: Batch, tensor: str, dtype: str) -> Measured:
    shapes = _derived(batch, f"{tensor}_shape")
    facts = [_derived(batch, f"{tensor}_{what}") for what in FACTS]
    if not all(isinstance(fact, np.ndarray) for fact in facts):
        # A schema may read what tells of a tensor as text, or some of it as missing.
        cells = batch.carried.column(tensor).to_pylist()
        rows = [np.array(measure(np.frombuffer(cell, dtype)[None])) for cell in cells]
        facts = list(np.concatenate([np.zeros((len(FACTS), 0)), *rows], axis=1))
    return Measured(shapes, *facts)


def _derived(batch: Batch, name: str) -> Any:
    """Return a column that tells of tensors: text as Arrow, sound numbers as numpy, else None."""
    if name in batch.carried.column_names:
        array = batch.carried.column(name).combine_chunks()
        return array if pa.types.is_string(array.type) else to_numpy(array)
    column = batch.columns[name]
    sound = column.kind == "string" or (column.kind in ("float", "int") and column.states is None)
    return column.values if sound else None


def judge_tensors(
    batch: Batch, measured: Mapping[str, Measured], tensors: Mapping[str, str], training_dtype: str
) -> list[Finding]:
    """Find the tensors that hold NaN, those that hold an infinity but no NaN, and overflow.

    Args:
        batch: The rows.
        measured: As of `measure_tensors`.
        tensors: The tensor features and the dtype of their values.
        training_dtype: What the values have to be finite in.
    """
    findings = []
    for name, dtype in tensors.items():
        known = measured[name]
        where = np.flatnonzero(known.nonfinite)
        cells = batch.carried.column(name).take(positions_array(where)).to_pylist()
        is_nan = np.array([np.isnan(np.frombuffer(cell, dtype)).any() for cell in cells], bool)
        # Rounding is monotonic: where the extremes stay finite, so does all between them.
        finite = _fits(known.low, training_dtype) & _fits(known.high, training_dtype)
        overflow = np.flatnonzero(~finite & (known.nonfinite == 0))
        for rule, rows in (("nan", where[is_nan]), ("inf", where[~is_nan]), ("overflow", overflow)):
            if len(rows):
                findings.append(Finding(name, rule, rows))
    return findings


def _fits(values: Floats, training_dtype: str) -> npt.NDArray[np.bool_]:
    with np.errstate(over="ignore"):  # what overflows is asked for
        return is_finite_in(values.astype(np.float32), training_dtype)


def summarize_measured(measured: Measured, valid: npt.NDArray[np.bool_]) -> dict[str, Summary]:
    """Return what the valid tensors of one batch teach, by shape."""
    if not valid.any():
        return {}
    shapes = measured.shapes.take(positions_array(np.flatnonzero(valid))).to_pylist()
    numbers = (measured.low, measured.high, measured.mean, measured.std)
    return summarize_tensors(shapes, *(each[valid] for each in numbers))


def spell_shape(shape: Sequence[int]) -> str:
    """Return a shape as its column spells it.

    Example:
        >>> spell_shape((28, 28, 1))
        '28x28x1'
    """
    return "x".join(map(str, shape))


def cast_tensor(rows: Rows, feature: Feature, dtype: str) -> tuple[pa.Array, Finding]:
    """Return a tensor feature as it lies in a shard, and the rows of another shape than it has.

    Args:
        rows: The rows.
        feature: The feature.
        dtype: Of the values as read.
    """
    cells = rows.table.column(f"x:{feature.name}").combine_chunks()
    expected = spell_shape(feature.shape)
    told = spilled_name(rows.table.column_names, f"{feature.name}_shape")
    shapes = rows.table.column(told).combine_chunks()
    other = np.flatnonzero(to_numpy(pc.not_equal(shapes, strings([expected])[0])))
    offsets = np.frombuffer(cells.buffers()[1], np.int32, len(cells) + 1, cells.offset * 4)
    values = np.frombuffer(cells.buffers()[2], dtype, offset=0)
    first, last = offsets[0] // values.itemsize, offsets[-1] // values.itemsize
    stored = values[first:last].astype(feature.stored)
    starts = (offsets - offsets[0]) // values.itemsize
    buffers = [
        None,
        pa.py_buffer((starts * stored.itemsize).astype(np.int32)),
        pa.py_buffer(stored),
    ]
    array = pa.Array.from_buffers(pa.binary(), len(cells), buffers)
    return array, Finding(feature.name, SHAPE, other)


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
