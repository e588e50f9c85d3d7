"""The verdict on each cell, against pandera asked about that cell alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import validate_frame
from pipeline.arrow import strings
from pipeline.batch import Column
from pipeline.errors import CheckNotRowWise, SchemaError
from pipeline.validate import bind_schema, compile_schema, judge_columns

EDGES = [0.0, -0.0, 1.0, -1.0, 1.5, 2**53 + 1, -(2**53) - 1, 3.4028235677973366e38, 3.4e38]
FLOATS = st.one_of(st.sampled_from(EDGES), st.floats(allow_nan=False, allow_infinity=False))
INTS = st.one_of(st.sampled_from([0, 1, -1, 2**53 + 1, -(2**63), 2**63 - 1]), st.integers(-9, 9))
TEXTS = st.one_of(st.sampled_from(["", "a", "ab", "ä", "a\nb", " "]), st.text(max_size=4))
Check = pa.Check
NUMBER_CHECKS = [
    Check.eq(1), Check.ne(1), Check.gt(0), Check.ge(1), Check.lt(1), Check.le(-1),
    Check.in_range(-1, 1), Check.in_range(0, 1, include_min=False, include_max=False),
    Check.isin([0, 1, 2**53 + 1]), Check.notin([1, -1]),
]  # fmt: skip
TEXT_CHECKS = [
    Check.eq("a"), Check.ne("a"), Check.isin(["a", "ä", ""]), Check.notin(["ab"]),
    Check.str_matches("a"), Check.str_contains("b$"), Check.str_startswith("a"),
    Check.str_endswith("b"), Check.str_length(1, 2), Check.str_length(exact_value=1),
]  # fmt: skip


def verdict_of(schema: Any, kind: Any, values: Any) -> dict[str, list[int]]:
    compiled = bind_schema(compile_schema(schema), ["x"])
    column = Column(kind, strings(values) if kind == "string" else np.array(values))
    findings = judge_columns({"x": column}, compiled, pandera_schema=schema)
    return {finding.rule: finding.positions.tolist() for finding in findings}


def ask_pandera(check: Any, cell: Any, dtype: str) -> bool:
    return bool(check(pd.Series([cell], dtype=dtype)).check_passed)


@pytest.mark.parametrize("check", NUMBER_CHECKS, ids=str)
@settings(max_examples=30)
@given(values=st.lists(FLOATS, min_size=1, max_size=8))
def test_a_check_of_floats_is_pandas_own_verdict_on_each(check: Any, values: list[float]) -> None:
    found = verdict_of(pa.DataFrameSchema({"x": pa.Column(float, check)}), "float", values)
    broken = [i for i, cell in enumerate(values) if not ask_pandera(check, cell, "float64")]
    assert found.get(check.name, []) == broken


@pytest.mark.parametrize("check", NUMBER_CHECKS, ids=str)
@settings(max_examples=30)
@given(values=st.lists(INTS, min_size=1, max_size=8))
def test_a_check_of_ints_is_panderas_own_verdict_on_each(check: Any, values: list[int]) -> None:
    found = verdict_of(pa.DataFrameSchema({"x": pa.Column(int, check)}), "int", values)
    broken = [i for i, cell in enumerate(values) if not ask_pandera(check, cell, "int64")]
    assert found.get(check.name, []) == broken


@pytest.mark.parametrize("check", TEXT_CHECKS, ids=str)
@settings(max_examples=30)
@given(
    values=st.lists(TEXTS.filter(lambda t: t.isprintable() or t == "a\nb"), min_size=1, max_size=8)
)
def test_a_check_of_texts_is_panderas_own_verdict_on_each(check: Any, values: list[str]) -> None:
    found = verdict_of(pa.DataFrameSchema({"x": pa.Column(str, check)}), "string", values)
    broken = [i for i, cell in enumerate(values) if not ask_pandera(check, cell, "str")]
    assert found.get(check.name, []) == broken


def test_bounds_of_timestamps_are_compared_as_times() -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column(pd.Timestamp, Check.ge(pd.Timestamp("2025-01-01")))}
    )
    times = [pd.Timestamp(text).value // 1000 for text in ("2024-12-31 23:59:59", "2025-01-01")]
    assert verdict_of(schema, "timestamp", times) == {"greater_than_or_equal_to": [0]}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "missing"),
        ("nan", "nan"),
        ("-inf", "inf"),
        ("1e400", "inf"),
        ("x", "type"),
        ("1e39", "overflow"),
    ],
)
def test_a_cell_that_is_no_value_has_that_one_reason(text: str, rule: str) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float, Check.gt(5))})
    verdict = validate_frame(pd.DataFrame({"x": ["7", text]}), schema)
    assert verdict.reasons[["row", "rule"]].to_numpy().tolist() == [[1, rule]]


def test_a_cell_has_every_check_that_it_breaks() -> None:
    checks = [Check.lt(5), Check.notin([9]), Check(lambda s: s != 9, name="mine")]
    found = verdict_of(pa.DataFrameSchema({"x": pa.Column(float, checks)}), "float", [1.0, 9.0])
    assert found == {"less_than": [1], "notin": [1], "mine": [1]}


@pytest.mark.parametrize(
    ("dtype", "limit"), [("int8", 127), ("uint16", 65535), ("Int32", 2**31 - 1)]
)
def test_a_narrow_dtype_holds_its_own_range(dtype: str, limit: int) -> None:
    found = verdict_of(pa.DataFrameSchema({"x": pa.Column(dtype)}), "int", [limit, limit + 1])
    assert found == {"type": [1]}


def test_nullable_blanks_are_valid_and_infinity_never_is() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float, Check.gt(0), nullable=True)})
    verdict = validate_frame(pd.DataFrame({"x": [1.0, np.nan, np.inf, None, -1.0]}), schema)
    assert verdict.reasons["rule"].tolist() == ["inf", "greater_than"]
    assert verdict.good.index.tolist() == [0, 1, 3]


def test_a_check_that_raises_on_one_cell_breaks_that_cell_alone() -> None:
    check = Check(lambda s: s.map(lambda v: 1 / v > 0), name="inverse")
    found = verdict_of(
        pa.DataFrameSchema({"x": pa.Column(float, check)}), "float", [1.0, 0.0, 2.0, -1.0]
    )
    assert found == {"inverse": [1, 3]}


def test_a_check_on_rows_is_asked_of_rows_whose_cells_are_valid() -> None:
    schema = pa.DataFrameSchema(
        {"a": pa.Column(float), "b": pa.Column(float)},
        checks=Check(lambda df: df["a"] < df["b"], name="ordered"),
    )
    verdict = validate_frame(pd.DataFrame({"a": [1.0, 3.0, np.nan], "b": [2.0, 2.0, 2.0]}), schema)
    assert verdict.reasons[["row", "rule"]].to_numpy().tolist() == [[1, "ordered"], [2, "nan"]]


@pytest.mark.parametrize(
    "check",
    [
        Check(lambda s: s > s.mean(), name="c"),
        Check(lambda s: s.max() < 3, name="c"),
        Check(lambda s: ~s.duplicated(keep=False), name="c"),
    ],
)
def test_a_check_that_looks_beyond_its_row_ends_the_job(check: Any) -> None:
    with pytest.raises(CheckNotRowWise, match="'c'"):
        verdict_of(
            pa.DataFrameSchema({"x": pa.Column(float, check)}), "float", [1.0, 2.0, 1.0, 4.0]
        )


REFUSED = {
    "groups": pa.Column(float, Check(lambda g: True, groupby="x", name="grouped")),
    "aggregate": pa.Column(float, Check.unique_values_eq([1.0])),
    "no dtype": pa.Column(None),
    "timedelta": pa.Column("timedelta64[ns]"),
    "parser": pa.Column(float, parsers=pa.Parser(lambda s: s)),
    "default": pa.Column(float, default=1.0),
}


@pytest.mark.parametrize("column", REFUSED.values(), ids=REFUSED)
def test_what_is_no_statement_about_rows_is_refused_before_the_data(column: Any) -> None:
    with pytest.raises(SchemaError, match="'x'"):
        compile_schema(pa.DataFrameSchema({"x": column}))


@pytest.mark.parametrize("variable", ["PANDERA_VALIDATION_ENABLED", "PANDERA_VALIDATION_DEPTH"])
def test_no_variable_of_the_environment_switches_judging_off(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pandera.config import config_context

    check = Check(lambda s: s > 0, name="mine")
    schema = pa.DataFrameSchema({"x": pa.Column(float, [check, Check.lt(9)])})
    with config_context(validation_enabled=False):
        assert verdict_of(schema, "float", [-1.0, 10.0]) == {"mine": [0], "less_than": [1]}


def test_patterns_name_columns_that_no_other_has_named() -> None:
    schema = pa.DataFrameSchema({"a_1": pa.Column(int), "^a_": pa.Column(float, regex=True)})
    bound = bind_schema(compile_schema(schema), ["a_1", "a_2", "b"])
    assert [(column.name, column.kind) for column in bound.columns] == [
        ("a_1", "int"),
        ("a_2", "float"),
    ]


def test_a_frame_is_judged_whatever_its_index_and_repeats_are_told() -> None:
    schema = pa.DataFrameSchema({"k": pa.Column(int, unique=True), "x": pa.Column(float)})
    frame = pd.DataFrame({"k": [1, 2, 1], "x": [1.0, np.nan, 3.0]}, index=[5, 5, 5])
    verdict = validate_frame(frame, schema)
    assert verdict.reasons[["row", "column", "rule"]].to_numpy().tolist() == [
        [0, "k", "unique"], [1, "x", "nan"], [2, "k", "unique"],
    ]  # fmt: skip
    assert verdict.good.empty


def test_a_cell_that_breaks_two_checks_of_one_name_has_that_reason_once() -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column(float, [Check(lambda s: s < 5), Check(lambda s: s != 9)])}
    )
    cells = {"x": Column("float", np.array([1.0, 9.0, 7.0]))}
    (finding,) = judge_columns(cells, compile_schema(schema), pandera_schema=schema)
    assert (finding.rule, finding.positions.tolist()) == ("<lambda>", [1, 2])


@pytest.mark.parametrize("dtype", ["date", pa.Decimal(10, 2), "float128"], ids=str)
def test_a_type_that_would_go_unjudged_is_refused(dtype: Any) -> None:
    with pytest.raises(SchemaError, match="no feature or label"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(dtype)}))


def test_a_schema_that_pandera_cannot_build_is_the_users_to_mend() -> None:
    class Broken(pa.DataFrameModel):
        x: float

        @pa.check("nowhere")
        def f(cls, cells: Any) -> Any:  # noqa: N805 - as pandera has it
            return cells > 0

    with pytest.raises(SchemaError, match="nowhere"):
        compile_schema(Broken)
    with pytest.raises(SchemaError, match="regular expression"):
        compile_schema(pa.DataFrameSchema({"[an": pa.Column(float, regex=True)}))
