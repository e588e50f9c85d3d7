"""What is learned, which rows go, and what the cells of the others become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrow import strings
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, VALUE_DTYPES, Column, Finding
from pipeline.errors import RepairError, SettingsError
from pipeline.features import build_spec, cast_feature
from pipeline.job import RepairSettings, ShardSettings
from pipeline.manifest import Feature
from pipeline.repair import (
    ColumnPlan,
    LabelPlan,
    Plan,
    Summary,
    apply_plan,
    decide,
    legal_bounds,
    merge,
    plan_column,
    plan_label,
    points_per_column,
    policy_of,
    summarize,
)
from pipeline.schema import Check, ColumnSchema

FINITE = st.floats(-1e6, 1e6)


def column(kind: Any, cells: Sequence[Any], states: Sequence[int] | None = None) -> Column:
    found = None if states is None else np.array(states, np.uint8)
    if kind == "string":
        return Column(kind, strings(cells), found)
    return Column(kind, np.array(cells, VALUE_DTYPES[kind]), found)


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
    mended = apply_plan(cells, plan, where)
    assert mended.column.states is None
    values = mended.column.values
    return (values.tolist() if isinstance(values, np.ndarray) else values.to_pylist()), (
        mended.changed.tolist()
    )


@pytest.mark.parametrize(
    ("kind", "cells", "policy", "fill"),
    [
        ("float", [1.0, 2.0, 4.0, 9.0], "median", 2.0),
        ("float", [3.0, 1.0, 2.0], "median", 2.0),
        ("float", [1.0, 2.0, 4.0, 9.0], "mean", 4.0),
        ("float", [1.0, 2.0, 4.0, 9.0], "clip", 2.0),
        ("float", [1.0, 2.0, 4.0, 9.0], "drop", 2.0),
        ("int", [1, 2, 4, 10], "median", 2),
        ("int", [1, 2, 4, 10], "mean", 4),
        ("int", [1, 1, 1, 4], "mean", 2),
        ("int", [2**62, 2**62 + 1], "median", 2**62),
        ("bool", [True, False, True], "most_frequent", True),
        ("bool", [True, False], "most_frequent", False),
        ("string", ["b", "a", "b", "c"], "most_frequent", "b"),
        ("string", ["b", "a"], "most_frequent", "a"),
        ("string", ["b", "a", "b"], "drop", "b"),
        ("timestamp", [10, 20, 40], "median", 20),
        ("timestamp", [10, 20, 40], "mean", 23),
    ],
)
def test_the_fill_is_what_the_policy_says(
    kind: Any, cells: list[Any], policy: str, fill: Any
) -> None:
    found = plan_of(kind, cells, policy).fill
    assert found == fill
    assert type(found) is type(fill)


def test_the_most_frequent_of_listed_numbers() -> None:
    assert plan_of("int", [3, 1, 3, 2], "most_frequent", counted=True).fill == 3


def test_a_fill_and_its_type_survive_the_plan_s_json() -> None:
    columns = {
        "f": plan_of("float", [1.0, 2.0], "median"),
        "i": plan_of("int", [1, 2], "median"),
        "b": plan_of("bool", [True], "most_frequent"),
        "s": plan_of("string", ["1"], "most_frequent"),
    }
    plan = Plan(columns=columns, label=LabelPlan(kind="int", task="classification", classes=(0, 1)))
    read = Plan.model_validate_json(plan.model_dump_json())
    assert read == plan
    assert [type(column.fill) for column in read.columns.values()] == [float, int, bool, str]
    assert type(read.columns["f"].minimum) is float


@pytest.mark.parametrize(
    ("kind", "constant", "fill"),
    [
        ("float", 3, 3.0),
        ("float", -0.5, -0.5),
        ("int", 3.0, 3),
        ("bool", False, False),
        ("string", "", ""),
        ("timestamp", "1970-01-02", 86_400_000_000),
        ("timestamp", "1970-01-01T00:00:01.000002", 1_000_002),
        ("timestamp", "1970-01-01T01:00:00+01:00", 0),
        ("timestamp", "1970-01-01T00:00:01Z", 1_000_000),
    ],
)
def test_a_constant_takes_the_column_s_type(kind: Any, constant: Any, fill: Any) -> None:
    schema, policy = schema_of(kind), RepairSettings(columns={"x": {"constant": constant}})
    found = policy_of(schema, policy)
    assert found == ("constant", fill)
    assert type(found[1]) is type(fill)


@pytest.mark.parametrize(
    ("kind", "constant"),
    [
        pytest.param("float", 10**400, id="float beyond all floats"),
        ("float", "a"),
        ("float", True),
        ("float", float("inf")),
        ("float", float("nan")),
        ("int", 1.5),
        ("int", True),
        ("int", 2**63),
        pytest.param("int", 10**400, id="int beyond all floats"),
        ("int", float("inf")),
        ("bool", 1),
        ("string", 1),
        ("timestamp", 1),
        ("timestamp", "tomorrow"),
        ("timestamp", "NaT"),
        ("timestamp", ""),
    ],
)
def test_a_constant_of_another_type_is_refused(kind: Any, constant: Any) -> None:
    schema, policy = schema_of(kind), RepairSettings(columns={"x": {"constant": constant}})
    with pytest.raises(SettingsError, match=f"is no {kind}, as column 'x' needs"):
        policy_of(schema, policy)


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        ("string", "median"),
        ("string", "clip"),
        ("bool", "mean"),
        ("float", "most_frequent"),
        ("timestamp", "most_frequent"),
    ],
)
def test_a_policy_that_does_not_suit_the_column_is_refused(kind: Any, policy: Any) -> None:
    with pytest.raises(SettingsError, match=f"{policy!r} does not suit the {kind} column 'x'"):
        policy_of(schema_of(kind), RepairSettings(columns={"x": policy}))


def test_without_one_of_its_own_a_column_has_its_kind_s_policy() -> None:
    policy = RepairSettings(numeric="clip", categorical="drop")
    kinds: list[Any] = ["float", "int", "timestamp", "string", "bool"]
    chosen = [policy_of(schema_of(kind), policy)[0] for kind in kinds]
    assert chosen == ["clip", "clip", "clip", "drop", "drop"]


def test_a_column_without_a_valid_train_cell_is_named() -> None:
    with pytest.raises(RepairError, match="column 'x' has no valid cell in the train split"):
        plan_column(schema_of("float"), Summary(), RepairSettings())
    with pytest.raises(RepairError, match="label 'x' has no valid value"):
        plan_label(schema_of("int"), Summary(), "regression")


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
    mended = apply_plan(cells, plan_of("float", [1.0], "median"), {})
    assert mended.column.values is cells.values
    assert mended.changed.tolist() == []


RANGE = Check("in_range", {"min_value": 0, "max_value": 10}, "in_range")
OPEN = Check(
    "in_range",
    {"min_value": 0, "max_value": 10, "include_min": False, "include_max": False},
    "in_range",
)
GE = Check("greater_than_or_equal_to", {"min_value": 0}, "ge")
LE = Check("less_than_or_equal_to", {"max_value": 10}, "le")
GT = Check("greater_than", {"min_value": 0}, "gt")
LT = Check("less_than", {"max_value": 10}, "lt")


@pytest.mark.parametrize(
    ("checks", "low", "high"),
    [
        ([RANGE], 0.0, 10.0),
        ([OPEN], 5e-324, np.nextafter(10.0, 0)),
        ([GE], 0.0, 4.0),
        ([LE], 4.0, 10.0),
        ([GT, LE], 5e-324, 10.0),
        ([GE, LT], 0.0, np.nextafter(10.0, 0)),
        ([], 4.0, 4.0),
    ],
)
def test_clip_moves_what_is_beyond_a_bound_to_it_and_beyond_none_to_the_median(
    checks: list[Check], low: float, high: float
) -> None:
    plan = plan_of("float", [4.0, 4.0, 5.0], "clip", *checks)
    cells = column("float", [-np.inf, -3.0, 7.0, 40.0, np.inf], [INF, OK, OK, OK, INF])
    broken = {"inf": [0, 4], "in_range": [1], "less_than_or_equal_to": [3]}
    assert repair(cells, plan, **broken)[0] == [low, low, 7.0, high, high]


def test_clip_gives_every_other_reason_the_median() -> None:
    plan = plan_of("float", [4.0, 4.0, 5.0], "clip", RANGE)
    cells = column("float", [np.nan, np.nan, np.nan, 50.0, 3.0], [MISSING, NAN, TYPE, OK, OK])
    broken = {"missing": [0], "nan": [1], "type": [2], "in_range": [3], "not_equal_to": [3]}
    assert repair(cells, plan, **broken) == ([4.0, 4.0, 4.0, 4.0, 3.0], [0, 1, 2, 3])


def test_clip_moves_overflow_to_the_bound() -> None:
    plan = plan_of("float", [4.0], "clip", RANGE)
    cells = column("float", [1e300, -1e300])
    broken = {"overflow": [0, 1], "in_range": [0, 1]}
    assert repair(cells, plan, **broken)[0] == [10.0, 0.0]


def test_clip_of_integers_takes_whole_bounds_and_both_infinities() -> None:
    fractional = Check("in_range", {"min_value": 0.5, "max_value": 9.5}, "in_range")
    plan = plan_of("int", [4], "clip", fractional)
    limits = np.iinfo(np.int64)
    cells = column("int", [limits.min, -5, 40, limits.max], [INF, OK, OK, INF])
    assert repair(cells, plan, inf=[0, 3], in_range=[1, 2])[0] == [1, 1, 9, 9]


@pytest.mark.parametrize(
    ("kind", "check", "bounds"),
    [
        ("int", GT, (1, None)),
        ("int", LT, (None, 9)),
        ("int", Check("gt", {"min_value": 0.5}, "gt"), (1, None)),
        ("int", Check("lt", {"max_value": 9.5}, "lt"), (None, 9)),
        ("timestamp", OPEN, (1, 9)),
        ("float", GE, (0.0, None)),
        ("float", Check("isin", {"allowed_values": (1,)}, "isin"), (None, None)),
        ("float", Check("greater_than", index=0), (None, None)),
    ],
)
def test_open_bounds_become_the_nearest_legal_value(kind: Any, check: Check, bounds: Any) -> None:
    assert legal_bounds(schema_of(kind, check)) == bounds


def test_the_tightest_of_several_bounds_counts() -> None:
    tight = Check("in_range", {"min_value": 2, "max_value": 30}, "in_range")
    assert legal_bounds(schema_of("float", RANGE, tight)) == (2.0, 10.0)


def test_an_open_bound_of_a_narrow_float_is_legal_in_its_own_type() -> None:
    bound = float(np.float32(0.1))
    narrow = ColumnSchema(
        "x", "float", "float32", checks=(Check("gt", {"min_value": bound}, "gt"),)
    )
    lower, _ = legal_bounds(narrow)
    assert np.float32(lower) > np.float32(bound)


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


def merged(
    parts: Sequence[Sequence[Any]], kind: Any, points: int, counted: bool = False
) -> Summary:
    made = [summarize(column(kind, p), np.arange(len(p)), counted, points) for p in parts]
    return merge(made, points)


@settings(deadline=None)
@given(st.lists(st.lists(FINITE, max_size=30), min_size=1, max_size=6))
def test_merged_summaries_equal_numpy_on_all_values(parts: list[list[float]]) -> None:
    everything = np.array([value for part in parts for value in part])
    found = merged(parts, "float", 1000)
    assert found.count == len(everything)
    if len(everything):
        scale = np.abs(everything).max()
        assert found.mean == pytest.approx(everything.mean(), rel=1e-9, abs=1e-12 * scale)
        assert found.variance == pytest.approx(everything.var(), rel=1e-6, abs=1e-12 * scale**2)
        assert (found.minimum, found.maximum) == (everything.min(), everything.max())
        assert found.rank_error == 0
        assert found.lower_median() == np.sort(everything)[(len(everything) - 1) // 2]


@settings(deadline=None, max_examples=200)
@given(
    parts=st.lists(st.lists(st.integers(-50, 50), max_size=60), min_size=1, max_size=12),
    points=st.integers(2, 20),
)
def test_a_thinned_median_is_off_by_no_more_ranks_than_it_says(
    parts: list[list[int]], points: int
) -> None:
    ordered = np.sort(np.array([value for part in parts for value in part], np.int64))
    if not len(ordered):
        return
    found = merged(parts, "int", points)
    assert found.weights.sum() == len(ordered)
    assert len(found.points) <= 4 * points
    rank = (len(ordered) + 1) // 2
    first = np.searchsorted(ordered, found.lower_median()) + 1
    last = np.searchsorted(ordered, found.lower_median(), side="right")
    assert last >= first, "the median is an observed value"
    assert first - found.rank_error <= rank <= last + found.rank_error


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcü"), max_size=20), min_size=1, max_size=5))
def test_counts_of_strings_add_up(parts: list[list[str]]) -> None:
    found = merged(parts, "string", 10)
    assert found.counts == Counter(word for part in parts for word in part)


def test_only_the_given_positions_are_summarized() -> None:
    cells = column("float", [1.0, np.nan, 100.0, 3.0], [OK, MISSING, OK, OK])
    found = summarize(cells, np.array([0, 3]), False, 10)
    assert (found.count, found.mean, found.maximum) == (2, 2.0, 3.0)
    assert summarize(cells, np.zeros(0, np.int64), False, 10).count == 0


def test_booleans_are_counted_and_averaged_as_0_and_1() -> None:
    found = summary_of("bool", [True, True, False, True])
    assert (found.mean, found.variance) == (0.75, 0.1875)
    assert found.counts == {True: 3, False: 1}


def test_wide_tables_keep_fewer_points_a_column() -> None:
    assert points_per_column(1) > points_per_column(20) > points_per_column(10_000) == 1024


def test_a_spread_that_float32_loses_is_shifted_in_float64() -> None:
    values = 1.7e9 + np.array([0.0, 0.25, 0.5, 1.0])
    plan = plan_of("float", values.tolist(), "median")
    assert plan.shift == values.mean()
    feature = Feature(name="x", kind="float", dtype="float32", shift=plan.shift)
    cast = cast_feature(column("float", values), feature)
    assert np.diff(cast).tolist() == [0.25, 0.25, 0.5]
    assert np.unique(values.astype(np.float32)).size == 1


@pytest.mark.parametrize("values", [[1.0, 2.0], [1e5, 1e5 + 100], [1.7e9, 1.7e9], [0.0]])
def test_a_spread_that_float32_keeps_and_a_constant_are_not_shifted(values: list[float]) -> None:
    assert plan_of("float", values, "median").shift == 0.0


def test_a_vocabulary_is_ordered_by_count_then_text_and_cut() -> None:
    schema = schema_of("string")
    summary = summary_of("string", ["b", "a", "c", "c", "d"])
    assert plan_column(schema, summary, RepairSettings(max_categories=3)).vocabulary == (
        "c",
        "a",
        "b",
    )


def test_the_unknown_is_index_0() -> None:
    feature = Feature(name="x", kind="string", dtype="int64", vocabulary=("c", "a"))
    assert cast_feature(column("string", ["a", "zz", "c"]), feature).tolist() == [2, 0, 1]


def test_classes_stand_in_the_schema_s_order_else_sorted() -> None:
    summary = summary_of("int", [3, 1, 3], counted=True)
    listed = plan_label(schema_of("int", categories=(3, 2, 1)), summary, "classification")
    assert (listed.classes, listed.counts) == ((3, 2, 1), (2, 0, 1))
    found = plan_label(schema_of("int"), summary, "classification")
    assert (found.classes, found.counts) == ((1, 3), (1, 2))


def test_a_regression_label_knows_its_mean_and_variance() -> None:
    plan = plan_label(schema_of("float"), summary_of("float", [1.0, 3.0]), "regression")
    assert (plan.mean, plan.variance, plan.classes) == (2.0, 1.0, None)


def test_an_indicator_stands_behind_the_features_as_a_feature_of_its_own() -> None:
    columns = {"x": plan_of("float", [1.0], "median"), "n": plan_of("int", [1], "median")}
    label = LabelPlan(kind="int", task="classification", classes=(0, 1), counts=(1, 1))
    spec = build_spec(Plan(columns=columns, label=label), "y", None, ("x",), "float32", ShardSettings())
    assert [(f.name, f.dtype, f.indicates) for f in spec.features] == [
        ("x", "float32", None),
        ("n", "int64", None),
        ("x_was_missing", "float32", "x"),
    ]
