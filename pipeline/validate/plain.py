"""The arguments of pandera's checks as values that compare with numpy's as pandas compares them."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pipeline.batch import Kind
from pipeline.validate.kernels import is_common_pattern

NUMBER_KERNELS = frozenset({"eq", "ne", "gt", "ge", "lt", "le", "in_range", "isin", "notin"})
BOOL_KERNELS = frozenset({"eq", "ne", "isin", "notin"})
PATTERN_KERNELS = frozenset({"str_matches", "str_contains"})
STRING_KERNELS = BOOL_KERNELS | PATTERN_KERNELS | {"str_startswith", "str_endswith", "str_length"}
# Beyond it numpy refuses to compare an int with floats.
FLOAT_BOUND = 2**1023
_FLAGS = frozenset({"include_min", "include_max"})


def plain_statistics(kernel: str, kind: Kind, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the statistics as the kernel wants them, or None where only pandera can decide."""
    known = {"string": STRING_KERNELS, "bool": BOOL_KERNELS}.get(kind, NUMBER_KERNELS)
    if kernel not in known:
        return None
    if kernel == "str_length":
        return given
    if kernel in PATTERN_KERNELS:
        return given if is_common_pattern(given["pattern"]) else None
    plain: dict[str, Any] = {}
    for key, value in given.items():
        if key in _FLAGS:
            plain[key] = bool(value)
            continue
        listed = key in ("allowed_values", "forbidden_values")
        values = [plain_value(kind, item) for item in (value if listed else [value])]
        if any(item is None for item in values):
            return None
        plain[key] = tuple(values) if listed else values[0]
    if kernel in ("isin", "notin") and kind in ("int", "float"):
        exact = _whole if kind == "int" else _exact_floats
        plain = {key: exact(values) for key, values in plain.items()}
    return plain


def plain_default(kind: Kind, dtype: str, value: Any) -> Any:
    """Return a column's default as a value of the kind, or None where the dtype holds it not."""
    plain = plain_value(kind, value)
    if plain is None or kind not in ("float", "int"):
        return plain
    if kind == "float":
        with np.errstate(over="ignore"):
            return float(plain) if np.isfinite(np.dtype(dtype).type(plain)) else None
    whole = _whole((plain,)) if np.isfinite(plain) else ()
    limits = np.iinfo(dtype)
    return whole[0] if whole and limits.min <= whole[0] <= limits.max else None


def plain_value(kind: Kind, value: Any) -> Any:
    """Return a value that compares with the kind's numpy values as pandas compares it, or None."""
    if kind == "string":
        return str(value) if isinstance(value, str) else None
    if kind == "bool":
        return bool(value) if isinstance(value, (bool, np.bool_)) else None
    if kind == "timestamp":
        return _microseconds(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return None
    plain = value.item() if isinstance(value, np.generic) else value
    beyond = kind == "float" and isinstance(plain, int) and abs(plain) >= FLOAT_BOUND
    return None if beyond else plain


def _microseconds(value: Any) -> int | None:
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError):
        return None
    if pd.isna(stamp):
        return None
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    # Its `value` is in nanoseconds, which end in the year 2262.
    exact = None if stamp.nanosecond else stamp.tz_localize(None).as_unit("us").asm8
    return None if exact is None else int(exact.astype(np.int64))


def _whole(values: tuple[Any, ...]) -> tuple[int, ...]:
    """No integer equals 1.5."""
    whole = [int(value) for value in values if value % 1 == 0]
    return tuple(value for value in whole if -(2**63) <= value < 2**63)


def _exact_floats(values: tuple[Any, ...]) -> tuple[float, ...]:
    """No float64 equals 2**53 + 1, and numpy would round it to one."""
    held = [value for value in values if not isinstance(value, int) or abs(value) < FLOAT_BOUND]
    return tuple(float(value) for value in held if float(value) == value)
