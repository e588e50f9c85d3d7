"""Several steps to an execution, as `fit` asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pipeline.guard.batch import Tensor
from pipeline.guard.step import GuardedStep


def make_train_function(model: Any, step: GuardedStep) -> Callable[[Any], dict[str, Any]]:
    """Build what `fit` calls: up to `steps_per_execution` steps on batches of an iterator."""
    num_steps = int(model.steps_per_execution)
    one_step = model._autoconvert_optionals(step)

    def run_steps(iterator: Any) -> dict[str, Tensor]:
        logs = one_step(iterator.get_next())
        if num_steps == 1:
            return logs

        def body(count: Tensor, _: Any, batch: Any) -> tuple[Tensor, Any, Any]:
            logs = one_step(batch.get_value())
            more = count + 1 < num_steps
            # A batch that is taken and not trained on would be lost.
            batch = tf.cond(more, iterator.get_next_as_optional, lambda: batch)
            return count + 1, logs, batch

        def unfinished(count: Tensor, _: Any, batch: Any) -> Tensor:
            return tf.logical_and(count < num_steps, batch.has_value())

        start = (tf.constant(1), logs, iterator.get_next_as_optional())
        return tf.while_loop(unfinished, body, start)[1]

    if not model.run_eagerly:
        run_steps = tf.function(run_steps, reduce_retracing=True, autograph=False)
        one_step = tf.function(one_step, reduce_retracing=True, autograph=False)

    def train(iterator: Any) -> dict[str, Any]:
        if isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            return run_steps(iterator)
        for _, data in zip(range(num_steps), iterator, strict=False):
            logs = one_step(data)
        return logs

    return train
