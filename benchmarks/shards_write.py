"""Rows a second to TFRecord, checksummed and on disk, against one `tf.train.Example` a row.

    python benchmarks/shards_write.py [--rows 65536]

Both write in turns, in one process. Seconds are those of the processor, user and system, so that
neighbours count little: rows a second and core. The medians' ratio is what to look at.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import pyarrow as pa
import tensorflow as tf

from pipeline import write_examples
from pipeline.manifest import Feature, Label, Spec
from pipeline.write import write_shard
from pipeline.write.table import encode_table

ROUNDS = 5
# A row of Python objects costs a thousandth of a second at worst.
NAIVE_SHARE = 64


def make_tables(num_rows: int) -> dict[str, pa.Table]:
    """Return the tables that are measured."""
    random = np.random.default_rng(7)
    numbers = {f"x{i}": random.normal(size=num_rows).astype(np.float32) for i in range(16)}
    numbers |= {f"n{i}": random.integers(0, 1_000, num_rows) for i in range(3)}
    numbers |= {"row_id": np.arange(num_rows) | 3 << 40}
    words = ["word" * (1 + row % 4) for row in range(num_rows)]
    images = [random.bytes(28 * 28) for _ in range(num_rows)]
    wide = random.normal(size=(1_000, num_rows // 16)).astype(np.float32)
    return {
        "16 floats, 4 ints": pa.table(numbers),
        "the same and 2 strings": pa.table(numbers | {"a": words, "b": words[::-1]}),
        "28 x 28 uint8, label": pa.table({"image": images, "label": numbers["n0"]}),
        "1,000 floats": pa.table({f"x{i}": column for i, column in enumerate(wide)}),
    }


def write_naively(path: Path, table: pa.Table) -> None:
    """Write a table as TensorFlow's tutorial does, then hash the file."""
    makers: list[Callable[[Any], tf.train.Feature]] = []
    for type_ in table.schema.types:
        if pa.types.is_floating(type_):
            makers.append(lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=[v])))
        elif pa.types.is_integer(type_):
            makers.append(lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=[v])))
        elif pa.types.is_string(type_):
            makers.append(
                lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode()]))
            )
        else:
            makers.append(lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])))
    names = table.column_names
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            cells = zip(names, makers, row, strict=True)
            features = {name: make(value) for name, make, value in cells}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def write_blocks(path: Path, table: pa.Table) -> None:
    """Write a table of numbers in block layout, as the pipeline does."""
    columns = {name: np.asarray(table[name]) for name in table.column_names}
    features = tuple(
        Feature(name=name, kind="float", dtype=columns[name].dtype.name)  # type: ignore[arg-type]
        for name in table.column_names[:-2]
    )
    label = Label(name="n2", kind="int", task="classification", classes=(0, 1))
    spec = Spec(
        features=features, label=label, training_dtype="float32", layout="block", block_rows=1024
    )
    write_shard(path, table, columns, ("tfrecord",), spec)


def write_unhashed(path: Path, table: pa.Table) -> None:
    """Encode and write as the pipeline does, less the file's SHA-256."""
    with path.open("wb") as file:
        for chunk in encode_table(table):
            file.write(chunk)


def seconds(call: Callable[[], object]) -> float:
    """Return the processor's seconds for a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(path: Path, name: str, table: pa.Table, write: Callable[[Path, pa.Table], Any]) -> None:
    """Print rows a second of both ways, and their ratio."""
    few = table.slice(0, max(table.num_rows // NAIVE_SHARE, 32))
    write(path, few)
    write_naively(path, few)
    ours, naive = [], []
    for _ in range(ROUNDS):
        ours.append(table.num_rows / seconds(lambda: write(path, table)))
        naive.append(few.num_rows / seconds(lambda: write_naively(path, few)))
    fast, slow = statistics.median(ours), statistics.median(naive)
    print(f"{name:32} {fast:12,.0f} rows/s  {slow:10,.0f} rows/s  {fast / slow:6,.0f} x")


def main() -> None:
    """Measure each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=65_536)
    num_rows = parser.parse_args().rows
    print(f"{'':32} {'write_examples':>19}  {'tf.train.Example':>17}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.tfrecord"
        tables = make_tables(num_rows)
        for name, table in tables.items():
            compare(path, name, table, write_examples)
        name, table = next(iter(tables.items()))
        compare(path, f"{name}, no sha256", table, write_unhashed)
        compare(path, f"{name}, block layout", table, write_blocks)


if __name__ == "__main__":
    main()
