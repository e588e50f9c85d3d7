"""A recorded bad step is made again, bit for bit, by another model object."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import GuardBudgetSpent, UsageError
from pipeline.guard import Incident, guarded, replay
from pipeline.guard.batch import Parts
from pipeline.guard.recorder import Record, Recorder
from pipeline.guard.settings import GuardSettings

layers = keras.layers


def net(seed: int, dtype: str = "float32", **compiled: Any) -> Any:
    keras.utils.set_random_seed(seed)
    parts = [
        layers.Dense(6, activation="relu", dtype=dtype),
        layers.BatchNormalization(dtype=dtype),
        layers.Dropout(0.5, dtype=dtype),
        layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,)), *parts])
    optimizer: Any = keras.optimizers.Adam(0.01)
    if dtype == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse", **compiled)
    return model


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


class Weights(keras.callbacks.Callback):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after.append(self.model.get_weights())


def record(folder: Path, **net_is: Any) -> tuple[Any, list[Any], Path]:
    """Train over a bad row in the second epoch's sixth batch; give incident, weights, record."""
    x, y = data()
    model, weights = net(1, **net_is), Weights()
    guarded(model, recorder_path=folder, max_skipped_ratio=1.0)
    model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0, callbacks=[weights])
    x[43, 1] = np.nan
    model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0, callbacks=[weights])
    (incident,) = model.guard.incidents
    return incident, weights.after[incident.step], folder / f"step-{incident.step:08d}"


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"jit_compile": True},
        {"run_eagerly": True},
        {"dtype": "mixed_float16"},
        pytest.param({"dtype": "mixed_bfloat16"}, marks=pytest.mark.slow),
    ],
)
def test_a_step_is_made_again_bit_for_bit(tmp_path: Path, how: dict[str, Any]) -> None:
    incident, weights, folder = record(tmp_path / "recorder", **how)
    other = net(2, **how)
    again = replay(folder, other)
    assert [row.position for row in again.rows] == [3]
    assert again.before == incident.before
    assert (again.kind, again.done) == ("rows", "dropped rows") == (incident.kind, incident.done)
    assert repr((again.loss, again.gradient_norm)) == repr((incident.loss, incident.gradient_norm))
    for a, b in zip(weights, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_row_ids_texts_and_structures_come_back(tmp_path: Path) -> None:
    def build() -> Any:
        inputs = {"x": keras.Input((1,), name="x"), "word": keras.Input((), dtype="string")}
        vector = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(inputs["word"])
        joined = layers.concatenate([inputs["x"], vector])
        model = keras.Model(inputs, {"p": layers.Dense(1, name="p")(joined)})
        model.compile("sgd", {"p": "mse"})
        return model

    x = {
        "x": np.array([[1.0], [np.inf], [3.0]], "float32"),
        "word": np.array([b"a", b"zz", b"b"]),
        "row_id": np.array([7, 8, 9]),
    }
    batches = tf.data.Dataset.from_tensors((x, {"p": np.ones((3, 1), "float32")}, np.ones(3)))
    model = guarded(build(), recorder_path=tmp_path)
    model.fit(batches, verbose=0, shuffle=False)
    again = replay(tmp_path / "step-00000000", build())
    assert again.rows == model.guard.incidents[0].rows
    assert [row.row_id for row in again.rows] == [8]


def test_no_more_than_the_first_steps_are_kept(tmp_path: Path) -> None:
    x, y = data()
    x[:, 0] = np.nan
    model = guarded(net(1), recorder_path=tmp_path, max_recorded=2, max_skipped_in_a_row=100,
                    max_skipped_ratio=1.0)  # fmt: skip
    model.fit(x, y, batch_size=8, verbose=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000000", "step-00000001"]


def test_without_an_incident_nothing_is_written(tmp_path: Path) -> None:
    x, y = data()
    guarded(model := net(1, dtype="mixed_float16"), recorder_path=tmp_path / "recorder")
    # At this scale the first gradients overflow, which is no incident.
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(2.0**30)
    model.fit(x, y, batch_size=8, verbose=0)
    assert not model.guard.incidents
    assert not (tmp_path / "recorder").exists()


def test_the_ladder_does_not_run_while_a_step_is_made_again(tmp_path: Path) -> None:
    x, y = data()
    x[:, 0] = np.nan
    model = guarded(net(1), recorder_path=tmp_path, max_skipped_in_a_row=1, max_rollbacks=0)
    with pytest.raises(GuardBudgetSpent):
        model.fit(x, y, batch_size=8, verbose=0)
    other = net(2)
    assert replay(tmp_path / "step-00000000", other).done == "skipped step"
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("setting", [{"clip": np.float32(10)}, {"max_recorded": np.int64(2)}])
def test_settings_of_numpy_are_written(tmp_path: Path, setting: dict[str, Any]) -> None:
    x, y = data()
    x[3] = np.nan
    model = guarded(net(1), recorder_path=tmp_path, **setting)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert (tmp_path / "step-00000000" / "record.json").exists()


def test_more_than_one_compile_keeps_no_more(tmp_path: Path) -> None:
    x, y = data()
    x[3] = np.nan
    model = guarded(net(1), recorder_path=tmp_path, max_recorded=1)
    for _ in range(2):
        model.compile("sgd", "mse")
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_model_is_told(recorded: Path) -> None:
    other = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    other.compile("adam", "mse")
    with pytest.raises(UsageError, match="of another model"):
        replay(recorded, other)


def test_what_is_no_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recorded step"):
        replay(tmp_path, net(1))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorder"))[2]


@pytest.mark.parametrize("file", ["state.npz", "batch.npz", "record.json"])
@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_a_damaged_record_is_told(recorded: Path, tmp_path: Path, file: str, damage: str) -> None:
    folder = tmp_path / "record"
    shutil.copytree(recorded, folder)
    content = (folder / file).read_bytes()
    bytes_of = {"empty": b"", "cut": content[:-30], "other": b'{"incident": {}, "settings": 3}'}
    (folder / file).write_bytes(bytes_of[damage])
    with pytest.raises(UsageError, match="no recorded step"):
        replay(folder, net(1))


def test_a_step_that_comes_out_otherwise_is_told(recorded: Path) -> None:
    other = net(1)
    other.compile(keras.optimizers.Adam(lambda: 0.02), "mse")
    with pytest.raises(UsageError, match=r"another model or optimizer|came out otherwise"):
        replay(recorded, other)
    other = keras.Sequential(net(1).layers)
    other.compile(keras.optimizers.Adam(0.01), "mae")
    with pytest.raises(UsageError, match="came out otherwise"):
        replay(recorded, other)
    with pytest.raises(UsageError, match="not compiled"):
        replay(recorded, keras.Sequential([keras.Input((3,)), layers.Dense(1)]))


def test_tuples_keys_and_texts_with_zeros_come_back_as_they_were(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, GuardSettings())
    x = ({3: tf.constant([[1.0]])}, [tf.constant([[b"ab\0\0"], [b""]])])
    recorder.hold(Parts(x, None, None, None), lambda leaf: leaf)
    recorder.keep(Incident(0, 0, 0, "batch", "loss", (), 2, 1.0, 1.0, 1.0, "skipped step"))
    again, y, weight = Record(tmp_path / "step-00000000").batch("row_id")
    assert type(again) is tuple
    assert type(again[1]) is list
    assert again[0][3].numpy().tolist() == [[1.0]]
    assert again[1][0].numpy().tolist() == [[b"ab\0\0"], [b""]]
    assert y is weight is None


def test_a_record_holds_no_pickle(recorded: Path) -> None:
    folder = recorded
    assert sorted(p.name for p in folder.iterdir()) == ["batch.npz", "record.json", "state.npz"]
    told = json.loads((folder / "record.json").read_text())
    assert told["incident"]["rows"][0]["columns"] == ["input[1]"]
    for name in ("batch", "state"):
        with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
            assert all(archive[key].dtype != object for key in archive.files)
