"""Copies of a model's whole state, taken only while it is finite."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

Values = list[np.ndarray[Any, Any]]


class Snapshots:
    """The last few good states of a model and its optimizer, in host memory.

    A state is good once the steps made from it were good as well: until then it is a candidate,
    since one that lies in the middle of a divergence is still finite.

    Args:
        model: A compiled and built model.
        num_kept: How many are kept besides the first. Each roll-back without a new one between
            goes one further back.
    """

    def __init__(self, model: Any, num_kept: int = 2) -> None:
        self._model = model
        self._num_kept = num_kept
        self._good: list[Values] = []
        self._candidate: Values | None = None

    def take(self, *, sound: bool) -> str | None:
        """Look at the state: make it the candidate if it is finite, or name a variable that is not.

        The learning rate is no part of the verdict: the gate judges it at every step.

        Args:
            sound: Whether the steps made since the last look were good. The candidate of then
                becomes good; if not, it stays one, and no other is taken.
        """
        variables, rate = list_state(self._model), rate_variable(self._model.optimizer)
        values = [tf.convert_to_tensor(variable.value).numpy() for variable in variables]
        for variable, value in zip(variables, values, strict=True):
            if variable is not rate and not _is_finite(value):
                return str(variable.path)
        if not sound:
            return None
        if self._candidate is not None:
            self._good.append(self._candidate)
        self._candidate = [value.copy() for value in values]
        if not self._good:
            # Before the first step nothing can have gone wrong.
            self._good.append(self._candidate)
            self._candidate = None
        if len(self._good) > self._num_kept + 1:
            del self._good[1]
        return None

    def restore(self) -> None:
        """Write the last good snapshot back; the one before it is next, down to the first."""
        self._candidate = None
        values = self._good[-1]
        if len(self._good) > 1:
            self._good.pop()
        for variable, value in zip(list_state(self._model), values, strict=True):
            variable.assign(value)


def list_state(model: Any) -> list[Any]:
    """Give every variable of model and optimizer, seeds among them, less those of metrics."""
    every = [*model.variables, *model.optimizer.variables]
    metrics = {id(variable) for variable in model.metrics_variables}
    return list({id(v): v for v in every if id(v) not in metrics}.values())


def _is_finite(value: np.ndarray[Any, Any]) -> bool:
    if not np.issubdtype(value.dtype, np.inexact) and value.dtype.kind != "V":
        return True
    # A sum is faster than a look at every element, and non-finite if any of them is.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(value.astype(np.float32, copy=False).sum(dtype=np.float64)))


def rate_variable(optimizer: Any) -> Any:
    """Give the variable that holds the learning rate; None where a schedule computes it."""
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    return rate if isinstance(rate, keras.Variable) else None


def lower_rate(optimizer: Any, factor: float) -> bool:
    """Multiply the learning rate by `factor`; tell whether traced functions must be rebuilt."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = inner._learning_rate
    if isinstance(rate, keras.Variable):
        rate.assign(rate * factor)
        return False
    if isinstance(rate, ReducedSchedule):
        inner.learning_rate = ReducedSchedule(rate.schedule, rate.factor * factor)
    elif isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        inner.learning_rate = ReducedSchedule(rate, factor)
    else:
        inner.learning_rate = lambda: rate() * factor
    return True


@keras.saving.register_keras_serializable("nanproof")
class ReducedSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate schedule times a constant, as left behind by roll-backs."""

    def __init__(self, schedule: Any, factor: float) -> None:
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step: Any) -> Any:
        return self.schedule(step) * self.factor

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ReducedSchedule:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["factor"])
