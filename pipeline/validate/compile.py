"""A pandera schema to plain values that any worker can hold without pandera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import pandera.backends.pandas.builtin_checks  # noqa: F401 - registers the checks for tables
import pandera.pandas as pa

from pipeline.batch import Kind
from pipeline.errors import SchemaError
from pipeline.schema import Check, ColumnSchema, Schema
from pipeline.validate.dtypes import read_dtype
from pipeline.validate.plain import PATTERN_KERNELS, plain_default, plain_statistics

# pandera's name of a built-in check: our kernel.
KERNELS = {
    "equal_to": "eq",
    "not_equal_to": "ne",
    "greater_than": "gt",
    "greater_than_or_equal_to": "ge",
    "less_than": "lt",
    "less_than_or_equal_to": "le",
    "in_range": "in_range",
    "isin": "isin",
    "notin": "notin",
    "str_startswith": "str_startswith",
    "str_endswith": "str_endswith",
    "str_length": "str_length",
    "str_matches": "str_matches",
    "str_contains": "str_contains",
}
# Built-in, and about the column as a whole: its values, and that none is wanting.
COVERS = "unique_values_eq"
# Built-in, and about the order of the whole dataset. pandera itself asks it of arrays alone.
MONOTONIC = "is_monotonic"


def compile_pandera(schema: Any) -> Schema:
    """As `pipeline.validate.compile_schema`."""
    frame = as_frame_schema(schema)
    if frame.index is not None:
        raise SchemaError(
            "the schema has an index, and a file has none.",
            fix="make it a column of the schema, or take it out.",
        )
    columns = tuple(
        _compile_column(str(name), column, frame) for name, column in frame.columns.items()
    )
    row_checks = tuple(_compile_row_checks(frame))
    parses = bool(frame.parsers)
    return Schema(
        name=str(frame.name or getattr(schema, "__name__", "schema")),
        columns=columns,
        strict=frame.strict is True,
        filters=frame.strict == "filter",
        ordered=bool(frame.ordered),
        unique=_unique_sets(frame, {column.name for column in columns}),
        report_duplicates=_report_duplicates(frame),
        row_checks=row_checks,
        parses=parses,
        needs_pandera=bool(row_checks)
        or parses
        or any(column.parses for column in columns)
        or any(check.kernel is None for column in columns for check in column.checks),
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


def _compile_column(name: str, column: Any, frame: Any) -> ColumnSchema:
    found = dtype_of(frame, column)
    kind, dtype = read_dtype(name, found)
    if column.regex:
        _check_pattern(name)
    checks = [
        _compile_check(name, kind, found, check, index)
        for index, check in enumerate(column.checks)
        if not _is_order(check)
    ]
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
    default = _compile_default(name, kind, column.default)
    added = frame.add_missing_columns and default is not None
    return ColumnSchema(
        name=name,
        kind=kind,
        dtype=dtype,
        nullable=bool(column.nullable),
        required=bool(column.required) and not added,
        regex=bool(column.regex),
        pandera_name=name,
        unique=bool(column.unique),
        monotonic=_compile_order(name, kind, column, frame),
        default=default,
        parses=bool(column.parsers),
        categories=_listed_values(checks) if categories is None else categories,
        checks=tuple(checks),
    )


def _compile_default(name: str, kind: Kind, default: Any) -> Any:
    if default is None or pd.isna(default):
        return None
    plain = plain_default(kind, default)
    if plain is None:
        raise SchemaError(
            f"column {name!r}: the default {default!r} is no {kind} of the column's dtype.",
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


def _compile_check(column: str, kind: Kind, dtype: Any, check: Any, index: int) -> Check:
    name = _check_name(check)
    where = f"column {column!r}"
    _refuse_aggregates(where, check, name)
    found = Check(
        name, index=index, judges_blanks=not check.ignore_na, warns=bool(check.raise_warning)
    )
    builtin, given = _builtin_name(check), dict(check.statistics or {})
    if builtin == COVERS:
        return _compile_cover(where, kind, found, given)
    kernel = KERNELS.get(builtin or "")
    if kernel is None or found.judges_blanks:
        return found
    if kernel in PATTERN_KERNELS and isinstance(dtype.type, pd.ArrowDtype):
        return found  # there pandas asks RE2 alone
    plain = plain_statistics(kernel, kind, given)
    return found if plain is None else replace(found, statistics=plain, kernel=kernel)


def _check_name(check: Any) -> str:
    return str(check.name or getattr(check, "error", None) or "check")


def _compile_cover(where: str, kind: Kind, check: Check, given: dict[str, Any]) -> Check:
    values = given["values"]
    plain = plain_statistics("isin", kind, {"allowed_values": values})
    if plain is None or check.judges_blanks or len(plain["allowed_values"]) < len(values):
        raise SchemaError(
            f"{where}: the check {check.name!r} holds values that the column's dtype cannot.",
            fix="give it values of the dtype, and no ignore_na=False.",
            check=check.name,
        )
    # A set has no order of its own that two processes share.
    ordered = tuple(sorted(plain["allowed_values"]))
    return replace(check, statistics={"allowed_values": ordered}, kernel="isin", covers=True)


def _is_order(check: Any) -> bool:
    return _builtin_name(check) == MONOTONIC


def _compile_order(
    name: str, kind: Kind, column: Any, frame: Any
) -> Literal["increasing", "decreasing"] | None:
    """Return the order that the column's checks, or the frame's of this `dim`, ask for."""
    asked = [check for check in column.checks if _is_order(check)]
    asked += [c for c in frame.checks if _is_order(c) and c.statistics["dim"] == name]
    found = {bool(check.statistics["increasing"]) for check in asked}
    if not found:
        return None
    ordered = kind in ("float", "int", "timestamp")
    if len(found) > 1 or not ordered or any(check.raise_warning for check in asked):
        raise SchemaError(
            f"column {name!r}: the check {MONOTONIC!r} cannot be asked of it.",
            expected="one order, of numbers or times, that does not only warn",
            fix="take the check out.",
            check=MONOTONIC,
            column=name,
        )
    return "increasing" if found.pop() else "decreasing"


def _is_builtin(check: Any) -> bool:
    return type(check._check_fn).__name__ == "Dispatcher" and not check.element_wise


def _builtin_name(check: Any) -> str | None:
    """Return pandera's name of a built-in check, whatever it is called in the schema."""
    return str(check._check_fn._name) if _is_builtin(check) else None


