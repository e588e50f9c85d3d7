"""The exceptions of nanproof, each with the exit code that the command gives it.

    PipelineError
    ├── DataVerdict           1   the data is not what was asked for
    │   ├── TooManyDropped        more rows quarantined than `max_dropped_ratio`
    │   ├── NoRowsLeft            nothing to publish, or a split without a row
    │   ├── RuleBroken            a rule of the whole dataset that no row is to blame for
    │   ├── RepairError           a fill that the schema rejects, a column without a valid cell
    │   └── DatasetDiffers        what lies on disk is not what the manifest says
    │       └── ShardError        one shard is truncated, flipped or foreign
    ├── UsageError            2   the caller has to change something
    │   ├── SettingsError         the job file or a flag
    │   ├── BadReference       "module:attribute" does not lead to what is needed
    │   ├── SchemaError           a schema that cannot be judged row by row
    │   │   └── NotRowWise            a check or parser that looks beyond its row
    │   └── InputError            a raw file is absent, empty or unreadable
    ├── GuardBudgetSpent      3   training met more bad steps than it may skip
    └── EnvironmentFailure    4   disk, lock, worker

Every error is a few lines: what and where, with numbers; what was expected and got;
and, last, `Fix: …`. The facts are fields as well, in `fields`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MAX_LISTED = 12


class PipelineError(Exception):
    """Root of every error that nanproof raises on purpose.

    Args:
        message: What happened and where, with numbers; one line.
        expected: What would have been right.
        got: What was there instead.
        fix: What the reader can do about it.
        **fields: The facts by name (file, row, column, rule, count, …).
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        fix: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.got = got
        self.fix = fix
        self.fields = fields

    def __str__(self) -> str:
        lines = [self.message]
        if self.expected is not None:
            lines.append(f"Expected {self.expected}" + (f", got {self.got}." if self.got else "."))
        if self.fix is not None:
            lines.append(f"Fix: {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default pickling between worker processes.
        return _rebuild, (type(self), self.message, self.expected, self.got, self.fix, self.fields)


def _rebuild(
    kind: type[PipelineError],
    message: str,
    expected: str | None,
    got: str | None,
    fix: str | None,
    fields: dict[str, Any],
) -> PipelineError:
    return kind(message, expected=expected, got=got, fix=fix, **fields)


class DataVerdict(PipelineError):
    """The job ran; the data is not what was asked for."""

    exit_code = 1


class TooManyDropped(DataVerdict):
    """More rows were quarantined than `max_dropped_ratio` allows."""


class NoRowsLeft(DataVerdict):
    """No row is left, or an asked-for split got none."""


class RuleBroken(DataVerdict):
    """A rule of the whole dataset is broken, and no row is to blame for it."""


class RepairError(DataVerdict):
    """A column cannot be filled: no valid train cell, or a fill that the schema rejects."""


class DatasetDiffers(DataVerdict):
    """What lies on disk is not what the manifest says."""


class ShardError(DatasetDiffers):
    """One shard is truncated, bit-flipped or foreign."""


class UsageError(PipelineError):
    """The caller has to change a setting, a reference or a file."""

    exit_code = 2


class SettingsError(UsageError):
    """The job file or a flag says something that cannot be."""


class BadReference(UsageError):
    """A `module:attribute` reference does not lead to what is needed."""


class SchemaError(UsageError):
    """The schema holds something that cannot be judged row by row."""


class NotRowWise(SchemaError):
    """A check or parser that looks beyond its row, or gives no value for each."""


class InputError(UsageError):
    """A raw file is absent, empty or unreadable."""


class GuardBudgetSpent(PipelineError):
    """Training met more bad steps than its budget lets it skip."""

    exit_code = 3


class EnvironmentFailure(PipelineError):
    """The machine failed, not the data: disk full, lock held, worker lost."""

    exit_code = 4


def broken_shard(path: Path, what: str, **fields: Any) -> ShardError:
    """Say what is wrong with a shard.

    Args:
        path: The shard.
        what: What is wrong with it.
        **fields: More facts by name.
    """
    fix = "restore the shard, or run the job again."
    return ShardError(f"{path.name}: {what}.", fix=fix, file=str(path), **fields)


def list_some(names: Iterable[object]) -> str:
    """Write the first names as Python does, and how many more there are.

    Example:
        >>> list_some(["size", "colour"])
        "'size', 'colour'"
        >>> list_some(range(15))
        '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more'
    """
    every = list(names)
    more = len(every) - MAX_LISTED
    return ", ".join(map(repr, every[:MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


def suggest(name: str, known: Iterable[str]) -> str:
    """Ask whether the known name that is most alike was meant; empty where none is.

    Example:
        >>> suggest("SISE", ["size", "colour"])
        "did you mean 'size'?"
        >>> suggest("weight", ["size", "colour"])
        ''
    """
    folded = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), folded, n=1)
    return f"did you mean {folded[near[0]]!r}?" if near else ""
