"""One training step that happens whole or not at all.

Forward pass, loss, gradient and metrics run while every change of state is held back. Then the
gate looks at inputs, loss, gradient, rate and the held-back state; only if all of them are in
bounds are the state committed and the optimizer applied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.guard.batch import Parts, Tensor, num_rows
from pipeline.guard.commit import Update, commit_if
from pipeline.guard.finite import all_finite, squared_norm
from pipeline.guard.settings import GuardSettings

# Where a fault can be seen, in the order in which a step meets them.
GATES = ("input", "label", "weight", "loss", "gradient", "state", "rate")


class Outcome(NamedTuple):
    """What an attempt came to.

    Args:
        logs: The metrics as they are, or would have been, after the step.
        gates: bool `(7,)` in the order of `GATES`; True where in bounds.
        committed: bool scalar; False means that nothing has changed.
        loss: float32 scalar, before loss scaling.
        gradient_norm: float32 scalar, after loss scaling is undone.
        learning_rate: float32 scalar.
    """

    logs: dict[str, Tensor]
    gates: Tensor
    committed: Tensor
    loss: Tensor
    gradient_norm: Tensor
    learning_rate: Tensor


class HeldState(keras.StatelessScope):  # type: ignore[misc]
    """A scope in which variables seem to change and do not; it knows who wanted which value."""

    def __init__(self) -> None:
        super().__init__(collect_losses=True)
        self.wanted: dict[int, tuple[Any, Tensor]] = {}

    def add_update(self, update: tuple[Any, Tensor]) -> None:
        super().add_update(update)
        self.wanted[id(update[0])] = update


def attempt_step(
    model: Any, settings: GuardSettings, parts: Parts, *, exact: bool = False
) -> Outcome:
    """Make one step on a batch, in a replica's context, if it is in bounds.

    `exact` is that of `all_finite`.
    """
    x, y, sample_weight, _ = parts
    with HeldState() as held:
        loss, gradients, logs = _forward_and_back(model, x, y, sample_weight)
    floatx = keras.config.floatx()
    variables = [variable for variable, _ in held.wanted.values()]
    values = [value for _, value in held.wanted.values()]
    norm = tf.sqrt(squared_norm(gradients)) / loss_scale(model.optimizer)
    rate = tf.cast(tf.convert_to_tensor(model.optimizer.learning_rate), tf.float32)
    gates = tf.stack(
        [
            all_finite(x, model.compute_dtype, exact=exact),
            all_finite(y, floatx, exact=exact),
            all_finite(sample_weight, floatx, exact=exact),
            tf.math.is_finite(loss),
            tf.math.is_finite(norm) & (norm <= settings.max_gradient_norm),
            all_finite(values, tf.float32, exact=exact),
            # An update is at least of the order of the rate, and of rate times gradient in SGD.
            tf.math.is_finite(rate * tf.where(tf.math.is_finite(norm), norm + 1.0, 1.0)),
        ]
    )
    update = Update(model, variables, values, gradients)
    committed = commit_if(tf.reduce_all(gates), update, settings.strict)
    return Outcome(logs, gates, committed, loss, norm, rate)


def _forward_and_back(
    model: Any, x: Any, y: Any, sample_weight: Any
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    with tf.GradientTape() as tape:
        y_pred = call_model(model, x, training=True)
        loss = model._compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
        )
        whole_loss = loss * tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)
        model._loss_tracker.update_state(whole_loss, sample_weight=num_rows(x))
        scaled_loss = model.optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled_loss, model.trainable_weights)
    logs = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    return tf.cast(loss, tf.float32), gradients, logs


def call_model(model: Any, x: Any, *, training: bool) -> Any:
    """Run the forward pass; a model that knows no training mode is not told of it."""
    return model(x, training=training) if model._call_has_training_arg else model(x)


def loss_scale(optimizer: Any) -> Tensor:
    """Give what the optimizer multiplied the loss by, as float32 scalar."""
    return tf.cast(optimizer.scale_loss(tf.ones([])), tf.float32)
