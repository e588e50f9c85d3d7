"""The first map: one partition read, judged, placed and spilled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import binaries, positions_array, strings, to_arrow
from pipeline.batch import MISSING, OK, TYPE, Batch, Column, Finding
from pipeline.errors import InputError
from pipeline.ledger import RuleCounts
from pipeline.load import Partition, read_partition
from pipeline.manifest import SPLITS
from pipeline.repair import Summary, decide, merge, summarize
from pipeline.run.setup import RESERVED, Setup
from pipeline.spill import write_bins
from pipeline.split import Placement, place_rows
from pipeline.unique import list_keys, spill_keys
from pipeline.validate import judge_columns

# Enough to tell "one group" from "few groups" in an error; a bounded memory of the rest.
MAX_GROUPS = 4096
MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """Where a rule was broken."""

    source: str
    row: int
    value: str | None


@dataclass
class Scanned:
    """What one partition told.

    Attributes:
        partition: Its index.
        read: Rows read, malformed ones included.
        rejected: Rows that are quarantined.
        counts: `(splits, buckets)` spilled rows.
        summaries: Of the valid train cells, by column.
        broken: Broken cells and rows, by column and rule.
        broken_rows: How many rows break anything.
        examples: The first places of each.
        groups: Hashes of distinct groups, at most `MAX_GROUPS`.
        spills: The spill files' common stems, a batch each.
        carried: The columns that the schema does not name, in the file's order.
    """

    partition: int
    counts: npt.NDArray[np.int64]
    read: int = 0
    rejected: int = 0
    summaries: dict[str, Summary] = field(default_factory=dict)
    broken: RuleCounts = field(default_factory=Counter)
    broken_rows: int = 0
    examples: dict[tuple[str | None, str], list[Example]] = field(default_factory=dict)
    groups: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    spills: list[Path] = field(default_factory=list)
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScanTask:
    """One partition to scan; without `staging` it is judged, and nothing but keys is spilled."""

    setup: Setup
    partition: Partition
    staging: Path
    spill_rows: bool = True


def scan_partition(task: ScanTask) -> Scanned:
    """Scan one partition."""
    setup = task.setup
    result = Scanned(task.partition.index, np.zeros((len(SPLITS), setup.num_buckets), np.int64))
    pandera_schema = setup.load_pandera_schema() if setup.schema.needs_pandera else None
    absent = frozenset(setup.schema.names) - set(task.partition.source.columns)
    for index, batch in enumerate(read_partition(task.partition, setup.reading)):
        stem = task.staging / f"{task.partition.index:05d}-{index:04d}"
        findings = judge_batch(batch, setup, pandera_schema, absent)
        if list_keys(setup.schema):
            keys = stem.with_suffix(".keys")
            spill_keys(keys, batch, setup.schema, setup.job.split.seed, setup.num_buckets)
        _account(result, batch, findings, setup, stem, task.spill_rows)
        result.spills.append(stem)
    return result


def judge_batch(
    batch: Batch, setup: Setup, pandera_schema: Any | None, absent: Collection[str]
) -> tuple[Finding, ...]:
    """Return what the schema finds broken in the columns that it is asked of."""
    findings = judge_columns(
        batch.columns,
        setup.schema,
        training_dtype=setup.job.train.dtype,
        pandera_schema=pandera_schema,
        absent=absent,
    )
    kept = [finding for finding in findings if finding.column not in setup.unjudged]
    group = setup.job.data.group
    if group is not None and group not in setup.schema.names:
        states = batch.columns[group].states
        if states is not None and (states == MISSING).any():
            kept.append(Finding(group, "missing", np.flatnonzero(states == MISSING)))
    return tuple(kept)


def _account(
    result: Scanned,
    batch: Batch,
    findings: tuple[Finding, ...],
    setup: Setup,
    stem: Path,
    spill_rows: bool,
) -> None:
    """Add one batch to the result, and spill its rows where asked to."""
    repair = setup.job.repair
    decision = decide(
        findings,
        len(batch),
        setup.repairable,
        len(setup.features),
        repair.max_repaired_ratio_per_row,
    )
    texts = _Texts(batch, findings)
    result.read += len(batch) + len(batch.malformed)
    result.rejected += int(decision.rejected.sum()) + len(batch.malformed)
    result.broken_rows += len(texts.positions) + len(batch.malformed)
    _refuse_reserved(batch)
    result.carried = tuple(dict.fromkeys([*result.carried, *batch.carried.column_names]))
    _count(result, batch, findings, texts)
    if not spill_rows:
        return
    placement = place_rows(batch, setup.job.split, setup.job.data.group, setup.num_buckets)
    groups = np.union1d(result.groups, placement.groups)[:MAX_GROUPS]
    result.groups = groups
    _summarize(result, batch, findings, placement, setup)
    kept = np.flatnonzero(~decision.rejected)
    result.counts += _spill_rows(stem, batch, placement, kept, setup.num_buckets)
    _spill_broken(stem, batch, findings, placement, decision.rejected, texts, setup.num_buckets)
    _spill_rejected(stem, batch, decision.findings, decision.rejected, texts)


class _Texts:
    """The cells of a batch's broken rows as they were read, looked up by row and column."""

    def __init__(self, batch: Batch, findings: Sequence[Finding]) -> None:
        parts = [finding.positions for finding in findings]
        empty = np.zeros(0, np.int64)
        self.positions = np.unique(np.concatenate(parts)) if parts else empty
        self.columns: Mapping[str, pa.Array] = (
            batch.read_texts(self.positions) if len(self.positions) else {}
        )

    def cells(self, column: str | None, positions: npt.NDArray[np.int64]) -> pa.Array:
        """Return one column's texts at these positions; null without such a column."""
        if column is None or column not in self.columns:
            return pa.nulls(len(positions), pa.string())
        places = np.searchsorted(self.positions, positions)
        return self.columns[column].take(positions_array(places))


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


