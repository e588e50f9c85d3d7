"""The kernels, held against pandera's verdict on each cell alone."""

from __future__ import annotations

import operator
import re
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import MISSING, OK, Column
from pipeline.schema import Check as KnownCheck
from pipeline.validate import compile_schema
from pipeline.validate.kernels import is_common_pattern, list_suspects, passes
from tests.judging import BLANK, KINDS, LIMIT, STATES, column, judge, rules

Check = pa.Check
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.1, 0.10000000001, 1e-46, 2.0**53, np.nextafter(LIMIT, 0)]),
)
FLOAT32 = FLOATS.filter(lambda value: abs(value) < LIMIT)
INTS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2**53, 2**53 + 1]))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
TIMES = st.integers(-(10**15), 10**15)
CELLS: dict[str, Any] = {
    "float64": FLOATS, "Float64": FLOATS, "float32": FLOAT32,
    "int64": INTS, "Int64": INTS, "int8": st.integers(-128, 127),
    "bool": st.booleans(), "boolean": st.booleans(), "str": TEXTS, "datetime64[us]": TIMES,
}  # fmt: skip
ORDERED = [name for name, kind in KINDS.items() if kind in ("float", "int", "timestamp")]


def series(dtype: str, cells: list[Any]) -> pd.Series[Any]:
    if dtype.startswith("datetime"):
        return pd.Series(np.array(cells, "datetime64[us]"))
    return pd.Series(cells, dtype=dtype)


def agree(dtype: str, cells: list[Any], check: Any) -> None:
    """Ask pandera about each cell alone, and compare."""
    schema = pa.DataFrameSchema({"x": pa.Column(dtype, check)})
    assert compile_schema(schema).columns[0].checks[0].kernel, "this is to try the kernels"
    with np.errstate(over="ignore"):
        wanted = [i for i, v in enumerate(cells) if not check(series(dtype, [v])).check_passed]
    found = judge(schema, {"x": column(KINDS[dtype], cells)}, "float32")
    assert [p for _, rule, p in found if rule == check.name] == ([wanted] if wanted else [])


def statistic(dtype: str, value: Any) -> Any:
    if dtype.startswith("datetime"):
        return pd.Timestamp(value, unit="us")
    return float(value) if isinstance(value, float) else value  # NumPy's would widen float32


