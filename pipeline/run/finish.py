"""The second map: buckets of one split repaired, judged again, cast and written as shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import is_valid, positions_array, strings, to_arrow, to_numpy
from pipeline.batch import MISSING, NAN, OK, Column, Finding
from pipeline.features import cast_feature, cast_label, is_finite_in
from pipeline.ledger import RuleCounts
from pipeline.manifest import SPLITS, File, Shard, Spec
from pipeline.repair import Plan, Repaired, apply_plan
from pipeline.run.scan import reasons_batch
from pipeline.run.setup import Setup
from pipeline.schema import ColumnSchema
from pipeline.spill import read_bins, write_bins
from pipeline.split import ShardGroup, order_rows
from pipeline.validate import judge_columns
from pipeline.write import write_repairs, write_shard


@dataclass(frozen=True)
class FinishTask:
    """One group of buckets to finish.

    Attributes:
        setup: What the job shares.
        plan: The repair plan.
        spec: The feature spec.
        index: The task's place; it names its files.
        group: The split and its buckets.
        spills: The stems of all spill files, in partition order.
        carried: The columns that the schema does not name, of all files.
        duplicates: The file of the row ids that break a key, or None.
        staging: Where the shards are written before they are published.
    """

    setup: Setup
    plan: Plan
    spec: Spec
    index: int
    group: ShardGroup
    spills: tuple[Path, ...]
    carried: tuple[str, ...]
    duplicates: Path | None
    staging: Path


@dataclass
class Finished:
    """What one finish task wrote.

    Attributes:
        split: An index into `SPLITS`.
        shards: In order, named by their staging paths.
        repairs: The file of changed cells, or None.
        read: Rows that came in.
        duplicates: Rows dropped for a repeated key.
        late: Rows that the last judgement rejected.
        late_reasons: Where their reasons stand, or None.
        changed: Changed cells by column and rule.
        repaired: How many cells were broken and mended.
        filled: How many valid blanks were filled.
    """

    split: int
    shards: list[Shard] = field(default_factory=list)
    repairs: File | None = None
    read: int = 0
    duplicates: int = 0
    late: int = 0
    late_reasons: Path | None = None
    changed: RuleCounts = field(default_factory=Counter)
    repaired: int = 0
    filled: int = 0


def finish_shards(task: FinishTask) -> Finished:
    """Finish one group of buckets."""
    result = Finished(SPLITS.index(task.group.split))
    rows = _read_rows(task, result)
    if rows is None:
        return result
    columns, repaired = _repair(rows, task)
    arrays, findings = _judge(rows, columns, task)
    rejected = np.zeros(len(rows.row_ids), bool)
    for finding in findings:
        rejected[finding.positions] = True
    _spill_late(rows, findings, rejected, task, result)
    _write_changes(rows, columns, repaired, rejected, task, result)
    kept = np.flatnonzero(~rejected)
    pieces = np.array_split(kept, task.group.num_shards) if len(kept) else []
    for number, piece in enumerate(piece for piece in pieces if len(piece)):
        stem = task.staging / f"{task.group.split}-{task.index:05d}-{number:03d}"
        table = _parquet_table(rows, columns, piece, task)
        examples = {name: values[piece] for name, values in arrays.items()}
        examples["row_id"] = rows.row_ids[piece]
        shard = write_shard(stem, table, examples, task.setup.job.shards.formats, task.spec)
        result.shards.append(shard)
    return result


@dataclass(frozen=True)
class _Rows:
    """The spilled rows of a group in their final order, duplicates left out."""

    row_ids: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    table: pa.Table
    broken: Mapping[str, Mapping[str, npt.NDArray[np.int64]]]
    texts: Mapping[tuple[str, int], str | None]

    def column(self, schema: ColumnSchema) -> Column:
        """Return a column as it was spilled: null is missing, a float's NaN is NaN."""
        array = self.table.column(f"c:{schema.name}").combine_chunks()
        valid = is_valid(array)
        if schema.kind == "string":
            states = None if valid is None else np.where(valid, OK, MISSING).astype(np.uint8)
            return Column("string", array, states)
        values = to_numpy(array)
        states = np.zeros(len(values), np.uint8) if valid is None else np.where(valid, OK, MISSING)
        if schema.kind == "float":
            states = np.where((states == OK) & np.isnan(values), NAN, states)
        any_blank = bool((states != OK).any())
        return Column(schema.kind, values, states.astype(np.uint8) if any_blank else None)


