"""A loss that leaves bad rows out: a part of the guard that works without it, within limits."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from pipeline.errors import SettingsError
from pipeline.guard.batch import Tensor


@keras.saving.register_keras_serializable("nanproof")
class GuardedLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss without the rows whose label, prediction or loss is not finite.

    The reduction is the wrapped loss's own, over the rows left.

    It cannot protect from a non-finite *feature*: the gradient that a weight matrix gets is
    xᵀ·g, and NaN times a gradient of zero is NaN. Nor from bad values that a batch statistic has
    spread to every row, from a step that is too long, from `add_loss`, or from non-finite sample
    weights. Metrics and optimizer see what they see. `guarded` protects from all of these.

    Args:
        loss: A keras loss, its name, or a function of `(y_true, y_pred)` that gives one loss per
            row: `(batch, …)`.

    Raises:
        SettingsError: The loss turns out to give one number for a whole batch.
    """

    def __init__(self, loss: Any, name: str | None = None) -> None:
        inner = keras.losses.get(loss)
        reduction = getattr(inner, "reduction", "sum_over_batch_size")
        super().__init__(name=name or getattr(inner, "name", None), reduction=reduction)
        self.loss = inner
        self._per_row = inner.call if isinstance(inner, keras.losses.Loss) else inner

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Give the loss of every row, `(batch, …)`; of a bad one, 0 under a mask."""
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        first = self._per_row(tf.stop_gradient(y_true), tf.stop_gradient(y_pred))
        if first.shape.rank == 0:
            raise SettingsError(
                f"the loss {self.name!r} gives one number for the whole batch.",
                expected="a loss for every row",
                fix="train with guarded(model), which takes any loss.",
            )
        good = _sound_rows(y_true) & _sound_rows(y_pred) & _sound_rows(first)
        # Bad rows are replaced before the loss, not after: a gradient of zero times NaN is NaN.
        per_row = self._per_row(_only(good, y_true), _only(good, y_pred))
        losses = _only(good, per_row)
        # Keras divides by the rows under the mask that a loss carries.
        mask = tf.broadcast_to(_like(good, losses), tf.shape(losses))
        own = getattr(per_row, "_keras_mask", None)  # such as that of ignore_class
        losses._keras_mask = mask if own is None else mask & own
        return losses

    def get_config(self) -> dict[str, Any]:
        return {"loss": keras.saving.serialize_keras_object(self.loss), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GuardedLoss:
        return cls(keras.saving.deserialize_keras_object(config["loss"]), config["name"])


def _sound_rows(values: Tensor) -> Tensor:
    finite = tf.math.is_finite(tf.cast(values, tf.float32))
    return tf.reduce_all(finite, axis=list(range(1, values.shape.rank)))


def _like(good: Tensor, values: Tensor) -> Tensor:
    ones = tf.ones([values.shape.rank - 1], tf.int32)
    return tf.reshape(good, tf.concat([tf.shape(good), ones], axis=0))


def _only(good: Tensor, values: Tensor) -> Tensor:
    return tf.where(_like(good, values), values, tf.zeros_like(values))
