from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import read_shards, run_job, train_dataset
from pipeline.errors import DatasetDiffers, GuardBudgetSpent, SettingsError, UsageError
from pipeline.guard import guarded
from pipeline.train import stage
from pipeline.train.stage import list_shared_settings
from tests.conftest import HEADER, JOB, SCHEMA, make_rows
from tests.spoiling import forge_json, sign

MakeJob = Callable[..., Path]


@pytest.fixture
def out(make_job: MakeJob, tmp_path: Path) -> Path:
    rows = make_rows(300) + "x,5,red,0\n,6,blue,1\n"
    return run_job(make_job(HEADER + rows), out=tmp_path / "out", until="shards").out


def test_shards_come_in_batches_of_named_features(out: Path) -> None:
    features, label = next(iter(read_shards(out, "train", batch_size=32)))
    assert {name: (v.dtype.name, v.shape.as_list()) for name, v in features.items()} == {
        "size": ("float32", [32, 1]),
        "count": ("int64", [32, 1]),
        "colour": ("int64", [32, 1]),
    }
    assert (label.dtype.name, label.shape.as_list()) == ("int64", [32])


def test_the_order_is_the_datasets_unless_shuffled_and_no_row_is_lost(out: Path) -> None:
    def ids(**how: object) -> list[int]:
        batches = read_shards(out, "train", batch_size=50, with_row_ids=True, **how)  # type: ignore[arg-type]
        return [int(i) for features, _ in batches for i in features["row_id"].numpy()]

    plain = ids()
    assert plain == ids()
    assert plain != ids(shuffle=True, seed=1)
    assert ids(shuffle=True, seed=1) == ids(shuffle=True, seed=1)
    assert sorted(plain) == sorted(ids(shuffle=True, seed=1))
    assert len(read_shards(out, "train", batch_size=50)) == -(-len(plain) // 50)


def test_what_cannot_be_fed_is_told(out: Path, make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="split 'trian'"):
        read_shards(out, "trian")  # type: ignore[arg-type]
    job = make_job(job=JOB + '[shards]\nformats = ["parquet"]\n')
    run_job(job, out=tmp_path / "flat", until="shards")
    with pytest.raises(UsageError, match="without TFRecord"):
        read_shards(tmp_path / "flat")
    next((out / "train").glob("*.tfrecord")).unlink()
    with pytest.raises(DatasetDiffers, match="not there"):
        read_shards(out, "train")


def test_training_beats_a_constant_and_leaves_a_model_that_plain_keras_loads(out: Path) -> None:
    result = train_dataset(out, epochs=30, batch_size=16, learning_rate=0.01)
    assert result.run == out / "runs" / "0001"
    assert result.num_nonfinite == 0
    history = json.loads((result.run / "history.json").read_text())
    assert len(history["epochs"]["loss"]) == 30
    model = keras.models.load_model(result.run / "model.keras")
    features, _ = next(iter(read_shards(out, "test")))
    assert np.isfinite(model.predict_on_batch(features)).all()


def test_the_metric_and_the_baseline_are_those_of_numpy(out: Path) -> None:
    result = train_dataset(out)
    model = keras.models.load_model(result.run / "model.keras")
    batches = [
        (model.predict_on_batch(x).argmax(axis=1), y.numpy()) for x, y in read_shards(out, "test")
    ]
    predicted, truth = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert result.value == pytest.approx((predicted == truth).mean())
    train = np.concatenate([y.numpy() for _, y in read_shards(out, "train")])
    majority = np.bincount(train).argmax()
    assert result.baseline == pytest.approx((truth == majority).mean())


def test_training_needs_the_manifest_and_the_tfrecord_shards_alone(out: Path) -> None:
    for path in out.rglob("*"):
        if path.is_file() and path.name != "manifest.json" and path.suffix != ".tfrecord":
            path.unlink()
    result = train_dataset(out, epochs=1)
    (truth,) = [label.numpy() for _, label in read_shards(out, "test")]
    (train,) = [label.numpy() for _, label in read_shards(out, "train")]
    assert result.baseline == pytest.approx((truth == np.bincount(train).argmax()).mean())


def test_the_second_run_lies_beside_the_first(out: Path) -> None:
    assert [train_dataset(out, epochs=1).run.name for _ in range(2)] == ["0001", "0002"]


def test_a_poisoned_shard_is_survived_and_its_row_named(out: Path) -> None:
    """The shards are finite by contract: spoil one on purpose, past every check."""
    shard = next((out / "train").glob("*.tfrecord"))
    examples = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(shard))]
    examples[7].features.feature["size"].float_list.value[0] = float("nan")
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    sign(out)
    result = train_dataset(out, epochs=1)
    assert result.num_nonfinite == 0
    (incident,) = [
        json.loads(line) for line in (result.run / "incidents.jsonl").read_text().splitlines()
    ]
    row_id = examples[7].features.feature["row_id"].int64_list.value[0]
    assert f"raw/a.csv:{row_id + 2} (size)" in result.table
    assert [(row["row_id"], row["seen"]) for row in incident["rows"]] == [(row_id, "input")]


