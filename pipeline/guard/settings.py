"""The guard's settings, judged before the first step."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import SettingsError

# Its square, which the loss is held to, has to fit into float32.
MAX_EXPLOSION_RATIO = 1e15
_MAX_FLOAT32 = 3.4028234e38
_MAX_COUNT = 1 << 62
_RATIOS = (
    ("max_gradient_norm", 0.0, _MAX_FLOAT32),
    ("explosion_ratio", 1.0, MAX_EXPLOSION_RATIO),
    ("clip", 0.0, _MAX_FLOAT32),
    ("max_skipped_ratio", 0.0, 1.0),
    ("rate_cut_factor", 1e-6, 1.0),
    ("rollback_rate_factor", 1e-6, 1.0),
)
_COUNTS = (
    ("max_skipped_in_a_row", 1),
    ("max_rate_cuts", 0),
    ("max_rollbacks", 0),
    ("max_recorded", 1),
    ("look_every_steps", 1),
)


@dataclass(frozen=True)
class GuardSettings:
    """What the guard lets pass, and how often it may skip.

    Args:
        strict: Look at weights and optimizer slots after every update and put the old ones back
            if any is not finite. Without it they are looked at every `look_every_steps`.
        max_gradient_norm: A step with a greater global gradient norm changes nothing. Above
            1.8e19 the square of the norm overflows float32, so such a norm counts as infinite
            whatever is set here.
        explosion_ratio: A step is skipped, though finite, where its gradient norm is beyond this
            many times the usual one, or its loss beyond the square of it. Usual is the median of
            the last 64 good steps, the highest so far.
        clip: Shorten a gradient whose norm is beyond this many times the recent median to that;
            0 shortens none. A sparse gradient counts with its parts; under a distribution
            strategy each replica's gradient counts for itself.
        max_skipped_in_a_row: Steps that may be skipped one after another.
        max_skipped_ratio: Part of the rows of an epoch that may be skipped, in [0, 1]; judged
            from the 100th step of an epoch on, and at its end.
        max_rate_cuts: How often a spent budget is answered by a smaller rate alone, which it is
            only where good steps are made in between.
        rate_cut_factor: What such a cut multiplies the learning rate by, in (0, 1].
        max_rollbacks: How often one is answered by a roll-back, after that, before training stops.
        rollback_rate_factor: What a roll-back multiplies the learning rate by, in (0, 1].
        look_every_steps: Steps between two looks at the whole state; each takes a snapshot.
        incidents_path: A file to which every incident is appended as one line of JSON.
        dataset: The folder of the published dataset that the feed reads; rows are then named by
            raw file and row.
        tensorboard_path: A folder of TensorBoard's, for every incident and every epoch's numbers.
        recorder_path: A folder for the first bad steps, each whole enough to be made again by
            `replay`: the state before it and its batch. Steps of ragged or sparse batches, and
            those that TensorFlow refuses, are not recorded.
        max_recorded: How many are.
        row_id: The key under which a dict of features carries the row ids, `(batch,)` int or
            string. It is taken out before the model.

    Raises:
        SettingsError: A value is outside its range.
    """

    strict: bool = False
    max_gradient_norm: float = 1e30
    # benchmarks/guard_limits.py: in 26 sound runs, Student-t noise of 1.5 degrees of freedom among
    # them, the norm came to 65 times the usual one at most, and the loss to 597 times. Of 13
    # unstable ones 9 went beyond this while they were finite, and 3 were NaN at once.
    explosion_ratio: float = 1000.0
    clip: float = 0.0
    max_skipped_in_a_row: int = 10
    max_skipped_ratio: float = 0.1
    max_rate_cuts: int = 1
    # A rate just beyond the edge of stability is within it at half.
    rate_cut_factor: float = 0.5
    max_rollbacks: int = 3
    rollback_rate_factor: float = 0.1
    # At 200 the copy of the state cost under 1% of the cheapest step that was timed.
    look_every_steps: int = 200
    incidents_path: str | Path | None = None
    dataset: str | Path | None = None
    tensorboard_path: str | Path | None = None
    recorder_path: str | Path | None = None
    # The first ones tell what went wrong; each holds the whole state.
    max_recorded: int = 3
    row_id: str = "row_id"

    def __post_init__(self) -> None:
        _check_kinds(self)
        for name, low, high in _RATIOS:
            object.__setattr__(self, name, float(_demand(name, getattr(self, name), low, high)))
        for name, low in _COUNTS:
            value = _demand(name, getattr(self, name), low, _MAX_COUNT, whole=True)
            object.__setattr__(self, name, int(value))


def _check_kinds(settings: GuardSettings) -> None:
    if not isinstance(settings.strict, bool | np.bool_):
        raise _wrong("strict", settings.strict, "True or False")
    object.__setattr__(settings, "strict", bool(settings.strict))
    if not (isinstance(settings.row_id, str) and settings.row_id):
        raise _wrong("row_id", settings.row_id, "the key of the row ids, a text")
    for name in ("incidents_path", "tensorboard_path", "dataset", "recorder_path"):
        value = getattr(settings, name)
        if not (value is None or isinstance(value, str | Path)) or value == "":
            raise _wrong(name, value, "a path, or None")
        if value is not None and name != "dataset":
            object.__setattr__(settings, name, _check_output(name, value))


def _check_output(name: str, value: str | Path) -> Path:
    """Find now what would otherwise end training at the first bad row."""
    path = Path(value)
    if "://" in str(value):
        raise _wrong(name, value, "a local path")
    try:
        if name == "incidents_path":
            path.open("a").close()
        elif path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
    except OSError as error:
        raise _wrong(name, value, f"what can be written to: {error.strerror}") from None
    return path


def _wrong(name: str, value: Any, expected: str) -> SettingsError:
    return SettingsError(
        f"guard setting {name!r} cannot be {value!r}.",
        expected=expected,
        got=repr(value),
        fix=f"give {name} another value.",
        setting=name,
    )


def _demand(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> Any:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    # Written so that NaN fails as well.
    if not (is_number and low <= value <= high and (not whole or value == int(value))):
        raise SettingsError(
            f"guard setting {name!r} is out of range.",
            expected=f"a {'whole ' if whole else ''}number in [{low:g}, {high:g}]",
            got=repr(value),
            fix=f"give {name} a value in that range.",
            setting=name,
        )
    return value
