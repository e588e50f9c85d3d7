"""Nothing out of the data steers what reads the output, and no value is in it unasked."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from pipeline.inert import harmless_for_logs, harmless_json, inert, one_line, shorten
from tests.conftest import HEADER, JOB
from tests.reports import (
    HOSTILE,
    Command,
    MakeJob,
    check,
    make_hostile_job,
    read_junit,
    read_sarif,
)


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


def test_a_lone_surrogate_in_a_file_name_is_an_error_that_escapes_it(
    nanproof: Command, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    (job.parent / "raw" / "a.csv").unlink()
    with open(os.fsencode(job.parent / "raw") + b"/\xff.csv", "w") as file:
        file.write(HEADER + "101,9,red,0\n")
    monkeypatch.chdir(job.parent)
    for more in ([], ["--json"]):
        ended = check(nanproof, job, tmp_path, *more)
        assert ended.code == 2
        assert "raw/\\xff.csv: its name is not UTF-8" in ended.err
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


def test_the_terminal_s_summary_and_errors_hold_no_command(
    nanproof: Command, make_job: MakeJob
) -> None:
    job = make_job(job=JOB.replace("[train]", 'on_bad_file = "quarantine"\n[train]'))
    raw = job.parent / "raw"
    (raw / "::error::b\n::error::##[error]##vso[x].csv").write_text("")
    (raw / "c.csv").write_text(HEADER.replace("size", "###[error]size"))
    ended = nanproof("run", job, "--until", "shards", "--workers", 1)
    assert "set aside" in ended.out
    for path in raw.glob("a.csv"):
        path.unlink()
    refused = nanproof("check", job, "--workers", 1)
    assert (ended.code, refused.code) == (0, 2), ended.err
    for line in (ended.out + refused.err).splitlines():
        assert not re.match(r"\s*::", line), line
        assert not re.search(r"##(vso)?\[", line), line


@pytest.mark.parametrize("text", [*HOSTILE, ":::error", "###[error]", "##vso[x]", "\\\\##["])
def test_harmless_text_holds_no_command_and_harmless_json_the_same_value(text: str) -> None:
    for made in (harmless_for_logs(text), harmless_json(json.dumps(text))):
        assert "##" not in made
        assert not re.search(r"^\s*::", made, flags=re.M)
        assert all(c.isprintable() or c == "\n" for c in made)
    assert json.loads(harmless_json(json.dumps(text))) == text


def test_a_line_is_one_and_short() -> None:
    assert inert("a\tb\nc\u202e") == "a\\tb\nc\\u202e"
    assert one_line("a\nb") == "a\\nb"
    assert shorten("é" * 60) == "é" * 60
    assert shorten("é" * 61) == "é" * 59 + "…"
