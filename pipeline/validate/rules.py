"""The rules that cells and rows can break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.batch import STATE_RULES
from pipeline.ledger import Rule
from pipeline.schema import ColumnSchema, Schema

_READS = {"bool": "true, false, 1 or 0", "timestamp": "a time in ISO 8601, such as 2024-01-31"}


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


def describe_rules(schema: Schema) -> dict[Rule, str]:
    """Return what the rules of a schema ask for, as far as their names do not say it."""
    found: dict[Rule, list[str]] = {}
    for column in schema.columns:
        found[column.name, "type"] = [_READS.get(column.kind, column.dtype)]
        for check in column.checks:
            found.setdefault((column.name, check.name), []).append(check.detail)
    for check in schema.row_checks:
        found.setdefault((None, check.name), []).append(check.detail)
    joined = {rule: ", ".join(dict.fromkeys(filter(None, texts))) for rule, texts in found.items()}
    return {rule: text for rule, text in joined.items() if text}


def list_row_parsers(pandera_schema: Any) -> tuple[str, ...]:
    """Return the names of a schema's parsers of whole rows; a row that one raises on breaks it."""
    from pipeline.validate.compile import as_frame_schema  # imports pandera, for whom needs it

    return tuple(parser.name for parser in as_frame_schema(pandera_schema).parsers)
