"""The judge where pandas and our columns differ: narrow types, blanks, times, whole rows."""

from __future__ import annotations

import operator
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrow import strings
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, VALUE_DTYPES, Column
from pipeline.errors import CheckNotRowWise, InputError, SchemaError
from pipeline.schema import Check as KnownCheck
from pipeline.validate import bind_schema, compile_schema, judge_columns
from pipeline.validate.frame import FrameVerdict, validate_frame
from pipeline.validate.kernels import is_common_pattern, list_suspects, passes

Check = pa.Check
KINDS = {
    "float64": "float", "float32": "float", "Float64": "float",
    "int64": "int", "int8": "int", "Int64": "int",
    "bool": "bool", "boolean": "bool", "str": "string", "datetime64[us]": "timestamp",
}  # fmt: skip
LIMIT = 3.4028235677973366e38  # the smallest float64 that float32 rounds to infinity
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


def column(kind: Any, cells: Any, states: Any = None) -> Column:
    found = None if states is None else np.array(states, np.uint8)
    if kind == "string":
        return Column(kind, strings(cells), found)
    return Column(kind, np.array(cells, VALUE_DTYPES[kind]), found)


def judge(
    schema: Any, columns: dict[str, Column], dtype: str = "float32"
) -> list[tuple[str | None, str, list[int]]]:
    compiled = bind_schema(compile_schema(schema), list(columns))
    found = judge_columns(columns, compiled, training_dtype=dtype, pandera_schema=schema)
    return [(finding.column, finding.rule, finding.positions.tolist()) for finding in found]


def rules(dtype: Any, cells: Any, *checks: Any, states: Any = None, **facts: Any) -> dict[str, Any]:
    """Return rule to positions of one column `x`."""
    schema = pa.DataFrameSchema({"x": pa.Column(dtype, list(checks), **facts)})
    kind = compile_schema(schema).columns[0].kind
    training = "float32"
    found = judge(schema, {"x": column(kind, cells, states)}, training)
    return {rule: positions for _, rule, positions in found}


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


STATES = [OK, MISSING, NAN, INF, TYPE]
BLANK: dict[str, Any] = {
    "float": [1.0, np.nan, np.nan, np.inf, np.nan],
    "int": [1, 0, 0, np.iinfo(np.int64).max, 0],
    "bool": [True, False, False, False, False],
    "string": ["1", None, None, None, None],
    "timestamp": [1, 0, 0, np.iinfo(np.int64).max, 0],
}


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("dtype", list(KINDS))
def test_each_state_has_its_one_reason_and_blanks_none_where_nullable(
    dtype: str, nullable: bool
) -> None:
    kind = KINDS[dtype]
    never = [Check(lambda s: s.isna(), name="never"), Check.isin([])]
    found = rules(dtype, BLANK[kind], *never, states=STATES, nullable=nullable)
    blanks = {} if nullable else {"missing": [1], "nan": [2]}
    assert found == {**blanks, "inf": [3], "type": [4], "never": [0], "isin": [0]}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("schema_dtype", "training", "limit"),
    [
        ("float64", "float32", LIMIT),
        ("float32", "float32", LIMIT),
        ("float64", "float16", 65520.0),
        ("float32", "float16", 65520.0),
        ("float16", "float32", 65520.0),
    ],
)
def test_overflow_begins_where_the_narrower_type_rounds_to_infinity(
    schema_dtype: str, training: str, limit: float, sign: int
) -> None:
    with np.errstate(over="ignore"):
        narrow = np.dtype("float16" if limit == 65520.0 else "float32").type
        assert np.isinf(narrow(limit))
        assert np.isfinite(narrow(np.nextafter(limit, 0)))
    schema = pa.DataFrameSchema({"x": pa.Column(schema_dtype)})
    # What is cast to the training dtype has been rounded to the schema's before.
    held = np.float32 if (schema_dtype, training) == ("float32", "float16") else np.float64
    cells = [sign * limit, sign * float(np.nextafter(held(limit), held(0))), sign * 1e308]
    assert judge(schema, {"x": column("float", cells)}, training) == [("x", "overflow", [0, 2])]


def test_what_overflows_has_every_check_that_it_breaks_besides() -> None:
    mine = Check(lambda s: s < 5, name="mine")
    found = rules("float32", [1e300, 1.0], Check.le(10), Check.ge(0), mine)
    assert found == {"overflow": [0], "less_than_or_equal_to": [0], "mine": [0]}


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int8", -128, 127), ("uint8", 0, 255), ("int32", -(2**31), 2**31 - 1), ("uint64", 0, None)],
)
def test_an_int_beyond_its_type_is_of_another_type_and_nothing_else(
    dtype: str, low: int, high: int | None
) -> None:
    cells = [low, low - 1] + ([] if high is None else [high, high + 1])
    mine = Check(lambda s: s == s, name="mine")
    found = rules(dtype, cells, Check.isin([low, *([] if high is None else [high])]), mine)
    assert found == {"type": [1] if high is None else [1, 3]}