def test_every_setting_that_the_guard_shares_with_the_job_reaches_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {
        "strict": True, "explosion_ratio": 7.0, "clip": 3.0, "max_skipped_in_a_row": 5,
        "max_skipped_ratio": 0.25, "max_rate_cuts": 4, "max_rollbacks": 2, "look_every_steps": 9,
    }  # fmt: skip
    assert set(list_shared_settings()) == asked.keys()
    forge_json(out, "manifest.json", lambda m: m["settings"]["train"].update(asked))
    seen: list[Any] = []
    monkeypatch.setattr(
        stage, "guarded", lambda model, **given: seen.append(given) or guarded(model)
    )
    train_dataset(out, epochs=1)
    assert {name: value for name, value in seen[0].items() if name in asked} == asked


def test_a_model_of_the_users_own_is_trained(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(job=JOB + 'model = "mine:build"\n')
    (job.parent / "mine.py").write_text(
        "import keras\n"
        "def build(spec):\n"
        "    inputs = {f.name: keras.Input((1,), name=f.name, dtype=f.dtype) for f in spec.features}\n"
        "    x = keras.layers.Rescaling(0.01)(inputs['size'])\n"
        "    return keras.Model(inputs, keras.layers.Dense(2, name='mine')(x))\n"
    )
    result = run_job(job, out=tmp_path / "out")
    assert result.training is not None
    model = keras.models.load_model(result.training.run / "model.keras")
    assert model.layers[-1].name == "mine"


def test_a_model_that_is_none_is_told(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(job=JOB + 'model = "mine:build"\n')
    (job.parent / "mine.py").write_text("def build(spec):\n    return 3\n")
    with pytest.raises(UsageError, match="gives no model"):
        run_job(job, out=tmp_path / "out")


def test_regression_is_measured_against_the_mean(make_job: MakeJob, tmp_path: Path) -> None:
    schema = SCHEMA.replace("pa.Column(int, pa.Check.isin([0, 1]))", "pa.Column(float)")
    rows = "".join(f"{i % 100},{i},red,{3e5 + 1000 * (i % 100)}\n" for i in range(600))
    job = JOB.replace("epochs = 2", "epochs = 30\nlearning_rate = 0.01")
    result = run_job(make_job(HEADER + rows, job, schema), out=tmp_path / "out").training
    assert result is not None
    assert result.metric == "rmse"
    assert result.baseline == pytest.approx(28_900, rel=0.2)
    assert result.value < 0.5 * result.baseline


def test_half_precision_trains_with_finite_weights(make_job: MakeJob, tmp_path: Path) -> None:
    job = JOB + 'dtype = "float16"\n'
    result = run_job(make_job(HEADER + make_rows(200), job), out=tmp_path / "out")
    assert result.training is not None
    assert result.training.num_nonfinite == 0


def test_timestamps_and_huge_integers_are_centred_before_they_become_floats(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = """
import pandas as pd, pandera.pandas as pa
class Table(pa.DataFrameModel):
    at: pd.Timestamp
    big: int
    label: int = pa.Field(isin=[0, 1])
"""
    rows = "".join(
        f"2025-03-01T00:{i // 60 % 60:02d}:{i % 60:02d},{2**60 + i},{int(i > 300)}\n"
        for i in range(600)
    )
    job = JOB.replace("epochs = 2", "epochs = 20\nlearning_rate = 0.01")
    result = run_job(make_job("at,big,label\n" + rows, job, schema), out=tmp_path / "out")
    assert result.training is not None
    assert result.training.value > 0.9


def test_a_spent_budget_ends_with_its_own_error_and_leaves_the_dataset(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(
        job=JOB
        + 'model = "mine:build"\nmax_skipped_in_a_row = 2\nepochs = 9\n'.replace("epochs = 9\n", "")
    )
    (job.parent / "mine.py").write_text(
        "import keras\n"
        "def build(spec):\n"
        "    inputs = {f.name: keras.Input((1,), name=f.name, dtype=f.dtype) for f in spec.features}\n"
        "    x = keras.ops.log(inputs['size'] * 0.0 - 1.0)\n"
        "    return keras.Model(inputs, keras.layers.Dense(2)(x))\n"
    )
    with pytest.raises(GuardBudgetSpent):
        run_job(job, out=tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").exists()
