"""The rule that a column's values grow, or shrink, from row to row (`is_monotonic`).

A scan spills the values beside row id and line; between scan and fit they are walked through in
source order, a batch at a time. A row that does not go on from what came before it breaks the
rule, so what stays keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import to_arrow, to_numpy
from pipeline.batch import Batch, Positions, hold
from pipeline.schema import Schema
from pipeline.spill import name_spill, read_bins, write_bins
from pipeline.whole.breaks import Breaks

# pandera's name of the rule.
MONOTONIC = "is_monotonic"


def list_orders(schema: Schema) -> tuple[tuple[str, bool], ...]:
    """Return the columns that have to be strictly monotonic, and whether they have to grow."""
    return tuple(
        (column.name, column.monotonic == "increasing")
        for column in schema.columns
        if column.monotonic is not None
    )


def spill_orders(stem: Path, batch: Batch, schema: Schema, broken: Positions) -> None:
    """Write the values of one batch, a file a column.

    Args:
        stem: The batch's, as `find_disorder` gets it.
        batch: The rows; a cell without a value has no place in the order.
        schema: Names the columns.
        broken: The rows that break something else.
    """
    is_broken = np.zeros(len(batch), bool)
    is_broken[broken] = True
    for index, (name, _) in enumerate(list_orders(schema)):
        column = hold(batch.columns[name], schema[name].dtype)
        ok = np.flatnonzero(column.is_ok())
        arrays = (column.values[ok], batch.row_ids[ok], batch.rows[ok], is_broken[ok])
        names = ["value", "row_id", "row", "otherwise_broken"]
        table = pa.RecordBatch.from_arrays([to_arrow(array) for array in arrays], names=names)
        write_bins(name_spill(stem, "order", index), table, np.zeros(len(ok), np.int64), 1)


def find_disorder(stems: Sequence[Path], index: int, increasing: bool) -> Breaks:
    """Return the rows that do not go on from what came before.

    Args:
        stems: Of every batch, in source order.
        index: Which of `list_orders`.
        increasing: Whether values have to grow.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))]
    furthest = np.maximum if increasing else np.minimum
    last = None
    for stem in stems:
        for batch in read_bins(name_spill(stem, "order", index)):
            values, row_ids, rows, broken = (to_numpy(array) for array in batch.columns)
            back = find_back_steps(values, increasing, last)
            found.append((row_ids[back], rows[back], broken[back]))
            last = furthest.reduce(values if last is None else np.append(values, last))
    return Breaks(*(np.concatenate(column) for column in zip(*found, strict=True)))


def find_back_steps(
    values: npt.NDArray[Any], increasing: bool, last: Any | None = None
) -> npt.NDArray[np.bool_]:
    """Return a mask `(rows,)` of the values that are not beyond all before them.

    Args:
        values: `(rows,)`, in order.
        increasing: Whether they have to grow.
        last: What is furthest before the first; None where nothing is.
    """
    furthest = np.maximum if increasing else np.minimum
    reached = furthest.accumulate(values if last is None else np.append(last, values))
    mask = np.zeros(len(values), bool)
    first = 1 if last is None else 0
    before = reached[: len(values) - first]
    later = values[first:]
    mask[first:] = later <= before if increasing else later >= before
    return mask
