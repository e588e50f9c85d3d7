"""What follows from bad steps: a smaller rate, a roll-back, and at last the end of training.

A smaller rate alone is for a state from which good steps are still made. One that every step is
skipped over is lost, and to go on from it at a smaller rate trained dead networks.
The batches that led to a roll-back are not trained on again: the feed goes on with what comes next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.guard.attempt import loss_scale
from pipeline.guard.incident import Incident, steps_before
from pipeline.guard.snapshot import Snapshots, lower_rate, rate_variable
from pipeline.guard.usual import Usual
from pipeline.guard.witness import Witness

# One loss may be near 0 by chance.
_NUM_FIRST = 8


class Recovery:
    """Watches one compiled model between executions of its train function.

    Args:
        model: A compiled and built model.
        witness: What the guard knows.
        counter: int64 scalar; steps made so far.
        usual: What loss and gradient norm usually are.
    """

    def __init__(self, model: Any, witness: Witness, counter: tf.Variable, usual: Usual) -> None:
        self._model = model
        self._witness = witness
        self._counter = counter
        self._usual = usual
        self._snapshots = Snapshots(model)
        self._known_incidents = len(witness.incidents)
        self._steps_since_look = 0
        # The greatest |loss| of the first steps that were made.
        self._first_loss, self._num_first = 0.0, 0

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self._counter.numpy())

    def begin(self) -> None:
        """Take the first snapshot.

        Raises:
            GuardBudgetSpent: The state is not finite before the first step.
        """
        bad = self._snapshots.take(sound=True)
        if bad is not None:
            raise self._witness.stop(self.step, f"{bad} is not finite before the first step")
        self._look_soon()

    def _look_soon(self) -> None:
        # What makes NaN of sound gradients, such as beta_1 = 1, does so at once.
        self._steps_since_look = self._witness.settings.look_every_steps

    def after_steps(self, num_steps: int) -> bool:
        """Judge budget and state after some steps; tell whether to trace the step anew.

        Raises:
            GuardBudgetSpent: The budget is spent and may not be spent again.
        """
        self._steps_since_look += num_steps
        if self._num_first < _NUM_FIRST and (losses := self._losses()):
            self._num_first += num_steps
            self._first_loss = max([self._first_loss, *np.abs(losses)])
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
        retrace = self.look()  # before a callback saves the state
        reason = self._witness.overspent(self.step, epoch_over=True)
        return retrace if reason is None else self._answer(reason) or retrace

    def look(self) -> bool:
        """Look at the whole state and at what the loss has come to; answer what is wrong."""
        self._steps_since_look = 0
        loss = float(np.median(self._losses() or [0.0]))
        # An explosion too slow to be one from step to step.
        limit = self._witness.settings.explosion_ratio * self._first_loss
        slow = 0.0 < limit < loss
        # A state that is being skipped over may already be lost, though still finite.
        skipped = self._witness.was_skipped(self.step - 1)
        bad = self._snapshots.take(sound=not (slow or skipped))
        if bad is not None:
            self._witness.causes["state"] += 1
            return self._answer(f"{bad} was found non-finite", "state", "state")
        if slow:
            self._witness.causes["loss"] += 1
            reason = f"the loss came to {loss:.3g}, from {self._first_loss:.3g} at the start"
            return self._answer(reason, "explosion", "loss")
        return False

    def _losses(self) -> list[float]:
        return [float(loss) for loss in self._usual.recent().numpy()[0]]

    def _answer(self, reason: str, kind: str = "budget", seen: str | None = None) -> bool:
        """Take the next step of the ladder; tell whether to trace the training step anew.

        Args:
            reason: Why.
            kind: The incident's.
            seen: Where it was seen; None for where most of what was skipped was.
        """
        witness, settings = self._witness, self._witness.settings
        retrace, rate = False, self._rate()
        if kind == "budget" and self._may_cut():
            witness.rate_cuts += 1
            retrace = lower_rate(self._model.optimizer, settings.rate_cut_factor)
            self._note(kind, seen, "cut rate", reason, rate)
        elif witness.rollbacks < settings.max_rollbacks:
            witness.rollbacks += 1
            done = "went on" if witness.data_alone else "rolled back"
            retrace = not witness.data_alone and self._roll_back()
            self._note(kind, seen, done, reason, rate)
        else:
            self._restore()
            self._note(kind, seen, "stopped", reason, rate)
            raise witness.stop(self.step, reason)
        if not witness.data_alone:
            self._usual.forget()
        rolled_back = witness.incidents[-1].done == "rolled back"
        witness.forget(self.step)
        if rolled_back:
            witness.rolled_back_at = self.step
        self._known_incidents = len(witness.incidents)
        return retrace

    def _may_cut(self) -> bool:
        witness = self._witness
        lost = witness.was_skipped(self.step - 1) and witness.in_a_row > 1
        return (
            not lost
            and not witness.data_alone
            and witness.rate_cuts < witness.settings.max_rate_cuts
        )

    def _roll_back(self) -> bool:
        self._restore()
        self._look_soon()
        return lower_rate(self._model.optimizer, self._witness.settings.rollback_rate_factor)

    def _restore(self) -> None:
        rate = rate_variable(self._model.optimizer)
        before = None if rate is None else float(rate.numpy())
        self._snapshots.restore()
        if rate is not None and before is not None and np.isfinite(before):
            # The snapshot holds the rate of its time; cuts made since must not be undone.
            rate.assign(min(before, float(rate.numpy())))

    def _rate(self) -> float:
        return float(tf.convert_to_tensor(self._model.optimizer.learning_rate).numpy())

    def _note(self, kind: str, seen: str | None, done: str, reason: str, rate: float) -> None:
        """Write down what was done; `rate` is the learning rate before it."""
        if (now := self._rate()) != rate:
            reason += f"; rate {rate:.3g} to {now:.3g}"
        step = self.step
        common = self._witness.causes.most_common(1)
        self._witness.note(
            Incident(
                step=step,
                epoch=self._witness.epoch,
                step_in_epoch=step - self._witness.epoch_start,
                kind=kind,
                first_seen=seen or (common[0][0] if common else "state"),
                rows=(),
                num_rows=0,
                loss=0.0,
                gradient_norm=0.0,
                learning_rate=rate,
                done=done,
                loss_scale=float(loss_scale(self._model.optimizer).numpy()),
                before=steps_before(self._usual.recent().numpy()),
                note=reason,
            )
        )
