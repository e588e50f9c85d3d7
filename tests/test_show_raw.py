"""What the command says of raw files that are left out or set aside."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import HEADER, Ended, make_rows
from tests.conftest import JOB as CSV_JOB
from tests.conftest import SCHEMA as CSV_SCHEMA
from tests.pictures import make_pixels, save, write_classes
from tests.reports import check, read_annotations, read_junit, read_sarif

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]
JOB = '[data]\nraw = ["{}"]\nschema = "table:Table"\nlabel = "label"\non_bad_file = "quarantine"\n'
SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({"label": pa.Column(str)}, strict=False)
"""


def write_job(folder: Path, raw: str, schema: str = SCHEMA) -> Path:
    (folder / "pyproject.toml").touch()
    (folder / "table.py").write_text(schema)
    (folder / "job.toml").write_text(JOB.format(raw))
    return folder / "job.toml"


@pytest.mark.parametrize("command", [["check"], ["run", "--until", "shards"]])
def test_files_that_are_no_images_are_told_of(
    tmp_path: Path, nanproof: Command, command: list[str]
) -> None:
    for place in range(40):
        save(tmp_path / "g" / "ab"[place % 2] / f"{place}.png", make_pixels(2, 3, seed=place))
    job = write_job(tmp_path, "g")
    assert "left out" not in nanproof(*command, job).out
    for name in ("notes.txt", "a/Thumbs.db"):
        (tmp_path / "g" / name).write_text("x")
    ended = nanproof(*command, job)
    assert "raw: 2 files with other endings than images' were left out\n" in ended.out, ended.err


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_that_is_set_aside_is_named_once(
    tmp_path: Path, nanproof: Command, command: str
) -> None:
    np.savez(tmp_path / "a.npz", x=np.eye(40), label=np.array(["p", "q"] * 20))
    (tmp_path / "b.npz").write_bytes(b"PK")
    options = ["--until", "shards"] if command == "run" else []
    ended = nanproof(command, *options, write_job(tmp_path, "*.npz"))
    lines = [line for line in ended.out.splitlines() if "broken archive" in line]
    assert lines
    assert [line.count("b.npz") for line in lines] == [1] * len(lines)


def list_results(folder: Path) -> list[tuple[str, int | None, str]]:
    """Return the address, the line and the text of each result of a SARIF log."""
    found = []
    for result in read_sarif(folder)["results"]:
        (location,) = result["locations"]
        place = location["physicalLocation"]
        line = place.get("region", {}).get("startLine")
        found.append((place["artifactLocation"]["uri"], line, result["message"]["text"]))
    return found


