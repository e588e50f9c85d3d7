"""Every rule that every cell breaks, each cell judged alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.batch import MISSING, NAN, STATE_RULES, TYPE, Column, Finding
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.kernels import Mask, passes


def judge_columns(
    columns: Mapping[str, Column],
    schema: Schema,
    *,
    training_dtype: str = "float32",
    pandera_schema: Any | None = None,
    absent: Collection[str] = (),
    all_rows: bool = False,
) -> list[Finding]:
    """Judge the cells of a batch, and then its rows.

    A cell that is missing, NaN, infinite or of another type has that one reason; any other one
    has every reason that holds. What only pandera can decide is asked of whole rows last.

    Args:
        columns: The schema's columns, or some of them, each `(rows,)`; no row check is asked
            unless all are there.
        schema: A bound schema.
        training_dtype: What `overflow` means.
        pandera_schema: The schema that `schema` was compiled from, where that needs pandera.
        absent: Columns of which the file holds nothing; where the schema allows that, their
            cells are valid.
        all_rows: Whether rows with a broken cell are asked the row checks, too.

    Returns:
        Findings with at least one position, by column in the schema's order.

    Raises:
        CheckNotRowWise: A check of the schema's own looks beyond its row.
        SchemaError: A check of the schema's own fails whatever it is given.
    """
    findings: list[Finding] = []
    for column_schema in schema.columns:
        if column_schema.name in columns:
            legal = column_schema.name in absent and not column_schema.required
            column = columns[column_schema.name]
            findings += _judge_column(column, column_schema, training_dtype, pandera_schema, legal)
    if schema.row_checks and columns.keys() >= set(schema.names):
        findings += _judge_rows(columns, schema, pandera_schema, findings, all_rows)
    return findings


def _judge_column(
    column: Column,
    schema: ColumnSchema,
    training_dtype: str,
    pandera_schema: Any | None,
    legally_absent: bool,
) -> list[Finding]:
    broken: dict[str, Mask] = {}
    blanks_are_valid = schema.nullable or legally_absent
    column = _hold_in_int_type(column, schema)

    def add(rule: str, mask: Mask) -> None:
        # Two checks may bear one name; a cell that breaks both has that reason once.
        if mask.any():
            broken[rule] = broken[rule] | mask if rule in broken else mask

    ok = None if column.states is None else column.is_ok()
    if column.states is not None:
        for state, rule in STATE_RULES.items():
            if not (blanks_are_valid and state in (MISSING, NAN)):
                add(rule, column.states == state)
    if ok is not None and not ok.any():
        return _list_findings(schema.name, broken)
    with np.errstate(over="ignore"):  # a value, or a check's bound, beyond a narrow float
        if column.kind == "float":
            limit = min(_float_limit(training_dtype), _float_limit(schema.dtype))
            add("overflow", _broken(np.abs(column.values) < limit, ok))
            # What is published, and pandera would judge, is rounded to the schema's type.
            column = replace(column, values=column.values.astype(schema.dtype, copy=False))
        for check in schema.checks:
            if check.kernel is not None:
                add(check.name, _broken(passes(check, column), ok))
            elif pandera_schema is not None:
                passed = _ask_pandera(column, schema, check.index, pandera_schema, ok)
                add(check.name, _broken(passed, ok))
    return _list_findings(schema.name, broken)


def _list_findings(column: str, broken: Mapping[str, Mask]) -> list[Finding]:
    return [Finding(column, rule, np.flatnonzero(mask)) for rule, mask in broken.items()]


def _broken(passed: Mask, ok: Mask | None) -> Mask:
    if passed.all():
        return np.zeros(len(passed), bool)
    return ~passed if ok is None else ~passed & ok


def _hold_in_int_type(column: Column, schema: ColumnSchema) -> Column:
    """Return the column with TYPE for the integers that the schema's dtype does not hold."""
    if column.kind != "int" or schema.dtype == "int64":
        return column
    info = np.iinfo(schema.dtype)
    beyond = (column.values < info.min) | (column.values > info.max)
    beyond &= column.is_ok()
    if not beyond.any():
        return column
    states = np.zeros(len(column), np.uint8) if column.states is None else column.states.copy()
    states[beyond] = TYPE
    return replace(column, states=states)


def _float_limit(dtype: str) -> float:
    """Return the smallest float64 that rounds to infinity in the dtype."""
    if dtype == "float64":
        return np.inf
    info = np.finfo(dtype)
    step = float(info.max) - float(np.nextafter(info.max, info.dtype.type(0)))
    return float(info.max) + step / 2


def _ask_pandera(
    column: Column, schema: ColumnSchema, index: int, pandera_schema: Any, ok: Mask | None
) -> Mask:
    from pipeline.validate.callables import judge_cells  # imports pandera, for whom needs it

    if ok is None:
        return judge_cells(column, schema, index, pandera_schema)
    passed = np.ones(len(column), bool)
    positions = np.flatnonzero(ok)
    passed[positions] = judge_cells(column.take(positions), schema, index, pandera_schema)
    return passed


def _judge_rows(
    columns: Mapping[str, Column],
    schema: Schema,
    pandera_schema: Any,
    findings: list[Finding],
    all_rows: bool,
) -> list[Finding]:
    from pipeline.validate.callables import judge_rows

    asked = np.ones(len(next(iter(columns.values()))), bool)
    if not all_rows:
        for finding in findings:
            asked[finding.positions] = False
    positions = np.flatnonzero(asked)
    if not len(positions):
        return []
    rows = {name: columns[name].take(positions) for name in schema.names}
    return [
        Finding(None, rule, positions[~passed])
        for rule, passed in judge_rows(rows, schema, pandera_schema)
        if not passed.all()
    ]
