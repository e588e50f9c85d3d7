"""The guarded train function: a fast step as compiled, and a careful one when that is not good.

The careful step stands outside XLA, so that one implementation serves every way to compile; it
drops the bad rows rather than masking them, which is exact for batch statistics, masks,
`add_loss`, regularisers, unweighted metrics and losses over whole batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from pipeline.guard.attempt import GATES, Outcome, attempt_step, loss_scale
from pipeline.guard.batch import Nested, Parts, Tensor, split_batch
from pipeline.guard.cells import Cells
from pipeline.guard.places import Places
from pipeline.guard.probe import Findings, find_bad_rows, is_stateful, take_sound
from pipeline.guard.recorder import Recorder
from pipeline.guard.report import Report
from pipeline.guard.settings import GuardSettings
from pipeline.guard.usual import Usual

# Tells the host about a bad step, and what its places and cells are called.
Tell = Callable[[Report, Places, Cells], None]


class GuardedStep:
    """One training step of one model, on every replica, with the careful step behind it."""

    def __init__(
        self,
        model: Any,
        settings: GuardSettings,
        counter: tf.Variable,
        usual: Usual,
        tell: Tell,
        recorder: Recorder | None = None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._counter = counter
        self._usual = usual
        self._tell = tell
        self._recorder = recorder
        self._places, self._cells = Places(), Cells()
        # What `tell` raised: within a graph TensorFlow would make an error of its own of it.
        self.failure: BaseException | None = None
        self._strategy = model.distribute_strategy
        self._eager = bool(model.run_eagerly)
        self._fast = self._compiled(self._attempt_fast, jit_compile=bool(model.jit_compile))
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
        limits = tf.convert_to_tensor(self._usual.limits)
        x, y, sample_weight, _ = parts
        fast = self._gather(self._fast(Parts(x, y, sample_weight, None), limits))
        if self._strategy.num_replicas_in_sync > 1:
            self._take_in(fast)
        logs = tf.cond(
            fast.committed, lambda: fast.logs, lambda: self._careful(parts, fast, limits)
        )
        self._counter.assign_add(1)
        return logs

    def _attempt_fast(self, parts: Parts, limits: Tensor) -> Outcome:
        outcome = self._attempt(parts, limits)
        if self._strategy.num_replicas_in_sync == 1:
            self._take_in(outcome)  # within what XLA compiles
        return outcome

    def _take_in(self, outcome: Outcome) -> None:
        self._usual.push(outcome.loss, outcome.gradient_norm, outcome.committed)

    def _attempt(self, parts: Parts, limits: Tensor, places: Places | None = None) -> Outcome:
        def attempt(parts: Parts, limits: Tensor) -> Outcome:
            return attempt_step(self._model, self._settings, parts, limits, places)

        return self._strategy.run(attempt, args=(parts, limits))

    def _look_closer(self, parts: Parts, fast: Outcome, limits: Tensor) -> dict[str, Tensor]:
        if self._recorder is not None:
            self._recorder.hold(parts, self._join)
        exploded = ~tf.reduce_all(fast.gates[len(GATES) :])

        def find(parts: Parts, exploded: Tensor) -> Findings:
            return find_bad_rows(self._model, self._settings, parts, exploded, self._cells)

        findings = self._strategy.run(find, args=(parts, exploded))
        kept = [tf.size(keep) for keep in self._local(findings.keep)]
        enough = tf.reduce_all(tf.stack(kept) > 0)

        def again() -> Outcome:
            rest = self._strategy.run(self._take_sound, args=(parts, findings.keep))
            return self._gather(self._attempt(rest, limits, self._places))

        def give_up() -> Outcome:
            zeros = keras.tree.map_structure(tf.zeros_like, fast)
            return zeros._replace(gates=tf.ones_like(fast.gates), places=tf.zeros([0], tf.bool))

        retry = tf.cond(enough, again, give_up)
        before = self._usual.recent()
        rescaled = self._lower_loss_scale(_overflowed(retry) & ~retry.committed)
        self._report(findings, fast, retry, rescaled, before)
        self._take_in(retry)
        return tf.cond(retry.committed, lambda: retry.logs, lambda: self._standing_logs(fast.logs))

    def _take_sound(self, parts: Parts, keep: Tensor) -> Parts:
        if is_stateful(self._model):
            return parts._replace(row_ids=None)
        return take_sound(parts, keep)

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

    def _report(
        self,
        findings: Findings,
        fast: Outcome,
        retry: Outcome,
        rescaled: Tensor,
        before: Tensor,
    ) -> None:
        scalars = (fast.loss, fast.gradient_norm, fast.learning_rate)
        report = Report(
            step=self._counter.value(),
            masks=tf.concat(self._local(findings.masks), axis=1),
            firsts=tf.concat(self._local(findings.firsts), axis=1),
            row_ids=tf.concat(self._local(findings.row_ids), axis=0),
            gates=fast.gates,
            retry_gates=retry.gates,
            scalars=tf.stack([*scalars, loss_scale(self._model.optimizer)]),
            committed=retry.committed,
            rescaled=rescaled,
            has_rows=self._all(findings.has_rows),
            places=retry.places,
            recent=before,
        )

        def tell(*values: Any) -> None:
            try:
                self._tell(Report(*values), self._places, self._cells)
            except BaseException as error:
                self.failure = error
                raise

        if tf.executing_eagerly():
            tell(*(value.numpy() for value in report))
        else:
            tf.numpy_function(tell, list(report), [])

    def _gather(self, outcome: Outcome) -> Outcome:
        """Make one outcome of every replica's."""
        if self._strategy.num_replicas_in_sync == 1:
            return outcome
        return Outcome(
            logs=keras.tree.map_structure(self._mean, outcome.logs),
            gates=self._all(outcome.gates),
            committed=self._first(outcome.committed),
            loss=self._mean(outcome.loss),
            gradient_norm=self._mean(outcome.gradient_norm),
            learning_rate=self._mean(outcome.learning_rate),
            places=self._all(outcome.places),
        )

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

    def _join(self, value: Any) -> Tensor:
        """Give every replica's rows as one tensor."""
        values = self._local(value)
        return values[0] if len(values) == 1 else tf.concat(values, axis=0)

    def _all(self, flags: Any) -> Tensor:
        return tf.reduce_all(tf.stack(self._local(flags)), axis=0)

    def _first(self, value: Any) -> Tensor:
        return self._local(value)[0]

    def _mean(self, value: Any) -> Tensor:
        values = self._local(value)
        return values[0] if len(values) == 1 else tf.reduce_mean(tf.stack(values), axis=0)


def _overflowed(retry: Outcome) -> Tensor:
    """Tell whether the gradient alone is not finite; one beyond bounds may well be finite."""
    others = [retry.gates[i] for i, name in enumerate(GATES) if name != "gradient"]
    return tf.reduce_all(tf.stack(others)) & ~tf.math.is_finite(retry.gradient_norm)
