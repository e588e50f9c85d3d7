"""An independent verdict on rows of text: slow, cell by cell, and without a line of `pipeline`.

Text is read by Python's own float, Decimal and datetime; a check is asked of pandera about one
cell, or one row, at a time; a parser is given one cell, or one row; repeats are pandas'.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.config import config_context

from tests.oracle_cells import (
    Cell,
    State,
    Value,
    as_native,
    as_series,
    is_beyond,
    kind_of,
    read_cell,
    read_plain,
)

Reason = tuple[int, str | None, str]
"""Row from 0, column (None for whole rows), rule."""

BLANKS = {"missing", "nan"}
KEEP: dict[str, Any] = {"all": False, "exclude_first": "first", "exclude_last": "last"}
COVERS, MONOTONIC = "unique_values_eq", "is_monotonic"


@dataclass(frozen=True)
class Verdict:
    """What is to be said of some rows.

    Attributes:
        reasons: All that they break.
        warned: What they break of checks that only warn.
        uncovered: Column and check to the listed values that never occur.
        uncovered_warned: As `uncovered`, of checks that only warn.
        cells: The cells by column, as parsers and defaults leave them.
    """

    reasons: set[Reason]
    warned: set[Reason]
    uncovered: dict[tuple[str, str], list[Any]]
    uncovered_warned: dict[tuple[str, str], list[Any]]
    cells: dict[str, list[Cell]]


def passes(check: Any, data: pd.Series[Any] | pd.DataFrame) -> bool:
    """Ask pandera for its verdict on one cell or one row; where the check raises, it fails."""
    check = copy(check)
    check.raise_warning = False
    single = isinstance(data, pd.Series)
    schema: Any = (
        pa.SeriesSchema(None, check, nullable=True) if single else pa.DataFrameSchema(checks=check)
    )
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


def is_builtin(check: Any, name: str) -> bool:
    """Tell whether a check is pandera's of this name, whatever the schema calls it."""
    return getattr(check._check_fn, "_name", None) == name


def run_parsers(
    parsers: Sequence[Any], data: Any, natives: Mapping[str, Any]
) -> tuple[Any, list[str]]:
    """Return what parsers make of one cell or row, and the names of those that raise on it.

    A further parser is given the dtypes of the schema, by column, where they hold what is there.
    """
    raised = []
    for place, parser in enumerate(parsers):
        if place and isinstance(data, pd.Series):
            data = as_native(data, *natives.values())
        elif place:
            data = data.assign(**{name: as_native(data[name], natives[name]) for name in natives})
        try:
            function = parser._parser_fn
            data = data.map(function) if parser.element_wise else function(data)
        except Exception:
            raised.append(parser.name)
    return data, raised


def merge(before: Cell, output: pd.Series[Any], native: Any) -> Cell:
    """Return what a cell is after a parser gave this output for it."""
    is_number = kind_of(native) in ("float", "int") and pd.api.types.is_float_dtype(output.dtype)
    blank = "nan" if is_number else "missing"  # of texts that are all NaN pandas makes floats
    after = read_plain(output.iloc[0], native, blank)
    if before == State("type"):
        return before
    if isinstance(before, Value) and after == State("inf") and is_beyond(before, native):
        return Value(math.copysign(before.plain, after.plain))
    kept = before in BLANKS and after in BLANKS
    unseen = before == State("inf") and kind_of(native) != "float"
    return before if kept or unseen else after


