"""Judge raw files and write nothing."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.engine import Engine, Progress, open_engine
from pipeline.errors import PipelineError, SettingsError, list_some, suggest
from pipeline.job import CheckSettings, Job, read_job
from pipeline.ledger import UNREADABLE, Rule, RuleCounts, add_counts
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
from pipeline.run.settle import Settled, require_rows, settle_rules
from pipeline.run.setup import Setup, list_inputs, prepare
from pipeline.validate import describe_rules, list_cell_rules, list_row_parsers
from pipeline.whole import MONOTONIC, Uncovered, find_uncovered, list_orders, name_keys

Examples = dict[Rule, list[Example]]
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
        examples: The first places of each of `broken`, at most `MAX_PLACES`; none for what has
            no place.
        files: The raw files by name.
        seconds: How long it took.
        warned: As `broken`, for checks that only warn; their cells are valid.
        warned_examples: As `examples`, of `warned`.
        row_rules: The checks on whole rows.
        asked_rows: How many rows the checks on whole rows were asked of: the others hold a broken
            cell.
        uncovered: The columns in which listed values never occur.
        details: What the rules ask for, as far as their names do not say it.
        refusal: Why there is no verdict by rules, such as that no row was read; else empty.
        left_out: How many files in folders of images are no images.
    """

    name: str
    rows: int
    broken_rows: int
    settled_rows: int
    rules: tuple[Rule, ...]
    broken: RuleCounts
    failing: frozenset[Rule]
    examples: Examples
    files: dict[str, CheckedFile]
    seconds: float
    warned: RuleCounts = field(default_factory=Counter)
    warned_examples: Examples = field(default_factory=dict)
    row_rules: frozenset[Rule] = frozenset()
    asked_rows: int = 0
    uncovered: tuple[Uncovered, ...] = ()
    details: dict[Rule, str] = field(default_factory=dict)
    refusal: str = ""
    left_out: int = 0

    @property
    def passed(self) -> bool:
        """Return whether no rule is broken by more than the job allows."""
        return not self.failing and not self.refusal

    @classmethod
    def refuse(cls, name: str, error: PipelineError) -> CheckResult:
        """Return what a report can say of a job that was refused as a whole."""
        return cls(
            name=name,
            rows=0,
            broken_rows=0,
            settled_rows=0,
            rules=(),
            broken=Counter(),
            failing=frozenset(),
            examples={},
            files={},
            seconds=0.0,
            refusal=str(error),
        )


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
        NotRowWise: A check or a parser of the schema's own looks beyond its row.
        NoRowsLeft: The files hold headers alone.
    """
    started = time.monotonic()
    job = job if isinstance(job, Job) else read_job(job)
    setup, sources, partitions = prepare(job, list_inputs(job, raw))
    rules = list_rules(setup)
    _check_limits(job.check, rules)
    workers = _count_workers(workers, sources, len(partitions))
    with (
        TemporaryDirectory(prefix="nanproof-") as folder,
        open_engine(workers, scan_partition, len(partitions)) as engine,
    ):
        tasks = [ScanTask(setup, p, Path(folder), False, MAX_PLACES) for p in partitions]
        sources, scans, examples, warned_examples = _scan(engine, tasks, sources, on_progress)
        settled = settle_rules(setup, scans, Path(folder))
    rows = sum(scan.read for scan in scans)
    require_rows(rows)
    seen = [seen for scan in scans for seen in scan.seen]
    uncovered = find_uncovered(setup.schema, seen, setup.unjudged)
    broken, warned, failing = _count(setup, sources, scans, settled, uncovered)
    return CheckResult(
        name=job.name,
        rows=rows,
        broken_rows=sum(scan.broken_rows for scan in scans) + settled.uncounted_rows,
        settled_rows=settled.rows,
        rules=tuple(dict.fromkeys([*rules, *broken, *warned])),
        broken=broken,
        failing=failing,
        examples=examples | settled.examples | _list_unreadable(sources),
        files={source.name: _locate(source) for source in sources},
        seconds=time.monotonic() - started,
        warned=warned,
        warned_examples=warned_examples,
        row_rules=frozenset((None, check.name) for check in setup.schema.row_checks),
        asked_rows=sum(scan.asked_rows for scan in scans),
        uncovered=uncovered,
        details=describe_rules(setup.schema) | _describe_uncovered(uncovered),
        left_out=sum(source.left_out for source in sources),
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
            rules += [(column.name, rule) for rule in list_cell_rules(column)]
    group = setup.job.data.group
    if group is not None and group not in setup.schema.names:
        rules.append((group, "missing"))
    rules += [(name, "unique") for name in name_keys(setup.schema)]
    rules += [(name, MONOTONIC) for name, _ in list_orders(setup.schema)]
    rules += [(None, check.name) for check in setup.schema.row_checks]
    if setup.schema.parses:
        rules += [(None, name) for name in list_row_parsers(setup.load_pandera_schema())]
    rules.append((None, "malformed"))
    if setup.job.data.on_bad_file == "quarantine":
        rules.append((None, UNREADABLE))
    return tuple(dict.fromkeys(rules))


def _check_limits(settings: CheckSettings, rules: Sequence[Rule]) -> None:
    known = sorted({rule for _, rule in rules} | {UNREADABLE})
    known += sorted(f"{column}/{rule}" for column, rule in rules if column is not None)
    for name in settings.rules:
        if name not in known:
            raise SettingsError(
                f"check.rules: the schema has no rule {name!r}.",
                fix=suggest(name, known) or f"known here: {list_some(known)}.",
                setting="check.rules",
                rule=name,
            )


def _scan(
    engine: Engine,
    tasks: Sequence[ScanTask],
    sources: Sequence[Source],
    on_progress: Progress | None,
) -> tuple[tuple[Source, ...], list[Scanned], Examples, Examples]:
    """Scan every partition, and set files aside where the job does.

    Returns:
        The files, and what the partitions of those told that are not set aside; the first places
        of what is broken, and of what only warns.
    """
    scans: list[Scanned] = []
    broken: Examples = {}
    warned: Examples = {}
    results = zip(tasks, engine.map(scan_partition, tasks), strict=True)
    for _, of_file in groupby(results, lambda result: result[0].partition.source.index):
        # No more than the first are held, however many partitions a file has; and no place is
        # taken before its file is known to be read to its end.
        first: Examples = {}
        first_warned: Examples = {}
        is_read = True
        for _, scan in of_file:
            add_examples(first, scan.examples, MAX_PLACES)
            add_examples(first_warned, scan.warned_examples, MAX_PLACES)
            scan.examples, scan.warned_examples = {}, {}
            is_read = is_read and not scan.fault
            scans.append(scan)
            if on_progress is not None:
                on_progress("check", len(scans), len(tasks))
        if is_read:
            add_examples(broken, first, MAX_PLACES)
            add_examples(warned, first_warned, MAX_PLACES)
    marked, scans = set_files_aside(sources, [task.partition for task in tasks], scans)
    return marked, scans, broken, warned


def _list_unreadable(sources: Sequence[Source]) -> Examples:
    places = [Example(source.name, 0, None, source.fault) for source in sources if source.fault]
    return {(None, UNREADABLE): places[:MAX_PLACES]} if places else {}


def _count(
    setup: Setup,
    sources: Sequence[Source],
    scans: Sequence[Scanned],
    settled: Settled,
    uncovered: Sequence[Uncovered],
) -> tuple[RuleCounts, RuleCounts, frozenset[Rule]]:
    """Return what is broken, what only warns, and the broken rules that fail."""
    broken = add_counts(scan.broken for scan in scans)
    broken.update({(column, rule): len(ids) for column, rule, ids in settled.by_rule})
    warned = add_counts(scan.warned for scan in scans)
    num_bad = sum(bool(source.fault) for source in sources)
    if num_bad:
        broken[None, UNREADABLE] = num_bad
    rows = sum(scan.read for scan in scans)
    failing = _list_failing(setup.job.check, broken, rows, len(sources))
    for found in uncovered:
        counts = warned if found.warns else broken
        counts[found.column, found.rule] += len(found.values)
    # No limit applies to them, as none does in a run: they are a share of no rows.
    never = frozenset((found.column, found.rule) for found in uncovered if not found.warns)
    return broken, warned, failing | never


def _describe_uncovered(uncovered: Sequence[Uncovered]) -> dict[Rule, str]:
    return {(f.column, f.rule): f"no row holds {list_some(f.values)}" for f in uncovered}


def _list_failing(
    settings: CheckSettings, broken: Mapping[Rule, int], rows: int, files: int
) -> frozenset[Rule]:
    """Hold each rule's share of the rows, or of the files, against the job's limits."""
    limits, default = settings.rules, settings.max_broken_ratio
    units: dict[Rule, int] = {(None, UNREADABLE): files}
    return frozenset(
        rule
        for rule, count in broken.items()
        if count / units.get(rule, rows) > _limit_of(rule, limits, default)
    )


def _limit_of(rule: Rule, limits: Mapping[str, float], default: float) -> float:
    """Return the limit of a rule: of `column/rule` before that of the rule in any column."""
    return limits.get(f"{rule[0]}/{rule[1]}", limits.get(rule[1], default))


def _locate(source: Source) -> CheckedFile:
    has_lines = source.format in ("csv", "jsonl") and not source.location.gzip
    return CheckedFile(source.location.url, has_lines)
