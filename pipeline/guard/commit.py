"""Committing a step: all replicas or none, and in strict mode only into a finite state.

A `tf.cond` around `optimizer.apply` cannot run in a replica's context (it would need
`merge_call` inside a branch). So the replicas meet first, agree, and then each commits; the
shape of Keras' own LossScaleOptimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from pipeline.guard.batch import Tensor
from pipeline.guard.finite import all_finite


class Update(NamedTuple):
    """What a step wants to change: held-back values of variables, and the gradients."""

    model: Any
    variables: list[Any]
    values: list[Tensor]
    gradients: list[Tensor]

    def apply(self, values: list[Tensor], gradients: list[Tensor]) -> None:
        """Write one replica's values and let the optimizer write its own."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        weights = self.model.trainable_weights
        if weights:
            self.model.optimizer.apply_gradients(zip(gradients, weights, strict=True))

    def watched(self) -> list[Any]:
        """Give every variable that the step may write."""
        by_id = {
            id(variable): variable
            for variable in (
                *self.variables,
                *self.model.trainable_variables,
                *self.model.optimizer.variables,
            )
        }
        return list(by_id.values())


def commit_if(good: Tensor, update: Update, strict: bool) -> Tensor:
    """Apply the update where every replica's step is good; tell whether it was, as bool scalar."""
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return _commit(good, update, update.values, update.gradients, strict, _call, _itself)

    def meet(_: Any, good: Any, values: Any, gradients: Any) -> Tensor:
        def agree(flag: Any) -> Tensor:
            return tf.reduce_all(tf.stack(strategy.experimental_local_results(flag)))

        run_each = strategy.extended.call_for_each_replica
        return _commit(agree(good), update, values, gradients, strict, run_each, agree)

    context = tf.distribute.get_replica_context()
    return context.merge_call(meet, args=(good, update.values, update.gradients))


def _call(function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
    return function(*args)


def _itself(flag: Tensor) -> Tensor:
    return flag


def _commit(
    good: Tensor,
    update: Update,
    values: Any,
    gradients: Any,
    strict: bool,
    run_each: Callable[..., Any],
    agree: Callable[[Any], Tensor],
) -> Tensor:
    def commit() -> Tensor:
        if not strict:
            run_each(update.apply, args=(values, gradients))
            return tf.constant(True)
        # A read shares the variable's memory until the variable is written; no copy is made
        # of what the step leaves alone.
        before = run_each(lambda: [tf.identity(v.value) for v in update.watched()])
        run_each(update.apply, args=(values, gradients))
        sound = agree(run_each(lambda: _is_finite(update.watched())))
        tf.cond(sound, _nothing, lambda: _put_back(run_each, update, before))
        return sound

    return tf.cond(good, commit, lambda: tf.constant(False))


def _is_finite(variables: list[Any]) -> Tensor:
    values = [tf.convert_to_tensor(variable.value) for variable in variables]
    return all_finite(values, tf.float32)


def _put_back(run_each: Callable[..., Any], update: Update, before: Any) -> None:
    def assign(values: list[Tensor]) -> None:
        for variable, value in zip(update.watched(), values, strict=True):
            variable.assign(value)

    run_each(assign, args=(before,))


def _nothing() -> None:
    return None
