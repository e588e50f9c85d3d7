"""Which files a job reads, in which order, what their headers say, and what is wrong with them."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError, SettingsError
from pipeline.job import CsvSettings
from pipeline.load import Source, list_sources, plan_partitions
from pipeline.load.header import name_columns
from tests.reading import (
    COMMA,
    WHOLE,
    find_source,
    make_reading,
    read_file,
    read_source,
)


def list_files(folder: Path, *patterns: str) -> tuple[Source, ...]:
    return list_sources(patterns, folder, COMMA)


def list_names(folder: Path, *patterns: str) -> list[str]:
    return [source.name for source in list_files(folder, *patterns)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of small tables."""
    for name in ("b.csv", "a.csv", "sub/c.csv", "sub/deep/d.csv", "B.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x,y\n1,2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["a.csv"], ["a.csv"]),
        (["*.csv"], ["B.csv", "a.csv", "b.csv"]),
        (["b.csv", "a.csv"], ["a.csv", "b.csv"]),
        (["**/*.csv"], ["B.csv", "a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv"]),
        (["sub/*.csv", "./a.csv", "sub/../a.csv", "[ab].csv"], ["a.csv", "b.csv", "sub/c.csv"]),
    ],
)
def test_sources_are_sorted_by_name_each_once(
    folder: Path, patterns: list[str], names: list[str]
) -> None:
    sources = list_files(folder, *patterns)
    assert [source.name for source in sources] == names
    assert [source.index for source in sources] == list(range(len(names)))
    assert [source.first_id for source in sources] == [i << 40 for i in range(len(names))]


def test_names_are_relative_to_the_job_and_not_to_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "sub")
    assert list_names(Path("deep"), "../c.csv", str(folder / "a.csv")) == [
        "../../a.csv",
        "../c.csv",
    ]


def test_a_name_may_hold_the_characters_of_a_pattern(tmp_path: Path) -> None:
    for name in ("a[1].csv", "b?.csv", "c*.csv"):
        (tmp_path / name).write_text("x\n1\n")
        assert list_names(tmp_path, name) == [name]


@pytest.mark.parametrize(
    ("name", "format_", "packed"),
    [
        ("a.csv", "csv", False),
        ("a.CSV", "csv", False),
        ("a.txt", "csv", False),
        ("a.2024.csv.gz", "csv", True),
        ("a.tsv", "csv", False),
        ("a.jsonl", "jsonl", False),
        ("a.ndjson.GZ", "jsonl", True),
        ("a.parquet", "parquet", False),
        ("a.pq", "parquet", False),
    ],
)
def test_the_suffix_decides_the_format(
    tmp_path: Path, name: str, format_: str, packed: bool
) -> None:
    data = b'{"x": 1}\n' if format_ == "jsonl" else b"x\n1\n"
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if packed else data)
    if format_ == "parquet":
        pq.write_table(pa.table({"x": [1]}), tmp_path / name)
    (source,) = list_files(tmp_path, name)
    assert (source.format, source.location.gzip, source.columns) == (format_, packed, ("x",))
    assert read_source(source, make_reading({"x": "int"})).columns["x"] == [1]


@pytest.mark.parametrize(
    ("name", "columns"),
    [("a.tsv", ("x,", "y")), ("a.tsv.gz", ("x,", "y")), ("a.tsv.csv", ("x", "y"))],
)
def test_tsv_has_tabs_and_nothing_else_does(
    tmp_path: Path, name: str, columns: tuple[str, ...]
) -> None:
    data = b"x,\ty\n"
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith("gz") else data)
    assert find_source(tmp_path / name).columns == columns


def test_a_given_delimiter_holds_for_tsv_too(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x;y\n")
    assert find_source(tmp_path / "a.tsv", CsvSettings(delimiter=";")).columns == ("x", "y")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("a,b", ("a", "b")),
        (" a , b c \t", ("a", "b c")),
        ('"a,b"," c ","d ""e"""', ("a,b", "c", 'd "e"')),
        ("a,a,a", ("a", "a.1", "a.2")),
        ("a, a,a.1", ("a", "a.2", "a.1")),
        ("a,,b,", ("a", "unnamed_2", "b", "unnamed_4")),
        ("1,2", ("1", "2")),
        ("\u00e9,\u00a0x\u00a0", ("\u00e9", "x")),
        ("a\u2028b,c\x0bd,e\x85f\x1cg", ("a\u2028b", "c\x0bd", "e\x85f\x1cg")),
        ('"a\r\nb",c', ("a\r\nb", "c")),
    ],
)
def test_headers_are_stripped_and_each_gets_a_name_of_its_own(
    tmp_path: Path, header: str, columns: tuple[str, ...]
) -> None:
    path = tmp_path / "a.csv"
    row = ",".join("1" * len(columns))
    table = read_file(path, f"{header}\n{row}\n")
    assert find_source(path).columns == columns
    assert table.carried == {name: ["1"] for name in columns}