def test_the_verdict_on_a_sound_column_is_nothing() -> None:
    assert rules(float, [1.0], Check.ge(0)) == {}
    assert rules(float, [], Check.ge(0), Check(lambda s: s > 0)) == {}


def test_an_element_wise_check_is_asked_of_every_cell() -> None:
    seen: list[Any] = []
    check = Check(lambda v: seen.append(v) or v > 0, element_wise=True, name="mine")
    assert rules(int, [1, -1, 2], check) == {"mine": [1]}
    assert seen == [1, -1, 2]


def test_an_element_wise_check_of_texts_is_asked_once_for_each_distinct_one() -> None:
    seen: list[Any] = []
    check = Check(lambda v: seen.append(v) or v != "b", element_wise=True, name="mine")
    assert rules(str, ["a", "b", "a", "b"], check) == {"mine": [1, 3]}
    assert seen == ["a", "b"]


@pytest.mark.parametrize("element_wise", [True, False])
def test_a_check_that_raises_on_one_cell_breaks_that_cell_alone(element_wise: bool) -> None:
    def at_most_nine(cell: Any) -> Any:
        found = cell if element_wise else cell.max()
        if found == 13:
            raise ValueError(found)
        return cell <= 9

    cells = [float(i % 8) for i in range(100)]
    cells[41], cells[77] = 13.0, 10.0
    check = Check(at_most_nine, element_wise=element_wise, name="mine")
    assert rules(float, cells, check) == {"mine": [41, 77]}


def test_a_check_that_raises_on_whatever_it_is_given_is_named() -> None:
    check = Check(lambda s: s.no_such_thing, name="mine")
    with pytest.raises(SchemaError, match="'mine' raises AttributeError"):
        rules(float, [float(i) for i in range(40)], check)


def test_a_verdict_in_another_order_is_put_in_the_rows_order() -> None:
    check = Check(lambda s: s.sort_values() < 5, name="mine")
    assert rules(float, [9.0, 1.0, 7.0, 2.0], check) == {"mine": [0, 2]}


@pytest.mark.parametrize(
    "function",
    [
        lambda s: (s < 1e9).set_axis(list("abcdef")),
        lambda s: True,
        lambda s: bool(s.max() < 1e9),
        lambda s: (s < 1e9).all(),
        lambda s: s[s < 3] < 1e9,
        lambda s: s.rank() <= 4,
        lambda s: s.diff().fillna(0) >= 0,
        lambda s: s.index < 2,
        lambda s: (s < 1e9).to_numpy(),
        lambda s: list(s < 1e9),
    ],
)
def test_a_check_that_is_not_row_wise_ends_the_job(function: Any) -> None:
    with pytest.raises(CheckNotRowWise, match="'mine'"):
        rules(float, [5.0, 1.0, 4.0, 2.0, 3.0, 9.0], Check(function, name="mine"))


def test_a_custom_check_sees_the_schema_s_type() -> None:
    seen: dict[str, Any] = {}

    def look(name: str) -> Any:
        return Check(lambda s: seen.setdefault(name, str(s.dtype)) and s == s, name="look")

    zoned = pd.DatetimeTZDtype("us", "Europe/Berlin")
    columns = {
        "f": pa.Column("float32", look("f")), "i": pa.Column("int8", look("i")),
        "n": pa.Column("Int64", look("n")), "b": pa.Column(bool, look("b")),
        "s": pa.Column(str, look("s")), "t": pa.Column("datetime64[us]", look("t")),
        "z": pa.Column(zoned, look("z")),
    }  # fmt: skip
    kinds = ["float", "int", "int", "bool", "string", "timestamp", "timestamp"]
    cells = {
        name: column(kind, ["1"] if kind == "string" else [1])
        for name, kind in zip(columns, kinds, strict=True)
    }
    assert judge(pa.DataFrameSchema(columns), cells) == []
    assert seen == {
        "f": "float32", "i": "int8", "n": "Int64", "b": "bool", "s": "str",
        "t": "datetime64[us]", "z": "datetime64[us, Europe/Berlin]",
    }  # fmt: skip


YEAR_9999 = 253_402_214_400_000_000


