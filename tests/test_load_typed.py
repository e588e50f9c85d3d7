"""Typed cells become the schema's type without loss or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import Kind
from pipeline.job import DEFAULT_MISSING
from pipeline.load import convert_array
from tests.reading import (
    INT_MAX,
    INT_MIN,
    KINDS,
    list_cells,
    parse,
)

NOON = 1704110400  # seconds; 2024-01-01T12:00Z


def convert(kind: Kind, array: pa.Array, *missing: str) -> list[Any]:
    return list_cells(convert_array(kind, array, missing))


@pytest.mark.parametrize("type_", [pa.int8(), pa.int64(), pa.uint16(), pa.uint64()])
def test_integers_become_any_number_that_holds_them(type_: pa.DataType) -> None:
    array = pa.array([0, 1, None, 100], type_)
    assert convert("int", array) == [0, 1, "<missing>", 100]
    assert convert("float", array) == [0.0, 1.0, "<missing>", 100.0]
    assert convert("bool", array) == [False, True, "<missing>", "<type>"]
    assert convert("string", array) == ["0", "1", "<missing>", "100"]
    assert convert("timestamp", array) == ["<type>", "<type>", "<missing>", "<type>"]


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, -(2**53) - 1, INT_MAX, INT_MIN, 2**62 + 1])
def test_an_integer_becomes_a_float_only_without_loss(number: int) -> None:
    expected = float(number) if int(float(number)) == number else "<type>"
    assert convert("float", pa.array([number, 1])) == [expected, 1.0]


def test_an_unsigned_integer_beyond_int64_is_of_another_type() -> None:
    array = pa.array([2**64 - 1, 2**63, 2**63 - 1], pa.uint64())
    assert convert("int", array) == ["<type>", "<type>", INT_MAX]
    assert convert("float", array) == ["<type>", 2.0**63, "<type>"]


@pytest.mark.parametrize("type_", [pa.float64(), pa.float32(), pa.float16()])
def test_floats_become_integers_only_without_loss(type_: pa.DataType) -> None:
    array = pa.array(np.array([1, -0.0, 1.5, np.nan, np.inf, -np.inf]).astype("float16"))
    array = pa.array([*array.cast(pa.float32()).to_pylist(), None], pa.float32())
    array = array.cast(pa.float32()).cast(type_)
    assert convert("float", array) == [1.0, 0.0, 1.5, "<nan>", "<inf>", "<inf>", "<missing>"]
    assert convert("int", array) == [1, 0, "<type>", "<nan>", "<inf>", "<inf>", "<missing>"]
    bools = [True, False, "<type>", "<nan>", "<type>", "<type>", "<missing>"]
    assert convert("bool", array) == bools


def test_a_float_beyond_int64_is_of_another_type() -> None:
    array = pa.array([2.0**63, -(2.0**63), 1e300, np.nextafter(2.0**63, 0)])
    assert convert("int", array) == ["<type>", INT_MIN, "<type>", 2**63 - 1024]


def test_what_holds_no_value_holds_the_placeholder() -> None:
    array = pa.array([np.nan, None, np.inf, -np.inf, 1.5])
    assert convert_array("int", array, ()).values.tolist() == [0, 0, INT_MAX, INT_MIN, 0]
    floats = convert_array("float", array, ()).values
    assert np.isnan(floats[:2]).all()
    assert floats[2:].tolist() == [np.inf, -np.inf, 1.5]


def test_bools_are_zero_and_one() -> None:
    array = pa.array([True, False, None])
    assert convert("bool", array) == [True, False, "<missing>"]
    assert convert("int", array) == [1, 0, "<missing>"]
    assert convert("float", array) == [1.0, 0.0, "<missing>"]
    assert convert("string", array) == ["true", "false", "<missing>"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_timestamps_of_every_unit_are_microseconds_utc(unit: str, zone: str | None) -> None:
    ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    array = pa.array([NOON * ticks, None, -ticks], pa.timestamp(unit, zone))
    assert convert("timestamp", array) == [NOON * 10**6, "<missing>", -(10**6)]
    assert convert("float", array) == ["<type>", "<missing>", "<type>"]


def test_a_nanosecond_is_lost_in_no_timestamp() -> None:
    array = pa.array([1_000, 1_001, -1_000, -1], pa.timestamp("ns"))
    assert convert("timestamp", array) == [1, "<type>", -1, "<type>"]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_timestamp_beyond_the_year_9999_is_of_another_type(unit: str) -> None:
    ticks = {"s": 1, "ms": 10**3, "us": 10**6}[unit]
    last = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    first = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
    array = pa.array(
        [last * ticks, (last + 1) * ticks, first * ticks, first * ticks - 1, INT_MAX, INT_MIN],
        pa.timestamp(unit),
    )
    cells = convert("timestamp", array)
    assert cells[0::2][:2] == [last * 10**6, first * 10**6]
    assert [cells[1], *cells[3:]] == ["<type>"] * 4


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()])
def test_dates_are_midnights_utc(type_: pa.DataType) -> None:
    array = pa.array([date(2024, 1, 1), None, date(1969, 12, 31)], type_)
    assert convert("timestamp", array) == [1704067200 * 10**6, "<missing>", -86400 * 10**6]
    assert convert("string", array) == ["2024-01-01", "<missing>", "1969-12-31"]


@pytest.mark.parametrize("kind", ["float", "int", "bool", "timestamp"])
@pytest.mark.parametrize(
    "array",
    [
        pa.array([timedelta(1), None]),
        pa.array([time(12), None]),
        pa.array([[1], None]),
        pa.array([{"x": 1}, None]),
    ],
)
def test_what_is_neither_number_nor_time_is_of_another_type(kind: Kind, array: pa.Array) -> None:
    assert convert(kind, array) == ["<type>", "<missing>"]


def test_nested_cells_are_no_strings() -> None:
    assert convert("string", pa.array([[1], None])) == ["<type>", "<missing>"]


def test_a_float_that_is_no_number_is_no_string() -> None:
    assert convert("string", pa.array([1.5, np.nan, np.inf])) == ["1.5", "<nan>", "<inf>"]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.binary(), pa.string_view()])
@pytest.mark.parametrize("kind", KINDS)
def test_string_cells_are_parsed_like_text(kind: Kind, type_: pa.DataType) -> None:
    texts = ["1", " 1.0 ", "1.5", "true", "2024-01-01", "nan", "inf", "NA", "", "x", None]
    array = pa.array(texts).cast(type_)
    assert convert(kind, array, *DEFAULT_MISSING) == parse(kind, *texts)
    encoded = pa.array(texts).dictionary_encode()
    assert convert(kind, encoded, *DEFAULT_MISSING) == parse(kind, *texts)


def test_decimals_are_parsed_by_their_digits() -> None:
    array = pa.array([Decimal("2.00"), Decimal("0.10"), None])
    assert convert("float", array) == [2.0, 0.1, "<missing>"]
    assert convert("int", array) == [2, "<type>", "<missing>"]
    assert convert("int", pa.array([Decimal(2**53 + 1)])) == [2**53 + 1]
    assert convert("int", pa.array([Decimal("1E+20")])) == ["<type>"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_nulls_is_missing(kind: Kind) -> None:
    assert convert(kind, pa.nulls(2)) == ["<missing>"] * 2
    assert convert(kind, pa.nulls(0)) == []


@pytest.mark.parametrize("array", [pa.array([-200, 5]), pa.array([-200.0, 5.0])])
def test_a_number_that_means_missing_is_matched_by_value(array: pa.Array) -> None:
    assert convert("float", array, "-200") == ["<missing>", 5.0]
    assert convert("int", array, "-200.0") == ["<missing>", 5]


def test_the_largest_integer_can_mean_missing() -> None:
    array = pa.array([INT_MAX, INT_MAX - 1])
    assert convert("int", array, str(INT_MAX)) == ["<missing>", INT_MAX - 1]


def test_an_array_is_converted_from_its_own_offset() -> None:
    array = pa.array([True, None, False, True, None, True, False, True, True, None])[3:]
    assert convert("bool", array) == [True, "<missing>", True, False, True, True, "<missing>"]
    assert convert("int", pa.array([9, 8, None, 7])[1:]) == [8, "<missing>", 7]
    assert convert("string", pa.array(["a", "b", None])[1:]) == ["b", "<missing>"]


@given(st.lists(st.none() | st.integers(INT_MIN, INT_MAX)))
@settings(deadline=None)
def test_no_integer_changes_on_its_way_to_a_float(numbers: list[int | None]) -> None:
    for number, cell in zip(numbers, convert("float", pa.array(numbers, pa.int64())), strict=True):
        assert cell == ("<missing>" if number is None else number) or cell == "<type>"
        assert cell != "<type>" or (number is not None and int(float(number)) != number)


@given(st.lists(st.none() | st.floats()))
@settings(deadline=None)
def test_no_float_changes_on_its_way_to_an_integer(numbers: list[float | None]) -> None:
    cells = convert("int", pa.array(numbers, pa.float64()))
    for number, cell in zip(numbers, cells, strict=True):
        if isinstance(cell, int):
            assert cell == number
        else:
            whole = number is not None and float(number).is_integer()
            assert not whole or abs(number or 0.0) >= 2.0**63


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_signalling_nan_is_nan_and_warns_nowhere(dtype: str) -> None:
    bits = {"float32": np.uint32(0x7FA00000), "float64": np.uint64(0x7FF4000000000000)}[dtype]
    numbers = np.array([bits, 0], bits.dtype).view(dtype)
    column = convert_array("float", pa.array(numbers), ())
    assert list_cells(column) == ["<nan>", 0.0]
    assert np.isnan(column.values + 0.0)[0]
