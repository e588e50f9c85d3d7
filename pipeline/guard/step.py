"""The guarded train function: a fast step as compiled, and a careful one when that is not good.

The careful step stands outside XLA, so that one implementation serves every way to compile; it
drops the bad rows rather than masking them, which is exact for batch statistics, masks,
`add_loss`, regularisers, unweighted metrics and losses over whole batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.guard.attempt import GATES, Outcome, attempt_step
from pipeline.guard.batch import Nested, Parts, Tensor, has_rows, num_rows, split_batch, take_rows
from pipeline.guard.probe import data_faults, model_faults
from pipeline.guard.settings import GuardSettings

# Tells the host about a bad step; its arguments are those of `Witness.hear`.
Report = Callable[..., None]


class Findings(NamedTuple):
    """What the careful look found on one replica.

    Args:
        masks: bool `(5, batch)`: bad input, label, weight, loss, gradient.
        keep: int32 `(kept,)`: the rows to try again with.
        row_ids: `(batch,)`, or -1 for every row if there are none.
    """

    masks: Tensor
    keep: Tensor
    row_ids: Tensor


class GuardedStep:
    """One training step of one model, on every replica, with the careful step behind it."""

    def __init__(
        self, model: Any, settings: GuardSettings, counter: tf.Variable, report: Report
    ) -> None:
        self._model = model
        self._settings = settings
        self._counter = counter
        self._report = report
        self._strategy = model.distribute_strategy
        self._eager = bool(model.run_eagerly)
        self._fast = self._compiled(self._attempt, jit_compile=bool(model.jit_compile))
        self._careful = self._look_closer
        if self._strategy.num_replicas_in_sync == 1:
            # Inlined, it costs the good steps time: its ops enlarge their graph. Under several
            # replicas it must be: a function called within a branch loses its collectives' keys.
            self._careful = self._compiled(
                self._look_closer, experimental_attributes={"_noinline": True}
            )

    def _compiled(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        if self._eager:
            return function
        return tf.function(function, reduce_retracing=True, autograph=False, **options)

    def __call__(self, data: Nested) -> dict[str, Tensor]:
        """Make one step on one batch, in cross-replica context; give the logs."""
        parts = split_batch(data, self._settings.row_id)
        outcome = self._fast(Parts(parts.x, parts.y, parts.sample_weight, None))
        logs = keras.tree.map_structure(self._mean, outcome.logs)
        # Named by key order, since both branches must give the same structure.
        fast = outcome._replace(logs=logs, committed=self._first(outcome.committed))
        logs = tf.cond(fast.committed, lambda: logs, lambda: self._careful(parts, fast))
        self._counter.assign_add(1)
        return logs

    def _attempt(self, parts: Parts, exact: bool = False) -> Outcome:
        def attempt(parts: Parts) -> Outcome:
            return attempt_step(self._model, self._settings, parts, exact=exact)

        return self._strategy.run(attempt, args=(parts,))

    def _look_closer(self, parts: Parts, fast: Outcome) -> dict[str, Tensor]:
        findings = self._strategy.run(self._find, args=(parts,))
        kept = [tf.size(keep) for keep in self._local(findings.keep)]
        enough = tf.reduce_all(tf.stack(kept) > 0)

        def again() -> tuple[Any, Tensor, Tensor]:
            rest = self._strategy.run(_take, args=(parts, findings.keep))
            outcome = self._attempt(rest, exact=True)
            logs = keras.tree.map_structure(self._mean, outcome.logs)
            return logs, self._first(outcome.committed), self._overflowed(outcome)

        def give_up() -> tuple[Any, Tensor, Tensor]:
            logs = keras.tree.map_structure(tf.zeros_like, fast.logs)
            return logs, tf.constant(False), tf.constant(False)

        logs, committed, overflow = tf.cond(enough, again, give_up)
        rescaled = self._lower_loss_scale(overflow)
        self._tell(findings, fast, committed, rescaled)
        return tf.cond(committed, lambda: logs, lambda: self._standing_logs(fast.logs))

    def _find(self, parts: Parts) -> Findings:
        rows = num_rows(parts.x)
        row_ids = tf.fill([rows], tf.constant(-1, tf.int64))
        if parts.row_ids is not None:
            row_ids = tf.reshape(parts.row_ids, [rows])
        if not has_rows(parts[:3]):
            # Nothing can be dropped: the batch stands or falls as a whole.
            return Findings(tf.zeros([5, rows], tf.bool), tf.range(rows), row_ids)
        data = data_faults(self._model, parts)
        sound = tf.where(~tf.reduce_any(tf.stack(data), axis=0))[:, 0]

        def probe() -> Tensor:
            found = model_faults(self._model, self._settings, _take(parts, sound))
            places = sound[:, tf.newaxis]
            shape = tf.cast([rows], tf.int64)
            return tf.stack(
                [tf.scatter_nd(places, tf.cast(mask, tf.int32), shape) > 0 for mask in found]
            )

        none = tf.zeros([2, rows], tf.bool)
        found = tf.cond(tf.size(sound) > 0, probe, lambda: none)
        masks = tf.concat([tf.stack(data), found], axis=0)
        keep = tf.where(~tf.reduce_any(masks, axis=0))[:, 0]
        # Where every row is to blame none is: a fault of the model, not of its rows.
        keep = tf.cond(tf.size(keep) > 0, lambda: keep, lambda: sound)
        return Findings(masks, tf.cast(keep, tf.int32), row_ids)

    def _overflowed(self, outcome: Outcome) -> Tensor:
        """Tell whether the gradient alone is not finite; one beyond bounds may well be finite."""
        gates = tf.reduce_all(tf.stack(self._local(outcome.gates)), axis=0)
        others = [gates[i] for i, name in enumerate(GATES) if name != "gradient"]
        infinite = ~tf.math.is_finite(self._worst(outcome.gradient_norm))
        return tf.reduce_all(tf.stack(others)) & infinite

    def _lower_loss_scale(self, overflow: Tensor) -> Tensor:
        """Do what LossScaleOptimizer does on an overflow, but never below a scale of 1."""
        optimizer = self._model.optimizer
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return tf.constant(False)
        scale = tf.convert_to_tensor(optimizer.dynamic_scale.value)

        def halve() -> Tensor:
            optimizer.step_counter.assign(0)
            optimizer.dynamic_scale.assign(tf.maximum(scale * 0.5, 1.0))
            return tf.constant(True)

        return tf.cond(overflow & (scale > 1.0), halve, lambda: tf.constant(False))

    def _tell(self, findings: Findings, fast: Outcome, committed: Tensor, rescaled: Tensor) -> None:
        def gather(value: Any, axis: int) -> Tensor:
            return tf.concat(self._local(value), axis=axis)

        scalars = (fast.loss, fast.gradient_norm, fast.learning_rate)
        inputs = [
            self._counter,
            gather(findings.masks, 1),
            gather(findings.row_ids, 0),
            tf.reduce_all(tf.stack(self._local(fast.gates)), axis=0),
            tf.stack([self._worst(value) for value in scalars]),
            committed,
            rescaled,
        ]
        if tf.executing_eagerly():
            self._report(*(value.numpy() for value in inputs))
        else:
            tf.numpy_function(self._report, inputs, [])

    def _standing_logs(self, like: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the metrics as they stand; one that only `compute_metrics` knows is 0."""

        def read() -> dict[str, Tensor]:
            now = self._model.get_metrics_result()
            return {
                name: tf.cast(now[name], value.dtype) if name in now else tf.zeros_like(value)
                for name, value in like.items()
            }

        return keras.tree.map_structure(self._mean, self._strategy.run(read))

    def _local(self, value: Any) -> list[Tensor]:
        return list(self._strategy.experimental_local_results(value))

    def _first(self, value: Any) -> Tensor:
        return self._local(value)[0]

    def _mean(self, value: Any) -> Tensor:
        values = self._local(value)
        return values[0] if len(values) == 1 else tf.reduce_mean(tf.stack(values), axis=0)

    def _worst(self, value: Any) -> Tensor:
        # A sum over replicas is non-finite if one of them is.
        values = self._local(value)
        return tf.add_n(values) / float(len(values))


def _take(parts: Parts, rows: Tensor) -> Parts:
    if not has_rows(parts[:3]):
        # Nothing was dropped, since nothing can be.
        return parts._replace(row_ids=None)
    x, y, sample_weight = take_rows(parts[:3], rows)
    return Parts(x, y, sample_weight, None)


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
