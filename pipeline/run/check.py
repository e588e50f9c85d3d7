"""Judge raw files and write nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.engine import Progress, open_engine
from pipeline.job import Job, read_job
from pipeline.ledger import RuleCounts, add_counts
from pipeline.run.scan import Example, ScanTask, merge_examples, scan_partition
from pipeline.run.settle import find_all_duplicates, require_rows
from pipeline.run.setup import cut_partitions, list_inputs, prepare


@dataclass(frozen=True)
class CheckResult:
    """The verdict on raw files.

    Attributes:
        rows: Rows read.
        broken_rows: Rows that break anything but a whole-dataset rule.
        repeated_rows: Rows that break one, some of which may be broken otherwise.
        broken: Broken cells and rows by column and rule; column None for whole rows.
        examples: The first places of each.
        passed: Whether no rule is broken by more than the job allows.
    """

    rows: int
    broken_rows: int
    repeated_rows: int
    broken: RuleCounts
    examples: dict[tuple[str | None, str], list[Example]]
    passed: bool


def check_job(
    job: Job | Path | str,
    *,
    raw: Sequence[str] | None = None,
    workers: int | None = 1,
    on_progress: Progress | None = None,
) -> CheckResult:
    """Judge a job's raw files against its schema; write nothing.

    Args:
        job: The job, or the path of its file.
        raw: Globs in place of the job's own, relative to the working directory.
        workers: How many processes; None for one a core.
        on_progress: Called as partitions are done.

    Raises:
        UsageError: A setting, a reference or a file is wrong.
        NoRowsLeft: The files hold headers alone.
    """
    job = job if isinstance(job, Job) else read_job(job)
    sources = list_inputs(job, raw)
    setup = prepare(job, sources)
    partitions = cut_partitions(job, sources)
    with TemporaryDirectory(prefix="nanproof-") as folder, open_engine(workers) as engine:
        tasks = [ScanTask(setup, p, Path(folder), spill_rows=False) for p in partitions]
        scans = []
        for scan in engine.map(scan_partition, tasks):
            scans.append(scan)
            if on_progress is not None:
                on_progress("check", len(scans), len(tasks))
        duplicates = find_all_duplicates(setup, scans, Path(folder))
    broken = add_counts(scan.broken for scan in scans)
    broken.update({(column, "unique"): len(ids) for column, ids in duplicates.by_key})
    rows = sum(scan.read for scan in scans)
    require_rows(rows)
    return CheckResult(
        rows=rows,
        broken_rows=sum(scan.broken_rows for scan in scans),
        repeated_rows=sum(len(ids) for _, ids in duplicates.by_key),
        broken=broken,
        examples=merge_examples(scans),
        passed=_passes(job, broken, rows),
    )


def _passes(job: Job, broken: RuleCounts, rows: int) -> bool:
    """Hold each rule's share of broken rows against the job's limits."""
    worst: Counter[str] = Counter()
    for (_, rule), count in broken.items():
        worst[rule] = max(worst[rule], count)
    limit = job.check.max_broken_ratio
    return all(count / rows <= job.check.rules.get(rule, limit) for rule, count in worst.items())
