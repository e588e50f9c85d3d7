"""The share that each row has in a loss, as a number that a gradient can be asked of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from keras.src.losses import loss as keras_loss

from pipeline.guard.batch import Tensor


@contextmanager
def share_losses(share: Tensor) -> Iterator[None]:
    """Multiply the losses of each row by its share within the block, whatever their rank.

    Sample weights would not do: Keras wants them of the losses' own rank, which nobody tells.

    Args:
        share: float32 `(batch,)`.
    """
    plain = keras_loss.reduce_weighted_values

    def reduce(values: Any, *args: Any, **kwargs: Any) -> Any:
        values = tf.convert_to_tensor(values)
        if values.shape.rank:
            ones = tf.ones([values.shape.rank - 1], tf.int32)
            shape = tf.concat([tf.shape(share), ones], axis=0)
            values *= tf.cast(tf.reshape(share, shape), values.dtype)
        return plain(values, *args, **kwargs)

    keras_loss.reduce_weighted_values = reduce
    try:
        yield
    finally:
        keras_loss.reduce_weighted_values = plain
