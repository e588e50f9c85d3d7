"""The reference table: a million rows, twenty columns, one float cell in a thousand broken.

f00 … f15 are normal around 50 with deviation 10; k0 … k2 are integers from 0 to 49; label is 0 or
1. A broken float is NaN, Inf, -Inf or 1e6. Valid is [-100, 200], [0, 49] and {0, 1}.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

FLOATS = [f"f{i:02d}" for i in range(16)]
INTS = ["k0", "k1", "k2"]
BROKEN_SHARE = 0.001

SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({
    **{f"f{i:02d}": pa.Column(float, pa.Check.in_range(-100, 200)) for i in range(16)},
    **{f"k{i}": pa.Column(int, pa.Check.in_range(0, 49)) for i in range(3)},
    "label": pa.Column(int, pa.Check.isin([0, 1])),
})
"""
JOB = """
[data]
raw = ["raw/*"]
schema = "table:Table"
label = "label"
"""


def make_columns(num_rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the table's columns, `(rows,)` each."""
    random = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {name: random.normal(50, 10, num_rows) for name in FLOATS}
    columns |= {name: random.integers(0, 50, num_rows) for name in INTS}
    columns["label"] = random.integers(0, 2, num_rows)
    for name in FLOATS:
        broken = random.random(num_rows) < BROKEN_SHARE
        columns[name][broken] = random.choice([np.nan, np.inf, -np.inf, 1e6], broken.sum())
    return columns


def write_job(folder: Path, num_rows: int, suffix: str = "csv") -> Path:
    """Write table, schema and job file into an empty folder; return the job file."""
    (folder / "raw").mkdir(parents=True)
    table = pa.table(make_columns(num_rows))
    if suffix == "csv":
        pyarrow.csv.write_csv(table, folder / "raw" / "part-000.csv")
    else:
        pyarrow.parquet.write_table(table, folder / "raw" / "part-000.parquet")
    (folder / "table.py").write_text(SCHEMA)
    (folder / "job.toml").write_text(JOB)
    return folder / "job.toml"
