"""Cells as the oracle has them: read from text by Python alone, and shown to pandas one by one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

MISSING_TEXTS = {"", "NA", "N/A", "null", "NULL"}
BLANKS = {"missing", "nan"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,6})0*)?)?)?"
    r"(?:(Z)|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII,
)


class State(str):
    """What a cell without a value is: missing, nan, inf or type.

    Attributes:
        plain: The infinity that a float's parser sees; None in all others.
    """

    plain: float | None = None


class Value:
    """A cell's value, as Python has it: float, int, bool, str or microseconds since 1970."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain


Cell = State | Value


def infinite(plain: float) -> State:
    state = State("inf")
    state.plain = plain
    return state


def kind_of(native: Any) -> str:
    """Return how the text of a column of this dtype is read."""
    types = pd.api.types
    if isinstance(native, pd.CategoricalDtype) or types.is_string_dtype(native):
        return "string"
    if types.is_bool_dtype(native):
        return "bool"
    if types.is_datetime64_any_dtype(native):
        return "timestamp"
    return "int" if types.is_integer_dtype(native) else "float"


def read_cell(text: str | None, native: Any, missing: Collection[str] = MISSING_TEXTS) -> Cell:
    """Tell what a text is in a column of this dtype."""
    if text is None or text.strip() in missing:
        return State("missing")
    text = text.strip()
    kind = kind_of(native)
    if kind == "string":
        return Value(text)
    number = _read_float(text)
    if number is not None and math.isnan(number):
        return State("nan")
    if kind == "bool":
        known = {"true": True, "1": True, "false": False, "0": False}
        return Value(known[text.lower()]) if text.lower() in known else State("type")
    if number is not None and math.isinf(number):
        return infinite(number)
    if kind == "timestamp":
        return _read_time(text)
    if number is None:
        return State("type")
    return Value(number) if kind == "float" else _read_int(text, native)


def _read_float(text: str) -> float | None:
    """Python takes underscores and the digits of every script; a file's numbers have neither."""
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _read_int(text: str, native: Any) -> Cell:
    exact = Decimal(text)
    if exact and (exact.adjusted() > 30 or exact != exact.to_integral_value()):
        return State("type")
    return _hold_int(int(exact), native)


def _hold_int(whole: int, native: Any) -> Cell:
    limits = np.iinfo(getattr(native, "numpy_dtype", native))
    inside = int(limits.min) <= whole <= min(int(limits.max), 2**63 - 1)
    return Value(whole) if inside else State("type")


def _read_time(text: str) -> Cell:
    found = TIME.fullmatch(text)
    if not found:
        return State("type")
    year, month, day, hour, minute, second, micros, _, sign, *zone = found.groups()
    east, east_minutes = (int(part or 0) for part in zone)
    if east > 23 or east_minutes > 59:
        return State("type")
    try:
        local = datetime(int(year), int(month), int(day), tzinfo=UTC).replace(
            hour=int(hour or 0),
            minute=int(minute or 0),
            second=int(second or 0),
            microsecond=int((micros or "").ljust(6, "0")),
        )
        offset = timedelta(hours=east, minutes=east_minutes)
        moment = local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        return State("type")
    return Value((moment - EPOCH) // timedelta(microseconds=1))


def read_plain(value: Any, native: Any, blank: str = "missing") -> Cell:
    """Tell what a parser's output, or a default, is in a column of this dtype.

    Args:
        value: One scalar.
        native: The column's dtype.
        blank: What NaN is: nan among floats, missing among objects.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return State("missing")
    kind = kind_of(native)
    if isinstance(value, str):
        return Value(value.strip()) if kind == "string" else read_cell(value, native, ())
    if isinstance(value, pd.Timestamp):
        return _read_stamp(value) if kind == "timestamp" else State("type")
    number = value.item() if isinstance(value, np.generic) else value
    if math.isnan(number):
        return State(blank)
    if math.isinf(number):
        return infinite(number) if kind in ("float", "int") else State("type")
    if kind == "float":
        return Value(float(number)) if float(number) == number else State("type")
    if number != int(number) or kind not in ("bool", "int"):
        return State("type")
    if kind == "bool":
        return Value(bool(number)) if number in (0, 1) else State("type")
    return _hold_int(int(number), native)


def _read_stamp(stamp: pd.Timestamp) -> Cell:
    if stamp.nanosecond or not 1 <= stamp.year <= 9999:
        return State("type")
    moment = stamp if stamp.tz is None else stamp.tz_convert("UTC").tz_localize(None)
    return Value(int(moment.to_datetime64().astype("datetime64[us]").astype(np.int64)))


def as_series(cells: Sequence[Cell], native: Any) -> pd.Series[Any]:
    """Return cells in the schema's dtype; a blank is what pandas has for it there."""
    kind = kind_of(native)
    plain: list[Any] = [
        cell.plain if isinstance(cell, Value) or kind == "float" else None  # floats hold infinities
        for cell in cells
    ]
    if kind == "timestamp":  # in microseconds, for nanoseconds end in the year 2262
        stamps = [np.datetime64("NaT" if t is None else t, "us") for t in plain]
        series = pd.Series(np.array(stamps, "datetime64[us]"))
        zone = getattr(native, "tz", None)
        return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if isinstance(native, pd.CategoricalDtype):
        listed = [] if native.categories is None else list(native.categories)
        words = [word for word in plain if word is not None]
        return pd.Series(plain, dtype=pd.CategoricalDtype(list(dict.fromkeys(listed + words))))
    has_na = isinstance(native, pd.api.extensions.ExtensionDtype) or kind == "string"
    if None in plain and not has_na and kind != "float":
        return pd.Series([np.nan if cell is None else cell for cell in plain], dtype=object)
    if kind == "float" and not has_na:
        with np.errstate(over="ignore"):
            numbers = np.array([np.nan if cell is None else cell for cell in plain])
            return pd.Series(numbers.astype(native))
    return pd.Series(plain, dtype=native)


def is_beyond(cell: Value, native: Any) -> bool:
    """Tell whether a number is finite, and infinite in a column of this dtype."""
    return kind_of(native) == "float" and math.isinf(as_series([cell], native).iloc[0])


def as_native(output: pd.Series[Any], native: Any) -> pd.Series[Any]:
    """Return one cell that a parser left in the schema's dtype, where that holds the same."""
    kind, value = kind_of(native), output.iloc[0]
    if kind == "timestamp":
        lost = pd.isna(value) and getattr(output.dt, "tz", None) != getattr(native, "tz", None)
        return as_series([State("missing")], native) if lost else output
    if pd.isna(value):
        return as_series([State("missing")], native)
    value = value.item() if isinstance(value, np.generic) else value
    types: Any = {"string": str, "bool": bool}.get(kind, (int, float))
    if not isinstance(value, types) or (kind != "bool" and isinstance(value, bool)):
        return output
    cell = Value(value) if kind == "string" else read_plain(value, native)
    if isinstance(cell, State) and cell.plain is None:
        return output
    back = as_series([cell], native)
    return back if back.iloc[0] == value else output
