"""Summaries and plans, as the tests of repair make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.batch import VALUE_DTYPES, Column
from pipeline.job import RepairSettings
from pipeline.repair import ColumnPlan, Summary, apply_plan, plan_column, summarize
from pipeline.schema import Check, ColumnSchema
from tests.judging import column

RANGE_RULES = frozenset({"inf", "overflow", "in_range", "less_than_or_equal_to"})


def schema_of(kind: Any, *checks: Check, **facts: Any) -> ColumnSchema:
    dtype = {"string": "str", "timestamp": "datetime64[us]"}.get(kind, VALUE_DTYPES.get(kind, ""))
    return ColumnSchema("x", kind, dtype, checks=checks, **facts)


def summary_of(kind: Any, cells: Sequence[Any], counted: bool = False) -> Summary:
    return summarize(column(kind, cells), np.arange(len(cells)), counted, 100)


def plan_of(
    kind: Any, cells: Sequence[Any], policy: Any, *checks: Check, counted: bool = False
) -> ColumnPlan:
    schema = schema_of(kind, *checks, categories=tuple(cells) if counted else None)
    given_policy = RepairSettings(columns={"x": policy})
    return plan_column(schema, summary_of(kind, cells, counted), given_policy)


def repair(cells: Column, plan: ColumnPlan, **broken: Sequence[int]) -> tuple[list[Any], list[int]]:
    where = {rule: np.array(positions, np.int64) for rule, positions in broken.items()}
    mended = apply_plan(cells, plan, where, RANGE_RULES)
    assert mended.column.states is None
    values = mended.column.values
    return (values.tolist() if isinstance(values, np.ndarray) else values.to_pylist()), (
        mended.changed.tolist()
    )