def list_failures(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Return the message and the text of each failed case of a JUnit report."""
    return {
        f"{case.attrib['classname']} {case.attrib['name']}": (
            failure.attrib["message"],
            failure.text,
        )
        for case in read_junit(folder).iter("testcase")
        for failure in case.findall("failure")
    }


@pytest.mark.parametrize("length", [1, 80])
def test_a_broken_image_is_told_of_by_its_file_and_fault(
    tmp_path: Path, nanproof: Command, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.chdir(write_classes(tmp_path))
    name = f"g/b/{'x' * length}.png"
    (tmp_path / name).write_bytes(b"x")
    ended = check(nanproof, write_job(tmp_path, "g"), tmp_path / "reports")
    fault = "no image of a known format"
    assert ended.out.splitlines()[2].split(maxsplit=3)[3].rstrip() == f"{name}: {fault}"
    text = f"(row): malformed (1 in all, here row 7 ({fault}))"
    assert list_results(tmp_path / "reports") == [(name, None, text)]
    assert read_annotations(ended.out)[0][1:] == (
        {"file": name, "title": "nanproof (row) malformed"}, text,
    )  # fmt: skip
    message = f"1 broken in 7 rows; first at {name}"
    assert list_failures(tmp_path / "reports") == {
        "(row) malformed": (message, f"{name} ({fault})")
    }


def test_a_cell_of_an_image_is_told_of_by_its_file_and_shown_if_asked_for(
    tmp_path: Path, nanproof: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_classes(tmp_path))
    save(tmp_path / "g" / "b" / "tall.png", make_pixels(5, 3, 1))
    flat = SCHEMA.replace("{", '{"image_height": pa.Column(int, pa.Check.le(2)), ')
    job = write_job(tmp_path, "g", flat)
    for more, value in (([], ""), (["--show-values"], " '5'")):
        ended = check(nanproof, job, tmp_path, *more)
        assert ended.out.splitlines()[2].rstrip().endswith(f" 1  g/b/tall.png{value}")
        ((uri, line, text),) = list_results(tmp_path)
        assert (uri, line) == ("g/b/tall.png", None)
        assert f"(1 in all, here row 7{value}): " in text
        ((_, told),) = list_failures(tmp_path).values()
        assert told == f"g/b/tall.png{value}"


def test_a_line_that_is_no_text_is_told_of_by_its_line(
    make_job: MakeJob, nanproof: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    (job.parent / "raw" / "a.csv").write_bytes(f"{HEADER}1,1,red,0\n1,1,\xff,0\n".encode("latin-1"))
    monkeypatch.chdir(job.parent)
    ended = check(nanproof, job, tmp_path)
    assert (
        ended.out.splitlines()[2].split() == "(row) malformed 1 raw/a.csv:3 invalid UTF-8".split()
    )
    text = "(row): malformed (1 in all, here (invalid UTF-8))"
    assert list_results(tmp_path) == [("raw/a.csv", 3, text)]
    message = "1 broken in 2 rows; first at raw/a.csv:3"
    failure = (message, "raw/a.csv:3 (invalid UTF-8)")
    assert list_failures(tmp_path) == {"(row) malformed": failure}


@pytest.mark.parametrize("length", [1, 80])
def test_a_truncated_file_is_told_of_as_a_whole_and_among_the_files(
    make_job: MakeJob,
    nanproof: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    length: int,
) -> None:
    aside = CSV_JOB.replace("[train]", 'on_bad_file = "quarantine"\n[train]')
    job = make_job(None, aside.replace("*.csv", "*"))
    name = f"raw/{'b' * length}.csv.gz"
    (job.parent / name).write_bytes(gzip.compress((HEADER + make_rows(9)).encode())[:-9])
    monkeypatch.chdir(job.parent)
    ended = check(nanproof, job, tmp_path)
    told = " ".join("".join(ended.out.partition("check FAILED")[:1]).split())
    fault = f"{name} is truncated or corrupt gzip: Compressed file ended before "
    assert f"(file) unreadable 1 {fault}" in told
    ((uri, line, text),) = list_results(tmp_path)
    assert (uri, line) == (name, None)
    assert text.startswith(f"(file): unreadable (1 in all, here ({fault}")
    ((rule, (message, text)),) = list_failures(tmp_path).items()
    assert (rule, message) == ("(file) unreadable", f"1 broken in 2 files; first at {name}")
    assert (text or "").startswith(f"{name} ({fault}")


def test_an_empty_file_that_is_set_aside_has_no_line(
    make_job: MakeJob, nanproof: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(None, CSV_JOB.replace("[train]", 'on_bad_file = "quarantine"\n[train]'))
    (job.parent / "raw" / "b.csv").touch()
    monkeypatch.chdir(job.parent)
    ended = check(nanproof, job, tmp_path)
    text = "(file): unreadable (1 in all, here (raw/b.csv is empty.))"
    assert list_results(tmp_path) == [("raw/b.csv", None, text)]
    title = "nanproof (file) unreadable"
    assert read_annotations(ended.out)[0][1:] == ({"file": "raw/b.csv", "title": title}, text)


def test_a_check_of_whole_rows_that_no_row_was_asked_is_skipped(
    make_job: MakeJob, nanproof: Command, tmp_path: Path
) -> None:
    schema = CSV_SCHEMA.rstrip().removesuffix("})")
    schema += '}, checks=pa.Check(lambda df: df["size"] >= 0, name="whole"))\n'
    for more, skipped in ((0, "asked of none of 2 rows: each has a broken cell"), (1, None)):
        check(
            nanproof,
            make_job(HEADER + "101,1,red,0\n" * 2 + make_rows(more), schema=schema),
            tmp_path,
        )
        told = {c.attrib["name"]: c.find("skipped") for c in read_junit(tmp_path).iter("testcase")}
        assert [name for name, found in told.items() if found is not None] == ["whole"] * (not more)
        found = told["whole"]
        assert (None if found is None else found.attrib["message"]) == skipped


def test_what_has_no_place_stands_at_the_first_raw_file_of_a_log(
    make_job: MakeJob, nanproof: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = 'pa.Check.unique_values_eq(["red", "blue", "green"])'
    job = make_job(schema=CSV_SCHEMA.replace('pa.Check.isin(["red", "blue"])', every))
    (job.parent / "raw" / "b.csv").write_text(HEADER + make_rows(2))
    monkeypatch.chdir(job.parent)
    ended = check(nanproof, job, tmp_path)
    text = "colour: unique_values_eq (1 in all): no row holds 'green'"
    assert list_results(tmp_path) == [("raw/a.csv", None, text)]
    message = "1 broken in 62 rows: no row holds 'green'"
    assert list_failures(tmp_path) == {"colour unique_values_eq": (message, None)}
    assert "colour: no row holds 'green'\n" in ended.out
