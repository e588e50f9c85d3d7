"""Which rows of a batch are to blame.

With batch statistics one bad row makes every row bad in training mode, so the rows are tried in
inference mode, on statistics that were never poisoned. The gradient of the loss with respect to a
row's weight is that row's share of the loss: no need to look inside the loss.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from pipeline.guard.attempt import HeldState, call_model
from pipeline.guard.batch import Nested, Parts, Tensor, float_leaves, num_rows
from pipeline.guard.finite import bad_rows
from pipeline.guard.settings import GuardSettings


def data_faults(model: Any, parts: Parts) -> list[Tensor]:
    """Mark rows with a non-finite input, label or weight: three masks, bool `(batch,)`."""
    rows = num_rows(parts.x)
    floatx = keras.config.floatx()
    return [
        bad_rows(parts.x, model.compute_dtype, rows),
        bad_rows(parts.y, floatx, rows),
        bad_rows(parts.sample_weight, floatx, rows),
    ]


def model_faults(model: Any, settings: GuardSettings, parts: Parts) -> list[Tensor]:
    """Mark rows whose own loss or gradient is out of bounds: two masks, bool `(batch,)`."""
    rows = num_rows(parts.x)
    share = tf.ones([rows])
    watched = list(float_leaves(parts.x))
    with HeldState(), tf.GradientTape() as tape:
        tape.watch([share, *watched])
        y_pred = call_model(model, parts.x, training=False)
        loss = model._compute_loss(
            x=parts.x,
            y=parts.y,
            y_pred=y_pred,
            sample_weight=_weigh(parts.sample_weight, share),
            training=False,
        )
    predictions = list(float_leaves(y_pred))
    gradients = tape.gradient(loss, [share, *watched, *predictions])
    own_loss = bad_rows([gradients[0], *predictions], tf.float32, rows)
    own_gradient = tf.zeros([rows], tf.bool)
    for gradient in gradients[1:]:
        if isinstance(gradient, tf.Tensor):
            own_gradient |= _too_steep(gradient, settings.max_gradient_norm)
    return [own_loss, own_gradient]


def _weigh(sample_weight: Nested, share: Tensor) -> Nested:
    """Multiply every weight by its row's share; without weights the shares are the weights."""
    if sample_weight is None:
        return share

    def weigh(weight: Tensor) -> Tensor:
        if weight is None:
            return None
        shape = tf.concat([tf.shape(share), tf.ones([weight.shape.rank - 1], tf.int32)], axis=0)
        return tf.cast(weight, share.dtype) * tf.reshape(share, shape)

    return keras.tree.map_structure(weigh, sample_weight)


def _too_steep(gradient: Tensor, max_norm: float) -> Tensor:
    squares = tf.square(tf.cast(gradient, tf.float32))
    norm = tf.sqrt(tf.reduce_sum(squares, axis=list(range(1, gradient.shape.rank))))
    return ~(tf.math.is_finite(norm) & (norm <= max_norm))
