"""A pandera schema to plain values that any worker can hold without pandera."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pandera.pandas as pa

from pipeline.batch import Kind
from pipeline.errors import SchemaError
from pipeline.schema import Check, ColumnSchema, Schema
from pipeline.validate.checks import compile_checks, compile_order, compile_row_checks
from pipeline.validate.dtypes import read_dtype
from pipeline.validate.plain import plain_default


def compile_pandera(schema: Any) -> Schema:
    """As `pipeline.validate.compile_schema`."""
    frame = as_frame_schema(schema)
    if frame.index is not None:
        raise SchemaError(
            "the schema has an index, and a file has none.",
            fix="make it a column of the schema, or take it out.",
        )
    columns = tuple(_compile_column(name, column, frame) for name, column in frame.columns.items())
    return Schema(
        name=str(frame.name or getattr(schema, "__name__", "schema")),
        columns=columns,
        strict=frame.strict is True,
        filters=frame.strict == "filter",
        ordered=bool(frame.ordered),
        unique=_unique_sets(frame, {column.name for column in columns}),
        report_duplicates=_report_duplicates(frame),
        row_checks=tuple(compile_row_checks(frame)),
        parses=bool(frame.parsers),
    )


def as_frame_schema(schema: Any) -> pa.DataFrameSchema:
    """Return the `DataFrameSchema` of a model or of itself.

    Raises:
        SchemaError: It is neither.
    """
    if isinstance(schema, pa.DataFrameSchema):
        return schema
    if isinstance(schema, type) and issubclass(schema, pa.DataFrameModel):
        try:
            return schema.to_schema()  # type: ignore[attr-defined]
        except Exception as error:
            raise SchemaError(
                f"the schema {_name(schema)!r} cannot be built: {type(error).__name__}: "
                f"{(str(error).splitlines() or [''])[0]}.",
                fix="correct the model; pandera refuses it as it is.",
            ) from error
    raise SchemaError(
        f"data.schema refers to {type(schema).__name__} {_name(schema)!r}, which is no schema.",
        expected="a pandera DataFrameModel class or a DataFrameSchema",
        got=type(schema).__name__,
        fix="name the schema itself after the colon.",
    )


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", thing))[:80]


def dtype_of(frame: Any, column: Any) -> Any:
    """Return a column's pandera dtype; the whole frame's goes before its own."""
    return frame.dtype or column.dtype


def _compile_column(name: Any, column: Any, frame: Any) -> ColumnSchema:
    if not isinstance(name, str):
        raise SchemaError(
            f"the schema calls a column {name!r}, and a file's headers are texts.",
            fix=f"call it {str(name)!r}.",
        )
    found = dtype_of(frame, column)
    kind, dtype = read_dtype(name, found)
    if column.regex:
        _check_pattern(name)
    checks = compile_checks(name, kind, found, column.checks)
    categories = None
    if dtype == "category" and getattr(found, "categories", None) is not None:
        categories = tuple(found.categories)
        if not all(isinstance(value, str) for value in categories):
            raise SchemaError(
                f"column {name!r} has categories that are no strings.",
                fix="use an int, float or bool column with an isin check.",
                column=name,
            )
        checks.append(Check("isin", {"allowed_values": categories}, kernel="isin", index=-1))
    default = _compile_default(name, kind, dtype, column.default)
    nullable = bool(column.nullable)
    return ColumnSchema(
        name=name,
        kind=kind,
        dtype=dtype,
        nullable=nullable,
        required=bool(column.required),
        added=bool(frame.add_missing_columns) and (nullable or default is not None),
        regex=bool(column.regex),
        pandera_name=name,
        unique=bool(column.unique),
        monotonic=compile_order(name, kind, column, frame),
        default=default,
        parses=bool(column.parsers),
        categories=_listed_values(checks) if categories is None else categories,
        checks=tuple(checks),
    )


def _compile_default(name: str, kind: Kind, dtype: str, default: Any) -> Any:
    if default is None or pd.isna(default):
        return None
    plain = plain_default(kind, dtype, default)
    if plain is None:
        raise SchemaError(
            f"column {name!r}: the default {default!r} is no value of its dtype {dtype}.",
            fix="give it a default of the column's own type.",
            column=name,
        )
    return plain


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise SchemaError(
            f"column {pattern!r} is no regular expression: {error}.",
            fix="correct the pattern, or take regex = True away.",
            column=pattern,
        ) from None


def _listed_values(checks: list[Check]) -> tuple[Any, ...] | None:
    """Return what all `isin` checks allow, in the order of the first."""
    strict = [check for check in checks if check.kernel == "isin" and not check.warns]
    listed = [check.statistics["allowed_values"] for check in strict]
    if not listed:
        return None
    first, *others = listed
    return tuple(v for v in dict.fromkeys(first) if all(v in other for other in others))


def _unique_sets(frame: Any, names: set[str]) -> tuple[tuple[str, ...], ...]:
    if not frame.unique:
        return ()
    given = [frame.unique] if isinstance(frame.unique, str) else list(frame.unique)
    sets = given if all(isinstance(item, (list, tuple)) for item in given) else [given]
    for columns in sets:
        for name in columns:
            if name not in names:
                raise SchemaError(
                    f"the schema's unique names {name!r}, which is none of its columns.",
                    fix="name the column in the schema, or take it out of unique.",
                    column=name,
                )
    return tuple(tuple(columns) for columns in sets)


def _report_duplicates(frame: Any) -> str:
    singles = {c.report_duplicates for c in frame.columns.values() if c.unique}
    found = singles | ({frame.report_duplicates} if frame.unique else set())
    if len(found) > 1:
        raise SchemaError(
            f"report_duplicates is {' here and '.join(sorted(map(repr, found)))} there.",
            fix="give every unique column and the schema the same report_duplicates.",
        )
    return next(iter(found), "all")
