"""Where records begin and end, whatever the quotes and line ends, and wherever a file is cut."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.job import CsvSettings
from pipeline.load import blocks, opening, records
from pipeline.load.blocks import read_blocks
from pipeline.load.opening import Location
from pipeline.load.records import (
    AFTER_QUOTE,
    UNCLOSED,
    find_line_ends,
    split_lines,
    split_records,
)

# Everything that quotes, delimiters and line ends can do to each other.
TEXTS = st.lists(
    st.sampled_from([b"a", b",", b'"', b"\n", b"\r", b"\r\n", b'""', b'"x"', b'"a\n"', b" "]),
    max_size=30,
).map(b"".join)


class Record(NamedTuple):
    text: bytes
    line: int
    broken: str | None = None


def split(
    data: bytes, *, final: bool = True, delimiter: str = ",", quote: str = '"'
) -> list[Record]:
    found = split_records(data, delimiter, quote, final=final)
    return [
        Record(data[start:stop], line, found.broken.get(index))
        for index, (start, stop, line) in enumerate(
            zip(found.starts.tolist(), found.stops.tolist(), found.lines.tolist(), strict=True)
        )
    ]


def split_by_hand(data: bytes) -> list[Record]:
    """Walk through the text byte by byte, by the rules as the module states them."""
    ends = [match.end() for match in re.finditer(rb"\r\n|\n|\r", data)]

    def end_of_line(place: int) -> int:
        return next((end for end in ends if end > place), len(data))

    found, start = [], 0
    while start < len(data):
        place, broken = start, None
        while True:
            begin = place
            if data[place : place + 1] == b'"':
                closing = place + 1
                while closing < len(data) and (
                    data[closing] != 34 or data[closing : closing + 2] == b'""'
                ):
                    closing += 2 if data[closing] == 34 else 1
                place = closing + 1
                follower = data[place : place + 1]
                if closing >= len(data):
                    broken = UNCLOSED
                elif follower not in (b"", b",", b"\n", b"\r"):
                    broken = AFTER_QUOTE if place <= end_of_line(begin) else UNCLOSED
            else:
                while place < len(data) and data[place] not in b",\n\r":
                    place += 1
            if broken or data[place : place + 1] != b",":
                break
            place += 1
        stop = end_of_line(begin if broken else place)
        found.append(Record(data[start:stop], sum(end <= start for end in ends), broken))
        start = stop
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a,b\nc,d\n", [(b"a,b\n", 0), (b"c,d\n", 1)]),
        (b"a\r\nb\rc\nd", [(b"a\r\n", 0), (b"b\r", 1), (b"c\n", 2), (b"d", 3)]),
        (b"a\n\n\nb\n", [(b"a\n", 0), (b"\n", 1), (b"\n", 2), (b"b\n", 3)]),
        (b'"a\nb",c\nd\n', [(b'"a\nb",c\n', 0), (b"d\n", 2)]),
        (b'"a\r\n\r\nb"\r\nd', [(b'"a\r\n\r\nb"\r\n', 0), (b"d", 3)]),
        (b'a,"b ""c"" d"\n"",e', [(b'a,"b ""c"" d"\n', 0), (b'"",e', 1)]),
        (b'5" pipe,x\ny\n', [(b'5" pipe,x\n', 0), (b"y\n", 1)]),
        (b'x,"\n"\n', [(b'x,"\n"\n', 0)]),
    ],
)
def test_a_record_ends_at_a_line_end_outside_quotes(
    data: bytes, expected: list[tuple[bytes, int]]
) -> None:
    assert split(data) == [Record(text, line) for text, line in expected]


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (b'1,"x\n2,y\n3,z\n', UNCLOSED),
        (b'1,"x\n2,"y"\n3,z\n', UNCLOSED),
        (b'1,"x" y\n2,y\n3,z\n', AFTER_QUOTE),
        (b'1,"x"y"\n2,y\n3,z\n', AFTER_QUOTE),
        (b'1,"x\n2,"\n3,"z"q\n', None),
    ],
)
def test_a_stray_quote_costs_its_own_line_alone(data: bytes, broken: str | None) -> None:
    first, *others = split(data)
    assert first.broken == broken
    if broken:
        assert first.text == data.splitlines(keepends=True)[0]
        assert [record.broken for record in others] == [None, None]


def test_a_broken_record_ends_with_the_line_on_which_its_bad_field_began() -> None:
    assert split(b'"a\nb","c\nd,e\n') == [
        Record(b'"a\nb","c\n', 0, UNCLOSED),
        Record(b"d,e\n", 2),
    ]


def test_what_breaks_a_record_does_not_depend_on_the_lines_below() -> None:
    data = b'1,"x\n2,y"z\n'
    assert split(data)[0] == split(data[:5])[0] == Record(b'1,"x\n', 0, UNCLOSED)


def test_a_quote_that_is_closed_too_far_away_is_not_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "MAX_FIELD_BYTES", 10)
    assert split(b'"12345678"\n')[0].broken is None
    assert split(b'"12345\n789"\nb\n') == [
        Record(b'"12345\n', 0, UNCLOSED),
        Record(b'789"\n', 1),
        Record(b"b\n", 2),
    ]


def test_a_long_record_of_short_fields_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_FIELD_BYTES", 10)
    data = b'"a",' * 9 + b"b\n"
    assert split(data) == [Record(data, 0)]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "^", "]", "\\", "."])
@pytest.mark.parametrize("quote", ["'", "|", "\\", "^", "-", "$"])
def test_any_other_characters_delimit_and_quote(delimiter: str, quote: str) -> None:
    if delimiter == quote:
        return
    data = f"a{delimiter}{quote}b\n{quote}{delimiter}c\n{quote}d\ne".encode()
    texts = [record.text for record in split(data, delimiter=delimiter, quote=quote)]
    assert texts[1:] == [f"{quote}d\n".encode(), b"e"]


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"a\nb", 1),
        (b"a\nb\n", 2),
        (b"a\nb\r", 1),
        (b"a\nb\r\n", 2),
        (b'a\n"b"', 1),
        (b'a\n"b\n', 1),
        (b'"a"b"\nx', 1),
        (b'"a"b"\r', 0),
        (b'"a"', 0),
        (b"", 0),
    ],
)
def test_a_record_that_may_go_on_is_left_out(data: bytes, whole: int) -> None:
    assert split(data, final=False) == split(data)[:whole]


def test_lines_are_records_where_nothing_is_quoted() -> None:
    found = split_lines(b'{"a": "\n\r\nx', final=True)
    assert found.stops.tolist() == [8, 10, 11]
    assert (found.num_lines, found.longest, found.num_bytes) == (3, 8, 11)
    assert split_lines(b"a\nb\r", final=False).stops.tolist() == [2]


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"\r", b"\n", b"a"])).map(b"".join))
@settings(deadline=None)
def test_line_ends_are_those_of_universal_newlines(data: bytes) -> None:
    expected = [match.end() - 1 for match in re.finditer(rb"\r\n|\n|\r", data)]
    assert find_line_ends(data).tolist() == expected


@given(TEXTS)
@settings(deadline=None, max_examples=300)
def test_records_are_those_of_a_walk_byte_by_byte(data: bytes) -> None:
    assert split(data) == split_by_hand(data)
    assert split_records(data, ",", '"', final=True).num_lines == len(data.splitlines())


@given(
    st.lists(st.lists(st.text(alphabet='a,"\n\r \u00e9'), min_size=1), min_size=1), st.booleans()
)
@settings(deadline=None)
def test_every_table_that_csv_writes_is_split_into_its_rows(
    rows: list[list[str]], quote_all: bool
) -> None:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(text, quoting=quoting).writerows(rows)
    found = split(text.getvalue().encode())
    assert not any(record.broken for record in found)
    read = [next(csv.reader(io.StringIO(r.text.decode(), newline=""))) for r in found]
    assert read == rows


@given(TEXTS, st.integers(1, 12))
@settings(deadline=None, max_examples=200)
def test_records_do_not_depend_on_where_a_file_is_cut_into_blocks(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BLOCK_BYTES", block_bytes)
        assert list(read_records(path)) == split(data)


def read_records(path: Path) -> Iterator[Record]:
    line = 0
    for data, found in read_blocks(Location("a.csv", str(path)), CsvSettings()):
        assert found.num_bytes == len(data)
        bounds = np.append(0, found.stops).tolist()
        for index, first in enumerate(found.lines.tolist()):
            text = data[bounds[index] : bounds[index + 1]]
            yield Record(text, line + first, found.broken.get(index))
        line += found.num_lines


def test_text_without_line_ends_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 100)
    monkeypatch.setattr(opening, "BLOCK_BYTES", 30)
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(InputError, match=r"a\.csv: a line is longer") as caught:
        list(read_blocks(Location("a.csv", str(path)), CsvSettings()))
    assert caught.value.fix


def test_a_file_that_shrank_while_it_was_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\nb\n")
    with pytest.raises(InputError, match="shorter") as caught:
        list(read_blocks(Location("a.csv", str(path)), CsvSettings(), 0, 6))
    assert caught.value.fix
