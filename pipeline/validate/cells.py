"""What a column was before its parsers and defaults, and what it is after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import positions_array, to_arrow, to_numpy
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, Column, Positions


def differs(before: Column, after: Column) -> npt.NDArray[np.bool_]:
    """Return a mask `(rows,)` of the cells that are not the same in state or value."""
    ok = before.is_ok() & after.is_ok()
    other = np.zeros(len(before), bool)
    if before.states is not None or after.states is not None:
        other = before.all_states() != after.all_states()
    if before.kind == "string":
        return other | (ok & to_numpy(pc.not_equal(before.values, after.values)))
    mask: npt.NDArray[np.bool_] = other | (ok & (before.values != after.values))
    return mask


def is_blank(column: Column) -> npt.NDArray[np.bool_]:
    """Return a mask `(rows,)` of the missing and NaN cells."""
    states = column.all_states()
    return (states == MISSING) | (states == NAN)


def keep_states(before: Column, after: Column, raised: npt.NDArray[np.bool_]) -> Column:
    """Return what a parser made of a column, where it has a say.

    Args:
        before: What the parser was given.
        after: What it returned.
        raised: `(rows,)` the cells that it raises on.
    """
    old, states = before.all_states(), after.all_states().copy()
    blank = (states == MISSING) | (states == NAN)
    kept = blank & is_blank(before)
    if after.kind != "float":  # of an infinity no parser of another kind sees anything
        kept |= old == INF
    states[kept] = old[kept]
    if before.kind == "float":  # what the dtype made infinite overflows, and is no infinity
        states[before.is_ok() & np.isinf(before.values) & (states == INF)] = OK
    states[(old == TYPE) | raised] = TYPE
    reset = (states == TYPE) | kept
    if not reset.any():
        return Column(after.kind, after.values, states if states.any() else None)
    if after.kind == "string":
        values: Any = pc.if_else(to_arrow(reset), pa.nulls(len(reset), pa.string()), after.values)
    else:
        values = np.where(reset, before.values, after.values)
        values[states == TYPE] = np.nan if after.kind == "float" else 0
    return Column(after.kind, values, states)


def restore_beyond(read: Column, parsed: Column) -> Column:
    """Return a float column in which a value beyond its dtype is what was read, not infinite."""
    beyond = parsed.is_ok() & np.isinf(parsed.values)
    if not beyond.any():
        return parsed
    values = np.where(beyond, np.copysign(read.values, parsed.values), parsed.values)
    return replace(parsed, values=values)


def put(column: Column, rows: Positions, cells: Column) -> Column:
    """Return the column with other cells in these rows."""
    order = np.arange(len(column))
    order[rows] = len(column) + np.arange(len(rows))
    states = np.concatenate([column.all_states(), cells.all_states()])[order]
    if column.kind == "string":
        values: Any = pa.concat_arrays([column.values, cells.values]).take(positions_array(order))
    else:
        values = np.concatenate([column.values, cells.values])[order]
    return Column(column.kind, values, states if states.any() else None)