@pytest.mark.parametrize("dtype", [pd.Timestamp, "datetime64[ns]", pd.DatetimeTZDtype("ns", "UTC")])
def test_a_time_beyond_nanoseconds_is_judged_like_any_other(dtype: Any) -> None:
    late = Check(lambda s: s.dt.year < 2500, name="late")
    assert rules(dtype, [0, YEAR_9999], late) == {"late": [1]}
    bound = pd.Timestamp("2500-01-01")
    assert rules(pd.Timestamp, [0, YEAR_9999], Check.le(bound)) == {"less_than_or_equal_to": [1]}


def test_a_bound_in_another_zone_is_compared_as_a_time() -> None:
    bound = pd.Timestamp("1970-01-01 01:00", tz="Europe/Berlin")
    zoned = pd.DatetimeTZDtype("us", "UTC")
    assert rules(zoned, [-1, 0], Check.ge(bound)) == {"greater_than_or_equal_to": [0]}


def test_a_text_that_is_no_category_breaks_isin_and_whatever_else_it_breaks() -> None:
    short = Check(lambda s: s.astype(str).str.len() < 2, name="short")
    found = rules(pd.CategoricalDtype(["a", "bb"]), ["a", "zz", "bb"], short)
    assert found == {"short": [1, 2], "isin": [1]}


def test_all_isin_checks_together_list_the_categories() -> None:
    checks = [Check.isin([3, 2, 1]), Check.isin([1, 3])]
    schema = compile_schema(pa.DataFrameSchema({"x": pa.Column(int, checks)}))
    assert schema["x"].categories == (3, 1)


ROWS = {"a": column("float", [1.0, 5.0, 2.0]), "b": column("float", [2.0, 4.0, 2.0])}


@pytest.mark.parametrize(
    "check",
    [
        Check(lambda df: df["a"] < df["b"], name="mine"),
        Check(lambda row: row["a"] < row["b"], element_wise=True, name="mine"),
        Check(lambda df: df.assign(a=df["a"] < df["b"], b=True), name="mine"),
    ],
)
def test_a_check_on_rows_blames_no_column(check: Any) -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(float), "b": pa.Column(float)}, checks=check)
    assert judge(schema, ROWS) == [(None, "mine", [1, 2])]


def test_a_check_on_rows_is_not_asked_where_a_cell_is_broken_unless_told_so() -> None:
    check = Check(lambda df: df["a"] < df["b"], name="mine")
    schema = pa.DataFrameSchema({"a": pa.Column(float, Check.lt(5)), "b": pa.Column(float)}, check)
    assert judge(schema, ROWS) == [("a", "less_than", [1]), (None, "mine", [2])]
    compiled = compile_schema(schema)
    found = judge_columns(ROWS, compiled, pandera_schema=schema, all_rows=True)
    assert found[-1].positions.tolist() == [1, 2]


def test_a_check_on_rows_needs_all_columns() -> None:
    check = Check(lambda df: df["a"] < df["b"], name="mine")
    schema = pa.DataFrameSchema({"a": pa.Column(float), "b": pa.Column(float)}, checks=check)
    assert judge(schema, {"a": ROWS["a"]}) == []


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "float64"])
def test_a_blank_in_a_check_on_rows_is_what_pandera_makes_of_it(dtype: str) -> None:
    check = Check(lambda df: df["a"] == df["b"], name="mine")
    columns = {name: pa.Column(dtype, nullable=True) for name in "ab"}
    schema = pa.DataFrameSchema(columns, checks=check)
    cells = [(1, 1), (1, 0), (None, 1), (None, None)]
    frames = [pd.DataFrame([pair], columns=["a", "b"]).astype(dtype) for pair in cells]
    wanted = [i for i, frame in enumerate(frames) if not check(frame).check_passed]
    none = np.nan if KINDS[dtype] == "float" else 0
    parts = {
        name: column(KINDS[dtype], [none if c is None else c for c in side], [OK if c is not None else MISSING for c in side])
        for name, side in zip("ab", zip(*cells, strict=True), strict=True)
    }  # fmt: skip
    assert judge(schema, parts) == [(None, "mine", wanted)]


def test_a_check_on_rows_that_looks_beyond_its_row_ends_the_job() -> None:
    check = Check(lambda df: df["a"] >= df["a"].max(), name="mine")
    schema = pa.DataFrameSchema({"a": pa.Column(float), "b": pa.Column(float)}, checks=check)
    with pytest.raises(CheckNotRowWise, match="the schema: the check 'mine'"):
        judge(schema, ROWS)


