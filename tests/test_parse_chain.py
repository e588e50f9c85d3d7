"""A parser after another: what it is given does not depend on the rows beside."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest

from tests.test_parse import judge_cells, list_reasons

Check, Column, Parser = pa.Check, pa.Column, pa.Parser


def list_alone(cells: list[str], column: pa.Column) -> list[tuple[int, str]]:
    return [
        (row, rule) for row, cell in enumerate(cells) for _, rule in judge_cells([cell], column)
    ]


ZONED = pd.DatetimeTZDtype("us", "Europe/Berlin")
CHAINS = {
    "floats of ints": (
        int, ["5", "-1", "7", "", "x"],
        [Parser(lambda s: s.where(s > 0)), Parser(lambda s: s.astype(str).str.len())],
        Check.isin([1]),
    ),
    "halves of ints": (
        "int8", ["5", "4", "7", "8"],
        [Parser(lambda s: s / 2), Parser(lambda s: s.astype(str).str.len())], Check.isin([1, 3]),
    ),
    "one of texts gone": (
        str, ["a", "b", "c"],
        [Parser(lambda s: s.astype(object).where(s != "b")), Parser(lambda s: s.str.upper())],
        Check.isin(["A", "C"]),
    ),
    "objects of bools": (
        bool, ["true", "false"],
        [Parser(lambda v: v or None, element_wise=True), Parser(lambda s: ~s)], Check.eq(False),
    ),
    "ints and floats of one function": (
        float, ["1", "2.5"],
        [
            Parser(lambda v: int(v) if v == int(v) else v, element_wise=True),
            Parser(lambda s: s.astype(str).str.len()),
        ],
        Check.eq(3),
    ),
    "a zone": (
        ZONED, ["2024-01-01T00:30Z", ""],
        [
            Parser(lambda t: t, element_wise=True),
            Parser(lambda s: s.fillna(pd.Timestamp("2024-01-01 01:30", tz=s.dt.tz))),
        ],
        Check.eq(pd.Timestamp("2024-01-01 01:30", tz="Europe/Berlin")),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "cells", "parsers", "check"), CHAINS.values(), ids=CHAINS)
def test_a_second_parser_says_the_same_of_a_row_whatever_stands_beside(
    dtype: Any, cells: list[str], parsers: list[Any], check: Any
) -> None:
    column = Column(dtype, check, parsers=parsers)
    assert judge_cells(cells, column) == list_alone(cells, column)


def test_a_second_parser_is_given_the_schema_s_dtype_where_it_holds_the_value() -> None:
    _, cells, parsers, check = CHAINS["floats of ints"]
    # 5 and 7 are ints again, of one character: as floats, which a blank beside makes them, of three.
    column = Column(int, check, parsers=parsers)
    assert judge_cells(cells, column) == [(1, "nan"), (3, "missing"), (4, "type")]


def test_a_second_parser_is_given_what_the_dtype_cannot_hold_as_the_first_left_it() -> None:
    split = [Parser(lambda s: s.str.split("-")), Parser(lambda s: s.str[1])]
    assert judge_cells(["a-b", "c-d"], Column(str, Check.isin(["b"]), parsers=split)) == [
        (1, "isin")
    ]


def test_a_second_parser_of_rows_is_given_the_schema_s_dtypes() -> None:
    first = Parser(lambda df: df.assign(a=df["a"].where(df["a"] > 0)))
    second = Parser(lambda df: df.assign(length=df["a"].astype(str).str.len()))
    columns = {"a": Column(int, nullable=True), "length": Column(int, Check.eq(1))}
    schema = pa.DataFrameSchema(columns, parsers=[first, second])
    frame = pd.DataFrame({"a": ["5", "-1", "7"], "length": ["0", "0", "0"]})
    assert list_reasons(frame, schema) == [(1, "length", "nan")]


def test_what_a_parser_of_rows_makes_too_large_is_of_another_type_before_the_column_s() -> None:
    larger = Parser(lambda df: df.assign(a=df["a"].astype("int64") + 1))
    columns = {"a": Column("int32", Check.ge(0), parsers=Parser(lambda s: s))}
    schema = pa.DataFrameSchema(columns, parsers=larger)
    frame = pd.DataFrame({"a": ["2147483647", "5"]})
    assert list_reasons(frame, schema) == [(0, "a", "type")]
