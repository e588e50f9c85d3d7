"""Where rules are broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.inert import one_line, shorten
from pipeline.ledger import name_subject

if TYPE_CHECKING:
    from pipeline.ledger import Rule
    from pipeline.run import CheckResult
    from pipeline.run.scan import Example


@dataclass(frozen=True)
class Place:
    """A broken rule at one of its places.

    Attributes:
        rule: Column and rule.
        count: How many cells or rows break it in all.
        fails: Whether that is more than the job allows.
        example: Row and value; None where the rule has no place.
        path: The file, seen from the working directory, or a URL.
        has_lines: Whether the row is a line of that file.
        wanted: What the rule asks for, where its name does not say it.
    """

    rule: Rule
    count: int
    fails: bool
    example: Example | None = None
    path: str = ""
    has_lines: bool = False
    wanted: str = ""

    @property
    def where(self) -> str:
        """Return file and line, or row; empty without a place."""
        if self.example is None:
            return ""
        if not self.example.row or self.example.file:  # the file as a whole
            return one_line(self.path)
        between = ":" if self.has_lines else " row "
        return f"{one_line(self.path)}{between}{self.example.row}"

    @property
    def line(self) -> int | None:
        return (self.example.row or None) if self.example and self.has_lines else None

    def value(self, show_values: bool) -> str:
        """Return the detail, or the value if asked for, with a space before it."""
        if self.example is not None and self.example.detail:
            return f" ({one_line(self.example.detail)})"
        if not show_values or self.example is None or self.example.value is None:
            return ""
        return f" {shorten(self.example.value)!r}"

    def describe(self, show_values: bool) -> str:
        """Return one harmless line."""
        has_row = self.example is not None and self.example.row and not self.has_lines
        row = f" row {self.example.row}" if has_row and self.example else ""
        value = self.value(show_values)
        here = f", here{row}{value}" if row or value else ""
        wanted = f": {shorten(self.wanted)}" if self.wanted else ""
        return f"{name_rule(self.rule, ': ')} ({self.count:,} in all{here}){wanted}"


def list_places(result: CheckResult) -> list[list[Place]]:
    """Return the places of every broken rule, at least one each; what fails comes first.

    A rule that one check of its name breaks and another only warns of stands there twice.
    """
    broken = [
        (rule, count, rule in result.failing, result.examples.get(rule, ()))
        for rule, count in result.broken.items()
    ]
    warned = [
        (rule, count, False, result.warned_examples.get(rule, ()))
        for rule, count in result.warned.items()
    ]
    ranked = sorted([*broken, *warned], key=lambda found: (not found[2], -found[1]))
    paths = list_paths(result)
    return [
        [
            Place(
                rule,
                count,
                fails,
                e,
                f"{paths[e.source]}/{e.file}" if e.file else paths[e.source],
                result.files[e.source].has_lines,
                result.details.get(rule, ""),
            )
            for e in examples
        ]
        or [Place(rule, count, fails, wanted=result.details.get(rule, ""))]
        for rule, count, fails, examples in ranked
    ]


def list_paths(result: CheckResult) -> dict[str, str]:
    """Return the raw files by name, as they are seen from the working directory."""
    return {name: _near(file.path) for name, file in result.files.items()}


def take_turns(groups: Sequence[Sequence[Place]]) -> Iterator[Place]:
    """Yield the first place of every rule, then the second ones."""
    turns = chain.from_iterable(zip_longest(*groups))
    return (place for place in turns if place is not None)


def name_rule(rule: Rule, between: str) -> str:
    """Return a rule's name in one harmless line."""
    return f"{one_line(name_subject(rule))}{between}{one_line(rule[1])}"


def _near(path: str) -> str:
    """Return a path as seen from the working directory, where it lies beneath it."""
    if "://" in path:
        return path
    here = Path.cwd()
    near = Path(path)
    return (near.relative_to(here) if near.is_relative_to(here) else near).as_posix()
