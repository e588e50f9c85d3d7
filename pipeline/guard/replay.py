"""A recorded step, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from pipeline.errors import UsageError
from pipeline.guard.incident import Incident
from pipeline.guard.model import guarded
from pipeline.guard.recorder import Record

_SAME = ("kind", "first_seen", "done", "loss", "gradient_norm", "learning_rate", "loss_scale")


def replay(folder: Path | str, model: keras.Model) -> Incident:
    """Make a recorded step again, bit for bit on the machine and the versions that made it first.

    Args:
        folder: One of those that `guarded(model, recorder_path=…)` leaves behind.
        model: A model as it was when the step was recorded: built, compiled, and with any finite
            weights. It is guarded as then, and its state afterwards is that after the step.

    Returns:
        What came of the step, the same as then; `step` and `epoch` are counted from here.

    Raises:
        UsageError: The folder holds no recorded step, the model is another one, it is or was
            under a distribution strategy, or the step comes out otherwise.
    """
    record = Record(folder)
    if record.num_replicas > 1 or model.distribute_strategy.num_replicas_in_sync > 1:
        raise UsageError(
            "a step that was spread over replicas cannot be made again.",
            fix="record it on one.",
        )
    if not model.compiled:
        raise UsageError("the model is not compiled.", fix="compile it as it was then.")
    guarded(model, **record.settings)
    function = model.make_train_function(force=True)
    iterator = function.prepare(iter([record.batch(record.settings["row_id"])]))
    record.restore(function.state)
    function.make_steps(iterator)
    incidents = model.guard.incidents
    _compare(record.incident, incidents[0].to_json() if incidents else {})
    return incidents[0]


def _compare(recorded: dict[str, Any], again: dict[str, Any]) -> None:
    for name in _SAME:
        if recorded[name] != again.get(name):
            raise UsageError(
                "the step came out otherwise than when it was recorded.",
                expected=f"{name} {recorded[name]}",
                got=f"{again.get(name, 'no incident')}",
                fix="build and compile the model as it was, on a machine and versions as then; a "
                "schedule that was cut, and random numbers without a seed, are not recorded.",
            )
