"""The guard's settings, judged before the first step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingsError


@dataclass(frozen=True)
class GuardSettings:
    """What the guard lets pass, and how often it may skip.

    Args:
        strict: Look at weights and optimizer slots after every update and put the old ones back
            if any is not finite. Without it they are looked at every `look_every_steps`.
        max_gradient_norm: A step with a greater global gradient norm changes nothing. Above
            1.8e19 the square of the norm overflows float32, so such a norm counts as infinite
            whatever is set here.
        max_skipped_in_a_row: Steps that may be skipped one after another.
        max_skipped_ratio: Part of the rows of an epoch that may be skipped, in [0, 1]; judged
            from the 100th step of an epoch on, and at its end.
        max_rollbacks: How often a spent budget is answered by a roll-back before training stops.
        rollback_rate_factor: What a roll-back multiplies the learning rate by, in (0, 1].
        look_every_steps: Steps between two looks at the whole state; each takes a snapshot.
        incidents_path: A file to which every incident is appended as one line of JSON.
        row_id: The key under which a dict of features carries the row ids, `(batch,)` int or
            string. It is taken out before the model.

    Raises:
        SettingsError: A value is outside its range.
    """

    strict: bool = False
    max_gradient_norm: float = 1e30
    max_skipped_in_a_row: int = 10
    max_skipped_ratio: float = 0.1
    max_rollbacks: int = 3
    rollback_rate_factor: float = 0.1
    # At 200 the copy of the state cost under 1% of the cheapest step that was timed.
    look_every_steps: int = 200
    incidents_path: Path | None = None
    row_id: str = "row_id"

    def __post_init__(self) -> None:
        _demand("max_gradient_norm", self.max_gradient_norm, 0.0, math.inf)
        _demand("max_skipped_in_a_row", self.max_skipped_in_a_row, 1, math.inf)
        _demand("max_skipped_ratio", self.max_skipped_ratio, 0.0, 1.0)
        _demand("max_rollbacks", self.max_rollbacks, 0, math.inf)
        _demand("rollback_rate_factor", self.rollback_rate_factor, 1e-6, 1.0)
        _demand("look_every_steps", self.look_every_steps, 1, math.inf)


def _demand(name: str, value: float, low: float, high: float) -> None:
    # Written so that NaN fails as well.
    if not low <= value <= high:
        raise SettingsError(
            f"guard setting {name!r} is out of range.",
            expected=f"a number in [{low:g}, {high:g}]",
            got=repr(value),
            fix=f"give {name} a value in that range.",
            setting=name,
        )
