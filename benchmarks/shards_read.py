"""Published shards to batches of 1,024, beside the ways that people read rows today.

    python benchmarks/shards_read.py [--rows 1000000] [--epochs 4] [--repeats 5]

Every reader is built once and iterated over some epochs in each round, one after the other, and
judged by rate and processor seconds beside those of the bare
`TFRecordDataset(files).batch(1024).map(parse_example)` of the same round; a second bare one is the
null pair. What a pass costs to begin is in both, and stands apart as the time to the first batch.
Slow readers are given the first rows of one epoch only. Hugging Face `datasets` is measured where
it is installed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from workload import JOB, write_job

from pipeline import read_shards, run_job
from pipeline.feed import describe_features
from pipeline.manifest import read_manifest

BATCH_SIZE = 1024
# Of readers that take a minute and more for all rows.
FEW_ROWS = 40 * BATCH_SIZE


@dataclass
class Reader:
    """A way to read, and what its rounds came to."""

    name: str
    dataset: Any
    num_rows: int
    rates: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)

    def read(self) -> None:
        """Iterate once to the end."""
        cpu, start = time.process_time(), time.perf_counter()
        batches = iter(self.dataset)
        next(batches)
        self.first_seconds.append(time.perf_counter() - start)
        for _ in batches:
            pass
        self.rates.append(self.num_rows / (time.perf_counter() - start))
        self.cpu_seconds.append((time.process_time() - cpu) * 1e6 / self.num_rows)


def publish(folder: Path, num_rows: int, layout: str) -> Path:
    job = write_job(folder / layout, num_rows, "parquet")
    job.write_text(f'{JOB}[shards]\nlayout = "{layout}"\n')
    return run_job(job, out=folder / layout / "out", until="shards").out


def make_readers(folder: Path, num_rows: int, num_epochs: int) -> list[Reader]:
    row, block = (publish(folder, num_rows, layout) for layout in ("row", "block"))
    manifest = read_manifest(row)
    count = manifest.splits["train"].rows
    shards = [
        shard for shard in manifest.splits["train"].shards if shard.tfrecord and shard.parquet
    ]
    records = tf.data.TFRecordDataset([str(row / shard.tfrecord.path) for shard in shards])
    features = describe_features(manifest.spec)
    del features["row_id"]

    def parse(batch: Any) -> Any:
        return tf.io.parse_example(batch, features)

    def parse_one(record: Any) -> Any:
        return tf.io.parse_single_example(record, features)

    def bare(num_epochs: int) -> Any:
        batches = records.repeat(num_epochs).batch(BATCH_SIZE)
        return batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    bare(1).save(str(folder / "saved"))
    saved = tf.data.Dataset.load(str(folder / "saved")).repeat(num_epochs)
    every = count * num_epochs
    one_by_one = records.take(FEW_ROWS).map(parse_one).batch(BATCH_SIZE)
    readers = [
        Reader("batch, parse_example", bare(num_epochs), every),
        Reader("the same (null pair)", bare(num_epochs), every),
        Reader("parse_single_example", one_by_one, min(FEW_ROWS, count)),
        Reader("Dataset.save, load", saved, every),
    ]
    for layout, out in (("row", row), ("block", block)):
        for shuffle in (False, True):
            dataset = read_shards(out, shuffle=shuffle, seed=0, num_epochs=num_epochs)
            how = ", shuffled" if shuffle else ""
            readers.append(Reader(f"read_shards {layout}{how}", dataset, every))
    return readers + _hugging_face([str(row / shard.parquet.path) for shard in shards], count)


def _hugging_face(files: list[str], count: int) -> list[Reader]:
    try:
        import datasets
    except ImportError as error:
        print(f"Hugging Face datasets: not installed ({error})")
        return []
    table = datasets.load_dataset("parquet", data_files=files, split="train")
    few = min(FEW_ROWS, count)
    return [
        Reader(
            f"to_tf_dataset{', shuffled' if shuffle else ''}",
            table.to_tf_dataset(batch_size=BATCH_SIZE, shuffle=shuffle).take(few // BATCH_SIZE),
            few,
        )
        for shuffle in (False, True)
    ]


def _compare(ours: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, others, strict=True))


def report(readers: list[Reader]) -> None:
    base, single = readers[0], readers[2]
    print(
        f"{'':26s} {'rows/s, median (spread)':>35s}  x bare  x single  CPU s/M rows  x bare"
        "  first batch"
    )
    for reader in readers:
        rates, cpu = reader.rates, reader.cpu_seconds
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        print(
            f"{reader.name:26s} {statistics.median(rates):10,.0f} {spread:>24s}"
            f" {_compare(rates, base.rates):7.2f} {_compare(rates, single.rates):9.1f}"
            f" {statistics.median(cpu):13.2f} {_compare(cpu, base.cpu_seconds):7.2f}"
            f" {statistics.median(reader.first_seconds) * 1000:10.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nanproof-bench-") as folder:
        readers = make_readers(Path(folder), asked.rows, asked.epochs)
        for _ in range(asked.repeats):
            for reader in readers:
                reader.read()
        report(readers)


if __name__ == "__main__":
    main()
