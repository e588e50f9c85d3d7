"""What is learned of a column, and what it is filled with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.errors import RepairError, SettingsError
from pipeline.features import build_spec, cast_feature
from pipeline.job import Job, RepairSettings
from pipeline.manifest import Feature, Spec
from pipeline.repair import LabelPlan, Plan, Summary, plan_column, plan_label, policy_of
from pipeline.schema import Check, ColumnSchema, Schema
from tests.judging import column
from tests.repairing import plan_of, schema_of, summary_of


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


JOB = {"data": {"raw": ["a.csv"], "schema": "table:Table", "label": "y", "weight": "w"}}


def make_spec(plan: Plan, *columns: ColumnSchema, indicators: tuple[str, ...] = ()) -> Spec:
    return build_spec(plan, Schema("s", columns), Job.from_settings(JOB), indicators)


def test_an_indicator_stands_behind_the_features_as_a_feature_of_its_own() -> None:
    columns = {"x": plan_of("float", [1.0], "median"), "n": plan_of("int", [1], "median")}
    label = LabelPlan(kind="int", task="classification", classes=(0, 1), counts=(1, 1))
    kinds = {"x": "float", "n": "int", "y": "int"}
    schema = [replace(schema_of(kind), name=name) for name, kind in kinds.items()]
    spec = make_spec(Plan(columns=columns, label=label), *schema, indicators=("x",))
    assert [(f.name, f.dtype, f.indicates) for f in spec.features] == [
        ("x", "float32", None),
        ("n", "int64", None),
        ("x_was_missing", "float32", "x"),
    ]


def test_the_spec_tells_what_was_learned_and_what_the_schema_lets_pass() -> None:
    check = Check("in_range", {"min_value": 0, "max_value": 9, "include_max": False}, "in_range")
    columns = {"n": plan_of("int", [1, 3], "median"), "s": plan_of("string", ["a"], "drop")}
    label = LabelPlan(kind="float", task="regression", mean=2.0, variance=4.0)
    schema = [
        replace(schema_of("int", check), name="n"),
        replace(schema_of("string"), name="s"),
        replace(schema_of("float", check), name="y"),
    ]
    spec = make_spec(Plan(columns=columns, label=label), *schema)
    number, word = spec.features
    assert (number.count, number.minimum, number.maximum) == (2, 1, 3)
    assert (number.mean, number.variance, number.lower, number.upper) == (2.0, 1.0, 0, 8)
    assert (word.count, word.vocabulary, word.minimum, word.lower) == (1, ("a",), None, None)
    assert (spec.label.mean, spec.label.variance, spec.label.lower) == (2.0, 4.0, 0)
    assert spec.label.upper == np.nextafter(9, 0)
    assert (spec.weight, spec.training_dtype, spec.layout) == ("w", "float32", "row")
