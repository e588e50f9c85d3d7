"""pandera's parsers: of one column, and of whole rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandera.backends.pandas.parsers import PandasParserBackend

from pipeline.batch import Column, Finding, Positions
from pipeline.errors import NotRowWise, PipelineError, SchemaError
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.between import return_to_dtypes
from pipeline.validate.cells import differs, is_blank, keep_states, put
from pipeline.validate.compile import as_frame_schema, dtype_of
from pipeline.validate.row_wise import ask_again, other_company, run_apart, whole_validation
from pipeline.validate.series import (
    group_by_blanks,
    list_asked,
    list_dtypes,
    read_series,
    to_frame,
    to_series,
)

Mask = npt.NDArray[np.bool_]
FIX = "correct it: it is given values of the schema's dtypes, read from the text already."
Columns = Mapping[str, Column]


def parse_cells(column: Column, schema: ColumnSchema, pandera_schema: Any) -> Column:
    """Return a column as its parsers make it.

    Raises:
        As `pipeline.validate.parse.parse_columns`.
    """
    frame_schema = as_frame_schema(pandera_schema)
    pandera_column = frame_schema.columns[schema.pandera_name]
    dtype = dtype_of(frame_schema, pandera_column)
    where = f"column {schema.name!r}"
    form = _Form({schema.name: schema}, {schema.name: dtype})
    after, raised = column, np.zeros(len(column), bool)
    for rows, asked in list_asked(column):
        series = to_series(column.take(asked), dtype)
        parts, refused = _apply(pandera_column.parsers, series, where, form)
        cells, bad = column.take(asked), np.zeros(len(asked), bool)
        for positions, part in parts:
            cells = put(cells, positions, form.read(part, where)[schema.name])
        for positions in refused.values():
            bad[positions] = True
        speaker = np.zeros(len(rows), np.int64) if len(asked) < len(rows) else np.arange(len(rows))
        after = put(after, rows, cells.take(speaker))
        raised[rows] = bad
    parsed = keep_states(column, after, raised)
    mixed = to_series(column, dtype)
    _refuse_filled({schema.name: (column, parsed)}, pandera_column.parsers, mixed, where, form)
    return parsed


def parse_rows(
    columns: Columns, schema: Schema, pandera_schema: Any
) -> tuple[dict[str, Column], list[Finding]]:
    """Return the columns as the parsers of whole rows make them, and the rows they raise on.

    Raises:
        As `pipeline.validate.parse.parse_columns`.
    """
    frame_schema = as_frame_schema(pandera_schema)
    dtypes = list_dtypes(schema, frame_schema)
    form = _Form({column.name: column for column in schema.columns}, dtypes)
    result = {name: columns[name] for name in schema.names}
    broken: dict[str, list[Positions]] = {}
    for rows in group_by_blanks(result, dtypes):
        frame = to_frame({n: c.take(rows) for n, c in result.items()}, dtypes)
        parts, refused = _apply(frame_schema.parsers, frame, "the schema", form)
        for positions, part in parts:
            parsed = form.read(part, "the schema")
            result = {n: put(column, rows[positions], parsed[n]) for n, column in result.items()}
        for name, positions in refused.items():
            broken.setdefault(name, []).append(rows[positions])
    none = np.zeros(len(columns[schema.names[0]]), bool)
    found = [Finding(None, n, np.sort(np.concatenate(parts))) for n, parts in broken.items()]
    parsed = {name: keep_states(columns[name], after, none) for name, after in result.items()}
    mixed = to_frame(columns, dtypes)
    pairs = {name: (columns[name], after) for name, after in parsed.items()}
    _refuse_filled(pairs, frame_schema.parsers, mixed, "the schema", form)
    return parsed, found


@dataclass(frozen=True)
class _Form:
    """What a Series or a DataFrame stands for: columns of the schema, and their pandera dtypes."""

    columns: Mapping[str, ColumnSchema]
    dtypes: Mapping[str, Any]

    def read(self, output: Any, what: str) -> Columns:
        """Return the columns that an output holds.

        Args:
            output: A parser's.
            what: What errors call the parser.

        Raises:
            SchemaError: It lacks a column, or has one twice.
        """
        if isinstance(output, pd.Series):
            return {n: read_series(output, column.kind) for n, column in self.columns.items()}
        for name in self.columns:
            copies = int((output.columns == name).sum())
            if copies != 1:
                raise SchemaError(
                    f"{what} gives the column {name!r} {copies} times.",
                    expected="each column of the schema once",
                    fix="let the parser keep it once, or take it out of the schema.",
                    what=what,
                    column=name,
                )
        return {n: read_series(output[n], column.kind) for n, column in self.columns.items()}

    def part(self, output: Any) -> list[tuple[Positions, Any]]:
        """Return parts of an output as the next parser is given them, and the rows of each."""
        return return_to_dtypes(output, self.columns, self.dtypes)


def _refuse_filled(
    pairs: Mapping[str, tuple[Column, Column]],
    parsers: Sequence[Any],
    mixed: Any,
    where: str,
    form: _Form,
) -> None:
    """Refuse parsers that fill beside other rows a blank which they leave among blanks alone.

    Args:
        pairs: By name, each column before and after.
        parsers: pandera's.
        mixed: All rows, a Series or a DataFrame.
        where: Of the schema.
        form: What the parsers' output stands for.
    """
    kept = {name: ~old.is_ok() & ~new.is_ok() for name, (old, new) in pairs.items()}
    if not any(
        new.kind in ("int", "bool") and kept[name].any() for name, (_, new) in pairs.items()
    ):
        return
    named = ", ".join(repr(parser.name) for parser in parsers)
    what = f"{where}: the parser {named}"
    try:
        for parser in parsers:
            mixed = _run(parser, mixed, what)
    except PipelineError:
        raise
    except Exception:  # beside a blank an int is an object, of which the parser need know nothing
        return
    for name, column in form.read(mixed, what).items():
        if (kept[name] & is_blank(pairs[name][0]) & column.is_ok()).any():
            raise other_company(what)


def _apply(
    parsers: Sequence[Any], data: Any, where: str, form: _Form
) -> tuple[list[tuple[Positions, Any]], dict[str, Positions]]:
    """Return what parsers make of rows that hold the same blanks, and the rows they raise on.

    Args:
        parsers: pandera's.
        data: A Series or a DataFrame.
        where: Of the schema.
        form: What the parsers' output stands for.

    Returns:
        Parts of the rows with what the last parser gives for them, or the last that does not raise;
        and the rows that each raises on, by its name.
    """
    parts = [(np.arange(len(data)), data)]
    refused: dict[str, Positions] = {}
    for place, parser in enumerate(parsers):
        after = []
        for rows, part in parts:
            output, raised = _parse(parser, part, where, form)
            given = rows[~raised]
            if place + 1 < len(parsers) and len(given):
                after += [(given[back], cells) for back, cells in form.part(output)]
            else:
                after.append((given, output))
            if raised.any():
                after.append((rows[raised], part[raised].reset_index(drop=True)))
                known = refused.get(parser.name, rows[:0])
                refused[parser.name] = np.union1d(known, rows[raised])
        parts = [(rows, part) for rows, part in after if len(rows)]
    return parts, refused


def _parse(parser: Any, data: Any, where: str, form: _Form) -> tuple[Any, Mask]:
    """Return what a parser makes of the rows that it does not raise on, and a mask of the others.

    Args:
        parser: pandera's.
        data: A Series or a DataFrame.
        where: Of the schema.
        form: What the parser's output stands for.
    """
    what = f"{where}: the parser {parser.name!r}"

    def parse(part: Any) -> tuple[Any, Mask]:
        parts = run_apart(lambda rows: _run(parser, rows, what), part, what, FIX)
        raised = np.concatenate([np.full(len(rows), output is None) for rows, output in parts])
        if len(parts) == 1 and not raised.any():
            return parts[0][1], raised
        # Once more and together: of two dtypes, pandas would make a third.
        rest = run_apart(
            lambda rows: _run(parser, rows, what), part[~raised].reset_index(drop=True), what, FIX
        )
        if len(rest) > 1:
            raise other_company(what)
        return rest[0][1], raised

    def comes_out_otherwise(part: Any, rows: Positions) -> bool:
        again, refused = parse(part)
        if (refused != raised[rows]).any():
            return True
        place = (np.cumsum(~raised) - 1)[rows[~refused]]
        columns = form.read(again, what)
        return any(differs(whole[name].take(place), columns[name]).any() for name in whole)

    parsed, raised = parse(data)
    if not parser.element_wise:
        whole, before = form.read(parsed, what), form.read(data, what)
        # What a parser fills or changes is seldom in a sample: `fillna(mean)` touches blanks alone.
        kept, touched = np.flatnonzero(~raised), np.zeros(len(data), bool)
        for name, column in whole.items():
            touched[kept] |= differs(before[name].take(kept), column)
        everything = np.arange(len(data))
        ask_again(comes_out_otherwise, data, what, np.flatnonzero(touched), everything)
    return parsed, raised


def _run(parser: Any, data: Any, what: str) -> Any:
    """Run a parser; give its output in the rows' order."""
    if not len(data):
        return data
    with whole_validation():
        output = PandasParserBackend(parser)(data, None).parser_output
    if type(output) is not type(data) or len(output) != len(data):
        got = type(output).__name__
        got += f" of {len(output)} rows" if type(output) is type(data) else ""
        raise NotRowWise(
            f"{what} gives no value for each row.",
            expected=f"a {type(data).__name__} of {len(data)} rows",
            got=got,
            fix="let it return as many rows as it is given, in their order.",
            parser=parser.name,
        )
    if parser.element_wise and isinstance(output, pd.Series):
        output = _keep_zone(output, data)
    if output.index.equals(data.index):
        return output
    in_order = data.index.isin(output.index).all()
    return output.reindex(data.index) if in_order else output.reset_index(drop=True)


def _keep_zone(output: pd.Series[Any], data: pd.Series[Any]) -> pd.Series[Any]:
    """Return what `map` gave; of nothing but NaT it makes times without the zone that they had."""
    times = pd.api.types.is_datetime64_any_dtype(data.dtype)
    lost = times and output.isna().all()
    return pd.Series(pd.NaT, index=output.index, dtype=data.dtype) if lost else output
