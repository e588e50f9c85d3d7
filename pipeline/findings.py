"""Verdicts as CI wants them: JUnit, SARIF and GitHub's annotations.

Names out of the data are written inert, whatever they hold; values only where they are asked for.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.errors import SettingsError
from pipeline.inert import inert, shorten
from pipeline.storage import atomic_path, write_text

if TYPE_CHECKING:
    from pipeline.run import CheckResult
    from pipeline.run.check import Rule
    from pipeline.run.scan import Example

# GitHub shows ten errors a step and fifty annotations a job.
MAX_ANNOTATIONS = 50
# GitHub refuses a log of more than 25,000 results and shows the first 5,000.
MAX_RESULTS = 5000
MAX_PLACES_OF_A_CASE = 10
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# What has a meaning in a URL, and the escapes that it has already.
URL_SAFE = "/:?#[]@!$&'()*+,;=%"


@dataclass(frozen=True)
class _Finding:
    """A broken rule at one of its places; no place where the rule has none."""

    rule: Rule
    count: int
    fails: bool
    place: Example | None = None
    path: str = ""
    has_lines: bool = False

    @property
    def where(self) -> str:
        """Return file and line, or row; empty without a place."""
        if self.place is None:
            return ""
        between = ":" if self.has_lines else " row "
        return f"{_one_line(self.path)}{between}{self.place.row}"

    @property
    def line(self) -> int | None:
        return self.place.row if self.place is not None and self.has_lines else None

    def value(self, show_values: bool) -> str:
        """Return the value, quoted and with a space before it, where there is one to show."""
        if not show_values or self.place is None or self.place.value is None:
            return ""
        return f" {shorten(self.place.value)!r}"

    def describe(self, show_values: bool) -> str:
        """Return one harmless line."""
        row = "" if self.place is None or self.has_lines else f" row {self.place.row}"
        value = self.value(show_values)
        here = f", here{row}{value}" if row or value else ""
        return f"{_name(self.rule, ': ')} ({self.count:,} in all{here})"


def require_writable(*paths: Path | None) -> None:
    """Refuse reports that cannot be written, before anything is read; make their folders.

    Raises:
        SettingsError: A path cannot be written, is no file, or is given twice.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            usable = path.is_file() or not path.exists()
            reason = "" if usable else "it is no file"
            if not os.access(path.parent, os.W_OK):
                reason = "its folder is not writable"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        if reason:
            raise SettingsError(
                f"the report {path} cannot be written: {reason}.",
                fix="give the path of a file in a folder that can be written.",
                file=str(path),
            )
    if len({path.resolve() for path in given}) < len(given):
        raise SettingsError(
            f"two reports go to {given[0]}.", fix="give each report a file of its own."
        )


def write_junit(result: CheckResult, path: Path, *, show_values: bool = False) -> None:
    """Write a JUnit report: the job is a suite, every rule that was asked a case.

    A case fails where its rule is broken by more than the job allows; what is broken within its
    limits stands in `system-out`.

    Raises:
        EnvironmentFailure: The file cannot be written.
    """
    from junitparser import TestSuite
    from junitparser.junitparser import SystemErr, SystemOut

    findings: dict[Rule, list[_Finding]] = {}
    for finding in _list_findings(result):
        findings.setdefault(finding.rule, []).append(finding)
    suite = TestSuite(_one_line(result.name).strip() or "job")
    suite.hostname = "localhost"
    suite.timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite.add_property("nanproof", version("nanproof"))
    for name in ("rows", "broken_rows", "settled_rows"):
        suite.add_property(name, str(getattr(result, name)))
    suite.add_testcases(_list_cases(result, findings, show_values))
    suite.time = round(result.seconds, 3)
    allowed = [found[0].describe(False) for found in findings.values() if not found[0].fails]
    for output in (SystemOut("\n".join(allowed)), SystemErr("")):
        suite.append(output)  # type: ignore[no-untyped-call]
    with atomic_path(path.resolve()) as temporary:
        suite.write(str(temporary), pretty=True)


def _list_cases(
    result: CheckResult, findings: dict[Rule, list[_Finding]], show_values: bool
) -> list[Any]:
    from junitparser import Error, Failure, TestCase

    cases = []
    for rule in result.rules:
        case = TestCase(_one_line(rule[1]), _one_line(rule[0] or "(row)"), 0.0)
        if rule in result.failing:
            found = findings[rule][:MAX_PLACES_OF_A_CASE]
            first = f"; first at {found[0].where}" if found[0].place else ""
            message = f"{found[0].count:,} broken in {result.rows:,} rows{first}"
            case.result = Failure(message, _one_line(rule[1]))
            places = [finding.where + finding.value(show_values) for finding in found]
            case.result[0].text = "\n".join(places)
        cases.append(case)
    if result.refusal:
        case = TestCase("check", "(job)", 0.0)
        case.result = Error(_one_line(result.refusal), "DataVerdict")
        cases.append(case)
    return cases


