"""The whole data part, CSV to Parquet and TFRecord, beside the job as people write it today.

    python benchmarks/whole_job.py [--rows 1000000] [--repeats 3]

The peer is pandas.read_csv, Inf to NaN, fillna(median), pandera with drop_invalid_rows,
to_parquet, and one tf.train.Example a row. Both run as whole processes, one after the other, on
the same files, and so does a null run of ours: what two equal runs differ by is the noise.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measure import LOOK_SECONDS, Measured, measure
from workload import FLOATS, write_job

NAIVE = """
import glob, sys
import numpy as np, pandas as pd, pandera.pandas as pa, tensorflow as tf

source, out = sys.argv[1:]
df = pd.concat([pd.read_csv(f) for f in sorted(glob.glob(source + "/*.csv"))], ignore_index=True)
df = df.replace([np.inf, -np.inf], np.nan)
df = df.fillna(df.median())
schema = pa.DataFrameSchema(
    {
        **{f"f{i:02d}": pa.Column(float, pa.Check.in_range(-100, 200)) for i in range(16)},
        **{f"k{i}": pa.Column(int, pa.Check.in_range(0, 49)) for i in range(3)},
        "label": pa.Column(int, pa.Check.isin([0, 1])),
    },
    drop_invalid_rows=True,
)
df = schema.validate(df, lazy=True)
df.to_parquet(out + "/clean.parquet")
floats = [c for c in df if c.startswith("f")]
with tf.io.TFRecordWriter(out + "/clean.tfrecord") as writer:
    for row in df.itertuples(index=False):
        features = {}
        for name in df.columns:
            value = [getattr(row, name)]
            features[name] = (
                tf.train.Feature(float_list=tf.train.FloatList(value=value))
                if name in floats
                else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
            )
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())
"""


def run_ours(
    job: Path, out: Path, workers: int, repeats: int, look_seconds: float | None = None
) -> list[Measured]:
    command = [sys.executable, "-m", "pipeline.cli", "run", str(job), "--out", str(out)]
    command += ["--until", "shards", "--workers", str(workers)]
    runs = []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        runs.append(measure(command, look_seconds))
    return runs


def run_naive(job: Path, out: Path) -> Measured:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return measure([sys.executable, "-c", NAIVE, str(job.parent / "raw"), str(out)], 0.5)


def report(name: str, runs: list[Measured], peak_mib: float, base: float) -> None:
    seconds = [run.seconds for run in runs]
    middle = statistics.median(seconds)
    print(
        f"{name:24s} {middle:7.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  "
        f"{base / middle:5.1f}x   {peak_mib:7,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nanproof-bench-") as folder:
        job = write_job(Path(folder) / "job", asked.rows)
        out = Path(folder) / "out"
        # Watched and not timed: they warm the file cache and compile bytecode.
        peaks = {w: run_ours(job, out, w, 1, LOOK_SECONDS)[0].peak_mib for w in (2, 1)}
        naive = run_naive(job, out)
        pairs = [run_ours(job, out, 2, 2) for _ in range(asked.repeats)]
        alone = run_ours(job, out, 1, asked.repeats)
    base = naive.seconds
    print(f"{asked.rows:,} rows x {len(FLOATS) + 4} columns, CSV to Parquet and TFRecord")
    print(f"{'':24s} {'median':>9s} (spread)        ratio   peak memory")
    report("the usual job", [naive], naive.peak_mib, base)
    report("nanproof, 2 workers", [first for first, _ in pairs], peaks[2], base)
    report("nanproof, 2 (null pair)", [second for _, second in pairs], peaks[2], base)
    report("nanproof, 1 worker", alone, peaks[1], base)


if __name__ == "__main__":
    main()
