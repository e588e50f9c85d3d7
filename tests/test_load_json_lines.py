"""JSON Lines: one object a line, numbers by their digits, a bad line never more than itself."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import Kind, Malformed
from pipeline.errors import InputError
from pipeline.load import opening, plan_partitions, read_records
from tests.reading import INT_MAX, KINDS, find_source, make_reading, read_file, read_source


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def read_cell(path: Path, text: str, kind: Kind) -> Any:
    return read_file(path, f'{{"a": {text}}}\n', a=kind).columns["a"][0]


def test_every_line_is_a_row_and_every_key_a_column(path: Path) -> None:
    table = read_file(path, '{"a": 1, "b": "x"}\n{"b": " y ", "a": 2.5}\n', a="float", b="string")
    assert table.columns == {"a": [1.0, 2.5], "b": ["x", "y"]}
    assert (table.ids, table.lines) == ([0, 1], [1, 2])


@pytest.mark.parametrize(
    ("text", "kind", "cell"),
    [
        ("1", "float", 1.0),
        ('" 1.5 "', "float", 1.5),
        ("1e400", "float", "<inf>"),
        ("true", "float", 1.0),
        ('"true"', "float", "<type>"),
        ("[1]", "float", "<type>"),
        ("9223372036854775807", "int", INT_MAX),
        ("9223372036854775808", "int", "<type>"),
        ("1.0", "int", 1),
        ("1e3", "int", 1000),
        ("1.5", "int", "<type>"),
        ("false", "int", 0),
        ('"7"', "int", 7),
        ("true", "bool", True),
        ('"FALSE"', "bool", False),
        ("1", "bool", True),
        ("2", "bool", "<type>"),
        ('"2024-01-01T00:00:00Z"', "timestamp", 1704067200000000),
        ("1704067200", "timestamp", "<type>"),
        ("3.10", "string", "3.10"),
        ("true", "string", "true"),
        ("{}", "string", "<type>"),
        ('"\\u00e9\\n"', "string", "\u00e9"),
    ],
)
def test_a_cell_becomes_the_type_of_the_schema(
    path: Path, text: str, kind: Kind, cell: Any
) -> None:
    assert read_cell(path, text, kind) == cell


@pytest.mark.parametrize("kind", KINDS)
def test_null_blank_text_and_an_absent_key_are_missing(path: Path, kind: Kind) -> None:
    table = read_file(path, '{"a": null}\n{"a": ""}\n{"a": " NA "}\n{"b": 1}\n{}\n', a=kind)
    assert table.columns["a"] == ["<missing>"] * 5


@pytest.mark.parametrize("kind", ["float", "int", "timestamp", "string"])
def test_nan_and_infinity_without_quotes_are_no_values(path: Path, kind: Kind) -> None:
    table = read_file(path, '{"a": NaN}\n{"a": Infinity}\n{"a": -Infinity}\n', a=kind)
    assert table.columns["a"] == ["<nan>", "<inf>", "<inf>"]
    assert table.texts["a"] == ["NaN", "Infinity", "-Infinity"]


def test_nan_in_quotes_is_a_string(path: Path) -> None:
    assert read_cell(path, '"NaN"', "string") == "NaN"
    assert read_cell(path, '"NaN"', "float") == "<nan>"


def test_keys_are_stripped_like_headers(path: Path) -> None:
    assert read_file(path, '{" a ": 1}', a="int").columns["a"] == [1]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"oops", "no JSON: Expecting value at character 1"),
        (b'{"a": 1', "no JSON: Expecting ',' delimiter at character 8"),
        (b'{"a": 1} {}', "no JSON: Extra data at character 10"),
        (b"{'a': 1}", None),
        (b'{"a": 01}', None),
        (b'{"a": 1,}', None),
        (b"[1]", "no JSON object"),
        (b"1", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"a": "\xff"}', "invalid UTF-8"),
        (b'{"a": \0}', None),
        (b' {"a": "\t"} ', None),
        (b'{"a": 1, "a": 2}', "a key that occurs twice"),
        (b'{"a": 1, "a": 1}', "a key that occurs twice"),
        (b'{"a": 1, " a ": 2}', "a key that occurs twice"),
        (b'{"b": [{"c": 1, "c": 2}]}', "a key that occurs twice"),
        (b'{"\\ud800": 1}', "half a surrogate pair"),
        (b'{"a": "\\udfff"}', "half a surrogate pair"),
        (b'{"b": ["\\ude00\\ud83d"]}', "half a surrogate pair"),
        (b'{"a": Inf}', None),
        (b'{"a": 5}\0', None),
        (b'{"b": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b'{"b": ' + b"[" * 100_000 + b"}", "nested too deeply"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_line_never_costs_its_neighbour(
    path: Path, line: bytes, detail: str | None, place: int
) -> None:
    lines = [b'{"a": 5}']
    lines.insert(place, line)
    table = read_file(path, b"\r\n".join(lines), a="int")
    assert table.columns["a"] == [5]
    assert table.ids == [1 - place]
    (bad,) = table.malformed
    assert bad == Malformed(place, place + 1, line, detail or bad.detail)
    assert bad.detail.startswith("no JSON: ") or detail


def test_a_whole_surrogate_pair_is_a_character(path: Path) -> None:
    table = read_file(path, r'{"a": "\ud83d\ude00", "\u00e9": "\\ud800"}', a="string")
    assert table.columns["a"] == ["\U0001f600"]
    assert table.carried == {"\u00e9": [r"\ud800"]}


def test_a_number_beyond_float64_is_infinite(path: Path) -> None:
    assert [read_cell(path, cell, "float") for cell in ("1e400", "-1e400")] == ["<inf>"] * 2


def test_blank_lines_are_counted_and_are_no_rows(path: Path) -> None:
    table = read_file(path, '\n \t\n{"a": 1}\r\n\r\n{"a": 2}', a="int")
    assert (table.ids, table.lines, table.malformed) == ([2, 4], [3, 5], [])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("oops\n[]\n", "no JSON: Expecting value at character 1"),
        ('[{"a": 1},\n{"a": 2}]\n', "no JSON: Expecting value at character 11"),
        ('[{"a": 1}, {"a": 2}]', "no JSON object"),
        ('{\n"a": 1\n}', "no JSON: Expecting property name"),
    ],
)
def test_a_file_without_an_object_on_any_line_is_an_error(path: Path, text: str, what: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.jsonl is not JSON Lines: ") as caught:
        find_source(path)
    assert what in caught.value.message
    assert "one object a line" in (caught.value.fix or "")


def test_nested_values_are_carried_as_json_with_their_digits(path: Path) -> None:
    cell = '[1, 2.50, {"c": null, "d": [true, "\u00e9 \\"q\\""]}, 12345678901234567890, NaN]'
    table = read_file(path, f'{{"a": {cell}, "b": {{}}}}\n')
    assert table.carried == {"a": [cell], "b": ["{}"]}
    assert table.texts == table.carried


def test_carried_cells_are_texts_and_null_where_there_is_none(path: Path) -> None:
    table = read_file(path, '{"a": 1, "b": " x "}\n{"a": 2, "b": null}\n{"a": 3}\n', a="int")
    assert table.carried == {"b": [" x ", None, None]}


def test_the_columns_are_the_keys_in_order_of_appearance(path: Path) -> None:
    path.write_text('{"b": 1}\noops\n{"a": 1, "b": 2}\n{"c": 0}\n')
    assert find_source(path).columns == ("b", "a", "c")


def test_a_key_that_appears_late_is_carried_from_its_batch_on(path: Path) -> None:
    path.write_text('{"a": 1}\n' * 1500 + '{"a": 2, "late": "x"}\n')
    source = find_source(path)
    assert source.columns == ("a",)
    table = read_source(source, make_reading({"a": "int"}, batch_rows=1000))
    assert table.carried["late"] == [None] * 500 + ["x"]
    (part,) = plan_partitions([source], 1 << 40)
    reading = make_reading({"a": "int"}, batch_rows=1000)
    found = read_records(part, np.array([0, 1499, 1500]), reading)
    assert found["late"].to_pylist() == [None, None, "x"]
    assert found["_row"].to_pylist() == [1, 1500, 1501]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_skipped(path: Path, encoding: str) -> None:
    table = read_file(path, '{"a": "\u00e9"}\n'.encode(encoding), a="string")
    assert table.columns["a"] == ["\u00e9"]


def test_gzip_is_read_like_the_text_in_it(tmp_path: Path) -> None:
    data = b'{"a": 1}\noops\n{"a": 2}'
    plain = read_file(tmp_path / "a.jsonl", data, a="int")
    assert read_file(tmp_path / "b.ndjson.gz", gzip.compress(data), a="int") == plain


def test_a_line_separator_within_a_string_ends_no_line(path: Path) -> None:
    assert read_file(path, '{"a": "x\u2028y\x7f"}', a="string").columns["a"] == ["x\u2028y\x7f"]


@pytest.mark.parametrize("data", [b"\n\n", b"  \n", b"\xef\xbb\xbf"])
def test_a_file_of_blank_lines_is_an_error(path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl is empty") as caught:
        read_file(path, data, a="int")
    assert caught.value.fix


TEXT = '{"a": 1, "b": "x"}\noops\n\n{"a": 2.5}\r\n{"a": 3, "b": [1]}\r{"c": "\u00e9"}\n\n{"a": 7}'


@pytest.mark.parametrize("partition_bytes", [*range(1, 40, 3), 1000])
@pytest.mark.parametrize("block_bytes", [3, 1 << 24])
def test_a_file_in_partitions_is_the_file_in_one_piece(
    path: Path, monkeypatch: pytest.MonkeyPatch, partition_bytes: int, block_bytes: int
) -> None:
    whole = read_file(path, TEXT, a="int")
    assert whole.columns["a"] == [1, "<type>", 3, "<missing>", 7]
    assert whole.lines == [1, 4, 5, 6, 8]
    assert [bad.row for bad in whole.malformed] == [2]
    monkeypatch.setattr(opening, "BLOCK_BYTES", block_bytes)
    reading = make_reading({"a": "int"}, batch_rows=2)
    assert read_source(find_source(path), reading, partition_bytes) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("xyz"), JSON), min_size=1), st.booleans())
@settings(deadline=None)
def test_every_object_is_carried_as_python_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], escaped: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    lines = [json.dumps(row, ensure_ascii=escaped) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    table = read_source(find_source(path), make_reading({}), 20)
    assert table.malformed == []
    for name, cells in table.carried.items():
        for row, cell in zip(rows, cells, strict=True):
            value = row.get(name)
            if value is None or isinstance(value, str):
                assert cell == value
            else:
                assert repr(json.loads(cell)) == repr(value)
