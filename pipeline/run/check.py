"""Judge raw files and write nothing."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.engine import Engine, Progress, open_engine
from pipeline.errors import DataVerdict, SettingsError
from pipeline.job import CheckSettings, Job, read_job
from pipeline.ledger import RuleCounts, add_counts
from pipeline.load import Source
from pipeline.run.bad_files import set_files_aside
from pipeline.run.scan import (
    MAX_PLACES,
    Example,
    Scanned,
    ScanTask,
    add_examples,
    scan_partition,
)
from pipeline.run.settle import require_rows, settle_rules
from pipeline.run.setup import Setup, list_inputs, prepare
from pipeline.schema import ColumnSchema
from pipeline.whole import MONOTONIC, find_uncovered, list_keys, list_orders

Rule = tuple[str | None, str]
"""A column, or None for whole rows, and the name of a rule."""

UNREADABLE = "unreadable"
# A worker needs half a second to start, in which this process reads more than that.
SMALL_BYTES = 4 << 20


@dataclass(frozen=True)
class CheckedFile:
    """Where a raw file is.

    Attributes:
        path: An absolute path, or a URL.
        has_lines: Whether its row numbers are lines of the file as it lies there.
    """

    path: str
    has_lines: bool


@dataclass(frozen=True)
class CheckResult:
    """The verdict on raw files.

    Attributes:
        name: The job's name.
        rows: Rows read.
        broken_rows: Rows that break anything, each once.
        settled_rows: Those among them that break a rule of the whole dataset.
        rules: Every rule that was asked, in the schema's order, and what else was broken.
        broken: Broken cells and rows by column and rule; column None for whole rows.
        failing: The broken rules that break more than the job allows.
        examples: The first places of each, at most `MAX_PLACES`; none for what has no place.
        files: The raw files by name.
        seconds: How long it took.
        warned: As `broken`, for checks that only warn; their cells are valid.
        refusal: Why there is no verdict by rules, such as that no row was read; else empty.
    """

    name: str
    rows: int
    broken_rows: int
    settled_rows: int
    rules: tuple[Rule, ...]
    broken: RuleCounts
    failing: frozenset[Rule]
    examples: dict[Rule, list[Example]]
    files: dict[str, CheckedFile]
    seconds: float
    warned: RuleCounts = field(default_factory=Counter)
    refusal: str = ""

    @property
    def passed(self) -> bool:
        """Return whether no rule is broken by more than the job allows."""
        return not self.failing and not self.refusal

    @classmethod
    def refuse(cls, error: DataVerdict) -> CheckResult:
        """Return what a report can say of data that was refused as a whole."""
        return cls("nanproof", 0, 0, 0, (), Counter(), frozenset(), {}, {}, 0.0, refusal=str(error))


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
        workers: How many processes; None for one a core, and for small files this one alone.
        on_progress: Called as partitions are done.

    Raises:
        UsageError: A setting, a reference or a file is wrong.
        NoRowsLeft: The files hold headers alone.
    """
    started = time.monotonic()
    job = job if isinstance(job, Job) else read_job(job)
    setup, sources, partitions = prepare(job, list_inputs(job, raw))
    rules = list_rules(setup)
    _check_limits(job.check, rules)
    workers = _count_workers(workers, sources, len(partitions))
    with TemporaryDirectory(prefix="nanproof-") as folder, open_engine(workers) as engine:
        tasks = [ScanTask(setup, p, Path(folder), spill_rows=False) for p in partitions]
        scans, examples = _scan(engine, tasks, on_progress)
        sources, scans = set_files_aside(sources, partitions, scans)
        settled = settle_rules(setup, scans, Path(folder))
    rows = sum(scan.read for scan in scans)
    require_rows(rows)
    broken = add_counts(scan.broken for scan in scans)
    broken.update({(column, rule): len(ids) for column, rule, ids in settled.by_rule})
    warned = add_counts(scan.warned for scan in scans)
    _count_uncovered(setup, scans, broken, warned)
    _count_unreadable(sources, broken, examples)
    return CheckResult(
        name=job.name,
        rows=rows,
        broken_rows=sum(scan.broken_rows for scan in scans) + settled.uncounted_rows,
        settled_rows=settled.rows,
        rules=tuple(dict.fromkeys([*rules, *broken, *warned])),
        broken=broken,
        failing=_list_failing(job.check, broken, rows),
        examples=examples | settled.examples,
        files={source.name: _locate(source) for source in sources},
        seconds=time.monotonic() - started,
        warned=warned,
    )


