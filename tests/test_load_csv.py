"""Delimited text: good rows with line and id, bad records apart."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrow import strings
from pipeline.batch import Kind, Malformed
from pipeline.job import CsvSettings, DataSettings
from pipeline.load import (
    Reading,
    list_sources,
    parse_texts,
)
from tests.reading import (
    KINDS,
    Rows,
    find_source,
    list_cells,
    make_reading,
    read_file,
    read_source,
)

SEMICOLON = CsvSettings(delimiter=";")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a path for examples of hypothesis, each of which writes it anew."""
    return tmp_path_factory.mktemp("csv") / "a.csv"


def describe(table: Rows) -> list[tuple[int, bytes, str]]:
    return [(bad.row, bad.data, bad.detail) for bad in table.malformed]


def test_rows_are_numbered_by_line_and_identified_by_record(path: Path) -> None:
    table = read_file(path, "a,b\n1,x\n2,y\n", a="int", b="string")
    assert (table.ids, table.lines) == ([0, 1], [2, 3])
    assert table.columns == {"a": [1, 2], "b": ["x", "y"]}


def test_the_row_of_a_record_is_the_line_on_which_it_starts(path: Path) -> None:
    table = read_file(path, 'a,b\n1,"x\ny"\n\n2,"\r\n\r"\n3,z\n', a="int", b="string")
    assert table.lines == [2, 5, 8]
    assert table.ids == [0, 2, 3]  # a blank line is a record, though no row
    assert table.columns["b"] == ["x\ny", "<missing>", "z"]


def test_a_header_over_several_lines_moves_the_rows(path: Path) -> None:
    table = read_file(path, '\n\n"a\nq",b\n1,2\n', a="int", b="int")
    assert table.lines == [5]
    assert table.columns["b"] == [2]