def _read_rows(task: FinishTask, result: Finished) -> _Rows | None:
    setup = task.setup
    first = SPLITS.index(task.group.split) * setup.num_buckets
    bins = range(first + task.group.first_bucket, first + task.group.last_bucket + 1)
    tables = [
        pa.Table.from_batches([batch])
        for stem in task.spills
        for batch in read_bins(stem.with_suffix(".rows"), bins)
    ]
    if not tables:
        return None
    table = pa.concat_tables(tables, promote_options="permissive")
    row_ids = _numbers(table, "row_id")
    result.read = len(row_ids)
    order = np.argsort(order_rows(row_ids, setup.job.split.seed))
    if task.duplicates is not None:
        repeated = np.load(task.duplicates, mmap_mode="r")
        places = np.searchsorted(repeated, row_ids[order]).clip(max=max(0, len(repeated) - 1))
        unique = repeated[places] != row_ids[order] if len(repeated) else np.ones(len(order), bool)
        order = order[unique]
        result.duplicates = result.read - len(order)
    if not len(order):
        return None
    table = table.take(positions_array(order))
    row_ids = _numbers(table, "row_id")
    broken, texts = _read_broken(task, bins, row_ids)
    return _Rows(row_ids, _numbers(table, "row"), table, broken, texts)


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    return to_numpy(table.column(name).combine_chunks())


def _read_broken(
    task: FinishTask, bins: Sequence[int], row_ids: npt.NDArray[np.int64]
) -> tuple[dict[str, dict[str, npt.NDArray[np.int64]]], dict[tuple[str, int], str | None]]:
    """Return column to rule to positions, and the texts of the broken cells by position."""
    batches = [
        batch for stem in task.spills for batch in read_bins(stem.with_suffix(".broken"), bins)
    ]
    if not batches:
        return {}, {}
    table = pa.Table.from_batches(batches)
    by_id = np.argsort(row_ids)
    ids = _numbers(table, "row_id")
    places = np.searchsorted(row_ids[by_id], ids).clip(max=len(row_ids) - 1)
    positions = by_id[places]
    present = row_ids[positions] == ids  # a duplicate's broken cells went with it
    columns, rules, values = (table.column(n).to_pylist() for n in ("column", "rule", "value"))
    cells: dict[str, dict[str, list[int]]] = {}
    texts: dict[tuple[str, int], str | None] = {}
    for index in np.flatnonzero(present).tolist():
        position = int(positions[index])
        cells.setdefault(columns[index], {}).setdefault(rules[index], []).append(position)
        texts[columns[index], position] = values[index]
    broken = {
        column: {rule: np.sort(np.array(where, np.int64)) for rule, where in by_rule.items()}
        for column, by_rule in cells.items()
    }
    return broken, texts


def _repair(rows: _Rows, task: FinishTask) -> tuple[dict[str, Column], dict[str, Repaired]]:
    """Return every schema column as it will be written, and what was changed in the features."""
    columns: dict[str, Column] = {}
    repaired: dict[str, Repaired] = {}
    for schema in task.setup.schema.columns:
        column = rows.column(schema)
        if schema.name in task.plan.columns:
            mended = apply_plan(
                column, task.plan.columns[schema.name], rows.broken.get(schema.name, {})
            )
            repaired[schema.name] = mended
            column = mended.column
        columns[schema.name] = column
    return columns, repaired


def _judge(
    rows: _Rows, columns: Mapping[str, Column], task: FinishTask
) -> tuple[dict[str, npt.NDArray[Any]], list[Finding]]:
    """Judge the repaired values by the schema, and what they are after the cast."""
    setup, spec = task.setup, task.spec
    judged = judge_columns(
        columns,
        setup.schema,
        training_dtype=setup.job.train.dtype,
        pandera_schema=setup.load_pandera_schema() if setup.schema.needs_pandera else None,
        all_rows=True,
    )
    # What is ignored is carried as it was, and has been judged by whom it concerns.
    findings = [finding for finding in judged if finding.column not in setup.job.data.ignore]
    arrays: dict[str, npt.NDArray[Any]] = {}
    for feature in spec.features:
        if feature.indicates is None:
            arrays[feature.name] = cast_feature(columns[feature.name], feature)
        else:
            arrays[feature.name] = _indicator(rows, feature.indicates, task)
    arrays[spec.label.name] = cast_label(columns[spec.label.name], spec.label)
    if spec.weight is not None:
        arrays[spec.weight] = columns[spec.weight].values.astype(np.float32)
    for name, values in arrays.items():
        finite = is_finite_in(values, spec.training_dtype)
        if not finite.all():
            findings.append(Finding(name, "overflow", np.flatnonzero(~finite)))
    if spec.label.classes is not None:
        counts = dict(zip(spec.label.classes, task.plan.label.counts or (), strict=True))
        seen = np.array([counts[value] > 0 for value in spec.label.classes] + [False])
        unseen = ~seen[arrays[spec.label.name]]
        if unseen.any():
            findings.append(Finding(spec.label.name, "class_unseen", np.flatnonzero(unseen)))
    return arrays, findings


