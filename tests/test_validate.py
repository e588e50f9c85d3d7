"""The judge where pandas and our columns differ: narrow types, blanks, times, whole rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pytest

from pipeline.batch import MISSING, OK, Column
from pipeline.errors import InputError, NotRowWise, SchemaError
from pipeline.validate import bind_schema, compile_schema, judge_columns
from tests.judging import BLANK, KINDS, LIMIT, STATES, column, judge, rules

Check = pa.Check


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


def test_a_check_that_raises_on_all_of_the_first_rows_breaks_those_alone() -> None:
    check = Check(lambda v: 1 / int(v) > 0, element_wise=True, name="mine")
    cells = [0.0] * 60 + [1.0] * 40
    assert rules(float, cells, check) == {"mine": list(range(60))}


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
    with pytest.raises(NotRowWise, match="'mine'"):
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


def test_a_check_sees_the_zone_of_an_arrow_time() -> None:
    zoned = pd.ArrowDtype(pyarrow.timestamp("ns", "Europe/Berlin"))
    seen: list[str] = []
    early = Check(lambda s: seen.append(str(s.dtype)) or s.dt.hour < 2, name="early")
    schema = pa.DataFrameSchema({"x": pa.Column(zoned, early, nullable=True)})
    hour = 3_600_000_000  # 00:00 UTC is 01:00 in Berlin
    cells = column("timestamp", [0, hour, 0], [OK, OK, MISSING])
    assert judge(schema, {"x": cells}) == [("x", "early", [1])]
    assert set(seen) == {"timestamp[us, tz=Europe/Berlin][pyarrow]"}
    assert compile_schema(schema)["x"].dtype == "datetime64[us, Europe/Berlin]"


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


def test_a_check_on_rows_sees_no_integer_wrapped_into_its_dtype() -> None:
    check = Check(lambda df: df["a"].isna() | (df["a"] == 7), name="mine")
    schema = pa.DataFrameSchema({"a": pa.Column("int8")}, checks=check)
    cells = {"a": column("int", [300, 7, 8])}
    found = judge_columns(cells, compile_schema(schema), pandera_schema=schema, all_rows=True)
    assert [(f.rule, f.positions.tolist()) for f in found] == [("type", [0]), ("mine", [2])]


def test_blanks_of_nullable_dtypes_cost_a_check_on_rows_no_further_question() -> None:
    seen: list[int] = []
    check = Check(lambda df: seen.append(len(df)) or df["c0"].notna(), name="mine")
    names = [f"c{place}" for place in range(10)]
    schema = pa.DataFrameSchema({n: pa.Column("Int64", nullable=True) for n in names}, checks=check)
    blank = [[row >> place & 1 for row in range(1024)] for place in range(10)]
    cells = {
        n: column("int", b, np.multiply(b, MISSING)) for n, b in zip(names, blank, strict=True)
    }
    # A row of nothing but blanks is passed over, as pandera does.
    assert judge(schema, cells) == [(None, "mine", list(range(1, 1023, 2)))]
    assert seen[0] == 1024


def test_a_check_on_rows_that_looks_beyond_its_row_ends_the_job() -> None:
    check = Check(lambda df: df["a"] >= df["a"].max(), name="mine")
    schema = pa.DataFrameSchema({"a": pa.Column(float), "b": pa.Column(float)}, checks=check)
    with pytest.raises(NotRowWise, match="the schema: the check 'mine'"):
        judge(schema, ROWS)


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


def test_a_cell_that_breaks_two_checks_of_one_name_has_that_reason_once() -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column(float, [pa.Check(lambda s: s < 5), pa.Check(lambda s: s != 9)])}
    )
    cells = {"x": Column("float", np.array([1.0, 9.0, 7.0]))}
    (finding,) = judge_columns(cells, compile_schema(schema), pandera_schema=schema)
    assert (finding.rule, finding.positions.tolist()) == ("<lambda>", [1, 2])


def test_a_row_that_breaks_two_checks_of_one_name_has_that_reason_once() -> None:
    checks = [Check(lambda df: df["a"] < 3), Check(lambda df: df["a"] < df["b"])]
    schema = pa.DataFrameSchema({"a": pa.Column(float), "b": pa.Column(float)}, checks)
    assert judge(schema, ROWS) == [(None, "<lambda>", [1, 2])]


def test_the_order_of_categories_is_kept_for_a_check() -> None:
    dtype = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    found = rules(dtype, ["high", "low", "mid"], Check(lambda s: s >= "mid", name="mine"))
    assert found == {"mine": [1]}
