"""A compiled schema and the columns that the files really have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.errors import InputError, SchemaError
from pipeline.schema import ColumnSchema, Schema


def bind_schema(schema: Schema, headers: Sequence[str]) -> Schema:
    """Put a column in the place of every pattern, and leave out what no file has and may lack.

    A header that an earlier column of the schema has taken is not taken again.

    Args:
        schema: As compiled.
        headers: The columns of all files, each once.

    Raises:
        InputError: No column matches a required pattern.
        SchemaError: Checks or parsers of whole rows are left without a column.
    """
    named = {column.name for column in schema.columns if not column.regex}
    bound: dict[str, ColumnSchema] = {}
    for column in schema.columns:
        if column.regex:
            for found in _expand(column, headers):
                if found.name not in named:
                    bound.setdefault(found.name, found)
        elif column.required or column.added or column.name in headers:
            bound[column.name] = column
    if not bound and (schema.row_checks or schema.parses):
        raise SchemaError(
            "the schema has checks or parsers of whole rows, and no column for them to look at.",
            expected="a column that is in the schema and in the files",
            fix="name in the schema the columns that they look at.",
        )
    # An absent column is missing in every row, so the others alone tell the keys apart.
    sets = (tuple(name for name in names if name in bound) for names in schema.unique)
    unique = tuple(names for names in sets if names)
    return replace(schema, columns=tuple(bound.values()), unique=unique)


def _expand(column: ColumnSchema, headers: Sequence[str]) -> Iterator[ColumnSchema]:
    names = [name for name in headers if re.match(column.name, name)]
    if not names and column.required:
        raise InputError(
            f"no column matches the schema's pattern {column.name!r}.",
            expected="one of its columns in a raw file",
            fix="correct the pattern, or make the column not required.",
            column=column.name,
        )
    for name in names:
        yield replace(column, name=name, regex=False)
