"""JUnit: the job is a suite, every rule that was asked a case."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.findings.places import Place, list_places
from pipeline.inert import one_line, shorten
from pipeline.ledger import UNREADABLE, name_subject
from pipeline.storage import atomic_path

if TYPE_CHECKING:
    from pipeline.ledger import Rule
    from pipeline.run import CheckResult

MAX_PLACES_OF_A_CASE = 10


def write_junit(result: CheckResult, path: Path, *, show_values: bool = False) -> None:
    """Write a JUnit report.

    A case fails where its rule is broken by more than the job allows; what is broken within its
    limits, and what only warns, stands in `system-out`.

    Raises:
        EnvironmentFailure: The file cannot be written.
    """
    from junitparser import TestSuite
    from junitparser.junitparser import SystemErr, SystemOut

    groups = list_places(result)
    failed = {places[0].rule: places for places in groups if places[0].fails}
    allowed = [places[0].describe(False) for places in groups if not places[0].fails]
    suite = TestSuite(one_line(result.name).strip() or "job")
    suite.hostname = "localhost"
    suite.timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite.add_property("nanproof", version("nanproof"))
    for name in ("rows", "broken_rows", "settled_rows"):
        suite.add_property(name, str(getattr(result, name)))
    suite.add_testcases(_list_cases(result, failed, show_values))
    suite.time = round(result.seconds, 3)
    for output in (SystemOut("\n".join(allowed)), SystemErr("")):
        suite.append(output)  # type: ignore[no-untyped-call]
    with atomic_path(path.resolve()) as temporary:
        suite.write(str(temporary), pretty=True)


def _list_cases(
    result: CheckResult, failed: dict[Rule, list[Place]], show_values: bool
) -> list[Any]:
    from junitparser import Error, Skipped, TestCase

    cases = []
    for rule in result.rules:
        case = TestCase(one_line(rule[1]), one_line(name_subject(rule)), 0.0)
        if rule in failed:
            case.result = _make_failure(result, failed[rule], show_values)
        elif rule in result.row_rules and not result.asked_rows:
            case.result = Skipped(f"asked of none of {result.rows:,} rows: each has a broken cell")
        cases.append(case)
    if result.refusal:
        case = TestCase("check", "(job)", 0.0)
        case.result = Error(one_line(result.refusal), "refused")
        cases.append(case)
    return cases


def _make_failure(result: CheckResult, places: list[Place], show_values: bool) -> Any:
    from junitparser import Failure

    first = places[0]
    of_files = first.rule == (None, UNREADABLE)
    among = f"{len(result.files):,} files" if of_files else f"{result.rows:,} rows"
    at = f"; first at {first.where}" if first.example else ""
    wanted = f": {shorten(first.wanted)}" if first.wanted else ""
    failure = Failure(f"{first.count:,} broken in {among}{at}{wanted}", one_line(first.rule[1]))
    lines = [place.where + place.value(show_values) for place in places[:MAX_PLACES_OF_A_CASE]]
    failure.text = "\n".join(lines)
    return failure
