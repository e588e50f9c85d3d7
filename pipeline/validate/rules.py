"""The rules that cells and rows can break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.batch import STATE_RULES
from pipeline.schema import ColumnSchema


def list_cell_rules(column: ColumnSchema) -> Iterator[str]:
    """Yield every rule that `judge_columns` can find broken in a column, in its order.

    JSON Lines and Parquet hold NaN, infinities and lists where the schema has text.
    """
    for rule in STATE_RULES.values():
        blank = rule in ("missing", "nan")
        # A bool has no infinity: there it is of another type.
        if not (blank and column.nullable) and not (rule == "inf" and column.kind == "bool"):
            yield rule
    if column.kind == "float":
        yield "overflow"
    yield from (check.name for check in column.checks)


def list_row_parsers(pandera_schema: Any) -> tuple[str, ...]:
    """Return the names of a schema's parsers of whole rows; a row that one raises on breaks it."""
    from pipeline.validate.compile import as_frame_schema  # imports pandera, for whom needs it

    return tuple(parser.name for parser in as_frame_schema(pandera_schema).parsers)
