"""Text to typed cells: what is a value, what is missing, NaN, infinite or of another type.

Text is stripped first. These rules are the only ones; the faster ways in this package are
subsets of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import is_valid, strings, to_arrow, to_numpy
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, VALUE_DTYPES, Column, Kind

Mask = npt.NDArray[np.bool_]
States = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]

INT_LIMITS = np.iinfo(np.int64)
# Years 1 to 9999, as Python's datetime and ISO 8601's four digits have them.
FIRST_MICROSECOND = -62_135_596_800_000_000
LAST_MICROSECOND = 253_402_300_799_999_999

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_WORD = r"(?i:[+-]?(?:nan|inf|infinity))"
_FLOAT = f"^(?:{_NUMBER}|{_WORD})$"
_FLOAT_TEXT = re.compile(f"{_NUMBER}|{_WORD}")
_NAN = "^(?i:[+-]?nan)$"
_INTEGER = r"^(?P<whole>-?[0-9]{1,18})(?:\.0*)?$"
_TIMESTAMP = (
    r"^(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})"
    r"(?:[.,](?P<micros>[0-9]{1,6})0*)?)?)?"
    r"(?:Z|(?P<sign>[+-])(?P<zone_hour>[0-9]{2})(?::?(?P<zone_minute>[0-9]{2}))?)?)?$"
)


def parse_texts(kind: Kind, texts: pa.Array, missing: Sequence[str], decimal: str = ".") -> Column:
    """Parse the cells of one column.

    Args:
        kind: What they are to become.
        texts: `(rows,)` Arrow string array; a null is a cell that is not there.
        missing: The texts that mean missing; numbers among them match by value in `float` and
            `int` columns, and every other match is exact.
        decimal: The character between units and tenths.

    Example:
        >>> from pipeline.arrow import strings
        >>> parse_texts("float", strings([" 1.5", "NA", "nan", "1e400", "1_0"]), ["NA"]).states
        array([0, 1, 2, 3, 4], dtype=uint8)
    """
    texts = pc.utf8_trim_whitespace(texts)
    states = np.zeros(len(texts), np.uint8)
    absent = _truth(pc.is_in(texts, value_set=strings(list(missing))))
    valid = is_valid(texts)
    if valid is not None:
        absent |= ~valid
    if absent.any():
        states[absent] = MISSING
        texts = _keep(texts, ~absent)
    if kind == "string":
        return Column(kind, texts, states if absent.any() else None)
    if kind in ("float", "int") and decimal != ".":
        texts = _use_point(texts, decimal)
    values = _PARSERS[kind](texts, states)
    mark_missing_values(values, states, missing_numbers(kind, tuple(missing), decimal))
    return Column(kind, values, states if states.any() else None)


@lru_cache
def missing_numbers(
    kind: Kind, missing: tuple[str, ...], decimal: str = "."
) -> tuple[tuple[float, int], ...]:
    """Return value and state of the numbers among the texts that mean missing."""
    if kind not in ("float", "int") or not missing:
        return ()
    column = parse_texts(kind, strings(missing), (), decimal)
    states = column.all_states()
    cells = zip(column.values.tolist(), states.tolist(), strict=True)
    return tuple((value, state) for value, state in cells if state in (OK, INF))


def mark_missing_values(
    values: Values, states: States, numbers: Sequence[tuple[float, int]]
) -> None:
    """Set the state and the placeholder of cells that hold a number meaning missing."""
    for number, state in numbers:
        found = (values == number) & (states == state)
        if found.any():
            states[found] = MISSING
            values[found] = np.nan if values.dtype.kind == "f" else 0


def missing_column(kind: Kind, length: int) -> Column:
    """Return a column of which the file holds no cell."""
    states = np.full(length, MISSING, np.uint8)
    if kind == "string":
        return Column(kind, pa.nulls(length, pa.string()), states)
    return Column(kind, _placeholders(kind, length), states)


def _placeholders(kind: Kind, length: int) -> Values:
    return np.full(length, np.nan if kind == "float" else 0, VALUE_DTYPES[kind])


def _parse_floats(texts: pa.Array, states: States) -> Values:
    numbers = _try_cast(texts, pa.float64(), "(")  # Arrow reads nan(1) as NaN
    if numbers is None:
        texts = _mark_type(texts, states, _match(texts, _FLOAT))
        numbers = texts.cast(pa.float64())
    values = _fill(numbers, np.nan)
    if not np.isfinite(values).all():
        states[(states == OK) & np.isnan(values)] = NAN
        states[(states == OK) & np.isinf(values)] = INF
    return values


def _parse_ints(texts: pa.Array, states: States) -> Values:
    numbers = _try_cast(texts, pa.int64(), "xX")  # Arrow reads hexadecimal
    if numbers is not None:
        return _fill(numbers, 0)
    whole = _extract(texts, _INTEGER)["whole"]
    values = _fill(whole.cast(pa.int64()), 0)
    rest = np.flatnonzero(~_present(whole) & (states == OK))
    for place, text in zip(rest.tolist(), texts.take(to_arrow(rest)).to_pylist(), strict=True):
        values[place], states[place] = _read_int(text)
    return values


def _read_int(text: str) -> tuple[int, int]:
    """Return value and state of a text that is no plain run of digits."""
    word = text.lower().lstrip("+-")
    if word == "nan" and len(text) <= 4:
        return 0, NAN
    if not _FLOAT_TEXT.fullmatch(text):
        return 0, TYPE
    if np.isinf(float(text)):
        return (INT_LIMITS.min if text[0] == "-" else INT_LIMITS.max), INF
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond 10**18, of a zero or of next to nothing
        return 0, TYPE
    # The exponent is looked at first: an integer of 10**9 digits is never built.
    if number and (number.adjusted() > 18 or number != number.to_integral_value()):
        return 0, TYPE
    whole = int(number)
    return (whole, OK) if INT_LIMITS.min <= whole <= INT_LIMITS.max else (0, TYPE)


def _parse_bools(texts: pa.Array, states: States) -> Values:
    lowered = pc.ascii_lower(texts)
    true = _truth(pc.is_in(lowered, value_set=strings(["true", "1"])))
    known = true | _truth(pc.is_in(lowered, value_set=strings(["false", "0"])))
    nan = _match(texts, _NAN)
    states[(states == OK) & nan] = NAN
    states[(states == OK) & ~known] = TYPE
    return true


def _parse_timestamps(texts: pa.Array, states: States) -> Values:
    """Read ISO 8601; without a zone it is UTC, and finer than a microsecond is TYPE."""
    parts = _extract(texts, _TIMESTAMP)
    days = _days(parts["date"])
    hour, minute, second = (_integers(parts[name]) for name in ("hour", "minute", "second"))
    zone_hour, zone_minute = (_integers(parts[name]) for name in ("zone_hour", "zone_minute"))
    micros = _integers(pc.utf8_rpad(parts["micros"], 6, "0"))
    sign = np.where(_match(parts["sign"], "-"), -1, 1)
    known = (days != INT_LIMITS.min) & (hour < 24) & (minute < 60) & (second < 60)
    known &= (zone_hour < 24) & (zone_minute < 60)
    minutes = hour * 60 + minute - sign * (zone_hour * 60 + zone_minute)
    values = ((np.where(known, days, 0) * 1440 + minutes) * 60 + second) * 1_000_000 + micros
    known &= (values >= FIRST_MICROSECOND) & (values <= LAST_MICROSECOND)
    _name_the_rest(texts, states, known)
    values[~known] = 0
    _place_infinities(texts, states, values)
    return values


def _name_the_rest(texts: pa.Array, states: States, known: Mask) -> None:
    """Tell NaN, infinity and other text apart where no value was read."""
    if known.all():
        return
    states[(states == OK) & ~known & _match(texts, _NAN)] = NAN
    rest = np.flatnonzero((states == OK) & ~known)
    if not len(rest):
        return
    numbers = pc.match_substring_regex(texts.take(to_arrow(rest)), _FLOAT)
    maybe = texts.take(to_arrow(rest)).filter(numbers).cast(pa.float64())
    infinite = np.zeros(len(rest), bool)
    infinite[_truth(numbers)] = np.isinf(to_numpy(maybe))
    states[rest] = np.where(infinite, INF, TYPE)


def _place_infinities(texts: pa.Array, states: States, values: Values) -> None:
    infinite = states == INF
    if infinite.any():
        negative = _truth(pc.starts_with(texts, "-"))
        values[infinite] = np.where(negative, INT_LIMITS.min, INT_LIMITS.max)[infinite]


_PARSERS: dict[Kind, Callable[[pa.Array, States], Values]] = {
    "float": _parse_floats,
    "int": _parse_ints,
    "bool": _parse_bools,
    "timestamp": _parse_timestamps,
}


def _days(dates: pa.Array) -> Values:
    """Return days since 1970 of YYYY-MM-DD, the smallest int64 where there is no such day."""
    days = np.full(len(dates), INT_LIMITS.min)
    present = _present(dates)
    year, month, day = (
        _integers(pc.utf8_slice_codeunits(dates, a, b)) for a, b in ((0, 4), (5, 7), (8, 10))
    )
    sound = present & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    months = np.where(sound, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    length = (months + np.timedelta64(1, "M")).astype("datetime64[D]").astype(np.int64) - first
    sound &= day <= length
    days[sound] = (first + day - 1)[sound]
    return days


def _integers(digits: pa.Array) -> Values:
    """Return the numbers of short runs of digits, 0 where there is none."""
    empty = pc.equal(pc.binary_length(digits), to_arrow(np.zeros(1, np.int32))[0])
    return _fill(_keep(digits, ~_truth(empty)).cast(pa.int64()), 0)


def _try_cast(texts: pa.Array, type_: pa.DataType, traps: str) -> pa.Array | None:
    """Cast whole columns of plain values; None where a cell, or a trap in the text, forbids it."""
    data = texts.buffers()[2]
    if data is not None and any(trap.encode() in memoryview(data).tobytes() for trap in traps):
        return None
    try:
        return texts.cast(type_)
    except pa.ArrowInvalid:
        return None


def _mark_type(texts: pa.Array, states: States, readable: Mask) -> pa.Array:
    states[(states == OK) & ~readable] = TYPE
    return _keep(texts, readable)


def _use_point(texts: pa.Array, decimal: str) -> pa.Array:
    """Write a decimal point for `decimal`, and something unreadable for a point."""
    return pc.replace_substring(pc.replace_substring(texts, ".", "?"), decimal, ".")


def _keep(texts: pa.Array, mask: Mask) -> pa.Array:
    """Return the texts, null where the mask is false."""
    return pc.if_else(to_arrow(mask), texts, pa.nulls(len(texts), pa.string()))


def _extract(texts: pa.Array, pattern: str) -> dict[str, pa.Array]:
    """Return the named groups; null where the pattern does not match."""
    parts = pc.extract_regex(texts, pattern)
    return dict(zip((f.name for f in parts.type), parts.flatten(), strict=True))


def _match(texts: pa.Array, pattern: str) -> Mask:
    return _truth(pc.match_substring_regex(texts, pattern))


def _present(array: pa.Array) -> Mask:
    valid = is_valid(array)
    return np.ones(len(array), bool) if valid is None else valid


def _truth(array: pa.Array) -> Mask:
    """Return an Arrow boolean array as a mask; null is false."""
    mask = to_numpy(array)
    valid = is_valid(array)
    return mask if valid is None else mask & valid


def _fill(array: pa.Array, placeholder: float) -> Values:
    """Return the values of a primitive array, the placeholder where it is null."""
    values = to_numpy(array).copy()
    valid = is_valid(array)
    if valid is not None:
        values[~valid] = placeholder
    return values
