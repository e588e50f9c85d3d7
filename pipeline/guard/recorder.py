"""A flight recorder: bad steps kept on disk, so that each can be made again, bit for bit.

What a step does follows from the state before it, seeds and statistics included, and from its
batch. Both are there when a step is found to be bad, and are written then: nothing is copied
while steps are good, and no dataset is needed to replay one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.errors import UsageError
from pipeline.guard.batch import Parts, Tensor
from pipeline.guard.incident import Incident
from pipeline.guard.settings import GuardSettings

Arrays = dict[str, npt.NDArray[Any]]
_RECORD, _STATE, _BATCH = "record.json", "state.npz", "batch.npz"
_MAX_NAMES = 4
# A run's settings that say where to write, and not what a step does.
_PATHS = ("incidents_path", "tensorboard_path", "dataset", "recorder_path")
_BFLOAT16 = tf.bfloat16.as_numpy_dtype


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
        self._num_kept, self._num_replicas = 0, 1

    def hold(self, parts: Parts, concat: Any) -> None:
        """Take state and batch into memory, within a step and before it changes anything.

        A batch with ragged or sparse parts is not taken.

        Args:
            parts: The batch, as every replica has it.
            concat: Makes one tensor of every replica's.
        """
        if not all(_is_dense(leaf) for leaf in keras.tree.flatten(parts)):
            return
        self._num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        leaves: list[Tensor] = []
        skeleton = {name: _number(part, leaves) for name, part in parts._asdict().items()}
        leaves = [concat(leaf) for leaf in leaves]
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
            "num_replicas": self._num_replicas,
            "batch": skeleton,
            "dtypes": {
                "state": _save(folder / _STATE, state),
                "batch": _save(folder / _BATCH, batch),
            },
            "variables": [variable.name for variable in self.variables],
        }
        text = json.dumps(record, allow_nan=False, indent=1)
        (folder / _RECORD).write_text(text, encoding="utf-8")


def _number(nested: Any, leaves: list[Any]) -> Any:
    """Describe a structure in JSON, its leaves by number; put them to `leaves`."""
    if nested is None:
        return None
    if isinstance(nested, Mapping):
        return {"dict": [[key, _number(value, leaves)] for key, value in nested.items()]}
    if isinstance(nested, list | tuple):
        kind = "list" if isinstance(nested, list) else "tuple"
        return {kind: [_number(value, leaves) for value in nested]}
    leaves.append(nested)
    return len(leaves) - 1


def _fill(skeleton: Any, leaves: Callable[[int], Any]) -> Any:
    """Do what undoes `_number`."""
    if not isinstance(skeleton, dict):
        return None if skeleton is None else leaves(skeleton)
    ((kind, items),) = skeleton.items()
    if kind == "dict":
        return {key: _fill(value, leaves) for key, value in items}
    return {"list": list, "tuple": tuple}[kind](_fill(value, leaves) for value in items)


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
        elif array.dtype == object:  # texts, end to end
            texts = array.ravel().tolist()
            plain[name], dtypes[name] = np.frombuffer(b"".join(texts), np.uint8), "string"
            plain[f"{name}.lengths"] = np.reshape([len(text) for text in texts], array.shape)
        else:
            plain[name] = array
    np.savez(path, **plain)  # type: ignore[arg-type]  # numpy takes it for allow_pickle
    return dtypes


def _load(path: Path, dtypes: Mapping[str, str]) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, dtype in dtypes.items():
        if dtype == "bfloat16":
            arrays[name] = arrays[name].view(_BFLOAT16)
        else:
            lengths = arrays.pop(f"{name}.lengths")
            stops = np.cumsum(lengths)
            text = arrays[name].tobytes()
            cut = [text[stop - size : stop] for stop, size in zip(stops, lengths.ravel())]
            arrays[name] = np.array([*cut, None], object)[:-1].reshape(lengths.shape)
    return arrays


class Record:
    """A recorded step, read back.

    Args:
        folder: That of one step.

    Attributes:
        incident: What came of it, as JSON values.
        settings: The guard's settings, without paths.
        num_replicas: Over how many the batch was spread.

    Raises:
        UsageError: There is none, or it is not whole.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            folder = Path(folder)
            told = json.loads((folder / _RECORD).read_text("utf-8"))
            state = _load(folder / _STATE, told["dtypes"]["state"])
            arrays = _load(folder / _BATCH, told["dtypes"]["batch"])
            self.incident: dict[str, Any] = told["incident"]
            self.settings: dict[str, Any] = told["settings"]
            self.num_replicas: int = told["num_replicas"]
            self._names: list[str] = told["variables"]
            self._batch = {
                name: _fill(told["batch"][name], lambda index: arrays[str(index)])
                for name in Parts._fields
            }
            self._state = [state[str(index)] for index in range(len(self._names))]
            GuardSettings(**self.settings)
        except Exception as error:  # whatever bytes that are not ours make of the readers
            raise UsageError(
                f"{folder} holds no recorded step that can be read: {error}.",
                fix="give a folder such as runs/0001/recorder/step-00000012.",
            ) from None

    def batch(self, row_id: str) -> tuple[Any, ...]:
        """Return `(x, y, sample_weight)`, the row ids among the features where there were any."""

        def tensor(leaf: Any) -> Any:
            return None if leaf is None else tf.constant(leaf)

        x, y, weight, row_ids = keras.tree.map_structure(
            tensor, [self._batch[name] for name in Parts._fields]
        )
        return x if row_ids is None else {**x, row_id: row_ids}, y, weight

    def restore(self, variables: Sequence[Any]) -> None:
        """Write the state before the step.

        Raises:
            UsageError: The model is another one.
        """
        ours = [(tuple(v.shape), tf.as_dtype(v.dtype).as_numpy_dtype) for v in variables]
        theirs = [(value.shape, value.dtype.type) for value in self._state]
        if ours != theirs:
            raise UsageError(
                "the recorded step is of another model or optimizer.",
                expected=f"{len(theirs)} variables, {', '.join(self._names[:_MAX_NAMES])}, …",
                got=f"{len(ours)}, {', '.join(v.name for v in variables[:_MAX_NAMES])}, …",
                fix="build and compile the model as it was when the step was recorded.",
            )
        for variable, value in zip(variables, self._state, strict=True):
            variable.assign(value)
