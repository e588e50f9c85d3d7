"""Which rows go, and what the cells of the others become."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.arrow import strings, to_arrow
from pipeline.batch import Column, Finding
from pipeline.repair.plan import ColumnPlan

TOO_MANY_REPAIRS = "too_many_repairs"


@dataclass(frozen=True)
class Decision:
    """What becomes of the rows of one batch.

    Attributes:
        rejected: `(rows,)` True where the row is quarantined.
        findings: Those of the batch, and `too_many_repairs` where that was decided.
    """

    rejected: npt.NDArray[np.bool_]
    findings: tuple[Finding, ...]


def decide(
    findings: Sequence[Finding],
    num_rows: int,
    repairable: frozenset[str],
    num_features: int,
    max_repaired_ratio: float,
) -> Decision:
    """Decide which rows are quarantined.

    Args:
        findings: What is broken.
        num_rows: The batch's rows.
        repairable: The feature columns whose policy mends a cell.
        num_features: How many feature columns there are.
        max_repaired_ratio: The largest share of a row's feature cells that may be mended.
    """
    rejected = np.zeros(num_rows, bool)
    broken = np.zeros(num_rows, np.int64)
    for column in dict.fromkeys(finding.column for finding in findings):
        mine = [finding.positions for finding in findings if finding.column == column]
        if column in repairable:
            broken[np.unique(np.concatenate(mine))] += 1
        else:
            for positions in mine:
                rejected[positions] = True
    overloaded = broken / max(1, num_features) > max_repaired_ratio  # 0.29 * 100 is below 29
    if not overloaded.any():
        return Decision(rejected, tuple(findings))
    verdict = Finding(None, TOO_MANY_REPAIRS, np.flatnonzero(overloaded))
    return Decision(rejected | overloaded, (*findings, verdict))


@dataclass(frozen=True)
class Repaired:
    """One column after repair.

    Attributes:
        column: Every cell holds a value.
        changed: Ascending positions of the cells that were mended or filled.
    """

    column: Column
    changed: npt.NDArray[np.int64]


def apply_plan(
    column: Column,
    plan: ColumnPlan,
    broken: Mapping[str, npt.NDArray[np.int64]],
    range_rules: Collection[str],
) -> Repaired:
    """Mend the broken cells of one feature column and fill its blanks.

    Args:
        column: The cells as they were spilled.
        plan: The column's plan.
        broken: Rule to the ascending positions that break it.
        range_rules: Those among them that a value beyond a bound breaks.
    """
    blank = ~column.is_ok() if column.states is not None else np.zeros(len(column), bool)
    mended = np.zeros(len(column), bool)
    otherwise = np.zeros(len(column), bool)
    for rule, positions in broken.items():
        mended[positions] = True
        if rule not in range_rules:
            otherwise[positions] = True
    changed = np.flatnonzero(blank | mended)
    if not len(changed):
        return Repaired(replace(column, states=None), changed)
    if column.kind == "string":
        return Repaired(_fill_strings(column, plan, blank | mended), changed)
    values = column.values.copy()
    if plan.policy == "clip":
        only_range = mended & ~otherwise
        values = _clip(values, plan, only_range)
        values[(mended | blank) & ~only_range] = plan.fill
    else:
        values[changed] = plan.fill
    return Repaired(Column(column.kind, values), changed)


def _clip(
    values: npt.NDArray[Any], plan: ColumnPlan, mask: npt.NDArray[np.bool_]
) -> npt.NDArray[Any]:
    """Move the marked values to the schema's bounds; beyond a side without one, to the fill."""
    fill: Any = plan.fill
    lower = fill if plan.lower is None else plan.lower
    upper = fill if plan.upper is None else plan.upper
    cells = values[mask]
    below = cells < (lower if plan.lower is None else plan.lower)
    values[mask] = np.where(below, lower, upper)
    return values


def _fill_strings(column: Column, plan: ColumnPlan, mask: npt.NDArray[np.bool_]) -> Column:
    filled = pc.if_else(to_arrow(mask), strings([str(plan.fill)])[0], column.values)
    return Column(column.kind, filled)
