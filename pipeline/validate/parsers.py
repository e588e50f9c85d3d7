"""pandera's parsers, which by contract are row-wise: a row's values do not depend on its company.

A sample of every batch is parsed again in halves, in another order and row by row, and a difference
ends the job, as it does for checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandera.backends.pandas.parsers import PandasParserBackend

from pipeline.batch import Column, Finding
from pipeline.errors import CheckNotRowWise, PipelineError, SchemaError
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.callables import MAX_RAISES, other_companies
from pipeline.validate.compile import as_frame_schema, dtype_of
from pipeline.validate.parse import differs, merge
from pipeline.validate.series import from_series, to_frame, to_series

Mask = npt.NDArray[np.bool_]
Columns = Mapping[str, Column]
Read = Callable[[Any], Columns]


def parse_cells(column: Column, schema: ColumnSchema, pandera_schema: Any) -> Column:
    """Return a column as its parsers make it.

    Raises:
        As `pipeline.validate.parse.parse_columns`.
    """
    frame_schema = as_frame_schema(pandera_schema)
    pandera_column = frame_schema.columns[schema.pandera_name]
    series = to_series(column, dtype_of(frame_schema, pandera_column))
    raised = np.zeros(len(series), bool)
    where = f"column {schema.name!r}"
    for parser in pandera_column.parsers:
        series, more = _parse(
            parser, series, where, lambda out: {"": from_series(out, schema.kind)}
        )
        raised |= more
    return merge(column, from_series(series, schema.kind), raised)


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
    parsed = {name: merge(columns[name], after, none) for name, after in read(frame).items()}
    return parsed, findings


def _parse(parser: Any, data: Any, where: str, read: Read) -> tuple[Any, Mask]:
    """As `_apply`; and parse some rows again in other company, where the parser sees any."""
    parsed, raised = _apply(parser, data, where)
    if parser.element_wise:
        return parsed, raised
    whole = read(parsed)
    for rows in other_companies(len(data), np.arange(len(data))):
        again = read(_apply(parser, data.iloc[rows].reset_index(drop=True), where)[0])
        if any(differs(column.take(rows), again[name]).any() for name, column in whole.items()):
            raise CheckNotRowWise(
                f"{where}: the parser {parser.name!r} gives a row other values in other company.",
                expected="a parser that looks at its own row alone",
                fix="write it row by row, or do its work before the job.",
                parser=parser.name,
            )
    return parsed, raised


def _apply(parser: Any, data: Any, where: str, *, part: bool = False) -> tuple[Any, Mask]:
    """Return what a parser makes of the data, and where it raises; there the data stay."""
    try:
        return _run(parser, data, where), np.zeros(len(data), bool)
    except PipelineError:
        raise
    except Exception as error:
        if len(data) == 1:
            return data, np.ones(1, bool)
        if not part:
            _refuse_if_broken(parser, data, where, error)
        middle = len(data) // 2
        halves = [data.iloc[:middle], data.iloc[middle:]]
        outputs, raised = zip(
            *(_apply(parser, half.reset_index(drop=True), where, part=True) for half in halves),
            strict=True,
        )
        return pd.concat(outputs, ignore_index=True), np.concatenate(raised)


def _run(parser: Any, data: Any, where: str) -> Any:
    """Run a parser on rows numbered from 0; give its output in their order."""
    if not len(data):
        return data
    output = PandasParserBackend(parser)(data, None).parser_output
    if type(output) is not type(data) or len(output) != len(data):
        got = type(output).__name__
        got += f" of {len(output)} rows" if type(output) is type(data) else ""
        raise CheckNotRowWise(
            f"{where}: the parser {parser.name!r} gives no value for each row.",
            expected=f"a {type(data).__name__} of {len(data)} rows",
            got=got,
            fix="let it return as many rows as it is given, in their order.",
            parser=parser.name,
        )
    in_order = output.index.equals(data.index)
    if not in_order and data.index.isin(output.index).all():
        return output.reindex(data.index)
    return output if in_order else output.reset_index(drop=True)


def _refuse_if_broken(parser: Any, data: Any, where: str, error: Exception) -> None:
    tried = min(len(data), MAX_RAISES)
    singles = (data.iloc[[place]].reset_index(drop=True) for place in range(tried))
    if tried == MAX_RAISES and all(_raises(parser, single, where) for single in singles):
        raise SchemaError(
            f"{where}: the parser {parser.name!r} raises {type(error).__name__}: {error}.",
            fix="correct the parser; it raised on everything that was tried.",
            parser=parser.name,
        ) from error


def _raises(parser: Any, data: Any, where: str) -> bool:
    return bool(_apply(parser, data, where, part=True)[1].all())
