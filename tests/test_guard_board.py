"""TensorBoard is told of incidents and epochs; read back by TensorFlow's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.guard import guarded

layers = keras.layers


def read_events(folder: Path) -> list[tuple[str, str, int, Any]]:
    """Return tag, plugin, step and value of every summary."""
    found = []
    for file in sorted(folder.glob("events.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for summary in event.summary.value:
                value = tf.make_ndarray(summary.tensor).item()
                plugin = summary.metadata.plugin_data.plugin_name
                found.append((summary.tag, plugin, event.step, value))
    return found


def test_incidents_and_epochs_are_written(tmp_path: Path) -> None:
    x = np.ones((16, 1), "float32")
    x[11] = np.nan
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    guarded(model, tensorboard_path=tmp_path, max_skipped_ratio=1.0).compile("sgd", "mse")
    history = model.fit(x, np.ones(16), batch_size=8, epochs=2, shuffle=False, verbose=0).history
    events = read_events(tmp_path)
    texts = [(step, value) for _, plugin, step, value in events if plugin == "text"]
    assert texts == [
        (1, b"**rows**: input: row 3 (input): dropped rows"),
        (3, b"**rows**: input: row 3 (input): dropped rows"),
    ]
    scalars = {(tag, step): value for tag, plugin, step, value in events if plugin == "scalars"}
    assert [scalars["epoch/skipped_rows", e] for e in (0, 1)] == [1.0, 1.0]
    assert [scalars["epoch/loss", e] for e in (0, 1)] == pytest.approx(history["loss"])
    assert np.isnan(scalars["guard/incident_loss", 1])


def test_nothing_is_written_where_nobody_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = guarded(keras.Sequential([keras.Input((1,)), layers.Dense(1)]))
    model.compile("sgd", "mse")
    model.fit(np.full((8, 1), np.nan, "float32"), np.ones((8, 1)), verbose=0)
    assert not list(tmp_path.iterdir())


def test_what_has_no_batch_has_no_size(tmp_path: Path) -> None:
    x = np.full((16, 1), np.nan, "float32")
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    guarded(model, tensorboard_path=tmp_path, max_skipped_in_a_row=2).compile("sgd", "mse")
    model.fit(x, np.ones(16), batch_size=8, shuffle=False, verbose=0)
    events = read_events(tmp_path)
    assert [step for tag, _, step, _ in events if tag == "guard/incidents"] == [0, 1, 2]
    assert [step for tag, _, step, _ in events if tag == "guard/incident_loss"] == [0, 1]