@pytest.mark.parametrize("headers", ["aaaa", ["a", "a.1", "a"], ["a", "a", "a.1", "a.1"], ["", ""]])
def test_names_never_meet_and_the_first_keeps_its_own(headers: list[str]) -> None:
    names = name_columns(headers)
    assert len(set(names)) == len(headers)
    assert {h for h in headers if h} <= set(names)


def test_duplicates_are_named_as_pandas_names_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,a,b,a,c.1,c,c\n")
    assert find_source(path).columns == tuple(pd.read_csv(path).columns)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"", "is empty"),
        ("a.parquet", b"", "is empty"),
        ("a.csv", b"\n \n\r\n", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.csv", b"\xef\xbb\xbf\n", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.csv", b'a,"b\n1,2\n', "header cannot be read: a quote that is not closed"),
        ("a.csv", b'a,"b"c\n1,2\n', "header cannot be read: text after a closing quote"),
        ("a.csv", b"a,\xff\n1,2\n", "header cannot be read: not utf-8"),
        ("a.csv", b"a,b\0\n1,2\n", "header cannot be read: NUL bytes"),
        ("a.csv.gz", b"a,b\n1,2\n", "gzip"),
        ("a.csv.gz", gzip.compress(b"a,b\n", mtime=0)[:12], "gzip"),
        ("a.jsonl.gz", gzip.compress(b"{}\n", mtime=0)[:12], "gzip"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.json", b"{}", "unknown format"),
        ("a", b"a\n", "unknown format"),
        (".csv", b"a\n", "unknown format"),
        ("a.gz", gzip.compress(b"a\n", mtime=0), "unknown format"),
        ("a.csv.zip", b"a\n", "unknown format"),
        ("a.parquet.gz", b"a\n", "unknown format"),
    ],
)
def test_a_file_that_is_no_table_is_an_error_that_names_it(
    tmp_path: Path, name: str, data: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=what) as caught:
        list_files(tmp_path, name)
    assert caught.value.message.startswith(name)
    assert caught.value.fields["file"] == name
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "data", "format_", "packed"),
    [
        ("a.parquet", b"PAR1 and no more", "parquet", False),
        ("a.csv.gz", gzip.compress(b"a\n", mtime=0)[:-3], "csv", True),
        ("a.jsonl", b"[1]\n", "jsonl", False),
        ("a.xlsx", b"PK", "unknown", False),
        ("a.tsv", b"", "csv", False),
    ],
)
def test_of_a_file_that_is_set_aside_all_is_told_that_can_be(
    tmp_path: Path, name: str, data: bytes, format_: str, packed: bool
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "sound.csv").write_text("a\n1\n")
    bad, sound = list_sources(["*"], tmp_path, COMMA, "quarantine")
    assert (bad.name, bad.size, bad.format) == (name, len(data), format_)
    assert bad.location.gzip == packed
    assert name in bad.fault
    assert (sound.fault, sound.columns) == ("", ("a",))


@pytest.mark.parametrize("name", ["table", "table.csv", "table.parquet"])
def test_a_folder_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name} is a folder") as caught:
        list_files(tmp_path, name)
    assert f"{name}/*.csv" in (caught.value.fix or "")


def test_a_pattern_passes_over_folders(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "y.csv").write_text("a\n")
    assert list_names(tmp_path, "*.csv") == ["y.csv"]


@pytest.mark.parametrize("pattern", ["no.csv", "no/*.csv", "memory://no.csv", "memory://no/*.csv"])
def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="nothing matches") as caught:
        list_files(tmp_path, pattern)
    assert repr(pattern) in str(caught.value)
    assert caught.value.fix


def test_no_pattern_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.raw names no file") as caught:
        list_files(tmp_path)
    assert caught.value.fix


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="No such file") as caught:
        list_files(tmp_path, "*.csv")
    assert caught.value.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error(folder: Path) -> None:
    (folder / "a.csv").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        list_files(folder, "a.csv")


