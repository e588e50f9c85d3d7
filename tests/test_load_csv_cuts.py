"""Delimited text in partitions, blocks and batches: wherever it is cut, the same rows."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.load.csv
import pipeline.load.partitions
from pipeline.batch import Kind
from pipeline.load import (
    opening,
    plan_partitions,
    read_partition,
    read_records,
)
from tests.reading import (
    WHOLE,
    find_source,
    list_cells,
    make_reading,
    read_file,
    read_source,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a path for examples of hypothesis, each of which writes it anew."""
    return tmp_path_factory.mktemp("csv") / "a.csv"


TEXT = (
    'a,b\n1,x\n"2","a\nb"\n\n3\n4,"q""q"\r\n5,"open\n6,\xe9\n'
    '7,"c,\r\n\r\nd"\r8,x"y\n"9"z,1\n10,\0\n11,last'
)


@pytest.mark.parametrize("partition_bytes", [*range(1, 30), 50, 1000])
def test_a_file_in_partitions_is_the_file_in_one_piece(path: Path, partition_bytes: int) -> None:
    whole = read_file(path, TEXT, a="int", b="string")
    assert whole.columns["a"] == [1, 2, 4, 6, 7, 8, 11]
    assert whole.lines == [2, 3, 7, 9, 10, 13, 16]
    assert [bad.row for bad in whole.malformed] == [6, 8, 14, 15]
    reading = make_reading({"a": "int", "b": "string"})
    assert read_source(find_source(path), reading, partition_bytes) == whole


@pytest.mark.parametrize("partition_bytes", [1, 7, 20, 1000])
def test_partitions_cover_the_file_and_are_no_larger_than_asked(
    path: Path, partition_bytes: int
) -> None:
    path.write_text(TEXT)
    source = find_source(path)
    parts = plan_partitions([source, source], partition_bytes)
    assert [part.index for part in parts] == list(range(len(parts)))
    ours = parts[: len(parts) // 2]
    ends = [part.stop or source.size for part in ours]
    assert [part.start for part in ours] == [source.data_start, *ends[:-1]]
    assert ends[-1] == source.size
    longest = len('7,"c,\r\n\r\nd"\r')
    assert all(end - part.start <= max(partition_bytes, longest) for part, end in zip(ours, ends))
    ids = [part.row_ids for part in ours]
    assert [first for first, _ in ids[1:]] == [stop for _, stop in ids[:-1]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_text_that_is_unpacked_or_decoded_is_one_partition(tmp_path: Path, encoding: str) -> None:
    text = "a\n1\n2\n3\n".encode(encoding)
    packed = tmp_path / ("a.csv" if encoding == "utf-16" else "a.csv.gz")
    packed.write_bytes(text if encoding == "utf-16" else gzip.compress(text))
    (part,) = plan_partitions([find_source(packed)], 1)
    assert (part.stop, part.first_row) == (None, 2)


def test_a_byte_order_mark_does_not_move_the_partitions(path: Path) -> None:
    whole = read_file(path, b"\xef\xbb\xbf" + TEXT.encode(), a="int", b="string")
    assert read_file(path, TEXT, a="int", b="string") == whole
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    reading = make_reading({"a": "int", "b": "string"})
    assert read_source(find_source(path), reading, 5) == whole


BODIES = st.lists(
    st.sampled_from([b"\r\n", b'""', b'"x"', b'"a\n,""b"', b"2.5,y\n", b"\xef\xbb\xbf", b"nan"])
    | st.sampled_from(list(b'1a," \n\r\0\xff')).map(lambda byte: bytes([byte])),
    max_size=25,
).map(b"".join)


@given(BODIES, st.integers(1, 20), st.integers(1, 9), st.sampled_from([1, 2, 100]))
@settings(deadline=None, max_examples=150)
def test_no_cut_into_partitions_blocks_or_batches_changes_what_is_read(
    shared_path: Path, body: bytes, partition_bytes: int, block_bytes: int, batch_rows: int
) -> None:
    shared_path.write_bytes(b"a,b\n" + body)
    source = find_source(shared_path)
    kinds: dict[str, Kind] = {"a": "float", "b": "string"}
    whole = read_source(source, make_reading(kinds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BLOCK_BYTES", block_bytes)
        patch.setattr(pipeline.load.partitions, "WALK_BYTES", block_bytes)
        patch.setattr(pipeline.load.csv, "ARROW_BLOCK_BYTES", block_bytes)
        reading = make_reading(kinds, batch_rows=batch_rows)
        cut = read_source(source, reading, partition_bytes)
    for table in (whole, cut):  # an empty batch names its columns, no batch does not
        table.columns = {name: cells for name, cells in table.columns.items() if cells}
        table.texts = {name: cells for name, cells in table.texts.items() if cells}
    assert cut == whole


def test_malformed_records_far_into_a_large_file_are_told_by_their_line(path: Path) -> None:
    lines = [f"{i},{'x' * 100}" for i in range(30_000)]
    for place in (15_000, 29_000):
        lines[place] = "one field"
    table = read_file(path, "\n".join(["a,b", *lines]), a="int", b="string")
    assert [bad.row for bad in table.malformed] == [15_002, 29_002]
    assert table.columns["a"] == [i for i in range(30_000) if i not in (15_000, 29_000)]


@pytest.mark.parametrize("partition_bytes", [6, 20, WHOLE])
def test_read_records_gives_the_texts_and_lines_of_chosen_rows(
    path: Path, partition_bytes: int
) -> None:
    whole = read_file(path, TEXT, a="int", b="string")
    reading = make_reading({"a": "int", "b": "string"}, batch_rows=2)
    chosen = np.array(whole.ids[1::2])
    texts: list[str] = []
    lines: list[int] = []
    for part in plan_partitions([find_source(path)], partition_bytes):
        first, stop = part.row_ids
        found = read_records(part, chosen[(chosen >= first) & (chosen < stop)], reading)
        texts += found["b"].to_pylist()
        lines += found["_row"].to_pylist()
    assert texts == whole.texts["b"][1::2]
    assert lines == whole.lines[1::2]


def test_read_records_of_no_row_are_empty_columns(path: Path) -> None:
    path.write_text("a,b\n1,2\n")
    (part,) = plan_partitions([find_source(path)], WHOLE)
    found = read_records(part, np.array([], np.int64), make_reading({"a": "int"}))
    assert {name: (len(array), array.type) for name, array in found.items()} == {
        "a": (0, pa.string()),
        "b": (0, pa.string()),
        "_row": (0, pa.int64()),
    }


def test_rows_can_be_taken_from_a_batch(path: Path) -> None:
    path.write_text("a,b\n1,x\noops,y\n3,z\n")
    (part,) = plan_partitions([find_source(path)], WHOLE)
    (batch,) = read_partition(part, make_reading({"a": "int", "b": "string"}))
    places = np.array([2, 1])
    taken: Sequence[list[Any]] = [list_cells(c.take(places)) for c in batch.columns.values()]
    assert taken == [[3, "<type>"], ["z", "y"]]
