"""SARIF 2.1.0: a result a place, with the total of its rule as a property."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.findings.places import Place, list_paths, list_places, name_rule, take_turns
from pipeline.inert import one_line
from pipeline.storage import write_text

if TYPE_CHECKING:
    from pipeline.run import CheckResult

# GitHub refuses a log of more than 25,000 results and shows the first 5,000.
MAX_RESULTS = 5000
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# What has a meaning in a URL, and the escapes that it has already.
URL_SAFE = "/:?#[]@!$&'()*+,;=%"


def write_sarif(result: CheckResult, path: Path, *, show_values: bool = False) -> None:
    """Write a SARIF log.

    Raises:
        EnvironmentFailure: The file cannot be written.
    """
    # Two rules whose names are written alike are one: SARIF's rules have to differ.
    distinct = dict.fromkeys(name_rule(rule, "/") for rule in result.rules)
    names = {name: index for index, name in enumerate(distinct)}
    rules = [{"id": name, "shortDescription": {"text": _message(name)}} for name in names]
    places = islice(take_turns(list_places(result)), MAX_RESULTS)
    anchor = next(iter(list_paths(result).values()), "")
    root = {"description": {"text": "The working directory of nanproof check."}}
    run = {
        "tool": {
            "driver": {"name": "nanproof", "version": version("nanproof"), "rules": rules},
        },
        "invocations": [_make_invocation(result)],
        "originalUriBaseIds": {"%SRCROOT%": root},
        "results": [_make_result(place, names, anchor, show_values) for place in places],
        "properties": {"rows": result.rows, "brokenRows": result.broken_rows},
    }
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    # ASCII alone: a lone surrogate in a value is no UTF-8.
    write_text(path.resolve(), json.dumps(log, indent=1, allow_nan=False) + "\n")


def _make_invocation(result: CheckResult) -> dict[str, Any]:
    if not result.refusal:
        return {"executionSuccessful": True}
    text = _message(one_line(result.refusal))
    notes = [{"level": "error", "message": {"text": text}}]
    return {"executionSuccessful": False, "toolExecutionNotifications": notes}


def _make_result(
    place: Place, names: dict[str, int], anchor: str, show_values: bool
) -> dict[str, Any]:
    """Return a result; without a place it stands at `anchor`, since GitHub wants a location."""
    name = name_rule(place.rule, "/")
    made: dict[str, Any] = {
        "ruleId": name,
        "ruleIndex": names[name],
        "level": "error" if place.fails else "warning",
        "message": {"text": _message(place.describe(show_values))},
        "properties": {"count": place.count},
    }
    location: dict[str, Any] = {"artifactLocation": _address(place.path or anchor)}
    if place.line is not None:
        location["region"] = {"startLine": place.line}
    made["locations"] = [{"physicalLocation": location}]
    return made


def _address(path: str) -> dict[str, str]:
    """Return SARIF's address of a path or URL."""
    if "://" in path:
        return {"uri": quote(path, safe=URL_SAFE, errors="surrogateescape")}
    if Path(path).is_absolute():
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(os.fsencode(path)), "uriBaseId": "%SRCROOT%"}


def _message(text: str) -> str:
    """Return text that SARIF takes for text alone: no placeholder (§3.11.5), no link (§3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")
