"""What a column's range checks let pass, and the bounds that `clip` moves cells to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.batch import VALUE_DTYPES, Kind
from pipeline.schema import Check, ColumnSchema

RANGE_KERNELS = frozenset({"ge", "gt", "le", "lt", "in_range"})
Bound = int | float | None


def list_range_rules(column: ColumnSchema) -> frozenset[str]:
    """Return the rules that a value beyond a bound breaks: `clip` mends these, and no others.

    A check of the schema's own may bear a built-in one's name; then the name tells nothing.
    """
    strict = [check for check in column.checks if not check.warns]
    ranges = {check.name for check in strict if check.kernel in RANGE_KERNELS}
    others = {check.name for check in strict if check.kernel not in RANGE_KERNELS}
    return frozenset({"inf", "overflow"} | ranges - others)


def legal_bounds(column: ColumnSchema) -> tuple[Bound, Bound]:
    """Return the smallest and largest value of its dtype that the column's range checks let pass.

    None on a side without a bound.
    """
    return _bounds_in(column, column.dtype, column.dtype)


def clip_bounds(
    column: ColumnSchema, training_dtype: str, *, shifted: bool = False
) -> tuple[Bound, Bound]:
    """Return the legal values that `clip` moves smaller and larger ones to.

    They are the legal bounds in the training dtype, where that is coarser than the column's own
    and holds a value between them. Beside 0 they are normal numbers: TensorFlow takes the
    subnormal ones for 0.

    Args:
        column: The column.
        training_dtype: What a value may not overflow.
        shifted: Whether values are shifted before the cast, and so keep the resolution of the
            column's own dtype.
    """
    coarse = _coarser(column, training_dtype)
    dtype = column.dtype if shifted else coarse
    lower, upper = _bounds_in(column, dtype, coarse)
    if column.kind == "float":
        tiny = float(np.finfo(dtype).tiny)
        lower = tiny if lower is not None and 0 < lower < tiny else lower
        upper = -tiny if upper is not None and -tiny < upper < 0 else upper
    if lower is not None and upper is not None and lower > upper:
        return legal_bounds(column)
    return lower, upper


def _coarser(column: ColumnSchema, training_dtype: str) -> str:
    if column.kind != "float":
        return column.dtype
    return min(column.dtype, training_dtype, key=lambda dtype: np.dtype(dtype).itemsize)


def _bounds_in(column: ColumnSchema, dtype: str, held_by: str) -> tuple[Bound, Bound]:
    """Return the bounds at the resolution of one dtype and within the range of another."""
    lowers, uppers = [], []
    for check in column.checks:
        if check.warns or check.kernel not in RANGE_KERNELS:
            continue
        lower, upper = _check_bounds(check, column.kind, dtype)
        lowers += [] if lower is None else [lower]
        uppers += [] if upper is None else [upper]
    lower, upper = max(lowers, default=None), min(uppers, default=None)
    return _clamp(lower, column.kind, held_by), _clamp(upper, column.kind, held_by)


def _clamp(bound: Bound, kind: Kind, dtype: str) -> Bound:
    """Return the nearest bound that is a value of the dtype: a check may let pass what is none."""
    if bound is None:
        return None
    if kind == "float":
        greatest = float(np.finfo(dtype).max)
        return min(max(bound, -greatest), greatest)
    cells = np.iinfo(VALUE_DTYPES[kind])  # what a Column holds, of a uint64 less than all
    own = np.iinfo(dtype) if kind == "int" else cells
    return min(max(bound, own.min, cells.min), own.max, cells.max)


def _check_bounds(check: Check, kind: Kind, dtype: str) -> tuple[Bound, Bound]:
    given: Mapping[str, Any] = check.statistics
    low_closed = check.kernel == "ge" or bool(
        check.kernel == "in_range" and given.get("include_min", True)
    )
    high_closed = check.kernel == "le" or bool(
        check.kernel == "in_range" and given.get("include_max", True)
    )
    low, high = given.get("min_value"), given.get("max_value")
    if kind == "float":
        lower = _inward_float(low, low_closed, dtype, up=True)
        return lower, _inward_float(high, high_closed, dtype, up=False)
    return _inward_whole(low, low_closed, up=True), _inward_whole(high, high_closed, up=False)


def _inward_float(bound: Any, closed: bool, dtype: str, *, up: bool) -> float | None:
    """Turn an open bound into the nearest legal value."""
    if bound is None or abs(bound) == np.inf:
        return None
    if closed:
        return float(bound)
    with np.errstate(over="ignore"):
        typed = np.float64(bound).astype(dtype)
    return float(np.nextafter(typed, typed.dtype.type(np.inf if up else -np.inf)))


def _inward_whole(bound: Any, closed: bool, *, up: bool) -> int | None:
    """Turn an open or a fractional bound into the nearest legal whole number."""
    if bound is None or abs(bound) == np.inf:
        return None
    whole = int(np.ceil(bound)) if up else int(np.floor(bound))
    if not closed and whole == bound:
        whole += 1 if up else -1
    return whole
