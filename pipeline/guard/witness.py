"""The guard's memory: incidents, the skip budget, and what to do once it is spent."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import GuardBudgetSpent
from pipeline.guard.board import Board
from pipeline.guard.cells import Cells
from pipeline.guard.incident import BadRow, Incident, steps_before
from pipeline.guard.origins import Origins
from pipeline.guard.places import Places
from pipeline.guard.recorder import Recorder
from pipeline.guard.report import SEEN, Report
from pipeline.guard.settings import GuardSettings
from pipeline.guard.table import make_table

# Faults for which no learning rate is to blame.
_OF_THE_DATA = frozenset(("input", "label", "weight", "operation"))
_NO_ROWS = "an array is sparse or a scalar: its rows cannot be told apart, so the batch is blamed"
# How lines begin that say where TensorFlow was, and not what it met.
_NO_REASON = (
    "Graph execution error",
    "Detected at node",
    "File ",
    "Stack trace",
    "<stack trace",
    "[[",
)
_MAX_REASON = 300
_REFUSED = ("batch", "operation")
# Below this many steps a single bad batch says little about a ratio.
_MIN_STEPS_FOR_RATIO = 100
_MAX_ROWS_NAMED = 10


class Witness:
    """What the guard knows about a run; found as `model.guard`.

    Attributes:
        settings: The settings given to `guarded`.
        incidents: Every incident, in order.
        step: Steps made when last counted: at an incident, and at an epoch's end.
        epoch: The epoch that `fit` is in, from 0.
        skipped_rows: Rows of this epoch that had no part in an update, as far as they were seen:
            of a step that TensorFlow refused they are not.
        skipped_steps: Steps of this epoch that changed nothing.
        rescaled_steps: Those that lowered the loss scale, and changed nothing else.
        rolled_back_at: The step before which the last roll-back was, if it was the last answer.
        rate_cuts: How often the answer to a spent budget was a smaller rate alone.
        board: Writes for TensorBoard; None where nobody asked for it.
        recorder: Keeps bad steps; None where nobody asked for it.
        rollbacks: How often it was a roll-back, or, where the data alone are to blame, to go on.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self._origins = None if settings.dataset is None else Origins(settings.dataset)
        path = settings.tensorboard_path
        self.board = None if path is None else Board(Path(path))
        path = settings.recorder_path
        self.recorder = None if path is None else Recorder(Path(path), settings)
        self.step = 0
        self.incidents: list[Incident] = []
        self.rate_cuts = self.rollbacks = 0
        self.forget()
        self.begin_epoch(0, 0)

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Start counting an epoch, before its first step."""
        self.epoch = epoch
        self.epoch_start = self._counted_from = step
        self.skipped_rows = self.skipped_steps = self.rescaled_steps = 0
        if not self.in_a_row:
            self.causes.clear()
        # A step with a quarter of its rows dropped counts 0.25.
        self._skipped_parts = 0.0

    def forget(self, step: int = 0) -> None:
        """Start the budget anew, after a roll-back."""
        self.in_a_row = 0
        self.causes: Counter[str] = Counter()
        self._last_skipped = -1
        self.rolled_back_at = -1
        self._counted_from, self._skipped_parts = step, 0.0

    def hear(self, report: Report, places: Places, cells: Cells) -> None:
        """Write down a bad step as the careful step reports it."""
        self.step = int(report.step) + 1
        if report.rescaled:
            self.rescaled_steps += 1
            if self.recorder is not None:
                self.recorder.drop()
            return
        blamed, committed = report.blames_rows, bool(report.committed)
        loss, norm, rate, scale = (float(value) for value in report.scalars)
        incident = Incident(
            step=int(report.step),
            epoch=self.epoch,
            step_in_epoch=int(report.step) - self.epoch_start,
            kind=_kind_of(report),
            first_seen=report.first_seen,
            rows=self._name_rows(report, cells) if blamed else (),
            num_rows=int(report.masks.shape[1]),
            loss=loss,
            gradient_norm=norm,
            learning_rate=rate,
            done=_what_was_done(blamed, committed),
            loss_scale=scale,
            place=report.first_place(places.names),
            before=steps_before(report.recent),
            note="" if report.has_rows else _NO_ROWS,
        )
        self._count(incident)
        self.note(incident)
        if self.recorder is not None:
            self.recorder.keep(incident)

    def hear_refused(self, step: int, message: str, rate: float, scale: float, recent: Any) -> None:
        """Write down a step that TensorFlow refused to compute; its rows are not known."""
        self.step = step + 1
        incident = Incident(
            step=step,
            epoch=self.epoch,
            step_in_epoch=step - self.epoch_start,
            kind="batch",
            first_seen="operation",
            rows=(),
            num_rows=0,
            loss=math.nan,
            gradient_norm=math.nan,
            learning_rate=rate,
            done="skipped step",
            loss_scale=scale,
            before=steps_before(recent),
            note=_reason_of(message),
        )
        self._count(incident)
        self.note(incident)

    def _name_rows(self, report: Report, cells: Cells) -> tuple[BadRow, ...]:
        known = {} if self._origins is None else self._origins.names
        named = []
        for position in np.flatnonzero(report.masks.any(axis=0)):
            row_id = _row_id(report.row_ids[position])
            origin = None
            if self._origins is not None and isinstance(row_id, int):
                origin = self._origins.find(row_id)
            row = BadRow(
                position=int(position),
                row_id=row_id,
                seen=SEEN[int(np.argmax(report.masks[:, position]))],
                columns=cells.name(report.firsts[:, position], known),
                file="" if origin is None else origin.file,
                row=None if origin is None else origin.row,
            )
            named.append(row)
        return tuple(named)

    def _count(self, incident: Incident) -> None:
        if incident.done == "skipped step":
            follows = incident.step == self._last_skipped + 1
            self.in_a_row = self.in_a_row + 1 if follows else 1
            self._last_skipped = incident.step
            self.skipped_steps += 1
            self._skipped_parts += 1.0
        elif incident.rows:
            self._skipped_parts += len(incident.rows) / incident.num_rows
        self.skipped_rows += incident.num_skipped_rows
        if incident.rows or incident.done == "skipped step":
            self.causes[incident.first_seen] += 1

    def note(self, incident: Incident) -> None:
        """Keep an incident and append it to the file of incidents."""
        self.incidents.append(incident)
        if self.board is not None:
            self.board.write_incident(incident)
        if self.settings.incidents_path is not None:
            with open(self.settings.incidents_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(incident.to_json(), allow_nan=False) + "\n")

    def table(self) -> str:
        """Give the incidents as a table in plain text, like ones in a row as one line."""
        return make_table(self.incidents)

    def was_skipped(self, step: int) -> bool:
        """Tell whether `step` is the last one of a row of skipped steps."""
        return step == self._last_skipped

    def skipped_ratio(self, step: int) -> float:
        """Give the part of the rows that was skipped, from the epoch's start to before `step`."""
        return self._skipped_parts / max(step - self._counted_from, 1)

    def overspent(self, step: int, *, epoch_over: bool) -> str | None:
        """Say how the budget is spent, or None if it is not."""
        limits = self.settings
        if self.in_a_row >= limits.max_skipped_in_a_row:
            return f"{self.in_a_row} steps in a row were skipped"
        steps = step - self._counted_from
        if not steps or (steps < _MIN_STEPS_FOR_RATIO and not epoch_over):
            return None
        ratio = self.skipped_ratio(step)
        if ratio > limits.max_skipped_ratio:
            return f"{ratio:.1%} of the rows of {steps} steps were skipped"
        return None

    def _tell_answers(self) -> str:
        done = Counter(incident.done for incident in self.incidents)
        names = {"cut rate": "cuts of the rate", "rolled back": "roll-backs"}
        told = [f"{done[name]} {what}" for name, what in names.items() if done[name]]
        return f"after {' and '.join(told)}" if told else "and no rate is to blame"

    def _advise(self) -> str:
        refused = [i.note for i in self.incidents if (i.kind, i.first_seen) == _REFUSED]
        if refused and self.causes.most_common(1)[0][0] == "operation":
            return f"mend what TensorFlow refused: {refused[-1]}"
        if self.data_alone:
            return "mend the rows that the incidents name."
        return "lower the learning rate; the incidents say where a fault was first seen."

    @property
    def data_alone(self) -> bool:
        """Tell whether all that was skipped was skipped for what the data hold."""
        return bool(self.causes) and _OF_THE_DATA.issuperset(self.causes)

    def stop(self, step: int, reason: str) -> GuardBudgetSpent:
        """Make the error that ends training."""
        causes = ", ".join(f"{name} ({count})" for name, count in self.causes.most_common())
        rows = [row for incident in self.incidents for row in incident.rows]
        named = sorted({str(row) for row in rows if row.row_id is not None})
        return GuardBudgetSpent(
            f"training stopped at step {step} (epoch {self.epoch}): {reason}, "
            f"{self._tell_answers()}.",
            expected=f"at most {self.settings.max_skipped_in_a_row} bad steps in a row and "
            f"{self.settings.max_skipped_ratio:.0%} of the rows",
            got=f"faults first seen in {causes or 'the state'}",
            fix=self._advise(),
            step=step,
            epoch=self.epoch,
            rollbacks=self.rollbacks,
            causes=dict(self.causes),
            rows=named[:_MAX_ROWS_NAMED],
        )


def _kind_of(report: Report) -> str:
    if report.exploded:
        return "explosion"
    return "rows" if report.blames_rows and not report.failed_again else "batch"


def _what_was_done(blamed: bool, committed: bool) -> str:
    if not committed:
        return "skipped step"
    return "dropped rows" if blamed else "tried again"


def _row_id(value: Any) -> int | str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return int(value) if value >= 0 else None


def _reason_of(message: str) -> str:
    """Give the line of TensorFlow's message that says what was wrong with the values."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(_NO_REASON)]
    return (said or lines or [""])[0][:_MAX_REASON]
