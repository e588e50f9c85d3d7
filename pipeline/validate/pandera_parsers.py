"""pandera's parsers: of one column, and of whole rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandera.backends.pandas.parsers import PandasParserBackend

from pipeline.batch import Column, Finding, Positions
from pipeline.errors import NotRowWise, SchemaError
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.cells import differs, keep_states
from pipeline.validate.compile import as_frame_schema, dtype_of
from pipeline.validate.row_wise import ask_again, run_apart
from pipeline.validate.series import from_series, to_frame, to_series

Mask = npt.NDArray[np.bool_]
FIX = "correct it: it is given values of the schema's dtypes, read from the text already."
Columns = Mapping[str, Column]


def parse_cells(column: Column, schema: ColumnSchema, pandera_schema: Any) -> Column:
    """Return a column as its parsers make it.

    Raises:
        As `pipeline.validate.parse.parse_columns`.
    """

    def read(series: pd.Series[Any]) -> Columns:
        return {schema.name: from_series(series, schema.kind)}

    frame_schema = as_frame_schema(pandera_schema)
    pandera_column = frame_schema.columns[schema.pandera_name]
    series = to_series(column, dtype_of(frame_schema, pandera_column))
    raised = np.zeros(len(series), bool)
    for parser in pandera_column.parsers:
        series, more = _parse(parser, series, f"column {schema.name!r}", read)
        raised |= more
    return keep_states(column, read(series)[schema.name], raised)


def parse_rows(
    columns: Columns, schema: Schema, pandera_schema: Any
) -> tuple[dict[str, Column], list[Finding]]:
    """Return the columns as the parsers of whole rows make them, and the rows they raise on.

    Raises:
        As `pipeline.validate.parse.parse_columns`.
    """

    def read(frame: pd.DataFrame) -> dict[str, Column]:
        for name in schema.names:
            if name not in frame.columns:
                raise SchemaError(
                    f"a parser of the schema drops the column {name!r}, which the schema names.",
                    fix="let the parser keep it, or take it out of the schema.",
                    column=name,
                )
        return {c.name: from_series(frame[c.name], c.kind) for c in schema.columns}

    frame_schema = as_frame_schema(pandera_schema)
    frame = to_frame(columns, schema, frame_schema)
    findings = []
    for parser in frame_schema.parsers:
        frame, raised = _parse(parser, frame, "the schema", read)
        if raised.any():
            findings.append(Finding(None, parser.name, np.flatnonzero(raised)))
    none = np.zeros(len(frame), bool)
    parsed = {name: keep_states(columns[name], after, none) for name, after in read(frame).items()}
    return parsed, findings


def _parse(parser: Any, data: Any, where: str, read: Callable[[Any], Columns]) -> tuple[Any, Mask]:
    """Return what a parser makes of the data, and where it raises; there the data stay.

    Args:
        parser: pandera's.
        data: A Series or a DataFrame.
        where: Of the schema.
        read: Gives the columns that the parser's output stands for.
    """
    what = f"{where}: the parser {parser.name!r}"

    def parse(part: Any) -> tuple[Any, Mask]:
        parts = run_apart(lambda rows: _run(parser, rows, what), part, what, FIX)
        outputs = [rows if output is None else output for rows, output in parts]
        raised = [np.full(len(rows), output is None) for rows, output in parts]
        joined = outputs[0] if len(outputs) == 1 else pd.concat(outputs, ignore_index=True)
        return joined, np.concatenate(raised)

    def comes_out_otherwise(part: Any, rows: Positions) -> bool:
        again = read(parse(part)[0])
        return any(differs(whole[name].take(rows), again[name]).any() for name in whole)

    parsed, raised = parse(data)
    if not parser.element_wise:
        whole, before = read(parsed), read(data)
        # What a parser fills or changes is seldom in a sample: `fillna(mean)` touches blanks alone.
        touched = np.zeros(len(data), bool)
        for name, column in whole.items():
            touched |= differs(before[name], column)
        everything = np.arange(len(data))
        ask_again(comes_out_otherwise, data, what, np.flatnonzero(touched), everything)
    return parsed, raised


def _run(parser: Any, data: Any, what: str) -> Any:
    """Run a parser; give its output in the rows' order."""
    if not len(data):
        return data
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
    if output.index.equals(data.index):
        return output
    in_order = data.index.isin(output.index).all()
    return output.reindex(data.index) if in_order else output.reset_index(drop=True)