REFUSED = {
    "hypothesis": {"checks": pa.Hypothesis.one_sample_ttest(popmean=1.0)},
    "groupby": {"checks": Check(lambda groups: groups, groupby="x", name="grouped")},
    "unique": {"unique": ["x", "z"]},
}


@pytest.mark.parametrize("facts", REFUSED.values(), ids=REFUSED)
def test_a_frame_s_own_rules_are_refused_where_they_say_nothing_of_a_row(facts: Any) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float)}, **facts)
    with pytest.raises(SchemaError, match="the schema"):
        compile_schema(schema)


def test_a_hypothesis_test_of_a_column_is_refused_by_name() -> None:
    test = pa.Hypothesis.one_sample_ttest(popmean=1.0)
    with pytest.raises(SchemaError, match=f"{test.name}' is a hypothesis test"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(float, test)}))


@pytest.mark.parametrize("thing", [42, "table", pd.DataFrame(), type("Plain", (), {})])
def test_what_is_no_schema_is_refused(thing: Any) -> None:
    with pytest.raises(SchemaError, match="which is no schema"):
        compile_schema(thing)


def test_two_ways_to_report_duplicates_are_refused() -> None:
    columns = {
        "a": pa.Column(int, unique=True, report_duplicates="exclude_first"),
        "b": pa.Column(int, unique=True),
    }
    with pytest.raises(SchemaError, match="report_duplicates"):
        compile_schema(pa.DataFrameSchema(columns))


def test_a_pattern_stands_for_every_column_that_it_matches() -> None:
    mine = Check(lambda s: s > 0, name="mine")
    schema = pa.DataFrameSchema({"t_[0-9]+": pa.Column(float, [Check.lt(9), mine], regex=True)})
    cells = {"t_1": column("float", [1.0, -1.0]), "t_22": column("float", [9.0, 1.0])}
    assert judge(schema, cells) == [("t_1", "mine", [1]), ("t_22", "less_than", [0])]


def test_a_required_pattern_that_matches_nothing_is_an_error_and_an_optional_one_is_left_out() -> (
    None
):
    columns = {"t_.*": pa.Column(float, regex=True)}
    with pytest.raises(InputError, match=r"no column matches the schema's pattern 't_\.\*'"):
        bind_schema(compile_schema(pa.DataFrameSchema(columns)), ["a"])
    columns["t_.*"].required = False
    assert bind_schema(compile_schema(pa.DataFrameSchema(columns)), ["a"]).columns == ()


SCRIPT = """
import pandas as pd, pandera.pandas as pa
from pipeline.validate.frame import validate_frame
checks = [pa.Check.ge(0), pa.Check(lambda s: s != 1, name="mine")]
schema = pa.DataFrameSchema({"x": pa.Column(float, checks)})
print(validate_frame(pd.DataFrame({"x": [-1.0, 1.0, 2.0, None]}), schema).reasons["rule"].tolist())
"""


def test_an_environment_variable_cannot_switch_the_judge_off() -> None:
    switched_off = {
        "PANDERA_VALIDATION_ENABLED": "False",
        "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **switched_off},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "['greater_than_or_equal_to', 'mine', 'nan']"


def reasons_of(verdict: FrameVerdict) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in verdict.reasons.itertuples(index=False)]


def test_a_frame_s_good_rows_and_all_reasons_of_the_others() -> None:
    schema = pa.DataFrameSchema(
        {
            "age": pa.Column(float, Check.in_range(0, 122)),
            "name": pa.Column(str, Check.str_length(min_value=1)),
            "when": pa.Column(pd.Timestamp, nullable=True),
        },
        checks=Check(lambda df: df["age"] != 7, name="not_seven"),
    )
    frame = pd.DataFrame(
        {
            "age": ["41", "-3", "old", "7", "8"],
            "name": ["Ann", "", "Cy", "Di", "Eve"],
            "when": ["2025-01-01", None, "2025-13-01", None, "9999-12-31"],
            "more": [1, 2, 3, 4, 5],
        },
        index=[9, 9, 8, 8, 9],
    )
    verdict = validate_frame(frame, schema)
    pd.testing.assert_frame_equal(verdict.good, frame.iloc[[0, 4]])
    assert reasons_of(verdict) == [
        (1, "age", "in_range", "-3"),
        (1, "name", "missing", ""),
        (2, "age", "type", "old"),
        (2, "when", "type", "2025-13-01"),
        (3, None, "not_seven", None),
    ]


