"""Between scan and fit: the whole-dataset rules, and whether there is anything to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.batch import SOURCE_SHIFT
from pipeline.errors import NoRowsLeft, TooManyDropped
from pipeline.job import Job
from pipeline.ledger import Ledger, Rule
from pipeline.manifest import SPLITS
from pipeline.run.scan import MAX_GROUPS, MAX_PLACES, Example, Scanned
from pipeline.run.setup import Setup
from pipeline.spill import name_spill
from pipeline.whole import (
    MONOTONIC,
    Breaks,
    find_disorder,
    find_repeats,
    list_orders,
    name_keys,
)


@dataclass(frozen=True)
class Settled:
    """The rows that break rules of the whole dataset.

    Attributes:
        by_rule: Column (of a key, as `name_keys` has it), rule and the ascending row ids.
        file: Where all of them stand together, ascending, for the finish tasks; None without any.
        rows: How many they are; one that breaks two rules counts once.
        uncounted_rows: How many of them are known to break nothing else.
        examples: The first places of each rule, at most `MAX_PLACES`, without values.
    """

    by_rule: tuple[tuple[str, str, npt.NDArray[np.int64]], ...] = ()
    file: Path | None = None
    rows: int = 0
    uncounted_rows: int = 0
    examples: dict[Rule, list[Example]] = field(default_factory=dict)

    def within(self, first: int, last: int) -> tuple[tuple[str, str, npt.NDArray[np.int64]], ...]:
        """Return those with a row id in [first, last)."""
        cut = []
        for column, rule, row_ids in self.by_rule:
            start, stop = np.searchsorted(row_ids, [first, last])
            if start < stop:
                cut.append((column, rule, row_ids[start:stop]))
        return tuple(cut)


def settle_rules(setup: Setup, scans: Sequence[Scanned], staging: Path) -> Settled:
    """Judge every rule of the whole dataset from what the scans spilled."""
    stems = [stem for scan in scans for stem in scan.spills]
    paths = [name_spill(stem, "keys") for stem in stems]
    schema, found = setup.schema, []
    for index, name in enumerate(name_keys(schema)):
        breaks = find_repeats(paths, index, setup.num_buckets, schema.report_duplicates)
        found.append((name, "unique", breaks))
    for index, (name, increasing) in enumerate(list_orders(schema)):
        found.append((name, MONOTONIC, find_disorder(stems, index, increasing)))
    found = [part for part in found if len(part[2].row_ids)]
    if not found:
        return Settled()
    file = staging / "settled.npy"
    row_ids, first = np.unique(
        np.concatenate([breaks.row_ids for *_, breaks in found]), return_index=True
    )
    np.save(file, row_ids)
    otherwise = np.concatenate([breaks.otherwise_broken for *_, breaks in found])[first]
    return Settled(
        by_rule=tuple((column, rule, breaks.row_ids) for column, rule, breaks in found),
        file=file,
        rows=len(row_ids),
        uncounted_rows=int((~otherwise).sum()),
        examples={(column, rule): _first_places(breaks, setup) for column, rule, breaks in found},
    )


def _first_places(breaks: Breaks, setup: Setup) -> list[Example]:
    first = zip(breaks.row_ids[:MAX_PLACES].tolist(), breaks.rows[:MAX_PLACES].tolist())
    return [Example(setup.source_names[row_id >> SOURCE_SHIFT], row, None) for row_id, row in first]


def check_rows_left(job: Job, scans: Sequence[Scanned]) -> npt.NDArray[np.int64]:
    """Return the `(splits, buckets)` spilled rows.

    Raises:
        NoRowsLeft: There is none, or an asked-for split got none.
    """
    counts = np.sum([scan.counts for scan in scans], axis=0)
    read = sum(scan.read for scan in scans)
    require_rows(read)
    if not counts.any():
        raise no_row_left(read)
    shares = {"train": job.split.train, "validation": job.split.validation, "test": job.split.test}
    for split, rows in zip(SPLITS, counts.sum(axis=1).tolist(), strict=True):
        if shares[split] and not rows:
            raise empty_split(job, split, int(counts.sum()), scans)
    return counts


def no_row_left(read: int) -> NoRowsLeft:
    """Say that every row was quarantined."""
    return NoRowsLeft(
        f"no row is left: all {read:,} rows that were read are quarantined.",
        fix="look at the reasons with `nanproof check`; mend the data, the schema or [repair].",
        read=read,
    )


def require_rows(read: int) -> None:
    """Refuse files that hold headers alone.

    Raises:
        NoRowsLeft: No row was read.
    """
    if not read:
        raise NoRowsLeft(
            "no row was read: the raw files hold headers alone.",
            fix="look whether the delivery is complete.",
            read=0,
        )


def empty_split(job: Job, split: str, rows: int, scans: Sequence[Scanned]) -> NoRowsLeft:
    """Say that a split got no row, and how many groups there were to share out."""
    what = f"groups of {job.data.group!r}" if job.data.group else "distinct rows"
    groups = len(np.unique(np.concatenate([scan.groups for scan in scans])))
    known = f"{groups:,}" if groups < MAX_GROUPS else f"{MAX_GROUPS:,} or more"
    return NoRowsLeft(
        f"split {split!r} got no row: of {known} {what}, {rows:,} rows were left to share out.",
        fix=f"give more data, another split.seed, or split.{split} = 0.0.",
        split=split,
        groups=groups,
    )


def too_many_dropped(job: Job, ledger: Ledger, failed: Path) -> TooManyDropped:
    """Say how many rows were dropped, and which rules cost most."""
    read, dropped = ledger.rows["read"], ledger.rows["quarantined"]
    worst = ", ".join(
        f"{line.column or 'row'} {line.rule} {line.count:,}" for line in ledger.quarantined[:3]
    )
    return TooManyDropped(
        f"{dropped:,} of {read:,} rows ({dropped / read:.1%}) are quarantined; most for: {worst}.",
        expected=f"at most max_dropped_ratio = {job.repair.max_dropped_ratio:g}",
        got=f"{dropped / read:.4g}",
        fix=f"look into {failed / 'quarantine'}; mend the data, or raise repair.max_dropped_ratio.",
        read=read,
        quarantined=dropped,
    )
