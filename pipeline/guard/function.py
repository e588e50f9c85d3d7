"""What `fit` calls in a guarded model, and the callback that tells it of epochs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from pipeline.guard.attempt import loss_scale
from pipeline.guard.execution import make_train_function
from pipeline.guard.recovery import Recovery
from pipeline.guard.snapshot import list_state
from pipeline.guard.step import GuardedStep
from pipeline.guard.usual import Usual

# What an error of the data pipeline, which is no step's, has in its text.
_FEED = "IteratorGetNext"
# What an exception of a function in Python has, as TensorFlow tells of it.
_PYTHON = "Traceback (most recent call last)"


class GuardedFunction:
    """A guarded model's train function: steps on an iterator, then a look at what happened.

    Everything is built at the first call, when the shapes of a batch are known: nothing may be
    created while changes of state are held back.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._counter = tf.Variable(model.guard.step, dtype=tf.int64, trainable=False)
        self._usual = Usual(model.guard.settings)
        self._recovery: Recovery | None = None
        self._train: Callable[[Any], dict[str, Any]] | None = None
        self._step: GuardedStep | None = None
        # `train_on_batch` gives its logs as a bare list, which must not grow.
        self.logs_counts = False

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self._counter.numpy())

    def __call__(self, iterator: Any) -> dict[str, Any]:
        """Make up to `steps_per_execution` steps; give the logs.

        Raises:
            GuardBudgetSpent: Too much was skipped, too often.
        """
        logs = self.make_steps(self.prepare(iterator))
        num_steps = int(self._model.steps_per_execution)
        if self._recovery and self._recovery.after_steps(num_steps):
            self._train = None
        return {**logs, **self._counts()} if self.logs_counts else logs

    def make_steps(self, iterator: Any) -> dict[str, Any]:
        """Make up to `steps_per_execution` steps, and judge nothing after them."""
        guard = self._model.guard
        if self._train is None:
            self._step = GuardedStep(
                self._model, guard.settings, self._counter, self._usual, guard.hear, guard.recorder
            )
            self._train = make_train_function(self._model, self._step)
        try:
            return self._train(iterator)
        except tf.errors.OpError as error:
            return self._skip_refused(error)

    def prepare(self, iterator: Any) -> Any:
        """Build everything before the first step; give the iterator back."""
        if self._recovery is None:
            iterator = _build(self._model, iterator)
            guard = self._model.guard
            self._recovery = Recovery(self._model, guard, self._counter, self._usual)
            self._recovery.begin()
            if guard.recorder is not None:
                guard.recorder.variables = self.state
        return iterator

    @property
    def state(self) -> list[Any]:
        """All that a step follows from but its batch, in the same order every time."""
        return [*list_state(self._model), *self._usual.variables]

    def _skip_refused(self, error: tf.errors.OpError) -> dict[str, Any]:
        """Skip a step that TensorFlow would not compute; the update waits for every check.

        The rest of its execution is lost with it. What Python code raised within the graph, ours
        or the model's, is no fault of the data.
        """
        failure = None if self._step is None else self._step.failure
        if failure is not None:
            raise failure
        of_values = isinstance(error, tf.errors.InvalidArgumentError)
        if not of_values or _FEED in str(error) or _PYTHON in str(error):
            raise error
        optimizer = self._model.optimizer
        rate = float(tf.convert_to_tensor(optimizer.learning_rate).numpy())
        scale, recent = float(loss_scale(optimizer).numpy()), self._usual.recent().numpy()
        self._model.guard.hear_refused(self.step, str(error), rate, scale, recent)
        self._counter.assign_add(1)
        return dict(self._model.get_metrics_result())

    def end_epoch(self) -> None:
        """Judge an epoch as a whole; as a call raises."""
        if self._recovery is not None and self._recovery.after_epoch():
            self._train = None

    def _counts(self) -> dict[str, int]:
        guard = self._model.guard
        return {"skipped_rows": guard.skipped_rows, "skipped_steps": guard.skipped_steps}


def _build(model: Any, iterator: Any) -> Any:
    """Create every variable of model, losses, metrics and optimizer; give the iterator back."""
    if model._distribute_strategy is None:
        if hasattr(iterator, "element_spec"):
            batch = keras.tree.map_structure(_with_shape, iterator.element_spec)
        else:
            batch = next(iterator)
            iterator = itertools.chain([batch], iterator)
        model._symbolic_build(data_batch=batch)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    _begin_averages(model.optimizer)
    return iterator


def _begin_averages(optimizer: Any) -> None:
    """Let moving averages of the weights begin with the weights: zeros, until the first step.

    Keras writes them over the weights at the end of `fit`, whether a step was made or not.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer.use_ema and int(optimizer.iterations.numpy()) == 0:
        averages = optimizer._model_variables_moving_average
        for weight, average in zip(optimizer._trainable_variables, averages, strict=True):
            average.assign(weight)


def _with_shape(spec: Any) -> Any:
    known = isinstance(spec, (tf.TensorSpec, tf.RaggedTensorSpec, tf.SparseTensorSpec))
    return spec if known else None


class EpochWatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a guarded model where epochs begin and end.

    It goes before the other callbacks, so that none of them saves a state not yet looked at.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.train_function.logs_counts = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.guard.begin_epoch(epoch, self.model.train_function.step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        guard, function = self.model.guard, self.model.train_function
        guard.step = function.step
        num_lost = guard.skipped_steps + guard.rescaled_steps
        if logs is not None and 0 < guard.step - guard.epoch_start == num_lost:
            # The mean of no loss is 0 in Keras, which would read as perfect.
            logs["loss"] = float("nan")
        function.end_epoch()
        if guard.board is not None:
            guard.board.write_epoch(epoch, logs or {})