def _count(result: Scanned, batch: Batch, findings: Sequence[Finding], texts: _Texts) -> None:
    for finding in findings:
        key = (finding.column, finding.rule)
        result.broken[key] += len(finding.positions)
        shown = result.examples.setdefault(key, [])
        first = finding.positions[: MAX_EXAMPLES - len(shown)]
        values = texts.cells(finding.column, first).to_pylist() if len(first) else []
        for position, value in zip(first.tolist(), values, strict=True):
            shown.append(Example(batch.source, int(batch.rows[position]), value))
    if batch.malformed:
        key = (None, "malformed")
        result.broken[key] += len(batch.malformed)
        shown = result.examples.setdefault(key, [])
        for record in batch.malformed[: MAX_EXAMPLES - len(shown)]:
            shown.append(Example(batch.source, record.row, record.detail))


def _summarize(
    result: Scanned,
    batch: Batch,
    findings: Sequence[Finding],
    placement: Placement,
    setup: Setup,
) -> None:
    """Learn from the valid cells of the train rows, whatever becomes of the rows."""
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


def _spill_rows(
    stem: Path,
    batch: Batch,
    placement: Placement,
    kept: npt.NDArray[np.int64],
    num_buckets: int,
) -> npt.NDArray[np.int64]:
    """Spill the rows that stay, by split and bucket; return `(splits, buckets)` counts."""
    arrays = {"row_id": to_arrow(batch.row_ids), "row": to_arrow(batch.rows)}
    arrays |= {f"c:{name}": spill_column(column) for name, column in batch.columns.items()}
    for name, chunked in zip(batch.carried.column_names, batch.carried.columns, strict=True):
        arrays[f"x:{name}"] = chunked.combine_chunks()
    rows = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    bins = placement.splits.astype(np.int64) * num_buckets + placement.buckets
    if len(kept) < len(batch):
        rows, bins = rows.take(positions_array(kept)), bins[kept]
    counts = write_bins(stem.with_suffix(".rows"), rows, bins, len(SPLITS) * num_buckets)
    return counts.reshape(len(SPLITS), num_buckets)


def spill_column(column: Column) -> pa.Array:
    """Return a column as it is spilled: null where there is no value to keep."""
    if column.kind == "string":
        return column.values
    if column.states is None:
        return to_arrow(column.values)
    if column.kind == "float":  # NaN and the infinities are kept as they are
        return to_arrow(column.values, (column.states != MISSING) & (column.states != TYPE))
    infinite = (column.states != OK) & (column.values != 0)
    return to_arrow(column.values, (column.states == OK) | infinite)