def _has_tables(check: Any) -> bool:
    """Tell whether pandera has a built-in check for tables, and not for arrays alone."""
    registry = pa.Check.CHECK_FUNCTION_REGISTRY[check._check_fn._name]._function_registry
    return pd.Series in registry


def _refuse_aggregates(where: str, check: Any, name: str) -> None:
    what = None
    if isinstance(check, pa.Hypothesis):
        what = "a hypothesis test"
    elif check.groupby is not None:
        what = "a check by groups"
    elif _is_builtin(check) and not _has_tables(check):
        what = "none that pandera has for tables"
    if what is not None:
        raise SchemaError(
            f"{where}: the check {name!r} is {what}, which says nothing of a row.",
            fix="move it out of the schema, and test it on the published shards.",
            check=name,
        )


def _listed_values(checks: list[Check]) -> tuple[Any, ...] | None:
    """Return what all `isin` checks allow, in the order of the first."""
    strict = [check for check in checks if check.kernel == "isin" and not check.warns]
    listed = [check.statistics["allowed_values"] for check in strict]
    if not listed:
        return None
    first, *others = listed
    return tuple(v for v in dict.fromkeys(first) if all(v in other for other in others))


def _compile_row_checks(frame: Any) -> Iterator[Check]:
    for index, check in enumerate(frame.checks):
        name = _check_name(check)
        if _is_order(check) and check.statistics["dim"] in frame.columns:
            continue
        _refuse_aggregates("the schema", check, name)
        yield Check(name, index=index, warns=bool(check.raise_warning))


def _unique_sets(frame: Any, names: set[str]) -> tuple[tuple[str, ...], ...]:
    if not frame.unique:
        return ()
    given = [frame.unique] if isinstance(frame.unique, str) else list(frame.unique)
    sets = [given] if all(isinstance(item, str) for item in given) else given
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
