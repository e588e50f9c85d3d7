"""The first map: one partition read, judged, placed and spilled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.batch import MISSING, Batch, Finding, Positions
from pipeline.errors import InputError
from pipeline.ledger import Rule, RuleCounts
from pipeline.load import Partition, keep_fault, read_partition
from pipeline.manifest import SPLITS
from pipeline.repair import Summary, decide, merge, merge_tensors, summarize
from pipeline.run.mended import leave_out
from pipeline.run.setup import RESERVED, Setup
from pipeline.run.spilling import ReadTexts, spill_cells, spill_rejected, spill_rows
from pipeline.run.tensors import Measured, judge_tensors, measure_tensors, summarize_measured
from pipeline.spill import Holds, name_spill
from pipeline.split import Placement, place_rows
from pipeline.validate import judge_columns, parse_columns
from pipeline.whole import Seen, list_keys, list_seen, spill_keys, spill_orders

# Enough to tell "one group" from "few groups" in an error; a bounded memory of the rest.
MAX_GROUPS = 4096
# Places of a broken rule that are kept: a run shows a few, a check points CI at them.
MAX_EXAMPLES = 3
MAX_PLACES = 100


@dataclass(frozen=True, slots=True)
class Example:
    """Where a rule was broken.

    Attributes:
        source: The file's name, as `Batch.source`.
        row: As `Batch.rows`.
        value: The cell as it was read; None where a rule is about no one cell.
        detail: What is wrong with a malformed row or a file; never a value of the data.
        file: Of a folder's row, the file below the source; else empty.
    """

    source: str
    row: int
    value: str | None
    detail: str = ""
    file: str = ""


@dataclass
class Scanned:
    """What one partition told.

    Attributes:
        partition: Its index.
        read: Rows read, malformed ones included.
        replaced: Rows left out, since they stand, mended, in another file.
        rejected: Rows that are quarantined.
        counts: `(splits, buckets)` spilled rows.
        summaries: Of the valid train cells, by column.
        tensors: Of the valid train tensors, by column and shape.
        broken: Broken cells and rows, by column and rule.
        broken_rows: How many rows break anything.
        asked_rows: How many rows the checks on whole rows were asked of.
        warned: Cells and rows that break what only warns, by column and rule.
        examples: The first places of each of `broken`.
        warned_examples: The first places of each of `warned`.
        groups: Hashes of distinct groups, at most `MAX_GROUPS`.
        spills: The spill files' common stems, a batch each.
        carried: The columns that the schema does not name, in the file's order.
        seen: The listed values that occur, of the columns that have to show them all.
        fault: Why the file cannot be read, where such files are set aside; then nothing else
            counts.
    """

    partition: int
    counts: npt.NDArray[np.int64]
    read: int = 0
    replaced: int = 0
    rejected: int = 0
    summaries: dict[str, Summary] = field(default_factory=dict)
    tensors: dict[str, dict[str, Summary]] = field(default_factory=dict)
    broken: RuleCounts = field(default_factory=Counter)
    broken_rows: int = 0
    asked_rows: int = 0
    warned: RuleCounts = field(default_factory=Counter)
    examples: dict[Rule, list[Example]] = field(default_factory=dict)
    warned_examples: dict[Rule, list[Example]] = field(default_factory=dict)
    groups: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    spills: list[Path] = field(default_factory=list)
    carried: tuple[str, ...] = ()
    seen: list[Seen] = field(default_factory=list)
    fault: str = ""


@dataclass(frozen=True)
class Judged:
    """One batch and what the schema says of it.

    Attributes:
        batch: The rows, their cells as the schema's parsers and defaults have them.
        findings: What is broken.
        warnings: What breaks a check that only warns.
        changed: The cells that a parser or a default changed.
        unjudged: What is broken in the ignored columns that the checks on whole rows read.
        asked_rows: Of how many rows the checks on whole rows were asked.
        tensors: What is known of the tensors, by feature.
    """

    batch: Batch
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    changed: tuple[Finding, ...] = ()
    unjudged: tuple[Finding, ...] = ()
    asked_rows: int = 0
    tensors: Mapping[str, Measured] = field(default_factory=dict)

    def list_positions(self) -> Positions:
        """Return the rows of which a cell is told of somewhere, ascending."""
        return _list_rows((*self.findings, *self.warnings, *self.changed))


@dataclass(frozen=True)
class ScanTask:
    """One partition to scan.

    Attributes:
        setup: What the job shares.
        partition: The partition.
        staging: Where files for the stages after it go.
        spill_rows: Whether rows are placed and spilled; else they are judged alone, and nothing
            goes there but what the rules of the whole dataset are judged from.
        max_examples: How many places are kept of each broken rule.
    """

    setup: Setup
    partition: Partition
    staging: Path
    spill_rows: bool = True
    max_examples: int = MAX_EXAMPLES


def scan_partition(task: ScanTask) -> Scanned:
    """Scan one partition."""
    result = empty_scan(task.partition.index, len(SPLITS), task.setup.num_buckets)
    with keep_fault(task.setup.job.data.on_bad_file) as faults:
        _scan_batches(task, result)
    if faults:
        result = empty_scan(task.partition.index, len(SPLITS), task.setup.num_buckets)
        result.fault = faults[0]
    return result


def empty_scan(partition: int, num_splits: int, num_buckets: int) -> Scanned:
    """Return what a partition without a row tells."""
    return Scanned(partition, np.zeros((num_splits, num_buckets), np.int64))


def _scan_batches(task: ScanTask, result: Scanned) -> None:
    setup = task.setup
    pandera_schema = setup.load_pandera_schema() if setup.schema.needs_pandera else None
    absent = frozenset(setup.schema.names) - set(task.partition.source.columns)
    for index, read in enumerate(read_partition(task.partition, setup.reading)):
        batch, num_replaced = leave_out(read, setup.replaced)
        result.replaced += num_replaced
        stem = task.staging / f"{task.partition.index:05d}-{index:04d}"
        _refuse_reserved(batch)
        judged = judge_batch(batch, setup, pandera_schema, absent)
        texts = ReadTexts(batch, judged.list_positions())
        _count_batch(result, judged, texts, task)
        _spill_whole(judged, setup, stem)
        if task.spill_rows:
            _spill(result, judged, texts, setup, stem)
        result.spills.append(stem)


def _spill_whole(judged: Judged, setup: Setup, stem: Path) -> None:
    """Spill what the rules of the whole dataset are judged from."""
    schema, batch = setup.schema, judged.batch
    broken = _list_rows(judged.findings)
    if list_keys(schema):
        keys, seed = name_spill(stem, "keys"), setup.job.split.seed
        spill_keys(keys, batch, schema, seed, setup.num_buckets, broken)
    spill_orders(stem, batch, schema, broken)


def judge_batch(
    batch: Batch, setup: Setup, pandera_schema: Any | None, absent: Collection[str]
) -> Judged:
    """Return the batch as the schema reads it, and what it breaks of what the job asks."""
    parsed = parse_columns(batch.columns, setup.schema, pandera_schema)
    findings = judge_columns(
        parsed.columns,
        setup.schema,
        training_dtype=setup.job.train.dtype,
        pandera_schema=pandera_schema,
        absent=absent,
    )
    asked = [f for f in (*parsed.findings, *findings) if f.column not in setup.unjudged]
    tensors = measure_tensors(batch, setup.tensors)
    asked += judge_tensors(batch, tensors, setup.tensors, setup.job.train.dtype)
    group = setup.job.data.group
    if group is not None and group not in setup.schema.names:
        states = batch.columns[group].states
        if states is not None and (states == MISSING).any():
            asked.append(Finding(group, "missing", np.flatnonzero(states == MISSING)))
    ignored = setup.job.data.ignore  # carried as they were
    row_cells = findings if setup.schema.row_checks else []
    return Judged(
        replace(batch, columns={**batch.columns, **parsed.columns}),
        tuple(finding for finding in asked if not finding.warns),
        tuple(finding for finding in asked if finding.warns),
        tuple(
            Finding(column, rule, positions)
            for (column, rule), positions in parsed.changed.items()
            if column not in ignored
        ),
        tuple(f for f in row_cells if f.column in setup.unjudged and not f.warns),
        len(batch) - len(_list_rows([f for f in findings if f.column is not None and not f.warns])),
        tensors,
    )


def _count_batch(result: Scanned, judged: Judged, texts: ReadTexts, task: ScanTask) -> None:
    """Add what one batch told to the result."""
    batch, findings, limit = judged.batch, judged.findings, task.max_examples
    result.read += len(batch) + len(batch.malformed)
    result.broken_rows += len(_list_rows(findings)) + len(batch.malformed)
    result.asked_rows += judged.asked_rows
    result.carried = tuple(dict.fromkeys([*result.carried, *batch.carried.column_names]))
    result.seen.append(list_seen(batch.columns, task.setup.schema))
    in_files = task.partition.source.format == "images"
    _count(result.broken, result.examples, batch, findings, texts, limit, in_files)
    _count(result.warned, result.warned_examples, batch, judged.warnings, texts, limit, in_files)
    _count_malformed(result, batch, limit)


def _list_rows(findings: Sequence[Finding]) -> Positions:
    parts = [finding.positions for finding in findings]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def _spill(result: Scanned, judged: Judged, texts: ReadTexts, setup: Setup, stem: Path) -> None:
    """Decide which rows go, place the others, learn from those of the train split, spill all."""
    batch, buckets = judged.batch, setup.num_buckets
    decision = decide(
        judged.findings,
        len(batch),
        setup.repairable,
        len(setup.features),
        setup.job.repair.max_repaired_ratio_per_row,
    )
    rejected = decision.rejected
    result.rejected += int(rejected.sum()) + len(batch.malformed)
    placement = place_rows(batch, setup.job.split, setup.job.data.group, buckets, setup.placeless)
    result.groups = np.union1d(result.groups, placement.groups)[:MAX_GROUPS]
    _summarize(result, judged, placement, setup)
    result.counts += spill_rows(stem, batch, placement, np.flatnonzero(~rejected), buckets)
    no_texts = ReadTexts(batch, np.zeros(0, np.int64))
    cells: list[tuple[Holds, tuple[Finding, ...], ReadTexts]] = [
        ("broken", judged.findings, texts),
        ("changed", judged.changed, texts),
        ("unjudged", judged.unjudged, no_texts),
    ]
    for holds, found, read in cells:
        path = name_spill(stem, holds)
        spill_cells(path, batch, found, placement, rejected, read, buckets)
    spill_rejected(stem, batch, decision.findings, rejected, texts)


def _refuse_reserved(batch: Batch) -> None:
    """JSON Lines may name a column for the first time far down."""
    for name in RESERVED:
        if name in batch.carried.column_names:
            raise InputError(
                f"{batch.source} has a column {name!r}, which is nanproof's own name.",
                fix="rename that column.",
                file=batch.source,
                column=name,
            )


def _count(
    counts: RuleCounts,
    examples: dict[Rule, list[Example]],
    batch: Batch,
    findings: Sequence[Finding],
    texts: ReadTexts,
    limit: int,
    in_files: bool,
) -> None:
    for finding in findings:
        key = (finding.column, finding.rule)
        counts[key] += len(finding.positions)
        shown = examples.setdefault(key, [])
        first = finding.positions[: limit - len(shown)]
        if not len(first):
            continue
        values = texts.cells(finding.column, first).to_pylist()
        files = texts.cells("path", first).to_pylist() if in_files else [""] * len(first)
        for position, value, file in zip(first.tolist(), values, files, strict=True):
            shown.append(Example(batch.source, int(batch.rows[position]), value, file=file))


def _count_malformed(result: Scanned, batch: Batch, limit: int) -> None:
    if batch.malformed:
        key = (None, "malformed")
        result.broken[key] += len(batch.malformed)
        shown = result.examples.setdefault(key, [])
        for record in batch.malformed[: limit - len(shown)]:
            shown.append(Example(batch.source, record.row, None, record.detail, record.file))


def _summarize(result: Scanned, judged: Judged, placement: Placement, setup: Setup) -> None:
    """Learn from the valid cells of the train rows, whatever becomes of the rows."""
    batch, findings = judged.batch, judged.findings
    in_train = placement.splits == SPLITS.index("train")
    for name in (*setup.features, setup.job.data.label):
        column = batch.columns[name]
        valid = in_train & column.is_ok()
        for finding in findings:
            if finding.column == name:
                valid[finding.positions] = False
        counted = setup.schema[name].categories is not None or name == setup.job.data.label
        counted &= setup.task == "classification" or name != setup.job.data.label
        summary = summarize(column, np.flatnonzero(valid), counted, setup.points)
        known = result.summaries.get(name)
        result.summaries[name] = merge([known, summary], setup.points) if known else summary
    for name in setup.tensors:
        valid = in_train.copy()
        for finding in findings:
            if finding.column in setup.tensor_columns[name]:
                valid[finding.positions] = False
        learned = result.tensors.get(name, {})
        result.tensors[name] = merge_tensors(
            learned, summarize_measured(judged.tensors[name], valid)
        )


def merge_examples(scans: Sequence[Scanned]) -> dict[Rule, list[Example]]:
    """Return the first places of every broken rule, in source order."""
    merged: dict[Rule, list[Example]] = {}
    for scan in scans:
        add_examples(merged, scan.examples, MAX_EXAMPLES)
    return merged


def add_examples(
    merged: dict[Rule, list[Example]],
    more: Mapping[Rule, Sequence[Example]],
    limit: int,
) -> None:
    """Add the places of a later part to those of the parts before it, in place."""
    for key, examples in more.items():
        known = merged.setdefault(key, [])
        known.extend(examples[: limit - len(known)])
