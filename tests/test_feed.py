"""Batches of published shards: what is in them, in which order, and where they go on."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline import read_shards, run_job
from pipeline.feed import read as feed
from pipeline.feed.examples import finish_tensors, read_columns
from pipeline.manifest import Feature, Label, Spec, Stored
from tests.conftest import JOB, ROOT
from tests.feeding import (
    Layout,
    batches_of,
    make_columns,
    make_examples,
    publish,
    published_ids,
)

LAYOUTS: list[Layout] = ["row", "block"]
NUM_ROWS = 71


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_ROWS", 16)
    monkeypatch.setattr(feed, "PIECE_ROWS", 6)


@pytest.fixture(params=LAYOUTS)
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return publish(tmp_path / "out", layout=request.param)


def read_ids(out: Path, **how: Any) -> list[list[int]]:
    return batches_of(read_shards(out, with_row_ids=True, **how))


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def test_every_value_belongs_to_its_row(out: Path) -> None:
    for shuffle in (False, True):
        dataset = read_shards(out, batch_size=10, shuffle=shuffle, seed=3, with_row_ids=True)
        for features, label, weight in dataset:
            expected = make_columns(features["row_id"].numpy())
            assert (features["x"].numpy() == expected["x"][:, None]).all()
            assert (features["n"].numpy() == expected["n"][:, None]).all()
            assert (features["image"].numpy() == expected["image"]).all()
            assert (label.numpy() == expected["label"]).all()
            assert (weight.numpy() == expected["weight"]).all()


def test_the_shapes_and_dtypes_are_known_before_a_batch_is_read(out: Path) -> None:
    dataset = read_shards(out, batch_size=10, drop_remainder=True)
    features, label, weight = dataset.element_spec
    assert {name: (s.dtype.name, s.shape.as_list()) for name, s in features.items()} == {
        "x": ("float32", [10, 1]),
        "n": ("int64", [10, 1]),
        "image": ("float32", [10, 2, 3]),
    }
    assert (label.dtype.name, label.shape.as_list()) == ("int64", [10])
    assert (weight.dtype.name, weight.shape.as_list()) == ("float32", [10])
    for batch in dataset:
        assert tf.nest.map_structure(lambda v: v.shape, batch) == tf.nest.map_structure(
            lambda s: s.shape, dataset.element_spec
        )


@pytest.mark.parametrize("stored", get_args(Stored))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_may_be_stored_in_any_of_its_dtypes(stored: str, layout: Layout) -> None:
    values = np.arange(-6, 6).astype(stored).reshape(2, 2, 3)
    feature = Feature(name="t", kind="tensor", dtype="float32", shape=(2, 3), stored=stored)  # type: ignore[arg-type]
    label = Label(name="y", kind="float", task="regression")
    spec = Spec(
        features=(feature,), label=label, training_dtype="float32", layout=layout, block_rows=2
    )
    columns = {"t": values, "y": np.ones(2, np.float32), "row_id": np.arange(2)}
    records = [e.SerializeToString() for e in make_examples(columns, layout, 2)]
    read = read_columns(tf.constant(records), tf.constant(2), spec, False)
    assert (finish_tensors(read, spec)["t"].numpy() == values.astype(np.float32)).all()


def test_without_shuffling_the_order_is_the_datasets(out: Path) -> None:
    dataset = read_shards(out, batch_size=10, with_row_ids=True)
    ids = published_ids(out)
    for _ in range(2):
        assert batches_of(dataset) == [ids[i : i + 10] for i in range(0, NUM_ROWS, 10)]
    assert len(dataset) == 8


def test_shuffled_epochs_are_whole_and_differ_and_a_seed_repeats_them(out: Path) -> None:
    dataset = read_shards(out, batch_size=10, shuffle=True, seed=5, with_row_ids=True)
    passes = [flat(batches_of(dataset)) for _ in range(3)]
    for ids in passes:
        assert sorted(ids) == sorted(published_ids(out))
    assert len(set(map(tuple, passes))) == 3
    again = read_ids(out, batch_size=7, shuffle=True, seed=5, num_epochs=3)
    assert flat(again) == flat(passes)
    assert passes[0] != flat(read_ids(out, shuffle=True, seed=6))
    assert flat(read_ids(out, shuffle=True)) != flat(read_ids(out, shuffle=True))


def test_shards_that_fit_one_window_are_mixed(tmp_path: Path) -> None:
    out = publish(tmp_path / "out", sizes=[4] * 4)
    shard_of = {row_id: i // 4 for i, row_id in enumerate(published_ids(out))}
    shards = [shard_of[i] for i in flat(read_ids(out, shuffle=True, seed=0))]
    changes = sum(a != b for a, b in pairwise(shards))
    assert changes > 3


def test_a_pass_may_hold_several_epochs_and_the_next_pass_goes_on(out: Path) -> None:
    how: dict[str, Any] = {"batch_size": 20, "shuffle": True, "seed": 2, "with_row_ids": True}
    one = read_shards(out, **how)
    two = read_shards(out, num_epochs=2, **how)
    assert len(two) == 8
    assert batches_of(two) + batches_of(two) == [b for _ in range(4) for b in batches_of(one)]


def test_an_endless_pass_goes_on(out: Path) -> None:
    how: dict[str, Any] = {"batch_size": 20, "shuffle": True, "seed": 2, "with_row_ids": True}
    endless = read_shards(out, num_epochs=None, **how)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    assert batches_of(endless.take(12)) == batches_of(read_shards(out, num_epochs=3, **how))


def test_what_only_looks_at_a_batch_uses_up_no_epoch(out: Path) -> None:
    dataset = read_shards(out, batch_size=4, shuffle=True, seed=2, with_row_ids=True)
    next(iter(dataset))
    assert batches_of(dataset) == read_ids(out, batch_size=4, shuffle=True, seed=2)


@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stream_goes_on_with_the_exact_next_row(
    out: Path, shuffle: bool, drop_remainder: bool
) -> None:
    rng = random.Random(f"{shuffle}{drop_remainder}")
    size = rng.choice([3, 7, 20, 40])
    how: dict[str, Any] = {"batch_size": size, "shuffle": shuffle, "seed": 9, "num_epochs": 3}
    whole = read_ids(out, drop_remainder=drop_remainder, **how)
    assert len(whole) == 3 * (NUM_ROWS // size + (not drop_remainder and NUM_ROWS % size > 0))
    per_epoch = len(whole) // 3
    any_step = rng.randrange(len(whole))
    for step in {1, per_epoch - 1, per_epoch, len(whole) - 1, any_step}:
        rest = read_ids(out, drop_remainder=drop_remainder, start_step=step, **how)
        assert rest == whole[step:], step


def test_a_stream_resumed_in_mid_pass_is_that_pass_alone(out: Path) -> None:
    how: dict[str, Any] = {"batch_size": 20, "shuffle": True, "seed": 9, "with_row_ids": True}
    whole = batches_of(read_shards(out, num_epochs=3, **how))
    resumed = read_shards(out, start_step=2, **how)
    assert len(resumed) == 2
    next(iter(resumed))
    assert batches_of(resumed) == whole[2:4]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"start_step =\] \[4\]"):
        batches_of(resumed)
    after = read_shards(out, start_step=4, **how)
    assert [batches_of(after), batches_of(after)] == [whole[4:8], whole[8:]]


def test_workers_that_drop_the_remainder_have_as_many_batches(out: Path) -> None:
    for size in (3, 8, 9, 11):
        how: dict[str, Any] = {"batch_size": size, "drop_remainder": True}
        lengths = {len(read_shards(out, worker=(index, 3), **how)) for index in range(3)}
        assert len(lengths) == 1


@pytest.mark.parametrize("num_workers", [1, 2, 7, NUM_ROWS])
@pytest.mark.parametrize("shuffle", [False, True])
def test_workers_share_every_epoch(out: Path, num_workers: int, shuffle: bool) -> None:
    parts = []
    for index in range(0, num_workers, 1 if num_workers < NUM_ROWS else 35):
        how: dict[str, Any] = {"shuffle": shuffle, "seed": 4, "batch_size": 8}
        parts.append(read_ids(out, worker=(index, num_workers), num_epochs=2, **how))
    if num_workers == NUM_ROWS:
        assert all(len(flat(part)) == 2 for part in parts)
        return
    for epoch in range(2):
        ids = [i for part in parts for i in flat(part[len(part) // 2 * epoch :][: len(part) // 2])]
        assert sorted(ids) == sorted(published_ids(out))


def test_a_workers_stream_goes_on_too(out: Path) -> None:
    how: dict[str, Any] = {"shuffle": True, "seed": 4, "batch_size": 3, "worker": (1, 3)}
    whole = read_ids(out, num_epochs=2, **how)
    for step in (1, 9, 13):
        assert read_ids(out, num_epochs=2, start_step=step, **how) == whole[step:]


def test_another_process_sees_the_same_orders(tmp_path: Path) -> None:
    out = publish(tmp_path / "out")
    code = (
        "import json, sys; from pipeline.feed import read as feed; from tests.feeding import *\n"
        "feed.WINDOW_ROWS, feed.PIECE_ROWS = 16, 6\n"
        f"d = feed.read_shards({str(out)!r}, batch_size=9, shuffle=True, seed=1, with_row_ids=True)\n"
        "print(json.dumps([batches_of(d), batches_of(d)]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    dataset = read_shards(out, batch_size=9, shuffle=True, seed=1, with_row_ids=True)
    assert json.loads(ended.stdout) == [batches_of(dataset), batches_of(dataset)]


def test_an_iterators_state_can_be_saved(out: Path, tmp_path: Path) -> None:
    iterator = iter(read_shards(out, batch_size=9, shuffle=True, seed=1, with_row_ids=True))
    next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "state"))
    expected = next(iterator)[0]["row_id"].numpy()
    tf.train.Checkpoint(iterator=iterator).restore(saved)
    assert (next(iterator)[0]["row_id"].numpy() == expected).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_what_a_job_has_published_is_read(
    make_job: Callable[..., Path], tmp_path: Path, layout: Layout, shuffle: bool
) -> None:
    job = make_job(job=f'{JOB}[shards]\nlayout = "{layout}"\nblock_rows = 7\n')
    out = run_job(job, out=tmp_path / "out", until="shards").out
    (file,) = (out / "train").glob("*.parquet")
    rows = {row["row_id"]: row for row in pq.read_table(file).to_pylist()}
    seen = []
    for features, label in read_shards(out, batch_size=10, shuffle=shuffle, with_row_ids=True):
        values = {name: tensor.numpy().ravel().tolist() for name, tensor in features.items()}
        seen += values["row_id"]
        expected = [rows[i] for i in values["row_id"]]
        assert values["size"] == [row["size"] for row in expected]
        assert values["count"] == [row["count"] for row in expected]
        assert label.numpy().tolist() == [row["label"] for row in expected]
    assert sorted(seen) == sorted(rows)
    assert shuffle or seen == list(rows)


FIT = """
import json, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pipeline import read_shards, run_job
seen = []
def write(ids):
    seen.append(ids.tolist())
    return np.int64(0)
class Model(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)
    def call(self, features):
        tf.numpy_function(write, [features["row_id"]], tf.int64, stateful=True)
        return self.dense(features["x"])
scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if sys.argv[2] == "2" else None
with scope.scope() if scope else tf.device("CPU:0"):
    model = Model()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
train = read_shards(sys.argv[1], batch_size=4, shuffle=True, seed=1, with_row_ids=True)
model.fit(train, epochs=3, shuffle=False, verbose=0)
print(json.dumps(seen))
"""


@pytest.mark.parametrize("num_devices", [1, 2])
def test_fit_sees_an_epoch_after_the_other(
    tmp_path: Path, num_devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The devices share each batch, and come in any order."""
    out = publish(tmp_path / "out", sizes=[13, 5, 22])
    command = [sys.executable, "-c", FIT, str(out), str(num_devices)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    seen = flat(json.loads(ended.stdout.splitlines()[-1]))
    monkeypatch.undo()
    batches = read_ids(out, batch_size=4, shuffle=True, seed=1, num_epochs=3)
    assert len(seen) == 120
    for index, batch in enumerate(batches):
        assert sorted(seen[4 * index :][:4]) == sorted(batch)
