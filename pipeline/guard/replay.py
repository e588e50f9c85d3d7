"""A recorded step, made again."""

from __future__ import annotations

from pathlib import Path

import keras

from pipeline.errors import UsageError
from pipeline.guard.incident import Incident
from pipeline.guard.model import guarded
from pipeline.guard.recorder import Record


def replay(folder: Path | str, model: keras.Model) -> Incident:
    """Make a recorded step again, bit for bit on the machine and the versions that made it first.

    Args:
        folder: One of those that `guarded(model, recorder_path=…)` leaves behind.
        model: A model as it was when the step was recorded: built, compiled, under a strategy as
            then, and with any weights. It is guarded as then, and its state afterwards is that
            after the step.

    Returns:
        What came of the step; `step` and `epoch` are counted from here.

    Raises:
        UsageError: The folder holds no recorded step, the model is another one, or nothing
            happened this time.
    """
    record = Record(folder)
    guarded(model, **record.settings)
    function = model.make_train_function(force=True)
    batch = record.batch(record.settings["row_id"])
    iterator = function.prepare(iter([batch]))
    record.restore(function.state)
    function.make_steps(iterator)
    if not model.guard.incidents:
        raise UsageError(
            "the recorded step was made again and was good.",
            expected=f"a fault first seen in {record.incident['first_seen']}",
            got="none",
            fix="build and compile the model as it was, on a machine and versions as then.",
        )
    return model.guard.incidents[0]
