"""One training step that happens whole or not at all.

Forward pass, loss, gradient and metrics run while every change of state is held back. Then the
gate looks at inputs, loss, gradient, rate and the held-back state; only if all of them are in
bounds are the state committed and the optimizer applied.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.guard.batch import Parts, Tensor, num_rows
from pipeline.guard.commit import Update, commit_if
from pipeline.guard.finite import all_finite, squared_norm
from pipeline.guard.places import Places, watch_layers
from pipeline.guard.settings import GuardSettings

# Where a fault can be seen, in the order in which a step meets them.
GATES = ("input", "label", "weight", "loss", "gradient", "state", "rate")
# Finite, but far outside what it usually is.
EXPLOSIONS = ("loss", "gradient")


class Outcome(NamedTuple):
    """What an attempt came to.

    Args:
        logs: The metrics as they are, or would have been, after the step.
        gates: bool `(9,)` in the order of `GATES` and `EXPLOSIONS`; True where in bounds.
        committed: bool scalar; False means that nothing has changed.
        loss: float32 scalar, before loss scaling.
        gradient_norm: float32 scalar, after loss scaling is undone.
        learning_rate: float32 scalar.
        places: bool `(places,)`; True where finite. Empty where nobody asked for places.
    """

    logs: dict[str, Tensor]
    gates: Tensor
    committed: Tensor
    loss: Tensor
    gradient_norm: Tensor
    learning_rate: Tensor
    places: Tensor


class HeldState(keras.StatelessScope):  # type: ignore[misc]
    """A scope in which variables seem to change and do not; it knows who wanted which value."""

    def __init__(self) -> None:
        super().__init__(collect_losses=True)
        self.wanted: dict[int, tuple[Any, Tensor]] = {}
        self.tape: tf.GradientTape | None = None

    def get_current_value(self, variable: Any) -> Any:
        value = super().get_current_value(variable)
        # Keras hands what this gives to a weight's regularizer, which cannot take None.
        return variable._value if value is None else value

    def add_update(self, update: tuple[Any, Tensor]) -> None:
        variable, value = update[0], tf.convert_to_tensor(update[1])  # it may be another variable
        super().add_update((variable, value))
        self.wanted[id(variable)] = variable, value
        if self.tape is not None and variable.trainable:
            # From here on it is this value that the loss depends on.
            self.tape.watch(value)

    def sources(self, variables: list[Any]) -> list[Any]:
        """Give what to ask gradients of: a weight, or the value that `call` put in its place."""
        return [self.wanted.get(id(v), (v, v._value))[1] for v in variables]


def attempt_step(
    model: Any,
    settings: GuardSettings,
    parts: Parts,
    limits: Tensor,
    places: Places | None = None,
) -> Outcome:
    """Make one step on a batch, in a replica's context, if it is in bounds.

    Args:
        model: A compiled and built model.
        settings: The guard's.
        parts: The batch.
        limits: As `Usual.limits`.
        places: Look at every number, not at sums, and see to it that every place is looked at.
    """
    exact = places is not None
    known = _count_operations()
    with HeldState() as held, _watch(model, exact) as outputs:
        loss, gradients, logs = _forward_and_back(model, parts, held)
    floatx = keras.config.floatx()
    variables = [variable for variable, _ in held.wanted.values()]
    values = [value for _, value in held.wanted.values()]
    in_xla = bool(model.jit_compile) and not exact  # the careful step stands outside it
    norm = tf.sqrt(squared_norm(gradients, in_xla=in_xla)) / loss_scale(model.optimizer)
    rate = tf.cast(tf.convert_to_tensor(model.optimizer.learning_rate), tf.float32)
    gates = tf.stack(
        [
            all_finite(parts.x, tf.float32, exact=exact),
            all_finite(parts.y, floatx, exact=exact),
            all_finite(parts.sample_weight, floatx, exact=exact),
            tf.math.is_finite(loss),
            tf.math.is_finite(norm) & (norm <= settings.max_gradient_norm),
            all_finite(values, tf.float32, exact=exact),
            # An update is at least of the order of the rate, and of rate times gradient in SGD.
            tf.math.is_finite(rate * tf.where(tf.math.is_finite(norm), norm + 1.0, 1.0)),
            ~(tf.math.is_finite(loss) & (loss > limits[0])),
            ~(tf.math.is_finite(norm) & (norm > limits[1])),
        ]
    )
    checked = tf.zeros([0], tf.bool)
    if places is not None:
        checked = places.check(outputs, model, gradients)
    if settings.clip:
        gradients = [_scale(gradient, limits[2], norm) for gradient in gradients]
    update = Update(model, variables, values, gradients)
    # An assertion gives nothing that the update needs, and would be free to fail after it.
    with tf.control_dependencies(_list_checks(known)):
        good = tf.identity(tf.reduce_all(gates))
    committed = commit_if(good, update, settings.strict)
    return Outcome(logs, gates, committed, loss, norm, rate, checked)


def _count_operations() -> int:
    if tf.executing_eagerly():
        return 0
    return len(tf.compat.v1.get_default_graph().get_operations())


def _list_checks(known: int) -> list[Any]:
    """Give what was traced since and has effects, as an assertion has."""
    if tf.executing_eagerly():
        return []
    traced = tf.compat.v1.get_default_graph().get_operations()[known:]
    return [operation for operation in traced if operation.op_def.is_stateful]


def _watch(model: Any, wanted: bool) -> AbstractContextManager[list[tuple[str, Any]]]:
    # Replicas are traced in threads of one process, and may meet within a layer.
    alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    return watch_layers(model) if wanted and alone else nullcontext([])


def _forward_and_back(
    model: Any, parts: Parts, held: HeldState
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    x, y, sample_weight, _ = parts
    with tf.GradientTape() as tape:
        held.tape = tape
        y_pred = call_model(model, x, training=True)
        loss = model._compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
        )
        whole_loss = loss * tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)
        model._loss_tracker.update_state(whole_loss, sample_weight=num_rows(x))
        scaled_loss = model.optimizer.scale_loss(loss)
    held.tape = None
    gradients = tape.gradient(scaled_loss, held.sources(model.trainable_weights))
    logs = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    return tf.cast(loss, tf.float32), gradients, logs


def _scale(gradient: Any, limit: Tensor, norm: Tensor) -> Any:
    """Shorten a gradient as the global norm has to be; one that is in bounds stays, bit for bit."""
    if gradient is None:
        return None
    factor = tf.where(norm > limit, limit / norm, 1.0)
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values * tf.cast(factor, gradient.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)


def call_model(model: Any, x: Any, *, training: bool) -> Any:
    """Run the forward pass; a model that knows no training mode is not told of it."""
    return model(x, training=training) if model._call_has_training_arg else model(x)


def loss_scale(optimizer: Any) -> Tensor:
    """Give what the optimizer multiplied the loss by, as float32 scalar."""
    return tf.cast(optimizer.scale_loss(tf.ones([])), tf.float32)
