"""GitHub's annotations: workflow commands, which its runner reads from the log."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pipeline.findings.places import Place, list_places, name_rule, take_turns
from pipeline.inert import one_line

if TYPE_CHECKING:
    from pipeline.run import CheckResult

# GitHub shows ten errors a step and fifty annotations a job.
MAX_ANNOTATIONS = 50


def list_annotations(result: CheckResult, *, show_values: bool = False) -> list[str]:
    """Return workflow commands, at most `MAX_ANNOTATIONS`.

    The first place of every rule comes before the second of any; the last command says how many
    broken cells and rows are not among them.
    """
    if result.refusal:
        return [f"::error title=nanproof::{_escape(one_line(result.refusal))}"]
    total = result.broken.total() + result.warned.total()
    most = MAX_ANNOTATIONS if total <= MAX_ANNOTATIONS else MAX_ANNOTATIONS - 1
    places = list(islice(take_turns(list_places(result)), most))
    lines = [_annotate(place, show_values) for place in places]
    # What has no place is told of in one line.
    more = total - sum(1 if place.example else place.count for place in places)
    if more:
        lines.append(f"::notice title=nanproof::{more:,} more broken cells and rows not shown here")
    return lines


def _annotate(place: Place, show_values: bool) -> str:
    properties = {"title": f"nanproof {name_rule(place.rule, ' ')}"}
    if place.example is not None:
        properties["file"] = one_line(place.path)
    if place.line is not None:
        properties["line"] = str(place.line)
    listed = ",".join(f"{key}={_escape(value, ':,')}" for key, value in sorted(properties.items()))
    command = "error" if place.fails else "warning"
    return f"::{command} {listed}::{_escape(place.describe(show_values))}"


def _escape(text: str, also: str = "") -> str:
    """Return text as a workflow command holds it, with `also` escaped in a property."""
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