@pytest.mark.parametrize("dtype", ORDERED)
@pytest.mark.parametrize("name", ["eq", "ne", "gt", "ge", "lt", "le"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_comparison_is_pandera_s_verdict_on_the_cell_alone(
    dtype: str, name: str, data: Any
) -> None:
    cells = data.draw(st.lists(CELLS[dtype], min_size=1, max_size=5))
    bound = data.draw(st.one_of(CELLS[dtype], st.sampled_from(cells)))
    agree(dtype, cells, getattr(Check, name)(statistic(dtype, bound)))


@pytest.mark.parametrize("dtype", ORDERED)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_range_is_pandera_s_verdict_on_the_cell_alone(dtype: str, data: Any) -> None:
    cells = data.draw(st.lists(CELLS[dtype], min_size=2, max_size=6))
    low, high = sorted([data.draw(st.sampled_from(cells)), data.draw(CELLS[dtype])])
    flags = {"include_min": data.draw(st.booleans()), "include_max": data.draw(st.booleans())}
    bounds = statistic(dtype, low), statistic(dtype, high)
    if low < high or all(flags.values()):
        agree(dtype, cells, Check.in_range(*bounds, **flags))


@pytest.mark.parametrize("dtype", list(KINDS))
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_list_of_values_is_pandera_s_verdict_on_the_cell_alone(dtype: str, data: Any) -> None:
    cells = data.draw(st.lists(CELLS[dtype], min_size=1, max_size=6))
    listed = data.draw(st.lists(st.one_of(CELLS[dtype], st.sampled_from(cells)), max_size=4))
    listed = [statistic(dtype, value) for value in listed]
    agree(dtype, cells, Check.isin(listed))
    agree(dtype, cells, Check.notin(listed))


@settings(deadline=None, max_examples=60)
@given(cells=st.lists(TEXTS, min_size=1, max_size=6), part=TEXTS, least=st.integers(0, 3))
def test_a_check_of_text_is_pandera_s_verdict_on_the_cell_alone(
    cells: list[str], part: str, least: int
) -> None:
    checks = [Check.str_startswith(part), Check.str_endswith(part), Check.eq(part), Check.ne(part)]
    checks += [Check.str_length(least), Check.str_length(max_value=least)]
    checks += [Check.str_length(least, least + 1), Check.str_length(exact_value=least)]
    for check in checks:
        agree("str", [*cells, part], check)


@pytest.mark.parametrize(
    ("cell", "broken"), [(0.10000000001, True), (0.1000001, False), (0.0999, True)]
)
def test_a_float32_column_is_judged_as_the_value_that_is_published(
    cell: float, broken: bool
) -> None:
    assert (rules("float32", [cell], Check.gt(0.1)) == {"greater_than": [0]}) == broken


HOLDS: dict[str, Any] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "ge": operator.ge,
    "lt": operator.lt, "le": operator.le,
    "isin": lambda cell, listed: cell in listed, "notin": lambda cell, listed: cell not in listed,
}  # fmt: skip
ARGUMENTS = {"gt": "min_value", "ge": "min_value", "lt": "max_value", "le": "max_value"}
ARGUMENTS |= {"isin": "allowed_values", "notin": "forbidden_values", "eq": "value", "ne": "value"}


@pytest.mark.parametrize("kind", ["float", "int"])
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_the_suspects_are_the_cells_that_break_something(kind: str, data: Any) -> None:
    cell = FLOATS if kind == "float" else st.one_of(st.integers(-3, 3), INTS)
    cells = data.draw(st.lists(cell, max_size=8))
    clean = st.just([OK] * len(cells))
    mixed = st.lists(st.sampled_from(STATES), min_size=len(cells), max_size=len(cells))
    states = data.draw(st.one_of(clean, mixed))
    bound = st.one_of(cell, st.sampled_from(cells)) if cells else cell
    checks = [
        (name, data.draw(st.lists(bound, max_size=5)) if name.endswith("in") else data.draw(bound))
        for name in data.draw(st.lists(st.sampled_from(list(HOLDS)), max_size=3))
    ]
    limit = data.draw(st.sampled_from([np.inf, LIMIT, 65520.0]))
    broken = [
        i
        for i, (value, state) in enumerate(zip(cells, states, strict=True))
        if state != OK
        or (kind == "float" and abs(value) >= limit)
        or not all(HOLDS[name](value, given) for name, given in checks)
    ]
    values = [BLANK[kind][s] if s != OK else v for v, s in zip(cells, states, strict=True)]
    known = [KnownCheck(name, {ARGUMENTS[name]: given}, name) for name, given in checks]
    judged = column(kind, values, None if set(states) <= {OK} else states)
    assert list_suspects(judged, known, limit).tolist() == broken


def test_a_bound_that_a_narrow_type_rounds_to_the_limit_lets_no_overflow_pass() -> None:
    cells = Column("float", np.array([-65520, 0, np.nan], "float32"), np.array([0, 0, 2], np.uint8))
    at_least = KnownCheck("ge", {"min_value": -65519.9999999}, "ge")
    at_most = KnownCheck("le", {"max_value": 9.0}, "le")
    assert list_suspects(cells, [at_least, at_most], 65520.0).tolist() == [0, 2]


SPECIAL = ["", "a", "b1", "ab\n", "\n", "é", "٣", "a b", "²", "_", "-", "a\x00b", "\x85", "K"]
COMMON = [
    r"^[a-z]+$", r"a|^b\d", r"\w", r"\W", r"\bé", r"[\d_-]", r"[^a]$", r".{2}", r"(?:a|b)+?$", r"",
    r"\D\w{0,2}$", r"é|\.", r"$",
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["str", "object", "string", "category"])
@pytest.mark.parametrize("pattern", COMMON)
def test_a_common_pattern_finds_what_pandera_finds(pattern: str, dtype: str) -> None:
    assert is_common_pattern(pattern)
    for check in (Check.str_matches(pattern), Check.str_contains(pattern)):
        wanted = [bool(check(pd.Series([text], dtype=dtype)).check_passed) for text in SPECIAL]
        known = KnownCheck(check.name, {"pattern": pattern}, check.name)
        assert passes(known, column("string", SPECIAL)).tolist() == wanted


@pytest.mark.parametrize(
    "pattern",
    [r"a{,2}", r"\s", r"\B", r"(?i)k", r"[[:alpha:]]", r"a++", r"(?=a)", r"(a)\1", r"a{1001}",
     r"\Z", r"a\z", r"\p{L}", r"(", r"[b-a]", r"[\b]", r"\u0061", re.compile("a")],
)  # fmt: skip
def test_a_pattern_that_engines_may_read_otherwise_is_left_to_pandera(pattern: Any) -> None:
    assert not is_common_pattern(pattern)


def test_a_pattern_is_not_found_where_there_is_no_text() -> None:
    known = KnownCheck("p", {"pattern": r"\w*$"}, "str_matches")
    assert passes(known, column("string", [None, "é\n"], [MISSING, OK])).tolist() == [False, True]
