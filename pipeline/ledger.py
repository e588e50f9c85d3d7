"""The row and cell accounts. They balance, or nothing is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from pipeline.errors import PipelineError
from pipeline.manifest import SPLITS

Rule = tuple[str | None, str]
"""A column, or None for whole rows, and the name of a rule."""

RuleCounts = Counter[Rule]
"""Cells (or rows) by column and rule; column None for what concerns whole rows."""


# The rule of a raw file that cannot be read to its end.
UNREADABLE = "unreadable"


def name_subject(rule: Rule) -> str:
    """Return what a rule is about: a column, or "(row)" or "(file)"."""
    return rule[0] or ("(file)" if rule[1] == UNREADABLE else "(row)")


class _Account(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(_Account):
    """How many cells, or rows, one rule of one column concerns."""

    column: str | None
    rule: str
    count: int


class Stage(_Account):
    """What went into a stage and came out of it, in rows: `read = clean + quarantined`."""

    read: int
    clean: int
    quarantined: int


class BadFile(_Account):
    """A raw file that was set aside, and why."""

    file: str
    fault: str


class Files(_Account):
    """How many raw files were read whole, how many set aside, and why those."""

    read: int
    quarantined: int = 0
    bad: tuple[BadFile, ...] = ()


class Ledger(_Account):
    """The accounts of one run.

    Attributes:
        files: Raw files.
        stages: `scan`, `settle` (the rules of the whole dataset) and `finish`, in that order;
            one's clean rows are the next's read.
        rows: `read`, `quarantined`, `clean`, and `clean` by split; and beside them `replaced`, the
            rows that are not read because they stand, mended, in another raw file.
        cells: `repaired` (broken, mended), `filled` (valid blanks, filled for training) and
            `parsed` (changed by the schema's own parsers and defaults alone).
        broken: Every broken cell and row of the raw files, by column and rule.
        warned: What breaks a check that only warns, by column and rule; it is valid.
        quarantined: The reasons of the quarantined rows, by column and rule.
        repaired: The changed cells, by column and rule; `fill` for valid blanks.
    """

    files: Files
    stages: dict[str, Stage]
    rows: dict[str, int]
    cells: dict[str, int]
    broken: tuple[Line, ...]
    warned: tuple[Line, ...] = ()
    quarantined: tuple[Line, ...]
    repaired: tuple[Line, ...]


class LedgerUnbalanced(PipelineError):
    """Rows or cells were lost or made up on the way: a bug in nanproof."""


def list_lines(counts: Mapping[Rule, int]) -> tuple[Line, ...]:
    """Return the counts as lines, the largest first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1]))
    return tuple(Line(column=column, rule=rule, count=n) for (column, rule), n in ranked if n)


def check_balance(ledger: Ledger) -> None:
    """Check that no row and no cell was lost.

    Raises:
        LedgerUnbalanced: They do not add up.
    """
    rows, stages = ledger.rows, list(ledger.stages.values())
    equations = [
        (f"rows of stage {name}", stage.read, stage.clean + stage.quarantined)
        for name, stage in ledger.stages.items()
    ]
    equations += [
        ("rows between stages", before.clean, after.read) for before, after in pairwise(stages)
    ]
    equations += [
        ("rows read", rows["read"], rows["clean"] + rows["quarantined"]),
        ("rows read in scan", rows["read"], stages[0].read),
        ("rows quarantined", rows["quarantined"], sum(stage.quarantined for stage in stages)),
        ("clean rows", rows["clean"], sum(rows[split] for split in SPLITS)),
        ("changed cells", sum(ledger.cells.values()), _total(ledger)),
    ]
    for what, left, right in equations:
        if left != right:
            raise LedgerUnbalanced(
                f"the ledger does not balance: {what}: {left:,} is not {right:,}.",
                fix="nothing was published; please report this as a bug of nanproof.",
                what=what,
                left=left,
                right=right,
            )


def _total(ledger: Ledger) -> int:
    return sum(line.count for line in ledger.repaired)


def add_counts(parts: Iterable[Mapping[Rule, int]]) -> RuleCounts:
    """Add up counts by column and rule."""
    total: RuleCounts = Counter()
    for part in parts:
        total.update(part)
    return total
