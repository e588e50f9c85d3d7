"""The reduce between the maps: merge what the train split taught into the repair plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.arrow import strings
from pipeline.batch import VALUE_DTYPES, Column, Kind
from pipeline.errors import RepairError
from pipeline.repair import (
    ColumnPlan,
    Plan,
    Summary,
    merge,
    merge_tensors,
    plan_column,
    plan_label,
    plan_tensor,
)
from pipeline.run.scan import Scanned
from pipeline.run.setup import Setup
from pipeline.validate import judge_columns

# A string feature with this share of distinct values is an identifier, not a category.
NEAR_UNIQUE_RATIO = 0.5
NEAR_UNIQUE_MIN_ROWS = 100


def fit_plan(setup: Setup, scans: Sequence[Scanned]) -> Plan:
    """Merge the partitions' summaries, in partition order, into the plan.

    Raises:
        RepairError: A column has no valid train cell, or a fill that the schema rejects.
    """
    label = setup.job.data.label
    repair, dtype = setup.job.repair, setup.job.train.dtype
    columns = {
        name: plan_column(setup.schema[name], _merged(scans, name, setup.points), repair, dtype)
        for name in setup.features
    }
    summary = _merged(scans, label, setup.points)
    tensors = {
        name: plan_tensor(name, dtype, _merged_tensors(scans, name))
        for name, dtype in setup.tensors.items()
    }
    plan = Plan(
        columns=columns,
        label=plan_label(setup.schema[label], summary, setup.task),
        tensors=tensors,
    )
    for name, column in plan.columns.items():
        _check_fill(setup, name, column)
    return plan


def list_near_unique(plan: Plan, scans: Sequence[Scanned], setup: Setup) -> list[str]:
    """Return the string features that are nearly unique: identifiers, most likely."""
    return [
        name
        for name, column in plan.columns.items()
        if column.vocabulary is not None
        and column.count >= NEAR_UNIQUE_MIN_ROWS
        and len(_merged(scans, name, setup.points).counts) > NEAR_UNIQUE_RATIO * column.count
    ]


def _merged(scans: Sequence[Scanned], name: str, points: int) -> Summary:
    return merge([s.summaries[name] for s in scans if name in s.summaries], points)


def _merged_tensors(scans: Sequence[Scanned], name: str) -> dict[str, Summary]:
    merged: dict[str, Summary] = {}
    for scan in scans:
        merged = merge_tensors(merged, scan.tensors.get(name, {}))
    return merged


def _check_fill(setup: Setup, name: str, plan: ColumnPlan) -> None:
    """Ask the schema about the fill before a million cells get it."""
    cell = {name: _one_cell(plan.kind, plan.fill)}
    pandera_schema = setup.load_pandera_schema() if setup.schema.needs_pandera else None
    findings = [
        finding
        for finding in judge_columns(
            cell,
            setup.schema,
            training_dtype=setup.job.train.dtype,
            pandera_schema=pandera_schema,
        )
        if finding.column == name and not finding.warns
    ]
    if findings:
        raise RepairError(
            f"column {name!r}: the {plan.policy} {plan.fill!r} breaks the schema's rule "
            f"{findings[0].rule!r} itself.",
            fix=f"set repair.columns.{name} to another policy or a legal constant.",
            column=name,
            rule=findings[0].rule,
        )


def _one_cell(kind: Kind, value: Any) -> Column:
    if kind == "string":
        return Column(kind, strings([value]))
    return Column(kind, np.array([value], VALUE_DTYPES[kind]))
