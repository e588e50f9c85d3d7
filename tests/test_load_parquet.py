"""Parquet: typed cells become the schema's type without loss or not at all, group by group."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import Kind
from pipeline.errors import InputError
from pipeline.job import DEFAULT_MISSING
from pipeline.load import convert_array, list_sources, plan_partitions, read_partition, read_records
from tests.test_load_cells import INT_MAX, INT_MIN, KINDS, list_cells, parse
from tests.test_load_csv import COMMA, WHOLE, Table, find_source, make_reading, read_source

NOON = 1704110400  # seconds; 2024-01-01T12:00Z


def convert(kind: Kind, array: pa.Array, *missing: str) -> list[Any]:
    return list_cells(convert_array(kind, array, missing))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


def read_table(path: Path, table: pa.Table, /, **kinds: Kind) -> Table:
    pq.write_table(table, path)
    return read_source(find_source(path), make_reading(kinds))


def broken_strings() -> pa.Array:
    """Return a string array of "a", a byte that is no UTF-8, and "c"."""
    offsets = np.arange(4, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xffc")]
    return pa.Array.from_buffers(pa.string(), 3, buffers)


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


def test_rows_are_numbered_from_one(path: Path) -> None:
    table = read_table(path, pa.table({"a": [5, 6], "b": ["x", "y"]}), a="int")
    assert (table.ids, table.lines) == ([0, 1], [1, 2])
    assert table.columns == {"a": [5, 6]}
    assert table.carried == {"b": ["x", "y"]}


def test_a_bad_cell_never_costs_its_neighbour_row(path: Path) -> None:
    table = read_table(path, pa.table({"a": ["1", "x", "3"], "b": [1, 2, 3]}), a="int", b="float")
    assert table.columns == {"a": [1, "<type>", 3], "b": [1.0, 2.0, 3.0]}


def test_bytes_that_are_no_text_never_cost_their_neighbour_row(path: Path) -> None:
    columns = {"a": broken_strings(), "b": broken_strings(), "c": pa.array([b"x", b"\xff", None])}
    table = read_table(path, pa.table(columns), a="string", c="string")
    assert table.columns == {"a": ["a", "<type>", "c"], "c": ["x", "<type>", "<missing>"]}
    assert table.carried == {"b": ["a", "\\xff", "c"]}
    assert table.texts["a"] == table.texts["b"] == ["a", "\\xff", "c"]


@pytest.mark.parametrize("partition_bytes", [1, 600, 10**6])
@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_row_groups_are_the_partitions(path: Path, partition_bytes: int, batch_rows: int) -> None:
    pq.write_table(pa.table({"a": range(20), "b": map(str, range(20))}), path, row_group_size=3)
    reading = make_reading({"a": "int"}, batch_rows=batch_rows)
    table = read_source(find_source(path), reading, partition_bytes)
    assert table.ids == table.columns["a"] == list(range(20))
    assert table.lines == list(range(1, 21))
    assert table.texts == {"a": [*map(str, range(20))], "b": [*map(str, range(20))]}
    parts = plan_partitions([find_source(path)], partition_bytes)
    assert [part.row_ids[0] for part in parts[1:]] == [part.row_ids[1] for part in parts[:-1]]
    assert len(parts) in {1: [7], 600: range(2, 7), 10**6: [1]}[partition_bytes]


def test_read_records_gives_the_rows_of_a_partition(path: Path) -> None:
    pq.write_table(pa.table({"a": [1.5, 2.0, None, 4.0]}), path, row_group_size=2)
    _, part = plan_partitions([find_source(path)], 1)
    found = read_records(part, np.array([2, 3]), make_reading({"a": "float"}))
    assert found["a"].to_pylist() == [None, "4"]
    assert found["_row"].to_pylist() == [3, 4]


@pytest.mark.parametrize("groups", [0, 1])
def test_a_file_without_rows_is_legal(path: Path, groups: int) -> None:
    empty = pa.table({"a": pa.array([], pa.float64())})
    with pq.ParquetWriter(path, empty.schema) as writer:
        for _ in range(groups):
            writer.write_table(empty)
    table = read_source(find_source(path), make_reading({"a": "float"}))
    assert table.ids == []


def test_columns_of_one_name_get_names_of_their_own(path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"])
    assert read_table(path, table, a="int").carried == {"a.1": [3, 4]}


def test_carried_columns_keep_their_types(path: Path) -> None:
    columns = {
        "when": pa.array([datetime(2024, 1, 1)], pa.timestamp("ms")),
        "list": pa.array([[1, 2]]),
        "code": pa.array(["x"]).dictionary_encode(),
        "small": pa.array([7], pa.int8()),
    }
    pq.write_table(pa.table(columns), path)
    (part,) = plan_partitions([find_source(path)], 1)
    (batch,) = read_partition(part, make_reading({}))
    types = {field.name: str(field.type) for field in batch.carried.schema}
    assert types == {
        "when": "timestamp[ms]",
        "list": "list<element: int64>",
        "code": "string",
        "small": "int8",
    }


def test_what_is_nested_and_carried_may_be_null(path: Path) -> None:
    """Beside a file without the column its rows hold null, which Parquet refuses otherwise."""
    whole = pa.field("n", pa.int32(), nullable=False)
    types = {
        "struct": pa.struct([whole]),
        "list": pa.list_(pa.field("element", pa.struct([whole]), nullable=False)),
        "map": pa.map_(pa.string(), pa.field("value", pa.struct([whole]), nullable=False)),
    }
    cells: dict[str, Any] = {"struct": {"n": 1}, "list": [{"n": 2}], "map": [("k", {"n": 3})]}
    schema = pa.schema([pa.field(name, types[name], nullable=False) for name in types])
    pq.write_table(pa.Table.from_pylist([cells], schema), path)
    (part,) = plan_partitions([find_source(path)], WHOLE)
    (batch,) = read_partition(part, make_reading({}))
    other = pa.table({"other": [1]})
    both = pa.concat_tables([batch.carried, other], promote_options="default")
    pq.write_table(both, path)
    none = dict.fromkeys(cells)
    assert pq.read_table(path).to_pylist() == [{**cells, "other": None}, {**none, "other": 1}]


def test_a_time_of_spark_beyond_nanoseconds_is_no_other_time(path: Path) -> None:
    """Spark writes INT96, which Arrow reads as nanoseconds: 9999 would become 1816."""
    times = [datetime(9999, 12, 31, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), None]
    table = pa.table({"a": pa.array(times, pa.timestamp("us", "UTC"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    read = read_source(find_source(path), make_reading({"a": "timestamp"}))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = [(time - epoch) // timedelta(microseconds=1) for time in times if time]
    assert read.columns["a"] == [*expected, "<missing>"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_signalling_nan_is_nan_and_warns_nowhere(path: Path, dtype: str) -> None:
    bits = {"float32": np.uint32(0x7FA00000), "float64": np.uint64(0x7FF4000000000000)}[dtype]
    numbers = np.array([bits, 0], bits.dtype).view(dtype)
    column = convert_array("float", pa.array(numbers), ())
    assert list_cells(column) == ["<nan>", 0.0]
    assert np.isnan(column.values + 0.0)[0]


def test_texts_of_typed_cells_are_readable(path: Path) -> None:
    columns = {
        "a": pa.array([1.5, None]),
        "b": pa.array([[1, None], None]),
        "c": pa.array([datetime(2024, 1, 1, 12, tzinfo=UTC), None]),
        "d": pa.array([True, None]),
        "e": pa.array([timedelta(seconds=5), None], pa.duration("s")),
        "f": pa.nulls(2),
    }
    texts = read_table(path, pa.table(columns)).texts
    assert [cells[0] for cells in texts.values()] == [
        "1.5",
        "[1, null]",
        "2024-01-01 12:00:00.000000Z",
        "true",
        "5",
        None,
    ]
    assert {cells[1] for cells in texts.values()} == {None}


def test_a_column_whose_type_differs_between_files_is_carried_as_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [1], "c": [1.5]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [2], "b": [2.5]}), tmp_path / "b.parquet")
    first, second = list_sources(["*.parquet"], tmp_path, COMMA)
    reading = make_reading({"a": "int"})
    assert read_source(first, reading).carried == {"b": ["1"], "c": [1.5]}
    assert read_source(second, reading).carried == {"b": ["2.5"]}


def test_what_pandas_writes_is_read(path: Path) -> None:
    frame = pd.DataFrame(
        {
            "a": [1.5, None],
            "b": pd.array([1, None], "Int64"),
            "c": pd.Categorical(["x", None]),
            "d": pd.to_datetime(["2024-01-01", None]),
            "e": pd.array([True, None], "boolean"),
        }
    )
    frame.to_parquet(path)
    kinds: dict[str, Kind] = {"a": "float", "b": "int", "c": "string", "d": "timestamp"}
    table = read_source(find_source(path), make_reading({**kinds, "e": "bool"}))
    assert [cells[1] for cells in table.columns.values()] == ["<missing>"] * 5
    assert [cells[0] for cells in table.columns.values()] == [1.5, 1, "x", 1704067200 * 10**6, True]


@pytest.mark.parametrize("damage", ["junk", "cut", "footer", "empty"])
def test_a_corrupt_file_is_an_error_that_names_it(path: Path, damage: str) -> None:
    pq.write_table(pa.table({"a": range(100)}), path)
    data = path.read_bytes()
    mended = {"junk": b"PAR1junkPAR1", "cut": data[:-20], "empty": b""}
    path.write_bytes(mended.get(damage, data[:-50] + bytes(42) + data[-8:]))
    with pytest.raises(InputError, match=r"a\.parquet") as caught:
        find_source(path)
    assert caught.value.fix


def test_a_damaged_page_is_an_error_and_no_row(path: Path) -> None:
    pq.write_table(pa.table({"a": range(1000)}), path, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[200:210] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read as Parquet") as caught:
        read_source(find_source(path), make_reading({"a": "int"}))
    assert caught.value.fix


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_an_error_that_names_the_file_or_cells(path: Path, seed: int) -> None:
    """Without checksums a flipped bit may be a value, but never another exception."""
    pick = np.random.default_rng(seed)
    numbers = pick.integers(0, 100, 200)
    table = pa.table({"a": numbers, "b": numbers / 7, "c": [f"t{n}" for n in numbers]})
    pq.write_table(table, path, row_group_size=60, compression=["none", "snappy"][seed % 2])
    whole = path.read_bytes()
    refused = []
    for _ in range(100):
        data = bytearray(whole)
        for place in pick.integers(0, len(data), pick.integers(1, 5)):
            data[place] = pick.choice([0, 127, 128, 255])
        path.write_bytes(data)
        try:
            read_source(find_source(path), make_reading({"a": "int", "b": "float", "c": "string"}))
        except InputError as error:
            refused.append(error.message)
    assert len(refused) > 10
    assert all(message.startswith("a.parquet") for message in refused)
