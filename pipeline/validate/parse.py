"""The schema's own parsers and defaults: between a cell as it was read and as it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.arrow import strings, to_arrow
from pipeline.batch import MISSING, NAN, OK, Column, Finding, Positions, hold
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.cells import differs, restore_beyond

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
        NotRowWise: A parser looks beyond its row.
        SchemaError: A parser fails whatever it is given.
    """
    if not schema.changes_cells:
        return Parsed(columns)
    # An integer that the schema's dtype cannot hold is of another type before any parser sees it,
    # and a float's rounding to the dtype is no parser's doing.
    held = {**columns, **{c.name: hold(columns[c.name], c.dtype) for c in schema.columns}}
    parsed = dict(held)
    findings: list[Finding] = []
    if schema.parses:
        # Imports pandera, for whom needs it.
        from pipeline.validate.pandera_parsers import parse_rows

        parsed, findings = parse_rows(parsed, schema, pandera_schema)
        for column in schema.columns:
            if column.kind == "int":
                parsed[column.name] = hold(parsed[column.name], column.dtype)
    changed: dict[tuple[str, str], Positions] = {}
    for column in schema.columns:
        blank = np.zeros(len(parsed[column.name]), bool)
        if column.default is not None:
            parsed[column.name], blank = _set_default(parsed[column.name], column)
        if column.parses:
            from pipeline.validate.pandera_parsers import parse_cells

            parsed[column.name] = parse_cells(parsed[column.name], column, pandera_schema)
        other = differs(held[column.name], parsed[column.name]) & ~blank
        for rule, mask in ((DEFAULT, blank), (PARSER, other)):
            if mask.any():
                changed[column.name, rule] = np.flatnonzero(mask)
        if column.kind == "float":
            parsed[column.name] = restore_beyond(columns[column.name], parsed[column.name])
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