def test_an_unknown_protocol_is_an_error_that_names_the_driver(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened") as caught:
        list_files(tmp_path, "nosuch://bucket/a.csv")
    assert "nosuch" in (caught.value.fix or "")


@pytest.mark.parametrize("encoding", ["nope", "base64", "hex", "", "utf\0", "idna", "undefined"])
@pytest.mark.parametrize("on_bad_file", ["fail", "quarantine"])
def test_an_encoding_that_is_none_is_an_error_of_the_job_and_of_no_file(
    folder: Path, encoding: str, on_bad_file: Literal["fail", "quarantine"]
) -> None:
    with pytest.raises(SettingsError, match="there is no text encoding") as caught:
        list_sources(["a.csv"], folder, CsvSettings(encoding=encoding), on_bad_file)
    assert caught.value.fields["setting"] == "data.csv.encoding"
    assert caught.value.fix


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_undeclared_utf_16_without_a_byte_order_mark_is_named(
    tmp_path: Path, name: str, encoding: str
) -> None:
    data = ('{"a": "caf\u00e9"}\n' if "jsonl" in name else "a,b\ncaf\u00e9,2\n").encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(InputError, match=re.escape(name)) as caught:
        list_files(tmp_path, name)
    assert f'data.csv.encoding = "{encoding}"' in (caught.value.fix or "")
    assert caught.value.fields["file"] == name


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf_16_without_a_byte_order_mark_has_to_say_which(folder: Path, encoding: str) -> None:
    with pytest.raises(InputError, match=r"a\.csv is not utf-") as caught:
        list_sources(["a.csv"], folder, CsvSettings(encoding=encoding))
    assert f"{encoding}-le" in (caught.value.fix or "")


@pytest.mark.parametrize(
    "settings",
    [
        {"delimiter": "\u00e9"},
        {"delimiter": "\n"},
        {"delimiter": "\0"},
        {"quote": "\r"},
        {"decimal": "\u066b"},
        {"delimiter": '"'},
    ],
)
def test_characters_that_no_table_is_written_with_are_refused(
    folder: Path, settings: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match=r"data\.csv") as caught:
        list_sources(["a.csv"], folder, CsvSettings(**settings))
    assert caught.value.fix


def test_truncated_gzip_is_an_error_when_its_end_is_read(tmp_path: Path) -> None:
    rows = "\n".join(map(str, np.random.default_rng(1).integers(0, 10**9, 10_000)))
    data = gzip.compress(f"a\n{rows}\n".encode())
    for damaged in (data[: len(data) // 2], data[:-3], data[:-8] + bytes(8), data + b"junk"):
        (tmp_path / "a.csv.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="truncated or corrupt gzip") as caught:
            read_source(find_source(tmp_path / "a.csv.gz"), make_reading({"a": "int"}))
        assert caught.value.fix


def test_a_file_that_vanishes_between_two_reads_is_an_error(folder: Path) -> None:
    (source,) = list_files(folder, "a.csv")
    (folder / "a.csv").unlink()
    with pytest.raises(InputError, match=r"a\.csv cannot be read: No such file") as caught:
        read_source(source, make_reading({"x": "int"}))
    assert caught.value.fix


def test_the_content_hash_is_of_the_bytes_alone(folder: Path) -> None:
    first, second = list_files(folder, "a.csv", "b.csv")
    assert first.content_hash == second.content_hash != ""
    assert first.size == 8
    assert first.modified == (folder / "a.csv").stat().st_mtime
    (folder / "a.csv").write_text("x,y\n1,3\n")
    (changed,) = list_files(folder, "a.csv")
    assert changed.content_hash != first.content_hash


def test_sources_and_partitions_can_be_sent_to_a_worker(folder: Path) -> None:
    parts = plan_partitions(list_files(folder, "*.csv"), WHOLE)
    assert pickle.loads(pickle.dumps(parts)) == parts


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.rm("/nanproof-test", recursive=True)


def test_remote_files_are_read_like_local_ones(
    tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    text = "a,b\n1,x\n2\n3,z\n"
    local = read_file(tmp_path / "a.csv", text, a="int")
    memory.pipe("/nanproof-test/a.csv", text.encode())
    with memory.open("/nanproof-test/b.parquet", "wb") as file:
        pq.write_table(pa.table({"a": [1, 3], "b": ["x", "z"]}), file)
    sources = list_files(tmp_path, "memory://nanproof-test/*")
    assert [s.format for s in sources] == ["csv", "parquet"]
    assert all(source.name.startswith("memory://") for source in sources)
    remote = read_source(sources[0], make_reading({"a": "int"}), 5)
    assert remote == local
    assert read_source(sources[1], make_reading({"a": "int"})).carried == local.carried


def test_loading_imports_neither_tensorflow_nor_pandas(folder: Path) -> None:
    code = """
import sys
from pipeline.job import CsvSettings
from pipeline.load import Reading, list_sources, plan_partitions, read_partition
from pipeline.schema import ColumnSchema, Schema
columns = tuple(ColumnSchema(n, k, "") for n, k in (("x", "float"), ("y", "string")))
for part in plan_partitions(list_sources(["*.csv"], sys.argv[1], CsvSettings()), 1 << 20):
    for batch in read_partition(part, Reading(Schema("s", columns))):
        assert len(batch) == 1
assert not {"pandas", "tensorflow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