@pytest.mark.parametrize("report", ["all", "exclude_first", "exclude_last"])
def test_repeats_in_a_frame_are_those_of_pandas_blanks_included(report: Any) -> None:
    keep: Any = {"all": False, "exclude_first": "first", "exclude_last": "last"}[report]
    cells = {"a": [1, 0, None, None, 1, 0], "b": ["x", None, None, None, "x", ""]}
    frame = pd.DataFrame({"a": pd.array(cells["a"], "Int64"), "b": cells["b"]})
    columns = {"a": pa.Column("Int64", nullable=True), "b": pa.Column(str, nullable=True)}
    schema = pa.DataFrameSchema(columns, unique=["a", "b"], report_duplicates=report)
    wanted = np.flatnonzero(frame.replace({"b": {"": None}}).duplicated(keep=keep)).tolist()
    verdict = validate_frame(frame, schema)
    assert verdict.reasons["row"].tolist() == wanted
    assert set(verdict.reasons["column"]) <= {"a+b"}


def test_a_frame_without_a_required_column_is_refused_and_an_optional_one_may_lack() -> None:
    columns = {"a": pa.Column(float), "b": pa.Column(float, required=False)}
    schema = pa.DataFrameSchema(columns)
    assert validate_frame(pd.DataFrame({"a": [1.0]}), schema).reasons.empty
    with pytest.raises(InputError, match="the column 'a' is missing"):
        validate_frame(pd.DataFrame({"b": [1.0]}), schema)


@pytest.mark.parametrize(
    ("cells", "broken"),
    [
        ([2**70, 1, None], {0: "type", 2: "missing"}),
        (["1", 2, "x", 2.5, True], {2: "type", 3: "type", 4: "type"}),
        (pd.array([1, None], "Int64"), {1: "missing"}),
        (pd.array([1, None], "int64[pyarrow]"), {1: "missing"}),
        (pd.Categorical(["1", "x"]), {1: "type"}),
        (pd.arrays.SparseArray([0, 1]), {}),
        (np.array([1j, 2]), {0: "type", 1: "type"}),
        (np.array([1.0, np.nan, -np.inf, 1.5]), {1: "nan", 2: "inf", 3: "type"}),
        (np.array([2**63, 1], np.uint64), {0: "type"}),
        ([[1], {}], {0: "type", 1: "type"}),
    ],
)
def test_a_frame_s_cells_of_any_type_are_read(cells: Any, broken: dict[int, str]) -> None:
    verdict = validate_frame(pd.DataFrame({"x": cells}), pa.DataFrameSchema({"x": pa.Column(int)}))
    found = dict(zip(verdict.reasons["row"], verdict.reasons["rule"], strict=True))
    assert found == broken


def test_a_frame_without_a_row_is_good() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(float, [Check.ge(0), Check(lambda s: s > 0)])})
    verdict = validate_frame(pd.DataFrame({"a": []}), schema)
    assert verdict.good.empty
    assert verdict.reasons.empty


def test_a_schema_of_the_index_is_refused_for_a_file_has_none() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float)}, index=pa.Index(int, Check.ge(0)))
    with pytest.raises(SchemaError, match="the schema has an index"):
        compile_schema(schema)


def test_a_cell_that_breaks_two_checks_of_one_name_has_that_reason_once() -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column(float, [pa.Check(lambda s: s < 5), pa.Check(lambda s: s != 9)])}
    )
    cells = {"x": Column("float", np.array([1.0, 9.0, 7.0]))}
    (finding,) = judge_columns(cells, compile_schema(schema), pandera_schema=schema)
    assert (finding.rule, finding.positions.tolist()) == ("<lambda>", [1, 2])


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


@pytest.mark.parametrize(
    ("missing", "broken"),
    [(("",), [1]), (("", "?"), []), ({"x": ["?"]}, [0]), ({"y": ["?"]}, [1])],
)
def test_a_frame_s_texts_for_missing_can_be_given(missing: Any, broken: list[int]) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float, nullable=True)})
    verdict = validate_frame(pd.DataFrame({"x": ["", "?", "1"]}), schema, missing=missing)
    assert verdict.reasons["row"].tolist() == broken


@pytest.mark.parametrize(
    ("facts", "names", "error"),
    [
        ({"strict": True}, ["a", "b", "c"], "'c'"),
        ({"ordered": True}, ["b", "a"], "stands after"),
        ({}, ["a", "b", "a"], "'a' 2 times"),
    ],
)
def test_a_frame_of_other_columns_than_the_schema_s_is_refused(
    facts: Any, names: list[str], error: str
) -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(float), "b": pa.Column(float)}, **facts)
    with pytest.raises(InputError, match=f"the DataFrame: .*{error}"):
        validate_frame(pd.DataFrame([["1"] * len(names)], columns=names), schema)
