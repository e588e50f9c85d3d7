"""The second map: buckets of one split repaired, judged again, cast and written as shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array, to_arrow
from pipeline.batch import Column, Finding, hold
from pipeline.features import cast_feature, cast_label, is_finite_in
from pipeline.manifest import SPLITS, File, Shard, Spec
from pipeline.repair import Plan, Repaired, apply_plan, list_range_rules
from pipeline.run.changes import Changes, list_changes
from pipeline.run.rows import Rows, read_rows
from pipeline.run.setup import Setup
from pipeline.run.spilling import reasons_batch
from pipeline.run.tensors import cast_tensor, pick_rows, spell_shape
from pipeline.schema import ColumnSchema
from pipeline.spill import name_spill, write_bins
from pipeline.split import ShardGroup
from pipeline.validate import DEFAULT, judge_columns
from pipeline.write import write_repairs, write_shard

# Of a label whose class the train split does not hold.
CLASS_UNSEEN = "class_unseen"


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
        settled: The file of the row ids that break a rule of the whole dataset, or None.
        staging: Where the shards are written before they are published.
    """

    setup: Setup
    plan: Plan
    spec: Spec
    index: int
    group: ShardGroup
    spills: tuple[Path, ...]
    carried: tuple[str, ...]
    settled: Path | None
    staging: Path


@dataclass
class Finished:
    """What one finish task wrote.

    Attributes:
        split: An index into `SPLITS`.
        shards: In order, named by their staging paths.
        repairs: The file of changed cells, or None.
        read: Rows that came in.
        settled: Rows dropped for a rule of the whole dataset.
        late: Rows that the last judgement rejected.
        late_reasons: Where their reasons stand, or None.
        changes: What was changed.
    """

    split: int
    shards: list[Shard] = field(default_factory=list)
    repairs: File | None = None
    read: int = 0
    settled: int = 0
    late: int = 0
    late_reasons: Path | None = None
    changes: Changes = field(default_factory=Changes)


def finish_shards(task: FinishTask) -> Finished:
    """Finish one group of buckets."""
    setup, group = task.setup, task.group
    result = Finished(SPLITS.index(group.split))
    first = result.split * setup.num_buckets
    bins = range(first + group.first_bucket, first + group.last_bucket + 1)
    shapes = {f.name: spell_shape(f.shape) for f in task.spec.features if f.kind == "tensor"}
    rows, result.read = read_rows(task.spills, bins, setup.job.split.seed, task.settled, shapes)
    result.settled = result.read - (0 if rows is None else len(rows.row_ids))
    if rows is None:
        return result
    columns, repaired = _repair(rows, task)
    arrays, findings = _judge(rows, columns, task)
    rejected = np.zeros(len(rows.row_ids), bool)
    for finding in findings:
        rejected[finding.positions] = True
    _spill_late(rows, findings, rejected, task, result)
    result.changes = list_changes(rows, columns, repaired, rejected, setup.schema)
    if result.changes.parts:
        path = task.staging / f"repairs-{task.index:05d}.parquet"
        result.repairs = write_repairs(
            path, rows.row_ids, rows.lines, result.changes.parts, setup.source_names
        )
        result.changes.parts.clear()  # they stand on disk
    kept = np.flatnonzero(~rejected)
    pieces = np.array_split(kept, group.num_shards) if len(kept) else []
    for number, piece in enumerate(piece for piece in pieces if len(piece)):
        stem = task.staging / f"{group.split}-{task.index:05d}-{number:03d}"
        examples = {name: pick_rows(values, piece) for name, values in arrays.items()}
        table = _parquet_table(rows, columns, examples, piece, task)
        examples["row_id"] = rows.row_ids[piece]
        shard = write_shard(stem, table, examples, setup.job.shards.formats, task.spec)
        result.shards.append(shard)
    return result


