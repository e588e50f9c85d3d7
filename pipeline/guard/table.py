"""Incidents as a table in plain text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from pipeline.guard.incident import Incident

HEADER = ("step", "epoch", "kind", "first seen", "where", "steps", "done")
_MAX_LINES = 20
_MAX_ROWS = 3


def make_table(incidents: Sequence[Incident]) -> str:
    """Give a line an incident, after a header; "" if there is none.

    Incidents of a kind that follow one another are one line, at the first one's step. Of more
    than 20 lines the middle is left out.
    """
    if not incidents:
        return ""
    groups = [list(group) for _, group in itertools.groupby(incidents, _kind)]
    lines = [_describe(group) for group in groups]
    left_out = len(lines) - _MAX_LINES
    if left_out > 0:
        half = _MAX_LINES // 2
        more = (f"({left_out} more)", *[""] * (len(HEADER) - 1))
        lines = [*lines[:half], more, *lines[-half:]]
    return _align([HEADER, *lines])


def _kind(incident: Incident) -> tuple[str, ...]:
    return incident.kind, incident.first_seen, incident.place, incident.done


def _describe(group: list[Incident]) -> tuple[str, ...]:
    first = group[0]
    rows = [str(row) for incident in group for row in incident.rows]
    where = ", ".join(rows[:_MAX_ROWS]) + (
        f" and {len(rows) - _MAX_ROWS} more" if len(rows) > _MAX_ROWS else ""
    )
    return (
        str(first.step),
        str(first.epoch),
        first.kind,
        first.first_seen,
        where or first.place or first.note,
        str(len(group)),
        first.done,
    )


def _align(lines: Iterable[Sequence[str]]) -> str:
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
