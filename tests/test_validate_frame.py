"""The verdict on a DataFrame in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from pipeline.errors import InputError
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
