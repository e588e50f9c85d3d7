"""The verdict on a DataFrame in memory: which rows are good, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.batch import Column, Finding
from pipeline.errors import InputError
from pipeline.job import DEFAULT_MISSING
from pipeline.load import convert_array
from pipeline.schema import Schema
from pipeline.unique import is_judged, list_keys
from pipeline.validate.bind import bind_schema
from pipeline.validate.compile import compile_pandera
from pipeline.validate.judge import judge_columns

_KEEP = {"all": False, "exclude_first": "first", "exclude_last": "last"}


@dataclass(frozen=True)
class FrameVerdict:
    """What a schema says of a DataFrame.

    Attributes:
        good: The rows that break nothing, as they were given.
        reasons: A row for every broken rule of every other row: `row` (its position, from 0),
            `column` (None for a rule on whole rows), `rule`, and `value` as it was given.
    """

    good: pd.DataFrame
    reasons: pd.DataFrame


def validate_frame(df: pd.DataFrame, schema: Any) -> FrameVerdict:
    """Tell the good rows of a DataFrame from the others, with all reasons for each of those.

    Cells are judged as those of a file are: text is parsed to the schema's type, and a nullable
    column's missing and NaN cells are valid. Nothing is repaired.

    Args:
        df: The rows. Its index plays no part.
        schema: A pandera DataFrameModel or DataFrameSchema.

    Raises:
        SchemaError: The schema cannot be judged row by row.
        InputError: A required column is not there.

    Example:
        >>> import pandera.pandas as pa
        >>> schema = pa.DataFrameSchema({"age": pa.Column(float, pa.Check.in_range(0, 122))})
        >>> verdict = validate_frame(pd.DataFrame({"age": ["41", "nan", "-3", "old"]}), schema)
        >>> verdict.good.index.tolist()
        [0]
        >>> verdict.reasons["rule"].tolist()
        ['nan', 'in_range', 'type']
    """
    names = [str(name) for name in df.columns]
    bound = bind_schema(compile_pandera(schema), names)
    absent = [column.name for column in bound.columns if column.name not in names]
    for name in absent:
        if bound[name].required and not bound[name].nullable:
            raise InputError(
                f"the DataFrame has no column {name!r}.",
                got=", ".join(map(repr, names[:12])),
                expected=repr(name),
                fix="add it, or make it nullable or not required in the schema.",
                column=name,
            )
    columns = {
        column.name: _read_column(df.iloc[:, names.index(column.name)], column.kind)
        if column.name in names
        else convert_array(column.kind, pa.nulls(len(df)), ())
        for column in bound.columns
    }
    findings = judge_columns(columns, bound, pandera_schema=schema, absent=absent)
    findings += _find_repeats(columns, bound)
    return _verdict(df, names, findings)


def _read_column(series: pd.Series[Any], kind: Any) -> Column:
    floats = pd.api.types.is_float_dtype(series.dtype)
    try:
        array = pa.array(series, from_pandas=not floats)
    except (pa.ArrowException, OverflowError):  # several types, or one that Arrow has not
        array = pa.array([None if _is_null(cell) else str(cell) for cell in series])
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return convert_array(kind, array, DEFAULT_MISSING)


def _is_null(cell: Any) -> bool:
    return cell is None or cell is pd.NaT or cell is pd.NA or (cell != cell) is True


def _find_repeats(columns: dict[str, Column], schema: Schema) -> list[Finding]:
    found, report = [], schema.report_duplicates
    for names in list_keys(schema):
        judged = np.flatnonzero(is_judged(columns, schema, names))
        cells = [part for name in names for part in _comparable(columns[name].take(judged))]
        repeats = pd.DataFrame(dict(enumerate(cells))).duplicated(keep=_KEEP[report])  # type: ignore[arg-type]
        if repeats.any():
            found.append(Finding("+".join(names), "unique", judged[repeats]))
    return found


def _comparable(column: Column) -> list[Any]:
    """Return what two cells have in common if they are the same: their values and states."""
    values = column.values.to_pylist() if column.kind == "string" else column.values
    return [values] if column.states is None else [values, column.states]


def _verdict(df: pd.DataFrame, names: list[str], findings: list[Finding]) -> FrameVerdict:
    broken = np.zeros(len(df), bool)
    reasons: list[tuple[int, str | None, str, Any]] = []
    for finding in findings:
        broken[finding.positions] = True
        where = names.index(finding.column) if finding.column in names else None
        reasons += [
            (row, finding.column, finding.rule, None if where is None else df.iat[row, where])
            for row in finding.positions.tolist()
        ]
    reasons.sort(key=lambda reason: reason[0])
    # Objects: a column of texts would turn None into NaN.
    table = pd.DataFrame(reasons, columns=["row", "column", "rule", "value"], dtype=object)
    return FrameVerdict(df[~broken], table.astype({"row": "int64"}))
