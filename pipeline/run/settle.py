"""Between scan and fit: the whole-dataset rules, and whether there is anything to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import NoRowsLeft, TooManyDropped
from pipeline.job import Job
from pipeline.ledger import Ledger
from pipeline.manifest import SPLITS
from pipeline.run.scan import MAX_GROUPS, Scanned
from pipeline.run.setup import Setup
from pipeline.unique import find_duplicates, list_keys


@dataclass(frozen=True)
class Duplicates:
    """The rows that break a key's uniqueness.

    Attributes:
        by_key: The key's columns, joined by "+", and the ascending row ids.
        file: Where all of them stand together, ascending, for the finish tasks; None without any.
    """

    by_key: tuple[tuple[str, npt.NDArray[np.int64]], ...] = ()
    file: Path | None = None

    def within(self, first: int, last: int) -> tuple[tuple[str, npt.NDArray[np.int64]], ...]:
        """Return those with a row id in [first, last)."""
        cut = []
        for key, row_ids in self.by_key:
            start, stop = np.searchsorted(row_ids, [first, last])
            if start < stop:
                cut.append((key, row_ids[start:stop]))
        return tuple(cut)


def find_all_duplicates(setup: Setup, scans: Sequence[Scanned], staging: Path) -> Duplicates:
    """Judge every key from the spilled hashes."""
    stems = [stem for scan in scans for stem in scan.spills]
    paths = [stem.with_suffix(".keys") for stem in stems]
    found = []
    for index, names in enumerate(list_keys(setup.schema)):
        row_ids = find_duplicates(paths, index, setup.num_buckets, setup.schema.report_duplicates)
        if len(row_ids):
            found.append(("+".join(names), row_ids))
    if not found:
        return Duplicates()
    file = staging / "duplicates.npy"
    np.save(file, np.unique(np.concatenate([row_ids for _, row_ids in found])))
    return Duplicates(tuple(found), file)


def check_rows_left(job: Job, scans: Sequence[Scanned]) -> npt.NDArray[np.int64]:
    """Return the `(splits, buckets)` spilled rows.

    Raises:
        NoRowsLeft: There is none, or an asked-for split got none.
    """
    counts = np.sum([scan.counts for scan in scans], axis=0)
    read = sum(scan.read for scan in scans)
    require_rows(read)
    if not counts.any():
        raise NoRowsLeft(
            f"no row is left: all {read:,} rows that were read are quarantined.",
            fix="look at the reasons with `nanproof check`; mend the data, the schema or [repair].",
            read=read,
        )
    shares = {"train": job.split.train, "validation": job.split.validation, "test": job.split.test}
    for split, rows in zip(SPLITS, counts.sum(axis=1).tolist(), strict=True):
        if shares[split] and not rows:
            raise empty_split(job, split, int(counts.sum()), scans)
    return counts


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
        f"split {split!r} got no row: {rows:,} rows in {known} {what} were shared out.",
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
