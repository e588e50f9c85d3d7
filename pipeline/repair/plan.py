"""The repair plan: what was learned on the train split, as a small JSON file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.batch import VALUE_DTYPES, Column, Kind
from pipeline.errors import RepairError, SettingsError
from pipeline.job import Constant, RepairSettings
from pipeline.repair.bounds import clip_bounds
from pipeline.repair.statistics import Summary, summarize
from pipeline.schema import ColumnSchema

PolicyName = Literal["median", "mean", "most_frequent", "constant", "clip", "drop"]
Value = bool | int | float | str

# Below this many float32 steps in one standard deviation the cast has lost the spread.
_MIN_STEPS_PER_DEVIATION = 1000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnPlan(_Part):
    """What is done with one feature column.

    Attributes:
        kind: How the schema reads it.
        policy: What takes a broken cell's place.
        fill: The value that a broken or blank cell gets; None for a column without one.
        lower: The smallest legal value, which `clip` moves smaller ones to; None without a bound.
        upper: The largest.
        count: How many valid train cells were learned from.
        mean: Their mean; booleans as 0 and 1, timestamps in microseconds; None for strings.
        variance: Their population variance.
        minimum: The smallest.
        maximum: The largest.
        rank_error: By how many ranks the median may be off.
        shift: Taken off in float64 before the cast to float32, where the cast would lose the
            spread; else 0.
        vocabulary: The categories of a string column by count; index 0 is left to the unknown.
    """

    kind: Kind
    policy: PolicyName
    fill: Value | None
    lower: int | float | None = None
    upper: int | float | None = None
    count: int = 0
    mean: float | None = None
    variance: float | None = None
    minimum: Value | None = None
    maximum: Value | None = None
    rank_error: int = 0
    shift: float = 0.0
    vocabulary: tuple[str, ...] | None = None


class LabelPlan(_Part):
    """What is known of the label.

    Attributes:
        kind: How the schema reads it.
        task: What it is trained as.
        classes: The classes in index order; None for regression.
        counts: How many train rows each class has.
        mean: Of the train labels, for regression.
        variance: Likewise, the population's.
    """

    kind: Kind
    task: Literal["classification", "regression"]
    classes: tuple[Value, ...] | None = None
    counts: tuple[int, ...] | None = None
    mean: float | None = None
    variance: float | None = None


class TensorPlan(_Part):
    """What is known of one tensor feature; a broken tensor's row is always quarantined.

    Attributes:
        dtype: Of its values as read.
        shape: The most frequent one among the valid train rows; rows of another are quarantined.
        count: How many valid train tensors were learned from.
        mean: Of all their values.
        variance: The population's.
        minimum: The smallest.
        maximum: The largest.
    """

    dtype: str
    shape: tuple[int, ...]
    count: int
    mean: float
    variance: float
    minimum: float
    maximum: float


class Plan(_Part):
    """The whole plan; the same whatever the number of workers."""

    columns: dict[str, ColumnPlan]
    label: LabelPlan
    tensors: dict[str, TensorPlan] = {}


def policy_of(column: ColumnSchema, settings: RepairSettings) -> tuple[PolicyName, Value | None]:
    """Return a column's policy, and the constant of `constant`.

    Raises:
        SettingsError: The policy does not suit the column's kind.
    """
    categorical = column.kind in ("string", "bool")
    default = settings.categorical if categorical else settings.numeric
    chosen = settings.columns.get(column.name, default)
    if isinstance(chosen, Constant):
        return "constant", _typed_constant(column, chosen.constant)
    counted = categorical or column.categories is not None
    fits = {"most_frequent": counted, "drop": True}.get(chosen, not categorical)
    if not fits:
        legal = ["constant", "drop"]
        legal += ["most_frequent"] if counted else []
        legal += [] if categorical else ["median", "mean", "clip"]
        raise SettingsError(
            f"repair policy {chosen!r} does not suit the {column.kind} column {column.name!r}.",
            expected=f"one of {', '.join(sorted(legal))}",
            got=repr(chosen),
            fix=f"set repair.columns.{column.name} to one of them.",
            column=column.name,
        )
    return chosen, None


def plan_column(
    column: ColumnSchema,
    summary: Summary,
    settings: RepairSettings,
    training_dtype: str = "float32",
) -> ColumnPlan:
    """Learn one feature column's plan from its valid train cells.

    Args:
        column: The column.
        summary: What was learned.
        settings: The policies.
        training_dtype: In which a value beside an open bound is another one still.

    Raises:
        RepairError: The column has no valid train cell, and no constant takes their place.
    """
    policy, constant = policy_of(column, settings)
    num_valid = summary.count
    if not num_valid and constant is not None:
        summary = _summarize_constant(column, constant)
    if not summary.count:
        raise RepairError(
            f"column {column.name!r} has no valid cell in the train split: nothing to learn from.",
            fix=f'add "{column.name}" to data.ignore, correct its rules in the schema, or set '
            f"repair.columns.{column.name} = {{ constant = … }}.",
            column=column.name,
        )
    shift = _shift(summary) if column.kind == "float" else 0.0
    lower, upper = None, None
    if policy == "clip":
        lower, upper = clip_bounds(column, training_dtype, shifted=bool(shift))
    plan = {
        "kind": column.kind,
        "policy": policy,
        "fill": constant if policy == "constant" else _fill(column, summary, policy),
        "lower": lower,
        "upper": upper,
        "count": num_valid,
    }
    if column.kind == "string":
        return ColumnPlan(**plan, vocabulary=_vocabulary(summary, settings.max_categories))
    return ColumnPlan(
        **plan,
        mean=summary.mean,
        variance=summary.variance,
        minimum=summary.minimum,
        maximum=summary.maximum,
        rank_error=summary.rank_error,
        shift=shift,
    )


def _summarize_constant(column: ColumnSchema, constant: Value) -> Summary:
    """Return what a column of this constant alone would tell."""
    if isinstance(constant, str):
        return Summary(count=1, counts={constant: 1})
    values = np.array([constant], VALUE_DTYPES[column.kind])
    return summarize(Column(column.kind, values), np.zeros(1, np.int64), True, 1)


def plan_label(
    column: ColumnSchema, summary: Summary, task: Literal["classification", "regression"]
) -> LabelPlan:
    """Learn what is to be known of the label from the train split.

    Raises:
        RepairError: The train split has no valid label.
    """
    if not summary.count:
        raise RepairError(
            f"label {column.name!r} has no valid value in the train split.",
            fix="check data.label and its rules in the schema.",
            column=column.name,
        )
    if task == "regression":
        return LabelPlan(kind=column.kind, task=task, mean=summary.mean, variance=summary.variance)
    listed = column.categories if column.categories is not None else sorted(summary.counts)
    counts = tuple(summary.counts.get(value, 0) for value in listed)
    return LabelPlan(kind=column.kind, task=task, classes=tuple(listed), counts=counts)


def _fill(column: ColumnSchema, summary: Summary, policy: PolicyName) -> Value:
    if column.kind in ("string", "bool") or policy == "most_frequent":
        return summary.most_frequent()
    if policy == "mean":
        return summary.mean if column.kind == "float" else round(summary.mean)
    return summary.lower_median()


def _vocabulary(summary: Summary, limit: int) -> tuple[str, ...]:
    ranked = sorted(summary.counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, _ in ranked[:limit])


def _shift(summary: Summary) -> float:
    """Return the mean where float32 is too coarse for the deviations around it, else 0."""
    largest = max(abs(summary.minimum), abs(summary.maximum))
    step = float(np.spacing(np.float32(min(largest, 3e38))))
    deviation = float(np.sqrt(summary.variance))
    if deviation == 0.0 or deviation > _MIN_STEPS_PER_DEVIATION * step:
        return 0.0
    return summary.mean


def _typed_constant(column: ColumnSchema, value: Value) -> Value:
    typed = _TYPED[column.kind](value)
    if typed is None:
        raise SettingsError(
            f"repair constant {value!r} is no {column.kind}, as column {column.name!r} needs.",
            fix=f"correct repair.columns.{column.name}.",
            column=column.name,
        )
    return typed


def _as_float(value: Value) -> float | None:
    if isinstance(value, (bool, str)):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def _as_int(value: Value) -> int | None:
    whole = not isinstance(value, (bool, str)) and -(2**63) <= value < 2**63 and value % 1 == 0
    return int(value) if whole else None


def _as_microseconds(value: Value) -> int | None:
    """Read ISO 8601; without a zone it is UTC."""
    try:
        stamp = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if stamp is None:
        return None
    stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    return (stamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_TYPED: Mapping[Kind, Callable[[Value], Value | None]] = {
    "float": _as_float,
    "int": _as_int,
    "bool": lambda value: value if isinstance(value, bool) else None,
    "string": lambda value: value if isinstance(value, str) else None,
    "timestamp": _as_microseconds,
}