def test_the_file_number_is_the_upper_part_of_a_row_id(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text("x\n1\n2\n")
    first, second = list_sources(["*.csv"], tmp_path, CsvSettings())
    assert read_source(first, make_reading({"x": "int"})).ids == [0, 1]
    assert read_source(second, make_reading({"x": "int"})).ids == [1 << 40, (1 << 40) + 1]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_end_ends_a_line(path: Path, end: str, last: bool) -> None:
    table = read_file(path, end.join(["a,b", "1,2", "", "3,4"]) + end * last, a="int", b="int")
    assert table.columns == {"a": [1, 3], "b": [2, 4]}
    assert table.lines == [2, 4]


def test_line_ends_may_be_mixed(path: Path) -> None:
    table = read_file(path, "a\r\n1\n2\r3\r\n4", a="int")
    assert table.columns["a"] == [1, 2, 3, 4]
    assert table.lines == [2, 3, 4, 5]


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\r\n", "a,b\n\n  \n"])
def test_a_header_alone_is_a_table_without_rows(path: Path, text: str) -> None:
    table = read_file(path, text, a="float", b="string", c="timestamp")
    assert (table.ids, table.malformed) == ([], [])


def test_blank_lines_are_neither_rows_nor_malformed(path: Path) -> None:
    table = read_file(path, "a,b\n\n  \n\t\n1,2\n\r\n", a="int", b="int")
    assert (table.lines, table.malformed) == ([5], [])


def test_the_only_column_may_be_missing_in_a_row(path: Path) -> None:
    table = read_file(path, 'a\n1\n""\n  \n2\n', a="int")
    assert table.columns["a"] == [1, "<missing>", "<missing>", 2]


def test_what_the_schema_does_not_name_is_carried_as_it_stands(path: Path) -> None:
    table = read_file(path, "a,b,c\n1, x ,NA\n2,,007\n", a="int")
    assert table.carried == {"b": [" x ", ""], "c": ["NA", "007"]}


def test_a_column_that_the_file_lacks_is_missing(path: Path) -> None:
    table = read_file(path, "a\n1\n", a="int", b="float", c="string")
    assert table.columns == {"a": [1], "b": ["<missing>"], "c": ["<missing>"]}


def test_a_group_that_the_schema_does_not_name_is_read_as_text(path: Path) -> None:
    path.write_text("a,g\n1, 007 \n")
    table = read_source(find_source(path), make_reading({"a": "int"}, group="g"))
    assert table.columns["g"] == ["007"]
    assert table.carried == {}


def test_missing_texts_are_those_of_the_column(path: Path) -> None:
    path.write_text("a,b\n-200,-200\nNA,?\n?,NA\n")
    data = DataSettings(
        raw=("a.csv",),
        schema="s:S",
        label="a",
        missing={"a": ("-200.0", "?")},
    )
    schema = make_reading({"a": "float", "b": "float"}).schema
    table = read_source(find_source(path), Reading.of(schema, data))
    assert table.columns["a"] == ["<missing>", "<type>", "<missing>"]
    assert table.columns["b"] == [-200.0, "<type>", "<missing>"]


def test_a_bad_cell_never_costs_its_neighbour_row(path: Path) -> None:
    text = "a,b,c,d\n1,true,2024-01-01,x\noops,maybe,someday,\n3,false,2024-01-02,y\n"
    table = read_file(path, text, a="int", b="bool", c="timestamp", d="string")
    assert table.columns["a"] == [1, "<type>", 3]
    assert table.columns["b"] == [True, "<type>", False]
    assert table.columns["c"] == [1704067200000000, "<type>", 1704153600000000]
    assert table.columns["d"] == ["x", "<missing>", "y"]


def test_many_columns_with_bad_cells_are_all_read(path: Path) -> None:
    names = [f"c{i}" for i in range(9)]
    text = ",".join(names) + "\n" + ",".join("123456789") + "\n" + ",".join(["x"] * 9) + "\n"
    table = read_file(path, text, **dict.fromkeys(names, "int"))
    assert list(table.columns.values()) == [[i, "<type>"] for i in range(1, 10)]


@pytest.mark.parametrize("mark", ["\ufeff1", "\ufeffx"])
def test_a_byte_order_mark_within_the_data_belongs_to_its_cell(path: Path, mark: str) -> None:
    table = read_file(path, f"a,b\n{mark},2\n", a="string", b="int")
    assert table.columns["a"] == table.texts["a"] == [mark]


def test_a_padded_nan_is_nan_where_only_the_bare_text_means_missing(path: Path) -> None:
    path.write_text("a;b\nnan;nan\n nan; NaN\n")
    missing = {"a": ("nan",), "b": ("NaN",)}
    reading = make_reading({"a": "float", "b": "float"}, missing=missing)
    table = read_source(find_source(path, SEMICOLON), reading)
    assert table.columns == {"a": ["<missing>", "<missing>"], "b": ["<nan>", "<missing>"]}


def test_floats_are_those_of_pandas(path: Path) -> None:
    numbers = np.random.default_rng(1).normal(size=200) * 10.0 ** np.arange(-100, 100)
    pd.DataFrame({"a": numbers}).to_csv(path, index=False)
    expected = pd.read_csv(path, dtype=str)["a"].map(float).tolist()
    assert read_file(path, path.read_bytes(), a="float").columns["a"] == expected


CELLS = st.one_of(
    st.sampled_from(
        "1 0 -1 1.0 1e3 1.5 +1 +-5 007 .5 5. 1e 1e400 nan NaN -nan nan(1) inf Infinity 0x1F 1_0 "
        "1,5 1.000,5 true TRUE tRuE false T NA null NULL -200 -200.0 2024-01-01 2024-02-30 "
        "0000-01-01 2024-01-01T10:20:30.5 2024-01-01T10:20:30Z 9999-12-31 1970-01-01 "
        "9223372036854775807 9223372036854775808 -9223372036854775808".split()
    ),
    st.sampled_from(
        ["", " ", "\t", " 1", " NA", " nan ", "\u00a01", "\ufeff1", "\x1c1", "\u200b1"]
    ),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(alphabet="0123456789+-.,eEnaifxX_: T(\u00e9", max_size=6),
)


MISSING = st.lists(
    st.sampled_from(["", "NA", " NA", "-200", "nan", "inf", "0", "1", "true", "1970-01-01", "1,5"]),
    max_size=4,
    unique=True,
).map(tuple)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(CELLS, min_size=1, max_size=8), MISSING, MISSING, st.sampled_from(".,"))
@settings(deadline=None, max_examples=120)
def test_the_fast_way_reads_what_parse_texts_reads(
    shared_path: Path,
    kind: Kind,
    cells: list[str],
    missing: tuple[str, ...],
    elsewhere: tuple[str, ...],
    decimal: str,
) -> None:
    shared_path.write_text("a;b\n" + "".join(f"{cell};1\n" for cell in cells))
    source = find_source(shared_path, CsvSettings(delimiter=";", decimal=decimal))
    reading = make_reading({"a": kind, "b": "float"}, missing={"a": missing, "b": elsewhere})
    expected = list_cells(parse_texts(kind, strings(cells), missing, decimal))
    assert read_source(source, reading).columns["a"] == expected


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"1", "1 field, expected 2"),
        (b"1,2,3", "3 fields, expected 2"),
        (b'1,"2', "a quote that is not closed"),
        (b'1,"2"x', "text after a closing quote"),
        (b"1,\x00", "NUL bytes"),
        (b"1,\xff\xfe", "invalid UTF-8"),
        (b"1,\xc3", "invalid UTF-8"),
        ("1,caf\u00e9".encode("latin-1"), "invalid UTF-8"),
        (b"1,\xed\xa0\x80", "invalid UTF-8"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_malformed_record_never_costs_its_neighbour(
    path: Path, line: bytes, detail: str, place: int
) -> None:
    lines = [b"5,6", b"7,8"]
    lines.insert(place, line)
    table = read_file(path, b"\n".join([b"a,b", *lines]), a="int", b="string")
    assert table.malformed == [Malformed(place, 2 + place, line, detail)]
    assert table.columns == {"a": [5, 7], "b": ["6", "8"]}
    assert table.ids == [i for i in range(3) if i != place]


def test_a_table_may_hold_nothing_but_malformed_records(path: Path) -> None:
    table = read_file(path, 'a,b\n1\n"x"y,2\n\0\n1,2,3\n', a="float", b="string", c="bool")
    assert table.ids == []
    assert [bad.row for bad in table.malformed] == [2, 3, 4, 5]


def test_the_text_of_a_malformed_record_has_no_line_end(path: Path) -> None:
    table = read_file(path, b"a,b\r\n1\r\n 2 \r\n3,4\r\n", a="int", b="int")
    assert describe(table) == [
        (2, b"1", "1 field, expected 2"),
        (3, b" 2 ", "1 field, expected 2"),
    ]


def test_a_record_of_delimiters_is_a_row_of_missing_cells(path: Path) -> None:
    table = read_file(path, "a\tb\n\t\n1\t2\n", CsvSettings(delimiter="\t"), a="int", b="int")
    assert table.columns["a"] == ["<missing>", 1]
    assert table.malformed == []


def test_a_quote_inside_a_plain_field_is_a_character(path: Path) -> None:
    table = read_file(path, 'a,b\n5" pipe,"say ""hi"""\nx,\'y\'\n', a="string", b="string")
    assert table.columns == {"a": ['5" pipe', "x"], "b": ['say "hi"', "'y'"]}


def test_delimiter_and_decimal_may_be_those_of_germany(path: Path) -> None:
    csv_settings = CsvSettings(delimiter=";", decimal=",")
    table = read_file(path, "a;b;c\n1,5;2,0;1,5\n1.5;2.0;x\n", csv_settings, a="float", b="int")
    assert table.columns == {"a": [1.5, "<type>"], "b": [2, "<type>"]}
    assert table.carried["c"] == ["1,5", "x"]


def test_a_decimal_comma_may_be_quoted_among_commas(path: Path) -> None:
    table = read_file(path, 'a,b\n"1,5",2\n', CsvSettings(decimal=","), a="float", b="float")
    assert table.columns == {"a": [1.5], "b": [2.0]}


def test_the_quote_may_be_another(path: Path) -> None:
    table = read_file(path, "a|b\n'x|y'|\"\n", CsvSettings(delimiter="|", quote="'"), a="string")
    assert table.columns["a"] == ["x|y"]
    assert table.carried["b"] == ['"']


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "latin-1", "cp1252"])
def test_a_declared_encoding_is_decoded(path: Path, encoding: str) -> None:
    text = "a,\u00e9\n1,\u00fc\n2,\u00df\n"
    table = read_file(path, text.encode(encoding), CsvSettings(encoding=encoding), a="int")
    assert table.columns["a"] == [1, 2]
    assert table.carried == {"\u00e9": ["\u00fc", "\u00df"]}
    assert table.lines == [2, 3]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_needs_no_declaration(path: Path, encoding: str) -> None:
    table = read_file(path, "a,b\n1,\u00e9\n".encode(encoding), a="int", b="string")
    assert table.columns == {"a": [1], "b": ["\u00e9"]}


