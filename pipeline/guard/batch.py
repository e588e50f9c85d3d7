"""Batches as `fit` hands them over: nested features, labels and weights, and their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

Tensor = Any
Nested = Any


class Parts(NamedTuple):
    """One batch, row ids apart. Every leaf is `(batch, …)`; None where there is none."""

    x: Nested
    y: Nested
    sample_weight: Nested
    row_ids: Tensor


def split_batch(data: Nested, row_id: str) -> Parts:
    """Take a batch apart and the row ids out of its features."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    x, y, sample_weight = keras.tree.map_structure(_as_tensor, (x, y, sample_weight))
    if isinstance(x, dict) and row_id in x:
        rest = {name: value for name, value in x.items() if name != row_id}
        return Parts(rest, y, sample_weight, x[row_id])
    return Parts(x, y, sample_weight, None)


def _as_tensor(leaf: Any) -> Tensor:
    return tf.convert_to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf


def without_row_ids(data: Nested, row_id: str) -> Nested:
    """Give the batch back without its row ids, in the form in which it came."""
    x, y, sample_weight, row_ids = split_batch(data, row_id)
    if row_ids is None:
        return data
    if y is None and sample_weight is None:
        return (x,)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def leaves(nested: Nested) -> Iterator[Tensor]:
    """Give every tensor of a nested structure; None is no tensor."""
    for leaf in keras.tree.flatten(nested):
        if leaf is not None:
            yield leaf


def float_leaves(nested: Nested) -> Iterator[Tensor]:
    """Give every tensor that can hold a NaN; of a ragged or sparse one, its values."""
    for leaf in leaves(nested):
        if leaf.dtype.is_floating:
            yield leaf


def num_rows(x: Nested) -> Tensor:
    """Count the rows of a batch, as int32 scalar."""
    leaf = next(leaves(x))
    if isinstance(leaf, tf.RaggedTensor):
        return tf.cast(leaf.nrows(), tf.int32)
    if isinstance(leaf, tf.SparseTensor):
        return tf.cast(leaf.dense_shape[0], tf.int32)
    return tf.shape(leaf)[0]


def has_rows(nested: Nested) -> bool:
    """Tell whether every leaf can be taken apart by row: none is sparse or a scalar."""
    return all(
        not isinstance(leaf, tf.SparseTensor) and leaf.shape.rank != 0 for leaf in leaves(nested)
    )


def take_rows(nested: Nested, indices: Tensor) -> Nested:
    """Gather rows of every leaf."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else tf.gather(leaf, indices), nested
    )
