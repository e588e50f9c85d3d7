"""The schema's own parsers and defaults: between a cell as it was read and as it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import strings, to_arrow, to_numpy
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, Column, Finding, Positions
from pipeline.schema import ColumnSchema, Schema

DEFAULT, PARSER = "default", "parser"


@dataclass(frozen=True)
class Parsed:
    """Columns as they are judged.

    Attributes:
        columns: The columns, each `(rows,)`.
        changed: Column and `DEFAULT` or `PARSER` to the cells that it changed.
        findings: The rows that a parser of whole rows raises on.
    """

    columns: Mapping[str, Column]
    changed: Mapping[tuple[str, str], Positions] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def parse_columns(
    columns: Mapping[str, Column], schema: Schema, pandera_schema: Any | None = None
) -> Parsed:
    """Apply parsers of whole rows, then defaults, then parsers of columns, as pandera does.

    A parser sees values of the schema's dtypes, and blanks as pandas has them. A cell that is of
    another type stays so whatever a parser makes of it, and one that makes a parser of its column
    raise becomes so.

    Args:
        columns: The schema's columns, each `(rows,)`.
        schema: A bound schema.
        pandera_schema: The schema that `schema` was compiled from, where that has parsers.

    Raises:
        CheckNotRowWise: A parser looks beyond its row.
        SchemaError: A parser fails whatever it is given.
    """
    if not schema.changes_cells:
        return Parsed(columns)
    parsed = dict(columns)
    findings: list[Finding] = []
    if schema.parses:
        from pipeline.validate.parsers import parse_rows  # imports pandera, for whom needs it

        parsed, findings = parse_rows(parsed, schema, pandera_schema)
    changed: dict[tuple[str, str], Positions] = {}
    for column in schema.columns:
        blank = np.zeros(len(parsed[column.name]), bool)
        if column.default is not None:
            parsed[column.name], blank = _set_default(parsed[column.name], column)
        if column.parses:
            from pipeline.validate.parsers import parse_cells

            parsed[column.name] = parse_cells(parsed[column.name], column, pandera_schema)
        other = differs(columns[column.name], parsed[column.name]) & ~blank
        for rule, mask in ((DEFAULT, blank), (PARSER, other)):
            if mask.any():
                changed[column.name, rule] = np.flatnonzero(mask)
    return Parsed(parsed, changed, tuple(findings))


def _set_default(column: Column, schema: ColumnSchema) -> tuple[Column, npt.NDArray[np.bool_]]:
    """Return the column with its default in the blanks' place, and where that is."""
    if column.states is None:
        return column, np.zeros(len(column), bool)
    blank = (column.states == MISSING) | (column.states == NAN)
    if not blank.any():
        return column, blank
    states = column.states.copy()
    states[blank] = OK
    if column.kind == "string":
        value = strings([schema.default])[0]
        values: Any = pc.if_else(to_arrow(blank), value, column.values)
    else:
        values = column.values.copy()
        values[blank] = schema.default
    return Column(column.kind, values, states if states.any() else None), blank


def differs(before: Column, after: Column) -> npt.NDArray[np.bool_]:
    """Return a mask `(rows,)` of the cells that are not the same in state or value."""
    ok = before.is_ok() & after.is_ok()
    other = np.zeros(len(before), bool)
    if before.states is not None or after.states is not None:
        other = _states(before) != _states(after)
    if before.kind == "string":
        return other | (ok & to_numpy(pc.not_equal(before.values, after.values)))
    mask: npt.NDArray[np.bool_] = other | (ok & (before.values != after.values))
    return mask


def merge(before: Column, after: Column, raised: npt.NDArray[np.bool_]) -> Column:
    """Return what a parser made of a column, where it has a say.

    Args:
        before: What the parser was given.
        after: What it returned.
        raised: `(rows,)` the cells that it raises on.
    """
    old, states = _states(before), _states(after).copy()
    blank = (states == MISSING) | (states == NAN)
    kept = blank & ((old == MISSING) | (old == NAN))
    if after.kind != "float":  # of an infinity no parser of another kind sees anything
        kept |= old == INF
    states[kept] = old[kept]
    states[(old == TYPE) | raised] = TYPE
    reset = (states == TYPE) | kept
    if not reset.any():
        return Column(after.kind, after.values, states if states.any() else None)
    if after.kind == "string":
        values: Any = pc.if_else(to_arrow(reset), pa.nulls(len(reset), pa.string()), after.values)
    else:
        values = np.where(reset, before.values, after.values)
        values[states == TYPE] = np.nan if after.kind == "float" else 0
    return Column(after.kind, values, states)


def _states(column: Column) -> npt.NDArray[np.uint8]:
    return np.zeros(len(column), np.uint8) if column.states is None else column.states
