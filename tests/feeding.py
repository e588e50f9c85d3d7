"""Published datasets of known rows, written by TensorFlow and pyarrow and not by our writer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from pipeline.manifest import Feature, File, Label, Manifest, Shard, Spec, Split

SHAPE = (2, 3)
Layout = Literal["row", "block"]


def make_columns(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of rows: each value follows from the row's id."""
    images = (ids[:, None] + np.arange(6)).astype(np.uint8).reshape(-1, *SHAPE)
    return {
        "x": (ids % 1000).astype(np.float32) / 4,
        "n": ids * 7,
        "image": images,
        "label": ids % 3,
        "weight": (ids % 5).astype(np.float32),
        "row_id": ids,
    }


def publish(
    out: Path,
    sizes: Sequence[int] = (13, 5, 22, 1, 30),
    layout: Layout = "row",
    block_rows: int = 4,
    formats: Sequence[str] = ("parquet", "tfrecord"),
) -> Path:
    """Write a dataset whose train split has shards of these sizes; the others are empty."""
    (out / "train").mkdir(parents=True)
    shards = []
    for index, size in enumerate(sizes):
        ids = np.random.default_rng(index).integers(0, 1 << 50, size)
        stem = out / "train" / f"part-{index}"
        pq.write_table(pa.table({"row_id": ids}), stem.with_suffix(".parquet"))
        with tf.io.TFRecordWriter(str(stem.with_suffix(".tfrecord"))) as writer:
            for example in make_examples(make_columns(ids), layout, block_rows):
                writer.write(example.SerializeToString())
        files = {kind: describe(stem.with_suffix(f".{kind}"), out) for kind in formats}
        shards.append(Shard(rows=size, **files))
    features = (
        Feature(name="x", kind="float", dtype="float32"),
        Feature(name="n", kind="int", dtype="int64"),
        Feature(name="image", kind="tensor", dtype="float32", shape=SHAPE, stored="uint8"),
    )
    label = Label(name="label", kind="int", task="classification", classes=(0, 1, 2))
    manifest = Manifest(
        name="made",
        fingerprint="0" * 8,
        created="2026-01-01T00:00:00Z",
        schema_reference="table:Table",
        job_folder="..",
        spec=Spec(
            features=features,
            label=label,
            weight="weight",
            training_dtype="float32",
            layout=layout,
            block_rows=block_rows,
        ),
        splits={
            "train": Split(rows=sum(sizes), shards=tuple(shards)),
            "validation": Split(rows=0, shards=()),
            "test": Split(rows=0, shards=()),
        },
        rows={"read": sum(sizes), "clean": sum(sizes), "quarantined": 0},
        sources=(),
        files=(),
        settings={},
        versions={},
    )
    (out / "manifest.json").write_text(manifest.model_dump_json())
    return out


def make_examples(
    columns: dict[str, np.ndarray], layout: Layout, block_rows: int
) -> list[tf.train.Example]:
    """Return the Examples of a shard."""
    num_rows = len(columns["row_id"])
    size = block_rows if layout == "block" else 1
    examples = []
    for start in range(0, num_rows, size):
        rows = {name: values[start : start + size] for name, values in columns.items()}
        feature = {name: make_feature(values, layout) for name, values in rows.items()}
        examples.append(tf.train.Example(features=tf.train.Features(feature=feature)))
    return examples


def make_feature(values: np.ndarray, layout: Layout) -> tf.train.Feature:
    if layout == "block" or values.ndim > 1:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[values.tobytes()]))
    if values.dtype == np.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def describe(path: Path, out: Path) -> File:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return File(path=path.relative_to(out).as_posix(), bytes=len(content), sha256=sha256)


def published_ids(out: Path) -> list[int]:
    """Return the row ids of the train split in the dataset's order, from Parquet."""
    files = sorted((out / "train").glob("*.parquet"))
    return [i for file in files for i in pq.read_table(file)["row_id"].to_pylist()]


def batches_of(dataset: Any) -> list[list[int]]:
    """Return the row ids of each batch of one pass."""
    return [features["row_id"].numpy().tolist() for features, *_ in dataset]
