"""The feature spec from the plan, and repaired columns as the arrays that training reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import is_valid, strings, to_numpy
from pipeline.batch import Column
from pipeline.job import Job
from pipeline.manifest import Feature, Label, Spec, Stored
from pipeline.repair.bounds import Bound, legal_bounds
from pipeline.repair.plan import ColumnPlan, LabelPlan, Plan, TensorPlan
from pipeline.schema import ColumnSchema, Schema

INDICATOR_SUFFIX = "_was_missing"
UNKNOWN_CLASS = -1
# What the spec has from the plan, under the same names.
_STATISTICS = {"count", "minimum", "maximum", "mean", "variance"}
LEARNED_OF_COLUMNS = {"kind", "shift", "vocabulary"} | _STATISTICS
LEARNED_OF_TENSORS = {"shape"} | _STATISTICS
LEARNED_OF_LABEL = {"kind", "task", "classes", "counts", "mean", "variance"}
# What holds a tensor's values where none of the manifest's dtypes is their own.
_STORED: Mapping[str, Stored] = {"uint32": "int64", "uint64": "float32", "float64": "float32"}


def build_spec(plan: Plan, schema: Schema, job: Job, indicators: Sequence[str]) -> Spec:
    """Build the feature spec that the manifest publishes.

    Args:
        plan: What was learned on the train split.
        schema: What the columns' values are bound by.
        job: The settings.
        indicators: The columns that get a missing indicator beside them.
    """
    features = [_feature(schema[name], column) for name, column in plan.columns.items()]
    features += [_tensor(name, tensor) for name, tensor in plan.tensors.items()]
    features += [
        Feature(name=name + INDICATOR_SUFFIX, kind="bool", dtype="float32", indicates=name)
        for name in indicators
    ]
    return Spec(
        features=tuple(features),
        label=_label(schema[job.data.label], plan.label),
        weight=job.data.weight,
        training_dtype=job.train.dtype,
        layout=job.shards.layout,
        block_rows=job.shards.block_rows,
    )


def cast_feature(column: Column, feature: Feature) -> npt.NDArray[Any]:
    """Return one repaired column as `(rows,)` float32 or int64, as it lies in a shard."""
    if feature.vocabulary is not None:
        return index_strings(column.values, feature.vocabulary) + 1
    if feature.dtype == "int64":
        return np.asarray(column.values, np.int64)
    if feature.shift:
        return (column.values - feature.shift).astype(np.float32)
    with np.errstate(over="ignore"):  # what overflows is judged by the caller
        return np.asarray(column.values).astype(np.float32)


def cast_label(column: Column, label: Label) -> npt.NDArray[Any]:
    """Return the label as `(rows,)` int64 class indices (UNKNOWN_CLASS: none) or float32."""
    if label.classes is None:
        with np.errstate(over="ignore"):
            return np.asarray(column.values).astype(np.float32)
    if column.kind == "string":
        return index_strings(column.values, [str(value) for value in label.classes])
    classes = np.array(label.classes)
    order = np.argsort(classes)
    places = np.searchsorted(classes[order], column.values).clip(max=len(classes) - 1)
    found = classes[order][places] == column.values
    return np.where(found, order[places], UNKNOWN_CLASS).astype(np.int64)


def is_finite_in(values: npt.NDArray[Any], training_dtype: str) -> npt.NDArray[np.bool_]:
    """Return a mask `(rows,)` of what is still finite in the training dtype."""
    if values.dtype == np.int64:
        return np.ones(len(values), bool)
    if training_dtype == "float32":
        return np.isfinite(values)
    with np.errstate(over="ignore"):
        return np.isfinite(values.astype(training_dtype))


def index_strings(values: pa.Array, words: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return `(rows,)` the place of each string among `words`, -1 for none."""
    found = pc.index_in(values, value_set=strings(list(words)))
    indices = to_numpy(found).astype(np.int64)
    valid = is_valid(found)
    return indices if valid is None else np.where(valid, indices, -1)


def _feature(column: ColumnSchema, plan: ColumnPlan) -> Feature:
    lower, upper = _bounds(column)
    return Feature(
        name=column.name,
        dtype="float32" if plan.kind in ("float", "bool") else "int64",
        lower=lower,
        upper=upper,
        **plan.model_dump(include=LEARNED_OF_COLUMNS),
    )


def _tensor(name: str, plan: TensorPlan) -> Feature:
    return Feature(
        name=name,
        kind="tensor",
        dtype="float32",
        stored=_STORED.get(plan.dtype, plan.dtype),
        **plan.model_dump(include=LEARNED_OF_TENSORS),
    )


def _label(column: ColumnSchema, plan: LabelPlan) -> Label:
    lower, upper = _bounds(column) if plan.task == "regression" else (None, None)
    return Label(
        name=column.name, lower=lower, upper=upper, **plan.model_dump(include=LEARNED_OF_LABEL)
    )


def _bounds(column: ColumnSchema) -> tuple[Bound, Bound]:
    numeric = column.kind in ("float", "int", "timestamp")
    return legal_bounds(column) if numeric else (None, None)
