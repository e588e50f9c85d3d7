"""An incident names the raw file, the line and the column of what was bad."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import read_shards, run_job
from pipeline.errors import SettingsError, UsageError
from pipeline.guard import BadRow, guarded
from pipeline.guard.batch import Parts
from pipeline.guard.cells import Cells
from tests.conftest import HEADER, JOB, ROOT, make_rows

MakeJob = Callable[..., Path]
layers = keras.layers


@pytest.fixture
def out(make_job: MakeJob, tmp_path: Path) -> Path:
    """Publish two files; in the second one a record takes two lines."""
    rows = make_rows(400).splitlines()
    notes = ['"two\nlines"' if i == 250 else "" for i in range(400)]
    lines = [f"{row},{note}" for row, note in zip(rows, notes, strict=True)]
    job = make_job(f"{HEADER.strip()},note\n" + "\n".join(lines[:200]))
    second = f"{HEADER.strip()},note\n" + "\n".join(lines[200:])
    (job.parent / "raw" / "b.csv").write_text(second)
    return run_job(job, out=tmp_path / "out", until="shards").out


def find_line(out: Path, file: str, row: int) -> tuple[int, float]:
    """Give a train row's id and size by the line it stands on, from the raw text itself."""
    text = (out.parent / "job" / file).read_text().splitlines()
    size = float(text[row - 1].split(",")[0])
    before = [line for line in text[1 : row - 1] if line != 'lines"']
    return (("a.csv", "b.csv").index(Path(file).name) << 40) + len(before), size


def spoil_and_fit(out: Path, target: int, column: str, steps_per_execution: int) -> list[BadRow]:
    """Train on a feed in which one cell becomes NaN after it was read; give the rows blamed."""

    def spoil(features: dict[str, Any], label: Any) -> Any:
        hit = features["row_id"] == target
        if column == "label":
            return features, tf.where(hit, np.nan, tf.cast(label, tf.float32))
        cells = tf.where(hit[:, tf.newaxis], np.nan, tf.cast(features[column], tf.float32))
        return {**features, column: cells}, label

    inputs = {
        "size": keras.Input((1,), name="size"),
        "count": keras.Input((1,), name="count"),
        "colour": keras.Input((1,), dtype="int64", name="colour"),
    }
    tensors = [inputs["size"], layers.Rescaling(0.01)(inputs["count"])]
    model = keras.Model(inputs, layers.Dense(1)(layers.concatenate(tensors)))
    guarded(model, dataset=out, max_skipped_ratio=1.0)
    optimizer = keras.optimizers.SGD(1e-5)
    model.compile(optimizer, "mse", steps_per_execution=steps_per_execution)
    feed = read_shards(out, "train", batch_size=16, shuffle=True, seed=3, with_row_ids=True)
    model.fit(feed.map(spoil), epochs=2, shuffle=False, verbose=0)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    return [row for incident in model.guard.incidents for row in incident.rows]


@pytest.mark.parametrize(
    ("file", "row", "column", "steps_per_execution"),
    [
        ("raw/a.csv", 7, "size", 1),
        ("raw/b.csv", 40, "count", 3),
        ("raw/b.csv", 120, "label", 1),
        ("raw/b.csv", 120, "label", 3),
    ],
)
def test_a_value_spoiled_after_the_feed_is_traced_to_its_cell(
    out: Path, file: str, row: int, column: str, steps_per_execution: int
) -> None:
    trained = {int(i) for f, _ in read_shards(out, with_row_ids=True) for i in f["row_id"].numpy()}
    while find_line(out, file, row)[0] not in trained:
        row += 1
    target, _ = find_line(out, file, row)
    found = spoil_and_fit(out, target, column, steps_per_execution)
    told = [(r.file, r.row, r.columns, r.row_id) for r in found]
    assert told == [(file, row, (column,), target)] * 2  # once an epoch
    assert str(found[0]) == f"{file}:{row} ({column})"


