"""Parquet, group by group: rows with line and id, columns with their types, damage told."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.batch import Kind
from pipeline.errors import InputError
from pipeline.load import list_sources, plan_partitions, read_partition, read_records
from tests.reading import (
    COMMA,
    WHOLE,
    Rows,
    find_source,
    make_reading,
    read_source,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


def read_table(path: Path, table: pa.Table, /, **kinds: Kind) -> Rows:
    pq.write_table(table, path)
    return read_source(find_source(path), make_reading(kinds))


def broken_strings() -> pa.Array:
    """Return a string array of "a", a byte that is no UTF-8, and "c"."""
    offsets = np.arange(4, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xffc")]
    return pa.Array.from_buffers(pa.string(), 3, buffers)


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


UNIX_DAY = 2_440_588  # the Julian day of 1970-01-01
DAY = 86_400 * 10**9


def write_int96(path: Path, cells: list[tuple[int, int] | None]) -> None:
    """Write days since 1970 and nanoseconds of the day, as Spark does; two rows to a group."""
    stand_ins = [None if c is None else 86_400 * (20_000 + i) for i, c in enumerate(cells)]
    times = pa.array(stand_ins, pa.timestamp("s"))
    pq.write_table(
        pa.table({"a": times, "b": times, "t": times, "t ": times}),
        path,
        row_group_size=2,
        compression="none",
        use_dictionary=False,
        use_deprecated_int96_timestamps=True,
    )
    data = path.read_bytes()
    for index, cell in enumerate(cells):
        if cell is not None:
            stand_in = struct.pack("<qi", 0, UNIX_DAY + 20_000 + index)
            assert data.count(stand_in) == 4
            data = data.replace(stand_in, struct.pack("<qi", cell[1], UNIX_DAY + cell[0]))
    path.write_bytes(data)


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
@pytest.mark.parametrize("partition_bytes", [1, WHOLE])
def test_a_nanosecond_is_lost_in_no_time_of_spark(
    path: Path, batch_rows: int, partition_bytes: int
) -> None:
    cells = [
        (0, 1_000),
        (0, 1_001),
        (-1, DAY - 1),
        None,
        ((date(9999, 12, 31) - date(1970, 1, 1)).days, DAY - 1_000),
        ((date(1, 1, 1) - date(1970, 1, 1)).days, 0),
        (10_957, 123_456_789),
        (10_957, 123_456_000),
    ]
    write_int96(path, cells)
    kinds: dict[str, Kind] = {"a": "timestamp", "b": "string", "t.1": "timestamp"}
    reading = make_reading(kinds, batch_rows=batch_rows)
    read = read_source(find_source(path), reading, partition_bytes)
    totals = [cell if cell is None else cell[0] * DAY + cell[1] for cell in cells]
    assert (
        read.columns["a"]
        == read.columns["t.1"]
        == [
            "<missing>" if total is None else "<type>" if total % 1_000 else total // 1_000
            for total in totals
        ]
    )
    finer = ["1970-01-01 00:00:00.000001001", "1969-12-31 23:59:59.999999999"]
    assert read.texts["a"][1:3] == read.columns["b"][1:3] == finer
    assert read.texts["a"][6] == "2000-01-01 00:00:00.123456789"
    assert read.texts["a"][7] == "2000-01-01 00:00:00.123456"
    assert read.carried["t"][7] == datetime(2000, 1, 1, microsecond=123_456)


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
    table = table.append_column("d", pa.array(numbers, pa.timestamp("ns")))
    pq.write_table(
        table,
        path,
        row_group_size=60,
        compression=["none", "snappy"][seed % 2],
        use_deprecated_int96_timestamps=True,
    )
    reading = make_reading({"a": "int", "b": "float", "c": "string", "d": "timestamp"})
    whole = path.read_bytes()
    refused = []
    for _ in range(100):
        data = bytearray(whole)
        for place in pick.integers(0, len(data), pick.integers(1, 5)):
            data[place] = pick.choice([0, 127, 128, 255])
        path.write_bytes(data)
        try:
            read_source(find_source(path), reading)
        except InputError as error:
            refused.append(error.message)
    assert len(refused) > 10
    assert all(message.startswith("a.parquet") for message in refused)
