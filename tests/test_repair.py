"""Which rows go, and what the cells of the others become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.batch import MISSING, NAN, OK, Finding
from pipeline.repair import apply_plan, decide
from tests.judging import column
from tests.repairing import plan_of, repair


@pytest.mark.parametrize("policy", ["median", "mean", "drop", {"constant": 7.0}])
def test_broken_and_blank_cells_get_the_fill_and_no_other_cell_changes(policy: Any) -> None:
    plan = plan_of("float", [1.0, 3.0, 3.0, 5.0], policy)
    cells = column("float", [1.0, np.nan, 500.0, np.nan, 2.0], [OK, MISSING, OK, NAN, OK])
    fill = 7.0 if isinstance(policy, dict) else 3.0
    assert repair(cells, plan, le=[2]) == ([1.0, fill, fill, fill, 2.0], [1, 2, 3])
    assert cells.values[2] == 500.0


def test_strings_are_filled_by_the_most_frequent() -> None:
    plan = plan_of("string", ["a", "b", "a"], "most_frequent")
    cells = column("string", ["b", None, "zz"], [OK, MISSING, OK])
    assert repair(cells, plan, isin=[2]) == (["b", "a", "a"], [1, 2])


def test_a_sound_column_is_not_copied() -> None:
    cells = column("float", [1.0, 2.0])
    mended = apply_plan(cells, plan_of("float", [1.0], "median"), {}, frozenset())
    assert mended.column.values is cells.values
    assert mended.changed.tolist() == []


def decided(
    *findings: tuple[str | None, str, Sequence[int]], ratio: float = 0.5, num_features: int = 4
) -> tuple[list[int], list[str]]:
    made = [Finding(name, rule, np.array(where, np.int64)) for name, rule, where in findings]
    result = decide(made, 5, frozenset("abcd"), num_features, ratio)
    return np.flatnonzero(result.rejected).tolist(), [f.rule for f in result.findings]


def test_repairable_cells_stay_and_all_others_cost_the_row() -> None:
    found = decided(("a", "nan", [0]), ("label", "nan", [1]), (None, "a_le_b", [3]))
    assert found == ([1, 3], ["nan", "nan", "a_le_b"])


def test_a_row_with_too_many_repairs_goes_with_a_reason_of_its_own() -> None:
    names = [(name, "missing", where) for name, where in zip("abc", ([1, 2], [1, 2], [1]))]
    assert decided(*names) == ([1], ["missing", "missing", "missing", "too_many_repairs"])


def test_a_cell_that_breaks_several_rules_counts_once() -> None:
    assert decided(("a", "le", [1]), ("a", "ne", [1]), ("b", "nan", [1]))[0] == []


@pytest.mark.parametrize(("ratio", "num_features", "broken"), [(0.29, 100, 29), (0.07, 100, 7)])
def test_a_ratio_is_exceeded_only_by_more(ratio: float, num_features: int, broken: int) -> None:
    def rejected(count: int) -> bool:
        names = [f"f{i}" for i in range(count)]
        findings = [Finding(name, "nan", np.array([0])) for name in names]
        result = decide(findings, 1, frozenset(names), num_features, ratio)
        return bool(result.rejected[0])

    assert not rejected(broken)
    assert rejected(broken + 1)


def test_a_ratio_of_zero_lets_no_repair_pass_and_of_one_every() -> None:
    assert decided(("a", "nan", [0]), ratio=0.0)[0] == [0]
    everything = [(name, "nan", [0]) for name in "abcd"]
    assert decided(*everything, ratio=1.0)[0] == []
