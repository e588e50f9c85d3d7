"""Non-finite numbers, looked for where they are.

A sum finds them under every compiler: NaN and Inf survive it, while XLA on CPU drops NaN from
`reduce_max`. A sum of huge finite numbers may overflow, so the careful step looks at each number.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.guard.batch import Nested, Tensor, float_leaves

_COLUMNS = 64


def as_trained(leaf: Tensor, dtype: Any) -> Tensor:
    """Give the values as the model will see them, widened to float32 at least.

    1e39 is finite in float64 and infinite in float32; 70,000 is infinite in float16.
    """
    values = leaf.values if isinstance(leaf, tf.SparseTensor) else leaf
    values = values.flat_values if isinstance(values, tf.RaggedTensor) else values
    return tf.cast(tf.cast(values, dtype), tf.float32)


def all_finite(nested: Nested, dtype: Any, *, exact: bool = False) -> Tensor:
    """Tell whether every float leaf holds finite numbers alone, as bool scalar.

    By their sums, which is fast, or number by number.
    """
    values = [as_trained(leaf, dtype) for leaf in float_leaves(nested)]
    if not values:
        return tf.constant(True)
    if exact:
        return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(v)) for v in values]))
    return tf.reduce_all(tf.math.is_finite(tf.stack([tf.reduce_sum(v) for v in values])))


def bad_rows(nested: Nested, dtype: Any, rows: Tensor) -> Tensor:
    """Mark the rows that hold a non-finite number in any leaf, as bool `(rows,)`."""
    bad = tf.zeros([rows], tf.bool)
    for leaf in float_leaves(nested):
        bad = bad | _bad_rows_of(leaf, dtype)
    return bad


def _bad_rows_of(leaf: Tensor, dtype: Any) -> Tensor:
    if isinstance(leaf, tf.RaggedTensor):
        # A row's own sum, level by level, is non-finite if any of its numbers is.
        leaf = tf.ragged.map_flat_values(lambda values: as_trained(values, dtype) * 0.0, leaf)
        axes = list(range(1, leaf.shape.rank))
        return ~tf.math.is_finite(tf.reduce_sum(tf.cast(leaf, tf.float32), axis=axes))
    finite = tf.math.is_finite(as_trained(leaf, dtype))
    if leaf.shape.rank is not None and leaf.shape.rank < 2:
        return ~finite
    return ~tf.reduce_all(finite, axis=list(range(1, leaf.shape.rank)))


def squared_norm(gradients: list[Tensor], *, in_xla: bool) -> Tensor:
    """Sum the squares of all gradients in float32; above a norm of 1.8e19 it is infinite."""
    total = tf.zeros([])
    for gradient in gradients:
        if gradient is None:
            continue
        # The rows of a sparse gradient are not added up first: the norm is that of the parts.
        values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        values = tf.cast(values, tf.float32)
        total += _sum_squares(values) if in_xla else 2.0 * tf.nn.l2_loss(values)
    return total


def _sum_squares(values: Tensor) -> Tensor:
    """Sum in columns: XLA adds one number after another, and many sums at once in less time."""
    flat = tf.reshape(values, [-1])
    size = flat.shape.num_elements()
    if size is None or size < _COLUMNS:
        return tf.reduce_sum(tf.square(flat))
    whole = size - size % _COLUMNS
    columns = tf.reduce_sum(tf.square(tf.reshape(flat[:whole], [-1, _COLUMNS])), axis=0)
    return tf.reduce_sum(columns) + tf.reduce_sum(tf.square(flat[whole:]))
