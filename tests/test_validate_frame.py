"""The verdict on a DataFrame in memory."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from pipeline.errors import InputError, SchemaError
from pipeline.frame import FrameVerdict, validate_frame

Check = pa.Check


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


def test_a_frame_s_headers_are_stripped_as_a_file_s_are() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(int), "y": pa.Column(int)}, strict=True)
    verdict = validate_frame(pd.DataFrame({" x": ["1", "a"], "y\t": ["2", "3"]}), schema)
    assert reasons_of(verdict) == [(1, "x", "type", "a")]
    with pytest.raises(InputError, match="'x' 2 times"):
        validate_frame(pd.DataFrame([[1, 2, 3]], columns=["x", "x ", "y"]), schema)


HALF = "\ud800"  # of a surrogate pair, which is no character


@pytest.mark.parametrize(
    ("cells", "broken"),
    [
        (pd.Series([HALF, "1", None], dtype=object), {0: "type", 2: "missing"}),
        (np.array([HALF, 1, 1.0], object), {0: "type"}),
        (pd.Categorical(pd.Index([HALF, "1"], dtype=object)), {0: "type"}),
        (pd.period_range("2024", periods=2), {0: "type", 1: "type"}),
        (pd.interval_range(0, 2), {0: "type", 1: "type"}),
        (np.array([object(), "1"], object), {0: "type"}),
        (np.array([pd.Period("2024"), 1], object), {0: "type"}),
        (np.array([1j, 1]), {0: "type", 1: "type"}),
    ],
)
@pytest.mark.parametrize("dtype", [int, str])
def test_a_frame_s_cells_of_types_that_no_file_holds_are_of_another_type(
    dtype: Any, cells: Any, broken: dict[int, str]
) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(dtype)})
    verdict = validate_frame(pd.DataFrame({"x": pd.Series(cells)}), schema)
    assert dict(zip(verdict.reasons["row"], verdict.reasons["rule"], strict=True)) == broken


def test_a_frame_s_mixed_cells_are_read_by_their_text() -> None:
    cells = [1, "2", Decimal("3"), b"4", 5.0, UUID(int=6), date(2024, 1, 7), None]
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    listed = ["1", "2", "3", "4", "5.0", str(UUID(int=6)), "2024-01-07"]
    schema = pa.DataFrameSchema({"x": pa.Column(str, Check.isin(listed))})
    assert reasons_of(validate_frame(frame, schema)) == [(7, "x", "missing", None)]


def test_a_column_called_like_a_key_is_told_from_the_key() -> None:
    schema = pa.DataFrameSchema(
        {name: pa.Column(int, unique=name == "a+b") for name in ("a", "b", "a+b")},
        unique=["a", "b"],
    )
    df = pd.DataFrame({"a": [1, 1, 2], "b": [1, 1, 2], "a+b": [5, 6, 6]})
    reasons = validate_frame(df, schema).reasons
    found = set(zip(reasons["row"], reasons["column"], strict=True))
    assert found == {(0, "(a+b)"), (1, "(a+b)"), (1, "a+b"), (2, "a+b")}


COLUMNS: dict[str, dict[str, Any]] = {"none": {}, "absent": {"a": pa.Column(float, required=False)}}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize(
    "rules",
    [{"checks": Check(lambda df: df.index >= 0)}, {"parsers": pa.Parser(lambda df: df)}],
    ids=["checks", "parsers"],
)
def test_rules_of_whole_rows_need_a_column_to_look_at(
    columns: dict[str, Any], rules: dict[str, Any]
) -> None:
    with pytest.raises(SchemaError, match="no column for them to look at"):
        validate_frame(pd.DataFrame({"b": [1, 2]}), pa.DataFrameSchema(columns, **rules))


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_a_schema_that_asks_for_nothing_finds_every_row_good(columns: dict[str, Any]) -> None:
    frame = pd.DataFrame({"b": [1, 2]})
    verdict = validate_frame(frame, pa.DataFrameSchema(columns))
    assert verdict.good.equals(frame)
    assert verdict.reasons.empty