def _indicator(rows: _Rows, name: str, task: FinishTask) -> npt.NDArray[np.float32]:
    """1.0 where the cell held no valid value as read."""
    column = rows.column(task.setup.schema[name])
    values = np.zeros(len(rows.row_ids), np.float32)
    values[~column.is_ok()] = 1.0
    for positions in rows.broken.get(name, {}).values():
        values[positions] = 1.0
    return values


def _spill_late(
    rows: _Rows,
    findings: Sequence[Finding],
    rejected: npt.NDArray[np.bool_],
    task: FinishTask,
    result: Finished,
) -> None:
    """Spill the reasons of the rows that the last judgement rejected."""
    result.late = int(rejected.sum())
    if not result.late:
        return
    parts = [
        (
            finding.column,
            finding.rule,
            rows.row_ids[finding.positions],
            pa.nulls(len(finding.positions), pa.string()),
        )
        for finding in findings
    ]
    reasons = reasons_batch(parts)
    result.late_reasons = task.staging / f"late-{task.index:05d}.reasons"
    write_bins(result.late_reasons, reasons, np.zeros(len(reasons), np.int64), 1)


def _write_changes(
    rows: _Rows,
    columns: Mapping[str, Column],
    repaired: Mapping[str, Repaired],
    rejected: npt.NDArray[np.bool_],
    task: FinishTask,
    result: Finished,
) -> None:
    """Write every changed cell of the rows that stay: row, column, old, new, rule."""
    parts = []
    for name, mended in repaired.items():
        changed = mended.changed[~rejected[mended.changed]]
        if not len(changed):
            continue
        rules = _rules_by_position(rows.broken.get(name, {}))
        spilled = rows.column(task.setup.schema[name])
        names, olds = [], []
        for position in changed.tolist():
            names.append(",".join(rules.get(position, ("fill",))))
            blank = None if spilled.states is None else int(spilled.states[position])
            olds.append(rows.texts.get((name, position), "nan" if blank == NAN else None))
        result.changed.update((name, rule) for rule in names)
        filled = sum(rule == "fill" for rule in names)
        result.filled += filled
        result.repaired += len(names) - filled
        news = render_cells(columns[name].take(changed))
        parts.append((name, changed, names, strings(olds), news))
    if parts:
        path = task.staging / f"repairs-{task.index:05d}.parquet"
        result.repairs = write_repairs(
            path, rows.row_ids, rows.lines, parts, task.setup.source_names
        )


def _rules_by_position(
    by_rule: Mapping[str, npt.NDArray[np.int64]],
) -> dict[int, tuple[str, ...]]:
    rules: dict[int, tuple[str, ...]] = {}
    for rule, positions in by_rule.items():
        for position in positions.tolist():
            rules[position] = (*rules.get(position, ()), rule)
    return rules


def render_cells(column: Column) -> pa.Array:
    """Return the cells as text: the shortest that reads back as the same value."""
    if column.kind == "string":
        return column.values
    if column.kind == "timestamp":
        return strings([str(v) + "Z" for v in column.values.view("datetime64[us]")])
    return strings([repr(value) for value in column.values.tolist()])


def _parquet_table(
    rows: _Rows,
    columns: Mapping[str, Column],
    piece: npt.NDArray[np.int64],
    task: FinishTask,
) -> pa.Table:
    """The repaired values in the schema's types, the carried columns, and `row_id`."""
    arrays: dict[str, Any] = {"row_id": to_arrow(rows.row_ids[piece])}
    for schema in task.setup.schema.columns:
        if schema.name in task.setup.reading.also_carried:
            continue
        arrays[schema.name] = in_schema_type(columns[schema.name].take(piece), schema)
    spilled = rows.table.take(positions_array(piece))
    for name in task.carried:
        found = f"x:{name}" in spilled.column_names
        arrays[name] = spilled.column(f"x:{name}") if found else pa.nulls(len(piece), pa.string())
    return pa.table(arrays)


def in_schema_type(column: Column, schema: ColumnSchema) -> pa.Array:
    """Return a column as Arrow in the schema's type, null where no value is left."""
    if schema.kind == "string":
        return column.values
    valid = None if column.states is None else column.is_ok()
    if schema.kind == "timestamp":
        zone = schema.dtype.partition(",")[2].strip(" ]") or None
        return to_arrow(column.values, valid, pa.timestamp("us", zone))
    if schema.kind == "bool":
        return to_arrow(column.values, valid)
    return to_arrow(column.values.astype(schema.dtype.lower()), valid)