def _spill_broken(
    stem: Path,
    batch: Batch,
    findings: Sequence[Finding],
    placement: Placement,
    rejected: npt.NDArray[np.bool_],
    texts: _Texts,
    num_buckets: int,
) -> None:
    """Spill the broken cells of the rows that stay, to the same bins as their rows."""
    parts = []
    for finding in findings:
        positions = finding.positions[~rejected[finding.positions]]
        if len(positions):
            values = texts.cells(finding.column, positions)
            parts.append((finding.column, finding.rule, positions, values))
    if not parts:
        return
    positions = np.concatenate([part[2] for part in parts])
    rows = reasons_batch(
        [(column, rule, batch.row_ids[where], values) for column, rule, where, values in parts]
    )
    bins = placement.splits[positions].astype(np.int64) * num_buckets + placement.buckets[positions]
    write_bins(stem.with_suffix(".broken"), rows, bins, len(SPLITS) * num_buckets)


def reasons_batch(
    parts: Sequence[tuple[str | None, str, npt.NDArray[np.int64], pa.Array]],
) -> pa.RecordBatch:
    """Return (column, rule, row ids, values) parts as rows of one table of reasons."""
    lengths = [len(part[2]) for part in parts]
    which = np.repeat(np.arange(len(parts)), lengths)
    arrays = [
        to_arrow(np.concatenate([part[2] for part in parts])),
        strings([part[0] for part in parts]).take(positions_array(which)),
        strings([part[1] for part in parts]).take(positions_array(which)),
        pa.concat_arrays([part[3] for part in parts]),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=["row_id", "column", "rule", "value"])


def _spill_rejected(
    stem: Path,
    batch: Batch,
    findings: Sequence[Finding],
    rejected: npt.NDArray[np.bool_],
    texts: _Texts,
) -> None:
    """Spill the rows that go, as they were read, and beside them their reasons."""
    parts = []
    for finding in findings:
        positions = finding.positions[rejected[finding.positions]]
        if len(positions):
            values = texts.cells(finding.column, positions)
            parts.append((finding.column, finding.rule, batch.row_ids[positions], values))
    if batch.malformed:
        ids = np.array([record.row_id for record in batch.malformed], np.int64)
        details = strings([record.detail for record in batch.malformed])
        parts.append((None, "malformed", ids, details))
    if not parts:
        return
    reasons = reasons_batch(parts)
    write_bins(stem.with_suffix(".reasons"), reasons, np.zeros(len(reasons), np.int64), 1)
    rows = _rejected_rows(batch, np.flatnonzero(rejected), texts)
    write_bins(stem.with_suffix(".rejected"), rows, np.zeros(len(rows), np.int64), 1)


def _rejected_rows(batch: Batch, positions: npt.NDArray[np.int64], texts: _Texts) -> pa.RecordBatch:
    broken = batch.malformed
    row_ids = np.concatenate([batch.row_ids[positions], [record.row_id for record in broken]])
    rows = np.concatenate([batch.rows[positions], [record.row for record in broken]])
    nothing = pa.nulls(len(positions), pa.binary())
    data = binaries([record.data for record in broken])
    arrays = {
        "row_id": to_arrow(row_ids.astype(np.int64)),
        "row": to_arrow(rows.astype(np.int64)),
        "malformed": pa.concat_arrays([nothing, data]),
    }
    blank = pa.nulls(len(broken), pa.string())
    for name in texts.columns:
        arrays[f"t:{name}"] = pa.concat_arrays([texts.cells(name, positions), blank])
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def merge_examples(scans: Sequence[Scanned]) -> dict[tuple[str | None, str], list[Example]]:
    """Return the first places of every broken rule, in source order."""
    merged: dict[tuple[str | None, str], list[Example]] = {}
    for scan in scans:
        for key, examples in scan.examples.items():
            known = merged.setdefault(key, [])
            known.extend(examples[: MAX_EXAMPLES - len(known)])
    return merged
