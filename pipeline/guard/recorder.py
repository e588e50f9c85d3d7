"""A flight recorder: bad steps kept on disk, so that each can be made again, bit for bit.

What a step does follows from the state before it, seeds and statistics included, and from its
batch. Both are there when a step is found to be bad, and are written then: nothing is copied
while steps are good, and no dataset is needed to replay one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import ml_dtypes
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.errors import UsageError
from pipeline.guard.batch import Parts, Tensor
from pipeline.guard.incident import Incident
from pipeline.guard.settings import GuardSettings

Arrays = dict[str, npt.NDArray[Any]]
_RECORD, _STATE, _BATCH = "record.json", "state.npz", "batch.npz"
_PARTS = ("x", "y", "sample_weight")
# A run's settings that say where to write, and not what a step does.
_PATHS = ("incidents_path", "tensorboard_path", "dataset", "recorder_path")
_BFLOAT16 = ml_dtypes.bfloat16


class Recorder:
    """Keeps the first bad steps of a run in a folder, one folder a step.

    Args:
        folder: Where; it is made when there is something to keep.
        settings: The guard's.

    Attributes:
        variables: What the state is, in an order that a model made in the same way has, too.
    """

    def __init__(self, folder: Path, settings: GuardSettings) -> None:
        self.variables: list[Any] = []
        self._folder = folder
        self._settings = settings
        self._held: tuple[Arrays, Arrays, dict[str, Any]] | None = None
        self._num_kept = 0

    def hold(self, parts: Parts, concat: Any) -> None:
        """Take state and batch into memory, within a step and before it changes anything.

        A batch with ragged or sparse parts is not taken.

        Args:
            parts: The batch, as every replica has it.
            concat: Makes one tensor of every replica's.
        """
        if not all(_is_dense(leaf) for leaf in keras.tree.flatten(parts)):
            return
        leaves: list[Tensor] = []

        def number(leaf: Any) -> int | None:
            if leaf is None:
                return None
            leaves.append(concat(leaf))
            return len(leaves) - 1

        skeleton = {name: keras.tree.map_structure(number, getattr(parts, name)) for name in _PARTS}
        skeleton["row_ids"] = number(parts.row_ids)
        state = [tf.convert_to_tensor(_value_of(variable)) for variable in self.variables]

        def take(*arrays: Any) -> None:
            if self._num_kept < self._settings.max_recorded:
                state, batch = arrays[: len(self.variables)], arrays[len(self.variables) :]
                self._held = _numbered(state), _numbered(batch), skeleton

        if tf.executing_eagerly():
            take(*(tensor.numpy() for tensor in (*state, *leaves)))
        else:
            tf.numpy_function(take, [*state, *leaves], [])

    def drop(self) -> None:
        """Forget what is held: the step was no incident."""
        self._held = None

    def keep(self, incident: Incident) -> None:
        """Write what is held, and what came of it."""
        if self._held is None:
            return
        state, batch, skeleton = self._held
        self._held = None
        self._num_kept += 1
        folder = self._folder / f"step-{incident.step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        settings = {k: v for k, v in asdict(self._settings).items() if k not in _PATHS}
        record = {
            "incident": incident.to_json(),
            "settings": settings,
            "batch": skeleton,
            "dtypes": {
                "state": _save(folder / _STATE, state),
                "batch": _save(folder / _BATCH, batch),
            },
            "variables": [variable.name for variable in self.variables],
        }
        text = json.dumps(record, allow_nan=False, indent=1)
        (folder / _RECORD).write_text(text, encoding="utf-8")


def _is_dense(leaf: Any) -> bool:
    # Under a strategy it is a value of each replica's.
    first = getattr(leaf, "values", (leaf,))[0] if hasattr(leaf, "_values") else leaf
    return first is None or isinstance(first, tf.Tensor)


def _value_of(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _numbered(arrays: Sequence[Any]) -> Arrays:
    # TensorFlow may hand over memory of its own.
    return {str(index): np.array(array) for index, array in enumerate(arrays)}


def _save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, str]:
    """Write arrays without pickling; return the dtypes of those that NumPy has no name for."""
    plain, dtypes = {}, {}
    for name, array in arrays.items():
        if array.dtype == _BFLOAT16:
            plain[name], dtypes[name] = array.view(np.uint16), "bfloat16"
        elif array.dtype == object:  # texts
            plain[name], dtypes[name] = array.astype(np.bytes_), "string"
        else:
            plain[name] = array
    np.savez(path, **plain)  # type: ignore[arg-type]  # numpy takes it for allow_pickle
    return dtypes


def _load(path: Path, dtypes: Mapping[str, str]) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, dtype in dtypes.items():
        arrays[name] = (
            arrays[name].view(_BFLOAT16) if dtype == "bfloat16" else arrays[name].astype(object)
        )
    return arrays


class Record:
    """A recorded step, read back.

    Args:
        folder: That of one step.

    Attributes:
        incident: What came of it, as JSON values.
        settings: The guard's settings, without paths.

    Raises:
        UsageError: There is none, or it is not whole.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        try:
            told = json.loads((folder / _RECORD).read_text("utf-8"))
            self._state = _load(folder / _STATE, told["dtypes"]["state"])
            arrays = _load(folder / _BATCH, told["dtypes"]["batch"])
            self.incident: dict[str, Any] = told["incident"]
            self.settings: dict[str, Any] = told["settings"]
            self._names: list[str] = told["variables"]
            self._batch = told["batch"]
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise UsageError(
                f"{folder} holds no recorded step that can be read: {error}.",
                fix="give a folder such as runs/0001/recorder/step-00000012.",
            ) from None
        self._arrays = arrays

    def batch(self, row_id: str) -> tuple[Any, ...]:
        """Return `(x, y, sample_weight)`, the row ids among the features where there were any."""

        def array(index: int | None) -> Any:
            return None if index is None else tf.constant(self._arrays[str(index)])

        x, y, weight = (keras.tree.map_structure(array, self._batch[n]) for n in _PARTS)
        if self._batch["row_ids"] is not None:
            x = {**x, row_id: array(self._batch["row_ids"])}
        return x, y, weight

    def restore(self, variables: Sequence[Any]) -> None:
        """Write the state before the step.

        Raises:
            UsageError: The model is another one.
        """
        saved = [self._state[str(index)] for index in range(len(self._names))]
        ours = [(variable.name, tuple(variable.shape)) for variable in variables]
        theirs = [(name, value.shape) for name, value in zip(self._names, saved, strict=True)]
        if len(ours) != len(theirs) or [s for _, s in ours] != [s for _, s in theirs]:
            differ = next((p for p in zip(ours, theirs, strict=False) if p[0][1] != p[1][1]), None)
            what = f"{differ[0]} for {differ[1]}" if differ else f"{len(ours)} for {len(theirs)}"
            raise UsageError(
                f"the recorded step is of another model: it has {what} variables.",
                fix="build and compile the model as it was when the step was recorded.",
            )
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)