def _count_workers(asked: int | None, sources: Sequence[Source], partitions: int) -> int:
    if asked is not None:
        return min(asked, partitions)
    small = sum(source.size for source in sources) <= SMALL_BYTES
    return 1 if small else min(os.cpu_count() or 1, partitions)


def list_rules(setup: Setup) -> tuple[Rule, ...]:
    """Return every rule that is asked of a job's raw files, in the schema's order."""
    rules: list[Rule] = []
    for column in setup.schema.columns:
        if column.name not in setup.unjudged:
            rules += [(column.name, rule) for rule in _list_cell_rules(column)]
    group = setup.job.data.group
    if group is not None and group not in setup.schema.names:
        rules.append((group, "missing"))
    rules += [("+".join(key), "unique") for key in list_keys(setup.schema)]
    rules += [(name, MONOTONIC) for name, _ in list_orders(setup.schema)]
    rules += [(None, check.name) for check in setup.schema.row_checks]
    return (*dict.fromkeys(rules), (None, "malformed"))


def _list_cell_rules(column: ColumnSchema) -> Iterator[str]:
    if not column.nullable:
        yield "missing"
    if column.kind != "string":
        if not column.nullable:
            yield "nan"
        if column.kind != "bool":
            yield "inf"
        yield "type"
    if column.kind == "float":
        yield "overflow"
    yield from (check.name for check in column.checks)


def _check_limits(settings: CheckSettings, rules: Sequence[Rule]) -> None:
    known = sorted({rule for _, rule in rules} | {UNREADABLE})
    for name in settings.rules:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            raise SettingsError(
                f"check.rules: the schema has no rule {name!r}.",
                fix=f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}.",
                setting="check.rules",
                rule=name,
            )


def _scan(
    engine: Engine, tasks: Sequence[ScanTask], on_progress: Progress | None
) -> tuple[list[Scanned], dict[Rule, list[Example]]]:
    scans: list[Scanned] = []
    examples: dict[Rule, list[Example]] = {}
    for scan in engine.map(scan_partition, tasks):
        add_examples(examples, scan.examples, MAX_PLACES)
        scan.examples = {}  # no more than the first are held, however many partitions there are
        scans.append(scan)
        if on_progress is not None:
            on_progress("check", len(scans), len(tasks))
    return scans, examples


def _count_uncovered(
    setup: Setup, scans: Sequence[Scanned], broken: RuleCounts, warned: RuleCounts
) -> None:
    """Add the listed values that occur nowhere, which have no place."""
    seen = [part for scan in scans for part in scan.seen]
    for found in find_uncovered(setup.schema, seen):
        counts = warned if found.warns else broken
        counts[found.column, found.rule] += len(found.values)


def _count_unreadable(
    sources: Sequence[Source], broken: RuleCounts, examples: dict[Rule, list[Example]]
) -> None:
    """Add the files that the job sets aside, and take back the places in them."""
    faults = {source.name: source.fault for source in sources if source.fault}
    if not faults:
        return
    for places in examples.values():
        places[:] = [place for place in places if place.source not in faults]
    broken[None, UNREADABLE] = len(faults)
    places = [Example(name, 1, fault) for name, fault in faults.items()]
    examples[None, UNREADABLE] = places[:MAX_PLACES]


def _list_failing(
    settings: CheckSettings, broken: Mapping[Rule, int], rows: int
) -> frozenset[Rule]:
    """Hold each rule's share of broken rows against the job's limits."""
    limits, default = settings.rules, settings.max_broken_ratio
    return frozenset(key for key, n in broken.items() if n / rows > limits.get(key[1], default))


def _locate(source: Source) -> CheckedFile:
    has_lines = source.format != "parquet" and not source.location.gzip
    return CheckedFile(source.location.url, has_lines)