def _repair(rows: Rows, task: FinishTask) -> tuple[dict[str, Column], dict[str, Repaired]]:
    """Return every schema column as it will be written, and what was changed in the features."""
    columns: dict[str, Column] = {}
    repaired: dict[str, Repaired] = {}
    for schema in task.setup.schema.columns:
        column = rows.column(schema)
        if schema.name in task.plan.columns:
            mended = apply_plan(
                column,
                task.plan.columns[schema.name],
                rows.broken.get(schema.name, {}),
                list_range_rules(schema),
            )
            repaired[schema.name] = mended
            column = mended.column
        if column.kind == "float":  # so that both formats hold the same value
            column = hold(column, schema.dtype.lower())
        columns[schema.name] = column
    return columns, repaired


def _judge(
    rows: Rows, columns: Mapping[str, Column], task: FinishTask
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
    ignored = setup.job.data.ignore
    findings = [
        finding if finding.column is not None else _leave_out_unjudged(finding, rows)
        for finding in judged
        if finding.column not in ignored and not finding.warns
    ]
    arrays: dict[str, npt.NDArray[Any]] = {}
    for feature in spec.features:
        if feature.kind == "tensor":
            dtype = setup.tensors[feature.name]
            arrays[feature.name], other_shape = cast_tensor(rows, feature, dtype)
            findings.append(other_shape)
        elif feature.indicates is None:
            arrays[feature.name] = cast_feature(columns[feature.name], feature)
        else:
            arrays[feature.name] = _indicator(rows, feature.indicates, task)
    arrays[spec.label.name] = cast_label(columns[spec.label.name], spec.label)
    if spec.weight is not None:
        arrays[spec.weight] = columns[spec.weight].values.astype(np.float32)
    for name, values in arrays.items():
        if name in setup.tensors:
            continue
        finite = is_finite_in(values, spec.training_dtype)
        if not finite.all():
            findings.append(Finding(name, "overflow", np.flatnonzero(~finite)))
    if spec.label.classes is not None:
        counts = dict(zip(spec.label.classes, task.plan.label.counts or (), strict=True))
        seen = np.array([counts[value] > 0 for value in spec.label.classes] + [False])
        unseen = ~seen[arrays[spec.label.name]]
        if unseen.any():
            findings.append(Finding(spec.label.name, CLASS_UNSEEN, np.flatnonzero(unseen)))
    return arrays, findings


def _leave_out_unjudged(finding: Finding, rows: Rows) -> Finding:
    """Leave out the rows that no check on whole rows is asked of, here as in scan."""
    unasked = [where for rules in rows.unjudged.values() for where in rules.values()]
    if not unasked:
        return finding
    return replace(finding, positions=np.setdiff1d(finding.positions, np.concatenate(unasked)))


def _indicator(rows: Rows, name: str, task: FinishTask) -> npt.NDArray[np.float32]:
    """1.0 where the cell held no valid value as read."""
    column = rows.column(task.setup.schema[name])
    values = np.zeros(len(rows.row_ids), np.float32)
    values[~column.is_ok()] = 1.0
    without_value = [*rows.broken.get(name, {}).values()]
    without_value += [
        where for rule, where in rows.changed.get(name, {}).items() if rule == DEFAULT
    ]
    for positions in without_value:
        values[positions] = 1.0
    return values


def _spill_late(
    rows: Rows,
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
    result.late_reasons = name_spill(task.staging / f"late-{task.index:05d}", "reasons")
    write_bins(result.late_reasons, reasons, np.zeros(len(reasons), np.int64), 1)


def _parquet_table(
    rows: Rows,
    columns: Mapping[str, Column],
    examples: Mapping[str, Any],
    piece: npt.NDArray[np.int64],
    task: FinishTask,
) -> pa.Table:
    """Where each row stood, the repaired values in the schema's types, the carried columns."""
    arrays: dict[str, Any] = {
        "row_id": to_arrow(rows.row_ids[piece]),
        "_row": to_arrow(rows.lines[piece]),
    }
    for schema in task.setup.schema.columns:
        if schema.name in task.setup.reading.also_carried:
            continue
        arrays[schema.name] = in_schema_type(columns[schema.name].take(piece), schema)
    spilled = rows.table.take(positions_array(piece))
    present = set(spilled.column_names)
    for name in task.carried:
        if name in task.setup.tensors:
            arrays[name] = examples[name]
            continue
        found = f"x:{name}" in present
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
