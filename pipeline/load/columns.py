"""Do the files, or a DataFrame, have the columns that the schema asks for?"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pipeline.errors import InputError, list_some, suggest
from pipeline.schema import Schema

NESTED = ("list", "large_list", "fixed_size_list", "struct", "map", "tensor")


@dataclass(frozen=True)
class Table:
    """The columns of a file or a DataFrame, to be compared with a schema.

    Attributes:
        what: What errors call it: "raw/a.csv", or "the DataFrame".
        columns: Its columns, in its order; none occurs twice.
        repeated: Column to the names that its further copies were given.
        types: Column to Arrow type, as text, where the columns are typed.
        worked_out: Columns that a strict schema need not name.
        form: What it is; only a file has a job, whose settings may be changed.
        advice: How to mend a header that does not look like one; else empty.
    """

    what: str
    columns: tuple[str, ...]
    repeated: tuple[tuple[str, tuple[str, ...]], ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    worked_out: frozenset[str] = frozenset()
    form: Literal["file", "DataFrame"] = "file"
    advice: str = ""


def check_columns(table: Table, schema: Schema, also_known: Collection[str] = ()) -> None:
    """Compare a table's columns with the schema.

    Args:
        table: The table.
        schema: The schema; no name is a regular expression.
        also_known: Columns that a strict schema does not name and that are legal all the same,
            such as ignored ones.

    Raises:
        InputError: The table lacks a column that is required and not nullable; or has one more
            than a strict schema names; or has one twice; or has them in another order than an
            ordered schema; or holds lists or structs where the schema has plain values.
    """
    known = {*schema.names, *also_known}
    _check_present(table, schema)
    _check_repeated(table, known)
    if schema.strict:
        _check_strict(table, known | table.worked_out)
    if schema.ordered:
        _check_order(table, schema)
    _check_types(table, schema)


def _check_present(table: Table, schema: Schema) -> None:
    present = set(table.columns)
    for column in schema.columns:
        optional = not column.required or column.nullable or column.added
        if column.name in present or optional:
            continue
        raise InputError(
            f"{table.what}: the column {column.name!r} is missing.",
            expected=repr(column.name),
            got=list_some(table.columns),
            fix=_advise(table, column.name),
            file=table.what,
            column=column.name,
        )


def _advise(table: Table, name: str) -> str:
    if table.advice:
        return table.advice
    if near := suggest(name, table.columns):
        return f"{near} Rename it in the schema or in the {table.form}."
    return f"add the column to the {table.form}; a feature may be nullable or not required instead."


def _check_repeated(table: Table, known: Set[str]) -> None:
    """Refuse a header that gives a known name twice, unless the copies are known as well."""
    for name, copies in table.repeated:
        if name in known and not known >= set(copies):
            ignore = f", or name them in data.ignore: {list_some(copies)}"
            raise InputError(
                f"{table.what}: it has the column {name!r} {1 + len(copies)} times.",
                expected="each column of the schema once",
                fix=f"rename the others{ignore if table.form == 'file' else ''}.",
                file=table.what,
                column=name,
            )


def _check_strict(table: Table, known: Set[str]) -> None:
    unknown = [name for name in table.columns if name not in known]
    if unknown:
        leave_out = "list them in data.ignore" if table.form == "file" else "drop them"
        raise InputError(
            f"{table.what}: {len(unknown)} columns that the strict schema does not name: "
            f"{list_some(unknown)}.",
            fix=f"name them in the schema, {leave_out}, or make it not strict.",
            file=table.what,
            columns=unknown,
        )


def _check_order(table: Table, schema: Schema) -> None:
    places = {name: place for place, name in enumerate(schema.names)}
    ours = [name for name in table.columns if name in places]
    for before, after in pairwise(ours):
        if places[before] > places[after]:
            raise InputError(
                f"{table.what}: the column {after!r} stands after {before!r}.",
                expected="the order of the schema, which is ordered",
                fix=f"reorder the {table.form}, or make the schema not ordered.",
                file=table.what,
                column=after,
            )


def _check_types(table: Table, schema: Schema) -> None:
    dtypes = {column.name: column.dtype for column in schema.columns}
    for name, type_ in table.types:
        if name in dtypes and type_.startswith(NESTED):
            raise InputError(
                f"{table.what}: the column {name!r} holds {type_}.",
                expected=f"values of the schema's {dtypes[name]}",
                fix="write it as plain columns, or take it out of the schema.",
                file=table.what,
                column=name,
            )


def advise_on_header(headers: Sequence[str]) -> str:
    """Say how to mend what does not look like the header of delimited text; else nothing."""
    if len(headers) == 1:
        for delimiter in ";,\t|":
            if delimiter in headers[0]:
                return f"the header has {delimiter!r} in it: set data.csv.delimiter."
    if any(re.fullmatch(r"[+-]?\d+([.,]\d+)?(\.\d+)?", header) for header in headers):
        return "the first line looks like data: name the columns in data.csv.columns."
    return ""
