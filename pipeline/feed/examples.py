"""Records to columns: what an Example holds, in either layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipeline.manifest import Spec

Tensor = Any


def describe_features(spec: Spec) -> dict[str, Any]:
    """Return what `tf.io.parse_example` wants to know of a record, in the spec's layout."""
    tensors = {feature.name for feature in spec.features if feature.kind == "tensor"}
    described = {}
    for name, (dtype, shape) in _list_columns(spec).items():
        if spec.layout == "block" or name in tensors:
            described[name] = tf.io.FixedLenFeature([], tf.string)
        else:
            described[name] = tf.io.FixedLenFeature(shape, tf.as_dtype(dtype))
    return described


def _list_columns(spec: Spec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return dtype as stored and shape of a row as a model takes it: `(1,)` of a number."""
    features = {feature.name for feature in spec.features}
    return {
        name: (dtype, shape or ((1,) if name in features else ()))
        for name, (dtype, shape) in spec.list_columns().items()
    }


def read_columns(
    records: Tensor, num_rows: Tensor, spec: Spec, with_row_ids: bool
) -> dict[str, Tensor]:
    """Parse records at once.

    Args:
        records: `(records,)` strings.
        num_rows: How many rows they hold.
        spec: What they hold.
        with_row_ids: Whether `row_id` is wanted too.

    Returns:
        By name, `(rows, 1)` or, of label, weight and `row_id`, `(rows,)`; of a tensor feature,
        what `finish_tensors` takes.
    """
    described = describe_features(spec)
    if not with_row_ids:
        del described["row_id"]
    parsed: dict[str, Tensor] = tf.io.parse_example(records, described)
    if spec.layout == "row":
        return parsed
    stored = _list_columns(spec)
    columns = {}
    for name, blocks in parsed.items():
        dtype, shape = stored[name]
        values = tf.io.decode_raw(tf.strings.reduce_join(blocks), dtype)
        columns[name] = tf.reshape(values, [num_rows, *shape])
    return columns


def arrange(columns: Mapping[str, Tensor], spec: Spec) -> Any:
    """Return `(features, label)`, or `(features, label, weight)`, of named columns."""
    names = [feature.name for feature in spec.features]
    features = {name: columns[name] for name in [*names, "row_id"] if name in columns}
    label = columns[spec.label.name]
    return (features, label) if spec.weight is None else (features, label, columns[spec.weight])


def finish_tensors(features: Mapping[str, Tensor], spec: Spec) -> dict[str, Tensor]:
    """Return the features of a batch, tensors as `(batch, *shape)` in the reader's dtype."""
    finished = dict(features)
    for feature in spec.features:
        if feature.kind == "tensor":
            values = finished[feature.name]
            if values.dtype == tf.string:
                num_rows = values.shape[0] or -1
                values = tf.io.decode_raw(values, feature.stored)
                values = tf.reshape(values, [num_rows, *feature.shape])
            finished[feature.name] = tf.cast(values, feature.dtype)
    return finished
