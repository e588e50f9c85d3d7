"""Do the files have the columns that the schema asks for?"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence, Set
from difflib import get_close_matches
from itertools import pairwise

from pipeline.errors import InputError
from pipeline.load.source import Source
from pipeline.schema import Schema

SHOWN = 12


def check_columns(
    sources: Sequence[Source], schema: Schema, also_known: Collection[str] = ()
) -> None:
    """Compare the files' headers with the schema.

    Args:
        sources: The files.
        schema: The schema; no name is a regular expression.
        also_known: Columns that a strict schema does not name and that are legal all the same,
            such as ignored ones.

    Raises:
        InputError: A file lacks a column that is required and not nullable; or has one more than
            a strict schema names; or has one twice; or has them in another order than an ordered
            schema; or holds lists or structs where the schema has plain values.
    """
    known = {*schema.names, *also_known}
    for source in sources:
        _check_present(source, schema)
        _check_repeated(source, known)
        if schema.strict:
            _check_strict(source, known)
        if schema.ordered:
            _check_order(source, schema)
        _check_types(source, schema)


def _check_present(source: Source, schema: Schema) -> None:
    for column in schema.columns:
        if column.name in source.columns or not column.required or column.nullable:
            continue
        raise InputError(
            f"{source.name}: the column {column.name!r} is missing.",
            expected=repr(column.name),
            got=_listed(source.columns),
            fix=_advise(source, column.name),
            file=source.name,
            column=column.name,
        )


def _check_repeated(source: Source, known: Set[str]) -> None:
    """Refuse a header that gives a known name twice, unless the copies are known as well."""
    for name, copies in source.repeated:
        if name in known and not known >= set(copies):
            raise InputError(
                f"{source.name}: the header has the column {name!r} {1 + len(copies)} times.",
                expected="each column of the schema once",
                fix=f"rename the others, or name them in data.ignore: {_listed(copies)}.",
                file=source.name,
                column=name,
            )


def _advise(source: Source, name: str) -> str:
    if source.format == "csv" and len(source.columns) == 1:
        for delimiter in ";,\t|":
            if delimiter in source.columns[0]:
                return f"the header has {delimiter!r} in it: set data.csv.delimiter."
    if source.format == "csv" and _looks_like_data(source.columns):
        return "the first line looks like data: name the columns in data.csv.columns."
    folded = {known.lower(): known for known in source.columns}
    near = get_close_matches(name.lower(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]!r}? Rename it in the schema or in the file."
    return "add the column to the file; a feature may be nullable or not required instead."


def _looks_like_data(headers: Sequence[str]) -> bool:
    return any(re.fullmatch(r"[+-]?\d+([.,]\d+)?(\.\d+)?", header) for header in headers)


def _check_strict(source: Source, known: Collection[str]) -> None:
    unknown = [name for name in source.raw_columns if name not in known]
    if unknown:
        raise InputError(
            f"{source.name}: {len(unknown)} columns that the strict schema does not name: "
            f"{_listed(unknown)}.",
            fix="name them in the schema, list them in data.ignore, or make it not strict.",
            file=source.name,
            columns=unknown,
        )


def _check_order(source: Source, schema: Schema) -> None:
    places = {name: place for place, name in enumerate(schema.names)}
    ours = [name for name in source.columns if name in places]
    for before, after in pairwise(ours):
        if places[before] > places[after]:
            raise InputError(
                f"{source.name}: the column {after!r} stands after {before!r}.",
                expected="the order of the schema, which is ordered",
                fix="reorder the file, or make the schema not ordered.",
                file=source.name,
                column=after,
            )


def _check_types(source: Source, schema: Schema) -> None:
    nested = ("list", "large_list", "fixed_size_list", "struct", "map")
    for name, type_ in source.types:
        if name in schema.names and type_.startswith(nested):
            raise InputError(
                f"{source.name}: the column {name!r} holds {type_}.",
                expected=f"values of the schema's {schema[name].dtype}",
                fix="write it as plain columns, or take it out of the schema.",
                file=source.name,
                column=name,
            )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