def write_sarif(result: CheckResult, path: Path, *, show_values: bool = False) -> None:
    """Write a SARIF 2.1.0 log: a result a place, with the total of its rule as a property.

    Raises:
        EnvironmentFailure: The file cannot be written.
    """
    # Two rules whose names are written alike are one: SARIF's rules have to differ.
    names = {name: i for i, name in enumerate(dict.fromkeys(_name(r, "/") for r in result.rules))}
    rules = [{"id": name, "shortDescription": {"text": _message(name)}} for name in names]
    notes = [{"level": "error", "message": {"text": _message(_one_line(result.refusal))}}]
    invocation: dict[str, Any] = {"executionSuccessful": not result.refusal}
    if result.refusal:
        invocation["toolExecutionNotifications"] = notes
    root = {"description": {"text": "The working directory of nanproof check."}}
    run = {
        "tool": {
            "driver": {"name": "nanproof", "version": version("nanproof"), "rules": rules},
        },
        "invocations": [invocation],
        "originalUriBaseIds": {"%SRCROOT%": root},
        "results": [
            _make_result(finding, names, show_values)
            for finding in islice(_list_findings(result), MAX_RESULTS)
        ],
        "properties": {"rows": result.rows, "brokenRows": result.broken_rows},
    }
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    # ASCII alone: a lone surrogate in a value is no UTF-8.
    write_text(path.resolve(), json.dumps(log, indent=1, allow_nan=False) + "\n")


def _make_result(finding: _Finding, names: dict[str, int], show_values: bool) -> dict[str, Any]:
    name = _name(finding.rule, "/")
    made: dict[str, Any] = {
        "ruleId": name,
        "ruleIndex": names[name],
        "level": "error" if finding.fails else "warning",
        "message": {"text": _message(finding.describe(show_values))},
        "properties": {"count": finding.count},
    }
    if finding.place is not None:
        location: dict[str, Any] = {"artifactLocation": _address(finding.path)}
        if finding.line is not None:
            location["region"] = {"startLine": finding.line}
        made["locations"] = [{"physicalLocation": location}]
    return made


def list_annotations(result: CheckResult, *, show_values: bool = False) -> list[str]:
    """Return GitHub's workflow commands, at most `MAX_ANNOTATIONS`.

    The first place of every rule comes before the second of any; the last command says how many
    broken cells and rows are not among them.
    """
    if result.refusal:
        return [f"::error title=nanproof::{_escape(_one_line(result.refusal))}"]
    findings = list(islice(_list_findings(result), MAX_ANNOTATIONS + 1))
    total = sum(_count_all(result).values())
    if max(total, len(findings)) > MAX_ANNOTATIONS:
        findings = findings[: MAX_ANNOTATIONS - 1]
    more = total - len(findings)
    lines = [_annotate(finding, show_values) for finding in findings]
    if more > 0:
        lines.append(f"::notice title=nanproof::{more:,} more broken cells and rows not shown here")
    return lines


def _annotate(finding: _Finding, show_values: bool) -> str:
    properties = {"title": f"nanproof {_name(finding.rule, ' ')}"}
    if finding.place is not None:
        properties["file"] = _one_line(finding.path)
    if finding.line is not None:
        properties["line"] = str(finding.line)
    listed = ",".join(f"{key}={_escape(value, ':,')}" for key, value in sorted(properties.items()))
    command = "error" if finding.fails else "warning"
    return f"::{command} {listed}::{_escape(finding.describe(show_values))}"


def _list_findings(result: CheckResult) -> Iterator[_Finding]:
    """Yield the first place of every broken rule, then the second ones; what fails comes first."""
    counts = _count_all(result)
    ranked = sorted(counts, key=lambda rule: (rule not in result.failing, -counts[rule]))
    paths = {name: _near(file.path) for name, file in result.files.items()}
    for rank in range(max((len(places) for places in result.examples.values()), default=1)):
        for rule in ranked:
            places = result.examples.get(rule, [])
            fails = rule in result.failing
            if rank < len(places):
                place = places[rank]
                path, lines = paths[place.source], result.files[place.source].has_lines
                yield _Finding(rule, counts[rule], fails, place, path, lines)
            elif rank == 0:
                yield _Finding(rule, counts[rule], fails)


def _count_all(result: CheckResult) -> Counter[Rule]:
    return result.warned + result.broken


def _near(path: str) -> str:
    """Return a path as seen from the working directory, where it lies beneath it."""
    if "://" in path:
        return path
    here = Path.cwd()
    near = Path(path)
    return (near.relative_to(here) if near.is_relative_to(here) else near).as_posix()


def _address(path: str) -> dict[str, str]:
    """Return SARIF's address of a path or URL."""
    if "://" in path:
        return {"uri": quote(path, safe=URL_SAFE, errors="surrogateescape")}
    if Path(path).is_absolute():
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(os.fsencode(path)), "uriBaseId": "%SRCROOT%"}


def _name(rule: Rule, between: str) -> str:
    return f"{_one_line(rule[0] or '(row)')}{between}{_one_line(rule[1])}"


def _one_line(text: str) -> str:
    return inert(text).replace("\n", "\\n")


def _message(text: str) -> str:
    """Return text that SARIF takes for text alone: no placeholder (§3.11.5), no link (§3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")


def _escape(text: str, also: str = "") -> str:
    """Return text as a workflow command holds it, with `also` escaped in a property."""
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
