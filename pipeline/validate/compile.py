"""A pandera schema to plain values that any worker can hold without pandera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from pipeline.batch import Kind
from pipeline.errors import SchemaError
from pipeline.schema import Check, ColumnSchema, Schema

# pandera's name of a built-in check: our kernel, and the statistic that has to be plain.
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
}
_TEXT_OBJECTS = frozenset({"Object", "NpString"})
_BOOL_KERNELS = frozenset({"eq", "ne", "isin", "notin"})
_STRING_KERNELS = _BOOL_KERNELS | {"str_startswith", "str_endswith", "str_length"}
_FLAGS = frozenset({"include_min", "include_max"})
# Built-in, and about the column as a whole.
WHOLE_COLUMN = frozenset({"unique_values_eq"})


def compile_pandera(schema: Any) -> Schema:
    """As `pipeline.validate.compile_schema`."""
    frame = as_frame_schema(schema)
    _refuse_parsers("the schema", frame.parsers)
    if frame.index is not None:
        raise SchemaError(
            "the schema has an index, and a file has none.",
            fix="make it a column of the schema, or take it out.",
        )
    columns = tuple(_compile_column(str(name), column) for name, column in frame.columns.items())
    row_checks = tuple(_row_check_names(frame))
    return Schema(
        name=str(frame.name or getattr(schema, "__name__", "schema")),
        columns=columns,
        strict=frame.strict is True,
        ordered=bool(frame.ordered),
        unique=_unique_sets(frame, {column.name for column in columns}),
        report_duplicates=_report_duplicates(frame),
        row_checks=row_checks,
        needs_pandera=bool(row_checks)
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


def _compile_column(name: str, column: Any) -> ColumnSchema:
    _refuse_parsers(f"column {name!r}", column.parsers)
    if column.default is not None:
        raise SchemaError(
            f"column {name!r} has a default, and nanproof fills blanks by [repair] alone.",
            fix=f"take it out, and set repair.columns.{name} = {{ constant = … }}.",
            column=name,
        )
    kind, dtype = _read_dtype(name, column.dtype)
    if column.regex:
        _check_pattern(name)
    checks = [_compile_check(name, kind, check, i) for i, check in enumerate(column.checks)]
    categories = None
    if dtype == "category" and getattr(column.dtype, "categories", None) is not None:
        categories = tuple(column.dtype.categories)
        if not all(isinstance(value, str) for value in categories):
            raise SchemaError(
                f"column {name!r} has categories that are no strings.",
                fix="use an int, float or bool column with an isin check.",
                column=name,
            )
        checks.append(Check("isin", {"allowed_values": categories}, kernel="isin", index=-1))
    return ColumnSchema(
        name=name,
        kind=kind,
        dtype=dtype,
        nullable=bool(column.nullable),
        required=bool(column.required),
        regex=bool(column.regex),
        pandera_name=name,
        unique=bool(column.unique),
        categories=_listed_values(checks) if categories is None else categories,
        checks=tuple(checks),
    )


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise SchemaError(
            f"column {pattern!r} is no regular expression: {error}.",
            fix="correct the pattern, or take regex = True away.",
            column=pattern,
        ) from None


def _read_dtype(name: str, dtype: Any) -> tuple[Kind, str]:
    if dtype is None:
        raise SchemaError(
            f"column {name!r} has no dtype, so its text cannot be read.",
            fix="give it one: float, int, bool, str or pd.Timestamp.",
            column=name,
        )
    native = getattr(dtype, "type", None)
    types = pd.api.types
    if isinstance(native, pd.CategoricalDtype) or native == "category":
        return "string", "category"
    if isinstance(native, (np.dtype, pd.api.extensions.ExtensionDtype)):
        if types.is_bool_dtype(native):
            return "bool", "bool"
        if types.is_integer_dtype(native) or (types.is_float_dtype(native) and _is_narrow(native)):
            kind: Kind = "int" if types.is_integer_dtype(native) else "float"
            return kind, _plain_number(native)
        if types.is_datetime64_any_dtype(native):
            zone = getattr(native, "tz", None)
            return "timestamp", f"datetime64[us, {zone}]" if zone else "datetime64[us]"
        # Of what pandas holds as objects, text alone: a date or a Decimal would go unjudged.
        if types.is_string_dtype(native) and not (
            native == np.dtype(object) and type(dtype).__name__ not in _TEXT_OBJECTS
        ):
            return "string", "str"
    raise SchemaError(
        f"column {name!r} is of dtype {dtype}, which no feature or label can be.",
        expected="a float, int, bool, string, category or datetime dtype",
        got=str(dtype),
        fix="give it one of these, or leave it out of the schema: it is carried all the same.",
        column=name,
    )


def _is_narrow(native: Any) -> bool:
    """Tell whether float64 holds every value of a float type."""
    return np.dtype(_plain_number(native)).itemsize <= np.dtype("float64").itemsize


def _plain_number(native: Any) -> str:
    """Return numpy's name of a number type, whoever's it is (`Int64`, `double[pyarrow]`)."""
    dtype = getattr(native, "numpy_dtype", native)
    return np.dtype(dtype).name


def _compile_check(column: str, kind: Kind, check: Any, index: int) -> Check:
    name = check.name or getattr(check, "error", None) or "check"
    _refuse_aggregates(f"column {column!r}", check, name)
    statistics = dict(check.statistics or {})
    kernel = KERNELS.get(name) if _is_builtin(check) else None
    if kernel is not None:
        plain = _plain_statistics(kernel, kind, statistics)
        if plain is not None:
            return Check(name, plain, kernel, index)
    return Check(name, index=index)


def _is_builtin(check: Any) -> bool:
    return type(check._check_fn).__name__ == "Dispatcher" and not check.element_wise


def _refuse_aggregates(where: str, check: Any, name: str) -> None:
    what = None
    if isinstance(check, pa.Hypothesis):
        what = "a hypothesis test"
    elif check.groupby is not None:
        what = "a check by groups"
    elif _is_builtin(check) and name in WHOLE_COLUMN:
        what = "a statement about the column as a whole"
    if what is not None:
        raise SchemaError(
            f"{where}: the check {name!r} is {what}, which says nothing of a row.",
            fix="move it out of the schema, and test it on the published shards.",
            check=name,
        )


def _refuse_parsers(where: str, parsers: Any) -> None:
    if parsers:
        names = ", ".join(_name(getattr(p, "_parse_fn", p)) for p in parsers)
        raise SchemaError(
            f"{where} has a parser ({names}), and nanproof reads raw text by the dtype alone.",
            fix="mend the raw data before the job, or describe it by a check.",
        )


def _plain_statistics(kernel: str, kind: Kind, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the statistics as the kernel wants them, or None where only pandera can decide."""
    if kind == "string" and kernel not in _STRING_KERNELS:
        return None
    if kind != "string" and kernel not in KERNELS.values():
        return None
    if kind == "bool" and kernel not in _BOOL_KERNELS:
        return None
    if kernel == "str_length":
        return given
    if kernel.startswith("str_") and kind != "string":
        return None
    plain: dict[str, Any] = {}
    for key, value in given.items():
        if key in _FLAGS:
            plain[key] = bool(value)
            continue
        listed = key in ("allowed_values", "forbidden_values")
        values = [_plain_value(kind, item) for item in (value if listed else [value])]
        if any(item is None for item in values):
            return None
        plain[key] = tuple(values) if listed else values[0]
    if kernel in ("isin", "notin") and kind in ("int", "float"):
        exact = _whole if kind == "int" else _exact_floats
        plain = {key: exact(values) for key, values in plain.items()}
    return plain


