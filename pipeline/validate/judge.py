"""Every rule that every cell breaks, each cell judged alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from pipeline.batch import MISSING, NAN, OK, STATE_RULES, Column, Finding, Positions, hold
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.kernels import list_suspects, passes


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
        Findings with at least one position, by column in the schema's order; those of checks
        that only warn are marked, and their cells are valid.

    Raises:
        NotRowWise: A check of the schema's own looks beyond its row.
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
    broken = _Broken(schema.name)
    blanks_are_valid = schema.nullable or legally_absent
    column = hold(column, schema.dtype)
    cast, limit = column, np.inf
    if column.kind == "float":
        limit = _float_limit(training_dtype)
        with np.errstate(over="ignore"):  # a placeholder beyond a narrow float
            cast = replace(column, values=column.values.astype(schema.dtype, copy=False))

    with np.errstate(over="ignore"):  # a check's bound beyond a narrow float
        suspects = list_suspects(cast, [c for c in schema.checks if c.kernel is not None], limit)
        if column.states is not None and len(suspects):
            states = column.states[suspects]
            for state, rule in STATE_RULES.items():
                if not (blanks_are_valid and state in (MISSING, NAN)):
                    broken.add(rule, suspects[states == state])
            suspects = suspects[states == OK]
        if column.kind == "float":
            broken.add("overflow", suspects[np.abs(column.values[suspects]) >= limit])
        suspected = cast.take(suspects)
        for check in schema.checks:
            if check.kernel is None:
                if pandera_schema is not None:
                    asks_blanks = blanks_are_valid and check.judges_blanks
                    found = _ask_pandera(cast, schema, check.index, pandera_schema, asks_blanks)
                    broken.add(check.name, found, check.warns)
            elif len(suspects):
                broken.add(check.name, suspects[~passes(check, suspected)], check.warns)
    return broken.list_findings()


def _ask_pandera(
    column: Column, schema: ColumnSchema, index: int, pandera_schema: Any, asks_blanks: bool
) -> Positions:
    """Return the positions of the cells that break a check which only pandera can decide."""
    from pipeline.validate.pandera_checks import judge_cells  # imports pandera, for whom needs it

    if column.states is None:
        return np.flatnonzero(~judge_cells(column, schema, index, pandera_schema))
    asked = np.isin(column.states, (OK, MISSING, NAN)) if asks_blanks else column.is_ok()
    positions = np.flatnonzero(asked)
    if not len(positions):
        return positions
    return positions[~judge_cells(column.take(positions), schema, index, pandera_schema)]


@cache
def _float_limit(dtype: str) -> float:
    """Return the smallest float64 that rounds to infinity in the dtype."""
    if dtype == "float64":
        return np.inf
    info = np.finfo(dtype)
    step = float(info.max) - float(np.nextafter(info.max, info.dtype.type(0)))
    return float(info.max) + step / 2


def _judge_rows(
    columns: Mapping[str, Column],
    schema: Schema,
    pandera_schema: Any,
    findings: list[Finding],
    all_rows: bool,
) -> list[Finding]:
    from pipeline.validate.pandera_checks import judge_rows

    asked = np.ones(len(next(iter(columns.values()))), bool)
    if not all_rows:
        for finding in findings:
            if not finding.warns:
                asked[finding.positions] = False
    positions = np.flatnonzero(asked)
    if not len(positions):
        return []
    # A column that is ignored has not been held yet, and a cast would wrap its integers.
    rows = {c.name: hold(columns[c.name], c.dtype).take(positions) for c in schema.columns}
    broken = _Broken(None)
    for check, passed in judge_rows(rows, schema, pandera_schema):
        broken.add(check.name, positions[~passed], check.warns)
    return broken.list_findings()


class _Broken:
    """What one column, or whole rows, break; of two checks of one name, a cell has one reason."""

    def __init__(self, column: str | None) -> None:
        self.column = column
        self.positions: dict[tuple[str, bool], Positions] = {}

    def add(self, rule: str, positions: Positions, warns: bool = False) -> None:
        if len(positions):
            known = self.positions.get((rule, warns))
            merged = positions if known is None else np.union1d(known, positions)
            self.positions[rule, warns] = merged

    def list_findings(self) -> list[Finding]:
        return [
            Finding(self.column, rule, positions, warns)
            for (rule, warns), positions in self.positions.items()
        ]
