"""An independent verdict on rows of text: slow, cell by cell, and without a line of `pipeline`.

Text is read by Python's own float, Decimal and datetime; a check is asked of pandera about one
cell, or one row, at a time; repeats are pandas'.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.config import config_context

Reason = tuple[int, str | None, str]
"""Row from 0, column (None for whole rows), rule."""

MISSING_TEXTS = {"", "NA", "N/A", "null", "NULL"}
BLANKS = {"missing", "nan"}
KEEP: dict[str, Any] = {"all": False, "exclude_first": "first", "exclude_last": "last"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,6})0*)?)?)?"
    r"(?:(Z)|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII,
)


class State(str):
    """What a cell without a value is: missing, nan, inf or type."""


class Value:
    """A cell's value, as Python has it: float, int, bool, str or microseconds since 1970."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain


Cell = State | Value


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


def read_cell(text: str | None, native: Any) -> Cell:
    """Tell what a text is in a column of this dtype."""
    if text is None or text.strip() in MISSING_TEXTS:
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
        return State("inf")
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
    limits = np.iinfo(getattr(native, "numpy_dtype", native))
    inside = int(limits.min) <= int(exact) <= min(int(limits.max), 2**63 - 1)
    return Value(int(exact)) if inside else State("type")


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


def as_series(cells: Sequence[Cell], native: Any) -> pd.Series[Any]:
    """Return cells in the schema's dtype; a blank is what pandas has for it there."""
    kind = kind_of(native)
    plain = [cell.plain if isinstance(cell, Value) else None for cell in cells]
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


def passes(check: Any, data: pd.Series[Any] | pd.DataFrame) -> bool:
    """Ask pandera for its verdict on one cell or one row; where the check raises, it fails."""
    single = isinstance(data, pd.Series)
    schema: Any = pa.SeriesSchema(None, check) if single else pa.DataFrameSchema(checks=check)
    with (
        config_context(validation_enabled=True),
        np.errstate(over="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression")
        try:
            schema.validate(data)
        except pa.errors.SchemaError:
            return False
    return True


class Oracle:
    """The verdict of one schema.

    Args:
        schema: The pandera schema.
        headers: The columns of the table.
        training_dtype: What `overflow` means.
    """

    def __init__(
        self, schema: pa.DataFrameSchema, headers: Sequence[str], training_dtype: str = "float32"
    ) -> None:
        self.schema = schema
        self.headers = list(headers)
        self.training_dtype = training_dtype
        self.columns = dict(self._bind())
        self._verdicts: dict[tuple[int, str, Any], bool] = {}

    def judge(self, rows: Sequence[Sequence[str | None]]) -> set[Reason]:
        """Return all that `(rows, columns)` texts, in the headers' order, break."""
        cells = {name: self._read(name, rows) for name in self.columns}
        reasons = {
            (row, name, rule)
            for name, column in cells.items()
            for row, cell in enumerate(column)
            for rule in self._judge_cell(name, cell)
        }
        broken = {row for row, _, _ in reasons}
        sound = [row for row in range(len(rows)) if row not in broken]
        reasons |= self._judge_rows(cells, sound)
        return reasons | self._judge_keys(cells)

    def _bind(self) -> Any:
        """Yield the columns by name: those of a pattern, and those that are there or required."""
        taken = {name for name, column in self.schema.columns.items() if not column.regex}
        for name, column in self.schema.columns.items():
            if not column.regex:
                if name in self.headers or column.required:
                    yield name, column
                continue
            for header in self.headers:
                if header not in taken and re.match(name, header):
                    taken.add(header)
                    yield header, column

    def _read(self, name: str, rows: Sequence[Sequence[str | None]]) -> list[Cell]:
        if name not in self.headers:
            return [State("missing")] * len(rows)
        place = self.headers.index(name)
        return [read_cell(row[place], self.columns[name].dtype.type) for row in rows]

    def _judge_cell(self, name: str, cell: Cell) -> set[str]:
        column = self.columns[name]
        if isinstance(cell, State):
            return set() if cell in BLANKS and column.nullable else {str(cell)}
        native = column.dtype.type
        rules = {check.name for check in column.checks if not self._passes(check, cell, native)}
        if kind_of(native) == "float" and self._overflows(cell.plain, native):
            rules.add("overflow")
        listed = getattr(native, "categories", None)
        if listed is not None and cell.plain not in listed:
            rules.add("isin")
        return rules

    def _overflows(self, value: float, native: Any) -> bool:
        with np.errstate(over="ignore"):
            published = np.dtype(getattr(native, "numpy_dtype", native)).type(value)
            return not np.isfinite(np.dtype(self.training_dtype).type(published))

    def _passes(self, check: Any, cell: Value, native: Any) -> bool:
        key = id(check), str(native), repr(cell.plain)
        if key not in self._verdicts:
            if check.element_wise and kind_of(native) == "string":
                native = np.dtype(object)  # a categorical's `map` gives one that has no `all`
            self._verdicts[key] = passes(check, as_series([cell], native))
        return self._verdicts[key]

    def _judge_rows(self, cells: Mapping[str, Sequence[Cell]], sound: Sequence[int]) -> set[Reason]:
        natives = {name: column.dtype.type for name, column in self.columns.items()}
        return {
            (row, None, check.name)
            for check in self.schema.checks
            for row in sound
            if not passes(
                check, pd.DataFrame({n: as_series([cells[n][row]], natives[n]) for n in natives})
            )
        }

    def _judge_keys(self, cells: Mapping[str, Sequence[Cell]]) -> set[Reason]:
        whole = self.schema.unique or []
        sets = [whole] if all(isinstance(name, str) for name in whole) else whole
        present = [[name for name in names if name in self.columns] for names in sets]
        keys = [(names, self.schema.report_duplicates) for names in present if names]
        keys += [([n], c.report_duplicates) for n, c in self.columns.items() if c.unique]
        return {
            (row, "+".join(names), "unique")
            for names, report in keys
            for row in self._find_repeats([cells[n] for n in names], names, KEEP[report])
        }

    def _find_repeats(
        self, key: Sequence[Sequence[Cell]], names: Sequence[str], keep: Any
    ) -> list[int]:
        """Return the rows with a repeated key, of those whose key cells are valid."""
        rows = [
            row
            for row, cells in enumerate(zip(*key, strict=True))
            if all(
                isinstance(cell, Value) or (cell in BLANKS and self.columns[name].nullable)
                for cell, name in zip(cells, names, strict=True)
            )
        ]
        parts = {}
        for name, cells in zip(names, key, strict=True):
            native = self.columns[name].dtype.type
            of_key = [cells[row] for row in rows]
            # A missing cell and the text nan are two things.
            parts[name, "blank"] = pd.Series([str(c) * isinstance(c, State) for c in of_key])
            parts[name, "value"] = as_series(of_key, native)
        repeats = pd.DataFrame(parts, index=range(len(rows))).duplicated(keep=keep)
        return [row for row, again in zip(rows, repeats, strict=True) if again]