class Oracle:
    """The verdict of one schema.

    Args:
        schema: The pandera schema.
        headers: The columns of the table.
        training_dtype: What `overflow` means.
        label: The column whose blanks are never valid and never filled.
    """

    def __init__(
        self,
        schema: pa.DataFrameSchema,
        headers: Sequence[str],
        training_dtype: str = "float32",
        label: str | None = None,
    ) -> None:
        self.schema = schema
        self.headers = list(headers)
        self.training_dtype = training_dtype
        self.label = label
        self.columns = dict(self._bind())
        self.natives = {n: (schema.dtype or c.dtype).type for n, c in self.columns.items()}
        self._verdicts: dict[tuple[int, str, Any], bool] = {}

    def judge(self, rows: Sequence[Sequence[str | None]]) -> Verdict:
        """Return all that `(rows, columns)` texts, in the headers' order, break."""
        as_read = {name: self._read(name, rows) for name in self.columns}
        cells, reasons = self._parse_rows(as_read, len(rows))
        cells = {name: [self._parse_cell(name, c) for c in cells[name]] for name in cells}
        warned: set[Reason] = set()
        for name, column in cells.items():
            for row, cell in enumerate(column):
                rules, warnings_ = self._judge_cell(name, cell)
                reasons |= {(row, name, rule) for rule in rules}
                warned |= {(row, name, rule) for rule in warnings_}
        broken = {row for row, column, _ in reasons if column is not None}
        for row in set(range(len(rows))) - broken:
            rules, warnings_ = self._judge_row(cells, row)
            reasons |= {(row, None, rule) for rule in rules}
            warned |= {(row, None, rule) for rule in warnings_}
        reasons |= self._judge_keys(cells) | self._judge_orders(cells)
        uncovered = self._find_uncovered(cells, warn=False), self._find_uncovered(cells, warn=True)
        return Verdict(reasons, warned, *uncovered, cells)

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

    def _is_nullable(self, name: str) -> bool:
        return bool(self.columns[name].nullable) and name != self.label

    def _read(self, name: str, rows: Sequence[Sequence[str | None]]) -> list[Cell]:
        if name not in self.headers:
            return [State("missing")] * len(rows)
        place = self.headers.index(name)
        return [read_cell(row[place], self.natives[name]) for row in rows]

    def _one_row(self, cells: Mapping[str, Sequence[Cell]], row: int) -> pd.DataFrame:
        columns = {name: as_series([cells[name][row]], self.natives[name]) for name in cells}
        return pd.DataFrame(columns)

    def _parse_rows(
        self, cells: Mapping[str, Sequence[Cell]], num_rows: int
    ) -> tuple[dict[str, list[Cell]], set[Reason]]:
        parsed = {name: list(column) for name, column in cells.items()}
        reasons: set[Reason] = set()
        for row in range(num_rows if self.schema.parsers else 0):
            output, raised = run_parsers(
                self.schema.parsers, self._one_row(cells, row), self.natives
            )
            reasons |= {(row, None, parser) for parser in raised}
            for name in parsed:
                parsed[name][row] = merge(cells[name][row], output[name], self.natives[name])
        return parsed, reasons

    def _parse_cell(self, name: str, cell: Cell) -> Cell:
        column, native = self.columns[name], self.natives[name]
        if cell in BLANKS and not pd.isna(column.default) and name != self.label:
            cell = read_plain(column.default, native)
        if not column.parsers:
            return cell
        output, raised = run_parsers(column.parsers, as_series([cell], native), {name: native})
        return State("type") if raised else merge(cell, output, native)

    def _judge_cell(self, name: str, cell: Cell) -> tuple[set[str], set[str]]:
        """Return the rules that a cell breaks, and those of which it is only warned."""
        column, native = self.columns[name], self.natives[name]
        checks = [check for check in column.checks if not is_builtin(check, MONOTONIC)]
        rules: set[str] = set()
        if isinstance(cell, State):
            if cell not in BLANKS or not self._is_nullable(name):
                return {str(cell)}, set()
            checks = [check for check in checks if not check.ignore_na]
        elif kind_of(native) == "float" and self._overflows(cell.plain, native):
            rules.add("overflow")
        failed = [check for check in checks if not self._passes(check, cell, native)]
        rules |= {check.name for check in failed if not check.raise_warning}
        listed = getattr(native, "categories", None)
        if isinstance(cell, Value) and listed is not None and cell.plain not in listed:
            rules.add("isin")
        return rules, {check.name for check in failed if check.raise_warning}

    def _overflows(self, value: float, native: Any) -> bool:
        with np.errstate(over="ignore"):
            published = np.dtype(getattr(native, "numpy_dtype", native)).type(value)
            return not np.isfinite(np.dtype(self.training_dtype).type(published))

    def _passes(self, check: Any, cell: Cell, native: Any) -> bool:
        key = id(check), str(native), repr(cell.plain)
        if key not in self._verdicts:
            series = as_series([cell], native)
            if check.element_wise and kind_of(native) == "string":
                series = series.astype(object)  # a categorical's `map` gives one without `all`
            asked = (
                pa.Check.isin(check.statistics["values"]) if is_builtin(check, COVERS) else check
            )
            self._verdicts[key] = passes(asked, series)
        return self._verdicts[key]

    def _judge_row(
        self, cells: Mapping[str, Sequence[Cell]], row: int
    ) -> tuple[set[str], set[str]]:
        checks = [check for check in self.schema.checks if not is_builtin(check, MONOTONIC)]
        failed = [check for check in checks if not passes(check, self._one_row(cells, row))]
        warned = {check.name for check in failed if check.raise_warning}
        return {check.name for check in failed if not check.raise_warning}, warned

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
                isinstance(cell, Value) or (cell in BLANKS and self._is_nullable(name))
                for cell, name in zip(cells, names, strict=True)
            )
        ]
        parts = {}
        for name, cells in zip(names, key, strict=True):
            of_key = [cells[row] for row in rows]
            # A missing cell and the text nan are two things.
            parts[name, "blank"] = pd.Series([str(c) * isinstance(c, State) for c in of_key])
            parts[name, "value"] = as_series(of_key, self.natives[name])
        repeats = pd.DataFrame(parts, index=range(len(rows))).duplicated(keep=keep)
        return [row for row, again in zip(rows, repeats, strict=True) if again]

    def _judge_orders(self, cells: Mapping[str, Sequence[Cell]]) -> set[Reason]:
        """Return the rows whose value is not beyond every value before it."""
        asked = [(name, c) for name, column in self.columns.items() for c in column.checks]
        asked += [(c.statistics.get("dim"), c) for c in self.schema.checks]
        reasons: set[Reason] = set()
        for name, check in asked:
            if not is_builtin(check, MONOTONIC) or name not in cells:
                continue
            rows = [row for row, cell in enumerate(cells[name]) if isinstance(cell, Value)]
            values = list(as_series([cells[name][row] for row in rows], self.natives[name]))
            for place, row in enumerate(rows):
                grows, before = check.statistics["increasing"], values[:place]
                back = [v for v in before if (v >= values[place] if grows else v <= values[place])]
                reasons |= {(row, name, MONOTONIC)} if back else set()
        return reasons

    def _find_uncovered(
        self, cells: Mapping[str, Collection[Cell]], *, warn: bool
    ) -> dict[tuple[str, str], list[Any]]:
        found: dict[tuple[str, str], list[Any]] = {}
        for name, column in self.columns.items():
            for check in column.checks:
                if not is_builtin(check, COVERS) or check.raise_warning != warn:
                    continue
                own = [
                    as_series([c], self.natives[name]) for c in cells[name] if isinstance(c, Value)
                ]
                listed = check.statistics["values"]
                absent = [v for v in listed if not any(passes(pa.Check.isin([v]), c) for c in own)]
                if absent:
                    found[name, check.name] = absent
        return found