def test_a_control_character_of_latin_1_ends_no_line(path: Path) -> None:
    csv_settings = CsvSettings(encoding="latin-1")
    table = read_file(path, b"a,b\n1,x\x85y\n", csv_settings, a="int", b="string")
    assert table.columns["b"] == ["x\x85y"]


@pytest.mark.parametrize(
    ("encoding", "data"),
    [("cp1252", b"a,b\n1,\x81\n2,x\n"), ("utf-16-le", "a,b\n2,x\n1,y".encode("utf-16-le") + b"z")],
)
def test_what_cannot_be_decoded_breaks_its_own_record(
    path: Path, encoding: str, data: bytes
) -> None:
    table = read_file(path, data, CsvSettings(encoding=encoding), a="int", b="string")
    assert table.columns["a"] == [2]
    assert [bad.detail for bad in table.malformed] == ["invalid UTF-8"]


def test_gzip_is_read_like_the_text_in_it(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbfa,b\n1,"x\ny"\n2\n3,z'
    plain = read_file(tmp_path / "a.csv", text, a="int", b="string")
    packed = gzip.compress(text[:9]) + gzip.compress(text[9:])
    assert read_file(tmp_path / "b.csv.gz", packed, a="int", b="string") == plain
    assert plain.columns["a"] == [1, 3]


@given(st.lists(st.lists(st.text(alphabet='a1,"\n\r \u00e9\ufeff'), min_size=3, max_size=3)))
@settings(deadline=None)
def test_every_table_that_csv_writes_is_read_as_it_was(
    shared_path: Path, rows: list[list[str]]
) -> None:
    with shared_path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x", "y", "z"], *rows])
    table = read_source(find_source(shared_path), make_reading({}), 30)
    assert [list(row) for row in zip(*table.texts.values(), strict=True)] == rows
    assert table.carried == table.texts
    assert table.malformed == []


def test_a_wide_and_a_long_record_are_rows(path: Path) -> None:
    long = "x" * 3_000_000
    table = read_file(path, f'a,b\n1,{long}\n2,"{long[:900_000]}"\n3,y\n', a="int", b="string")
    assert [len(cell) for cell in table.columns["b"]] == [3_000_000, 900_000, 1]
    assert table.columns["a"] == [1, 2, 3]


def test_read_texts_gives_the_cells_as_they_stand(path: Path) -> None:
    table = read_file(path, 'a,b\n 1.50 ,"x ""y"" "\nNA,\n', a="float", b="string")
    assert table.texts == {"a": [" 1.50 ", "NA"], "b": ['x "y" ', ""]}


def test_pythons_csv_agrees_on_a_table_with_every_oddity(path: Path) -> None:
    text = 'a,b\n"x, y"," lead"\n"",\'\nz,"tail "\n"1\n2",é\n'
    table = read_file(path, text)
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    assert [list(row) for row in zip(*table.texts.values(), strict=True)] == rows
