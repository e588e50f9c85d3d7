"""What follows from bad steps: looks at the state, roll-backs, and the end of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.guard.incident import Incident
from pipeline.guard.snapshot import Snapshots, lower_rate, rate_variable
from pipeline.guard.witness import Witness


class Recovery:
    """Watches one compiled model between executions of its train function.

    Args:
        model: A compiled and built model.
        witness: What the guard knows.
        counter: int64 scalar; steps made so far.
    """

    def __init__(self, model: Any, witness: Witness, counter: tf.Variable) -> None:
        self._model = model
        self._witness = witness
        self._counter = counter
        self._snapshots = Snapshots(model)
        self._known_incidents = len(witness.incidents)
        self._steps_since_look = 0

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self._counter.numpy())

    def begin(self) -> None:
        """Take the first snapshot.

        Raises:
            GuardBudgetSpent: The state is not finite before the first step.
        """
        bad = self._snapshots.take(keep=True)
        if bad is not None:
            raise self._witness.stop(self.step, f"{bad} is not finite before the first step")

    def after_steps(self, num_steps: int) -> bool:
        """Judge budget and state after some steps; tell whether to trace the step anew.

        Raises:
            GuardBudgetSpent: The budget is spent and may not be spent again.
        """
        self._steps_since_look += num_steps
        if len(self._witness.incidents) > self._known_incidents:
            self._known_incidents = len(self._witness.incidents)
            reason = self._witness.overspent(self.step, epoch_over=False)
            if reason is not None:
                return self._answer(reason)
        if self._steps_since_look >= self._witness.settings.look_every_steps:
            return self.look()
        return False

    def after_epoch(self) -> bool:
        """Judge the epoch as a whole; as `after_steps`."""
        reason = self._witness.overspent(self.step, epoch_over=True)
        if reason is not None:
            return self._answer(reason)
        return self.look()

    def look(self) -> bool:
        """Look at the whole state; roll back if it is not finite, else take a snapshot."""
        self._steps_since_look = 0
        # A state that is being skipped over may already be lost, though still finite.
        bad = self._snapshots.take(keep=not self._witness.was_skipped(self.step - 1))
        if bad is None:
            return False
        self._note("state", "state", "rolled back")
        return self._answer(f"{bad} was found non-finite")

    def _answer(self, reason: str) -> bool:
        witness = self._witness
        if witness.rollbacks >= witness.settings.max_rollbacks:
            self._snapshots.restore()
            self._note("budget", self._main_cause(), "stopped")
            raise witness.stop(self.step, reason)
        witness.rollbacks += 1
        self._note("budget", self._main_cause(), "rolled back")
        retrace = False
        if not witness.data_alone:
            retrace = self._roll_back()
        witness.forget(self.step)
        self._known_incidents = len(witness.incidents)
        return retrace

    def _roll_back(self) -> bool:
        rate = rate_variable(self._model.optimizer)
        before = None if rate is None else float(rate.numpy())
        self._snapshots.restore()
        if rate is not None and before is not None and np.isfinite(before):
            # The snapshot holds the rate of its time; cuts made since must not be undone.
            rate.assign(min(before, float(rate.numpy())))
        return lower_rate(self._model.optimizer, self._witness.settings.rollback_rate_factor)

    def _main_cause(self) -> str:
        common = self._witness.causes.most_common(1)
        return common[0][0] if common else "state"

    def _note(self, kind: str, first_seen: str, done: str) -> None:
        rate = tf.convert_to_tensor(self._model.optimizer.learning_rate)
        step = self.step
        self._witness.note(
            Incident(
                step=step,
                epoch=self._witness.epoch,
                step_in_epoch=step - self._witness.epoch_start,
                kind=kind,
                first_seen=first_seen,
                rows=(),
                num_rows=0,
                loss=0.0,
                gradient_norm=0.0,
                learning_rate=float(rate.numpy()),
                done=done,
            )
        )