MIRRORED = """
import sys
from pathlib import Path
import tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.test_guard_origins import spoil_and_fit
out, target, column, steps = sys.argv[1:]
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    found = spoil_and_fit(Path(out), int(target), column, int(steps))
print(*found, sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_it_is_so_on_two_replicas(out: Path, steps_per_execution: int) -> None:
    features, _ = next(iter(read_shards(out, with_row_ids=True)))
    target = max(int(i) for i in features["row_id"].numpy())
    command = [sys.executable, "-c", MIRRORED, str(out), str(target), "count"]
    done = subprocess.run(
        [*command, str(steps_per_execution)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    record = target - (1 << 40)
    expected = f"raw/b.csv:{record + 2 + (record > 50)} (count)"
    assert done.stdout.splitlines() == [expected] * 2, done.stderr[-2000:]


def test_without_parquet_a_row_goes_by_its_file_and_id(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(job=JOB + '[shards]\nformats = ["tfrecord"]\n')
    out = run_job(job, out=tmp_path / "out", until="shards").out
    features, _ = next(iter(read_shards(out, with_row_ids=True)))
    target = int(features["row_id"].numpy()[0])
    row, _ = spoil_and_fit(out, target, "size", 1)
    assert (row.file, row.row) == ("raw/a.csv", None)
    assert str(row) == f"raw/a.csv row {target} (size)"


def test_the_guard_is_not_given_what_is_no_dataset(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    with pytest.raises(UsageError, match=r"manifest\.json"):
        guarded(model, dataset=tmp_path)
    with pytest.raises(SettingsError, match="s3://data is a URL"):
        guarded(model, dataset="s3://data")


def fit_on(x: Any, y: Any, model: Any) -> list[tuple[str, ...]]:
    guarded(model).compile("sgd", "mse")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    return [row.columns for incident in model.guard.incidents for row in incident.rows]


def test_a_cell_of_a_tensor_is_named_by_its_place() -> None:
    x = np.zeros((16, 3, 4, 1), "float32")
    x[5, 2, 1, 0] = np.nan
    y = np.zeros((16, 2), "float32")
    y[11] = np.inf
    model = keras.Sequential([keras.Input((3, 4, 1)), layers.Flatten(), layers.Dense(2)])
    assert fit_on(x, y, model) == [("input[2, 1, 0]",), ("label[0]",)]


def test_several_inputs_are_told_apart() -> None:
    first, second = keras.Input((2,)), keras.Input((1,))
    model = keras.Model([first, second], layers.Dense(1)(layers.concatenate([first, second])))
    x = [np.zeros((8, 2), "float32"), np.zeros((8, 1), "float32")]
    x[0][3, 1] = x[1][3, 0] = x[1][6, 0] = np.nan
    assert fit_on(x, np.zeros((8, 1)), model) == [("input 0[1]", "input 1"), ("input 1",)]


def test_a_feature_called_label_is_not_the_dataset_s_label() -> None:
    cells = Cells()
    bad = tf.constant([[np.nan], [1.0]])
    found = cells.find(Parts({"label": bad}, bad, None, None), tf.constant(2), "float32")
    assert cells.name(found.numpy()[:, 0], {"label": "price"}) == ("label", "price")


def test_a_row_without_a_bad_cell_names_none(tmp_path: Path) -> None:
    x = np.ones((8, 1), "float32")
    x[3] = -1.0
    root = layers.Lambda(lambda value: keras.ops.sqrt(value))
    assert fit_on(x, x, keras.Sequential([keras.Input((1,)), root, layers.Dense(1)])) == [()]


def test_an_incident_s_file_holds_the_origins(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "incidents.jsonl"
    x = {"size": np.full((8, 1), 1.0, "float32"), "row_id": np.arange(8)}
    x["size"][2] = np.nan
    source = keras.Input((1,), name="size")
    model = keras.Model({"size": source}, layers.Dense(1)(source))
    guarded(model, dataset=out, incidents_path=path, max_skipped_ratio=1.0)
    model.compile("sgd", "mse")
    model.fit(x, np.ones(8), verbose=0, shuffle=False)
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["file"], row["row"], row["columns"]) == ("raw/a.csv", 4, ["size"])
