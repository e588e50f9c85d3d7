"""The feature spec as the manifest publishes it: with what was learned, and the schema's bounds."""

from __future__ import annotations

from typing import Any

from pipeline.manifest import Feature, Label, Spec
from pipeline.repair import Plan, legal_bounds
from pipeline.schema import ColumnSchema, Schema


def describe_spec(spec: Spec, plan: Plan, schema: Schema) -> Spec:
    """Return the spec with the train split's statistics and the schema's bounds in it."""
    features = tuple(_describe_feature(feature, plan, schema) for feature in spec.features)
    label = _describe_label(spec.label, plan, schema)
    return spec.model_copy(update={"features": features, "label": label})


def _describe_feature(feature: Feature, plan: Plan, schema: Schema) -> Feature:
    told: dict[str, Any]
    if feature.kind == "tensor":
        tensor = plan.tensors[feature.name]
        told = {"count": tensor.count, "minimum": tensor.minimum, "maximum": tensor.maximum}
        return feature.model_copy(update=told)
    column = plan.columns.get(feature.name)
    if column is None:
        return feature
    told = {"count": column.count}
    if feature.vocabulary is None:
        told |= {"minimum": column.minimum, "maximum": column.maximum}
    return feature.model_copy(update=told | _bounds(schema[feature.name]))


def _describe_label(label: Label, plan: Plan, schema: Schema) -> Label:
    if label.classes is not None:
        return label.model_copy(update={"counts": plan.label.counts})
    told = {"mean": plan.label.mean, "variance": plan.label.variance}
    return label.model_copy(update=told | _bounds(schema[label.name]))


def _bounds(column: ColumnSchema) -> dict[str, Any]:
    if column.kind not in ("float", "int", "timestamp"):
        return {}
    lower, upper = legal_bounds(column, column.dtype)
    return {"lower": lower, "upper": upper}
