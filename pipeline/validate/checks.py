"""pandera's checks to ours, or a refusal by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import pandera.backends.pandas.builtin_checks  # noqa: F401 - registers the checks for tables
import pandera.pandas as pa

from pipeline.batch import OWN_RULES, Kind
from pipeline.errors import SchemaError
from pipeline.schema import Check
from pipeline.validate.plain import PATTERN_KERNELS, plain_statistics
from pipeline.whole import MONOTONIC

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


def compile_checks(column: str, kind: Kind, dtype: Any, checks: Any) -> list[Check]:
    """Return a column's checks, in their order, less those of the whole dataset's order.

    Raises:
        SchemaError: One says nothing of a row.
    """
    return [
        _compile_check(column, kind, dtype, check, index)
        for index, check in enumerate(checks)
        if not _is_order(check)
    ]


def _compile_check(column: str, kind: Kind, dtype: Any, check: Any, index: int) -> Check:
    name = _check_name(check)
    where = f"column {column!r}"
    _refuse_aggregates(where, check, name)
    found = Check(
        name,
        index=index,
        judges_blanks=not check.ignore_na,
        warns=bool(check.raise_warning),
        detail=_describe(check),
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


def _describe(check: Any) -> str:
    """Return what a check asks for: its error text, which names a built-in one's arguments."""
    error = getattr(check, "error", None)
    return error if isinstance(error, str) else ""


def _check_name(check: Any) -> str:
    name = str(check.name or getattr(check, "error", None) or "check")
    if name in OWN_RULES and _builtin_name(check) != name:
        raise SchemaError(
            f"a check of the schema is called {name!r}, which is a rule of nanproof's own.",
            fix="give it another name.",
            check=name,
        )
    return name


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


def compile_order(
    name: str, kind: Kind, column: Any, frame: Any
) -> Literal["increasing", "decreasing"] | None:
    """Return the order that the column's checks, or the frame's of this `dim`, ask for.

    Raises:
        SchemaError: It cannot be asked of the column.
    """
    asked = [check for check in column.checks if _is_order(check)]
    other = [c.statistics["dim"] for c in asked if c.statistics["dim"] != name and not column.regex]
    if other:
        raise SchemaError(
            f"column {name!r}: the check {MONOTONIC!r} names {other[0]!r}, another column.",
            fix=f"name {name!r}, or put the check where it belongs.",
            check=MONOTONIC,
            column=name,
        )
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


def is_builtin(check: Any) -> bool:
    """Tell whether a check is one of pandera's own, on whole columns."""
    return type(check._check_fn).__name__ == "Dispatcher" and not check.element_wise


def _builtin_name(check: Any) -> str | None:
    """Return pandera's name of a built-in check, whatever it is called in the schema."""
    return str(check._check_fn._name) if is_builtin(check) else None


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
    elif is_builtin(check) and not _has_tables(check):
        what = "none that pandera has for tables"
    if what is not None:
        raise SchemaError(
            f"{where}: the check {name!r} is {what}, which says nothing of a row.",
            fix="move it out of the schema, and test it on the published shards.",
            check=name,
        )


def compile_row_checks(frame: Any) -> Iterator[Check]:
    """Yield the checks on whole rows, in the schema's order.

    Raises:
        SchemaError: One says nothing of a row.
    """
    for index, check in enumerate(frame.checks):
        name = _check_name(check)
        if _is_order(check):
            if check.statistics["dim"] not in frame.columns:
                raise SchemaError(
                    f"the schema: the check {name!r} names {check.statistics['dim']!r}, which is "
                    "none of its columns.",
                    fix="name one.",
                    check=name,
                )
            continue
        _refuse_aggregates("the schema", check, name)
        warns = bool(check.raise_warning)
        yield Check(name, index=index, warns=warns, detail=_describe(check))
