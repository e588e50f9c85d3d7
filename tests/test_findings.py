"""What CI reads of a verdict: valid by the published schemas, and right about lines."""

from __future__ import annotations

import gzip
import os
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet
import pytest
import xmlschema

from tests.conftest import HEADER, JOB, SCHEMA, make_rows
from tests.reports import (
    Command,
    MakeJob,
    check,
    make_hostile_job,
    places,
    read_annotations,
    read_junit,
    read_sarif,
)

BAD = HEADER + make_rows(3) + "101,9,red,0\nx,9,green,7\n"

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
    """By hand: no package that we found installs a published schema of JUnit.

    NANPROOF_JUNIT_XSD is the path of one, or several with a colon between. Jenkins's junit-4.xsd
    lies in the source distribution of behave, in etc/junit.xml:

        pip download --no-deps --no-binary :all: behave==1.3.3
    """
    schemas = [xmlschema.XMLSchema(p) for p in os.environ["NANPROOF_JUNIT_XSD"].split(os.pathsep)]
    makers = [partial(make_job, text) for text, _ in JOBS.values()]
    for make in (*makers, partial(make_hostile_job, make_job)):
        check(nanproof, make(), tmp_path)
        for schema in schemas:
            schema.validate(str(tmp_path / "junit.xml"))


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
        "colour": "missing nan inf type isin",
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
        "size in_range": (f"1 broken in 5 rows; first at {at5}: in_range(0, 100)", at5),
        "size type": (f"1 broken in 5 rows; first at {at6}: float64", at6),
        "count unique": (f"2 broken in 5 rows; first at {at5}", f"{at5}\n{at6}"),
        "colour isin": (f"1 broken in 5 rows; first at {at6}: isin(['red', 'blue'])", at6),
        "label isin": (f"1 broken in 5 rows; first at {at6}: isin([0, 1])", at6),
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
    found = read_annotations(ended.out)
    assert len(found) == 4
    assert all("line" not in properties for _, properties, _ in found)


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


def test_a_report_says_how_many_rows_it_is_of_and_how_many_are_broken(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    schema = SCHEMA.replace("pa.Check.ge(0)", "pa.Check.ge(0), unique=True")
    rows = "101,1,red,0\n" * 11 + "1,1,red,0\n1,2,red,0\n"
    check(nanproof, make_job(HEADER + rows, schema=schema), tmp_path, "--show-values")
    assert read_sarif(tmp_path)["properties"] == {"rows": 13, "brokenRows": 12}
    suite = read_junit(tmp_path)
    told = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert told == told | {"rows": "13", "broken_rows": "12", "settled_rows": "12"}
    assert float(suite.attrib["time"]) > 0
    lines = [str(failure.text).splitlines() for failure in suite.iter("failure")]
    assert [len(places) for places in lines] == [10, 10]
    assert [places[0].rpartition("/")[2] for places in lines] == ["a.csv:2 '101'", "a.csv:2"]


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
    assert suite.findtext("system-out") == "size: in_range (1 in all): in_range(0, 100)"
    rare = text + make_rows(9) + "101,1,red,0\n1,1,red,7\n"
    (job.parent / "raw" / "a.csv").write_text(rare)
    found = read_annotations(check(nanproof, job, tmp_path).out)
    assert [command for command, _, _ in found] == ["error", "warning", "warning"]


def test_a_check_that_only_warns_is_a_warning(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    schema = SCHEMA.replace("in_range(0, 100)", "in_range(0, 100, raise_warning=True)")
    ended = check(nanproof, make_job(HEADER + "101,1,red,0\n", schema=schema), tmp_path)
    assert (ended.code, "warning: size in_range 1" in ended.out) == (0, True)
    [(command, properties, _)] = read_annotations(ended.out)
    assert (command, properties["line"]) == ("warning", "2")
    assert read_junit(tmp_path).attrib["failures"] == "0"


def test_two_checks_of_one_name_of_which_one_warns_are_told_apart(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    both = "[pa.Check.ge(1), pa.Check.ge(30, raise_warning=True)]"
    job = make_job(
        HEADER + "".join(f"1,{count},red,0\n" for count in (2, 3, 0, 4)),
        schema=SCHEMA.replace("pa.Check.ge(0)", both),
    )
    ended = check(nanproof, job, tmp_path)
    found = [(command, p["line"], text) for command, p, text in read_annotations(ended.out)]
    rule = "count: greater_than_or_equal_to"
    wanted = "greater_than_or_equal_to(1), greater_than_or_equal_to(30)"
    assert found == [
        ("error", "4", f"{rule} (1 in all): {wanted}"),
        *[("warning", line, f"{rule} (4 in all): {wanted}") for line in "2345"],
    ]
    results = read_sarif(tmp_path)["results"]
    assert [(r["level"], r["properties"]["count"]) for r in results] == [
        ("error", 1), *[("warning", 4)] * 4,
    ]  # fmt: skip
    suite = read_junit(tmp_path)
    [failure] = suite.findall("testcase/failure")
    assert failure.attrib["message"].startswith("1 broken in 4 rows; first at ")
    assert failure.attrib["message"].endswith(f"a.csv:4: {wanted}")
    assert suite.findtext("system-out") == f"{rule} (4 in all): {wanted}"


def test_a_refused_job_keeps_its_name_as_the_suite_s(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    ended = check(nanproof, make_job(HEADER, 'name = "houses"\n' + JOB), tmp_path)
    suite = read_junit(tmp_path)
    assert (ended.code, suite.attrib["name"]) == (1, "houses")
    assert [error.attrib["type"] for error in suite.iter("error")] == ["refused"]


def test_of_more_than_fifty_places_the_last_command_says_how_many(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    for num_broken, last in ((50, "size: in_range"), (51, "2 more broken")):
        job = make_job(HEADER + "101,1,red,0\n" * num_broken)
        found = read_annotations(check(nanproof, job, tmp_path).out)
        assert len(found) == 50
        assert found[-1][2].startswith(last)


def test_values_that_occur_nowhere_are_one_annotation_without_a_place(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    every = 'pa.Check.unique_values_eq(["red", "blue", "green", "grey"])'
    schema = SCHEMA.replace('pa.Check.isin(["red", "blue"])', every)
    ended = check(nanproof, make_job(schema=schema), tmp_path)
    [(command, properties, message)] = read_annotations(ended.out)
    assert (command, message) == (
        "error",
        "colour: unique_values_eq (2 in all): no row holds 'green', 'grey'",
    )
    assert properties.keys() == {"title"}
