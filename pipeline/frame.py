"""The verdict on a DataFrame in memory: which rows are good, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.batch import Column, Finding, hold
from pipeline.errors import InputError
from pipeline.job import DEFAULT_MISSING
from pipeline.load import Table, check_columns, convert_array
from pipeline.load.header import list_repeated, name_columns
from pipeline.schema import Schema
from pipeline.validate.bind import bind_schema
from pipeline.validate.compile import compile_pandera
from pipeline.validate.judge import judge_columns
from pipeline.validate.parse import parse_columns
from pipeline.validate.series import from_series
from pipeline.whole import (
    MONOTONIC,
    find_back_steps,
    find_uncovered,
    is_judged,
    list_keys,
    list_orders,
    list_seen,
    name_keys,
    not_covered,
)

_KEEP = {"all": False, "exclude_first": "first", "exclude_last": "last"}


@dataclass(frozen=True)
class FrameVerdict:
    """What a schema says of a DataFrame.

    Attributes:
        good: The rows that break nothing, as they were given: text stays text, and no parser and
            no default has touched it.
        reasons: A row for every broken rule of every other row: `row` (its position, as `iloc`
            takes it), `column` (None for a rule on whole rows), `rule`, and `value` as given.
        warnings: The same for checks that only warn; their rows may be good.
    """

    good: pd.DataFrame
    reasons: pd.DataFrame
    warnings: pd.DataFrame


def validate_frame(
    df: pd.DataFrame,
    schema: Any,
    *,
    missing: Sequence[str] | Mapping[str, Sequence[str]] = DEFAULT_MISSING,
) -> FrameVerdict:
    """Tell the good rows of a DataFrame from the others, with all reasons for each of those.

    Cells are judged as those of a file are: text is parsed to the schema's type, and a nullable
    column's missing and NaN cells are valid. A cell of a type that no file holds, such as a period,
    is of another `type`. Nothing is repaired.

    Args:
        df: The rows. Its index plays no part, and its columns' names are stripped.
        schema: A pandera DataFrameModel or DataFrameSchema.
        missing: The texts that mean missing, as in a job's `data.missing`; or those of some
            columns by name, and of the others the default.

    Raises:
        SchemaError: The schema cannot be judged row by row.
        InputError: It is no DataFrame; or a required column is not there, or one that the schema
            names is there twice; or there is one that a strict schema does not name; or those of
            an ordered one have another order.
        RuleBroken: A value that `unique_values_eq` lists never occurs.
        NotRowWise: A check or a parser looks beyond its row.

    Example:
        >>> import pandera.pandas as pa
        >>> schema = pa.DataFrameSchema({"age": pa.Column(float, pa.Check.in_range(0, 122))})
        >>> verdict = validate_frame(pd.DataFrame({"age": ["41", "nan", "-3", "old"]}), schema)
        >>> verdict.good.index.tolist()
        [0]
        >>> verdict.reasons["rule"].tolist()
        ['nan', 'in_range', 'type']
    """
    if not isinstance(df, pd.DataFrame):
        raise InputError(
            f"validate_frame judges a DataFrame, and got a {type(df).__name__}.",
            fix="read the file into one, or use `nanproof check`.",
        )
    headers = [str(name) for name in df.columns]
    names = name_columns(headers)
    bound = bind_schema(compile_pandera(schema), names)
    table = Table("the DataFrame", names, repeated=list_repeated(headers), form="DataFrame")
    check_columns(table, bound)
    absent = [column.name for column in bound.columns if column.name not in names]
    parsed = parse_columns(_read_frame(df, names, bound, missing), bound, schema)
    found = judge_columns(parsed.columns, bound, pandera_schema=schema, absent=absent)
    found += _judge_whole(parsed.columns, bound)
    uncovered = find_uncovered(bound, [list_seen(parsed.columns, bound)])
    if broken := [found for found in uncovered if not found.warns]:
        raise not_covered(broken)
    findings = [finding for finding in (*parsed.findings, *found) if not finding.warns]
    broken_rows = np.zeros(len(df), bool)
    for finding in findings:
        broken_rows[finding.positions] = True
    warned = [finding for finding in found if finding.warns]
    reasons, warnings = (_list_reasons(df, names, part) for part in (findings, warned))
    return FrameVerdict(df[~broken_rows], reasons, warnings)


def _read_frame(
    df: pd.DataFrame,
    names: Sequence[str],
    schema: Schema,
    missing: Sequence[str] | Mapping[str, Sequence[str]],
) -> dict[str, Column]:
    texts, others = (missing, DEFAULT_MISSING) if isinstance(missing, Mapping) else ({}, missing)
    return {
        column.name: from_series(
            df.iloc[:, names.index(column.name)], column.kind, texts.get(column.name, others)
        )
        if column.name in names
        else convert_array(column.kind, pa.nulls(len(df)), ())
        for column in schema.columns
    }


def _judge_whole(columns: Mapping[str, Column], schema: Schema) -> list[Finding]:
    found, report = [], schema.report_duplicates
    keys = list_keys(schema)
    for names, called in zip(keys, name_keys(schema), strict=True):
        held = {name: hold(columns[name], schema[name].dtype) for name in names}
        judged = np.flatnonzero(is_judged(held, schema, names))
        cells = [part for name in names for part in _comparable(held[name].take(judged))]
        repeats = pd.DataFrame(dict(enumerate(cells))).duplicated(keep=_KEEP[report])  # type: ignore[arg-type]
        if repeats.any():
            found.append(Finding(called, "unique", judged[repeats]))
    for name, increasing in list_orders(schema):
        column = hold(columns[name], schema[name].dtype)
        ok = np.flatnonzero(column.is_ok())
        back = find_back_steps(column.values[ok], increasing)
        if back.any():
            found.append(Finding(name, MONOTONIC, ok[back]))
    return found


def _comparable(column: Column) -> list[Any]:
    """Return what two cells have in common if they are the same: their values and states."""
    values = column.values.to_pylist() if column.kind == "string" else column.values
    return [values] if column.states is None else [values, column.states]


def _list_reasons(
    df: pd.DataFrame, names: Sequence[str], findings: Sequence[Finding]
) -> pd.DataFrame:
    reasons: list[tuple[int, str | None, str, Any]] = []
    for finding in findings:
        where = names.index(finding.column) if finding.column in names else None
        reasons += [
            (row, finding.column, finding.rule, None if where is None else df.iat[row, where])
            for row in finding.positions.tolist()
        ]
    reasons.sort(key=lambda reason: reason[0])
    # Objects: a column of texts would turn None into NaN.
    table = pd.DataFrame(reasons, columns=["row", "column", "rule", "value"], dtype=object)
    return table.astype({"row": "int64"})