def _plain_value(kind: Kind, value: Any) -> Any:
    """Return a value that compares with the kind's numpy values as pandas compares it, or None."""
    if kind == "string":
        return str(value) if isinstance(value, str) else None
    if kind == "bool":
        return bool(value) if isinstance(value, (bool, np.bool_)) else None
    if kind == "timestamp":
        return _microseconds(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _microseconds(value: Any) -> int | None:
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError):
        return None
    if pd.isna(stamp):
        return None
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    # Its `value` is in nanoseconds, which end in the year 2262.
    exact = None if stamp.nanosecond else stamp.tz_localize(None).as_unit("us").asm8
    return None if exact is None else int(exact.astype(np.int64))


def _whole(values: tuple[Any, ...]) -> tuple[int, ...]:
    """No integer equals 1.5."""
    whole = [int(value) for value in values if value % 1 == 0]
    return tuple(value for value in whole if -(2**63) <= value < 2**63)


def _exact_floats(values: tuple[Any, ...]) -> tuple[float, ...]:
    """No float64 equals 2**53 + 1, and numpy would round it to one."""
    held = [value for value in values if not isinstance(value, int) or abs(value) < 2**1023]
    return tuple(float(value) for value in held if float(value) == value)


def _listed_values(checks: list[Check]) -> tuple[Any, ...] | None:
    """Return what all `isin` checks allow, in the order of the first."""
    listed = [check.statistics["allowed_values"] for check in checks if check.kernel == "isin"]
    if not listed:
        return None
    first, *others = listed
    return tuple(v for v in dict.fromkeys(first) if all(v in other for other in others))


def _row_check_names(frame: Any) -> Iterator[str]:
    for check in frame.checks:
        name = check.name or "check"
        _refuse_aggregates("the schema", check, name)
        yield name


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
