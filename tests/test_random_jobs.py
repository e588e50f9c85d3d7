"""Random dirty jobs: whatever is in the files, no row is lost and nothing bad is published."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import run_job, verify_dataset
from pipeline.job import Job
from tests.conftest import hash_files

SCHEMA = """
import pandas as pd, pandera.pandas as pa

class Table(pa.DataFrameModel):
    key: int = pa.Field(ge=0, unique=True)
    f: float = pa.Field(in_range={"min_value": -5, "max_value": 5})
    g: float = pa.Field(nullable=True)
    n: pd.Int64Dtype = pa.Field(nullable=True, ge=-100)
    c: pa.typing.Series[pd.CategoricalDtype] = pa.Field(dtype_kwargs={"categories": ["x", "y", "z"]})
    s: str = pa.Field(str_matches="^[a-z]+$", nullable=True)
    at: pd.Timestamp = pa.Field(nullable=True)
    b: bool
    w: float
    group: str
    label: str = pa.Field(isin=["p", "q", "r"])

    @pa.check("f", name="not_three")
    def not_three(cls, cells): return cells.round() != 3

    @pa.check("g", element_wise=True, name="not_pi")
    def not_pi(cls, cell): return abs(cell - 3.14) > 0.01

    @pa.dataframe_check
    def small(cls, frame): return frame["f"] < 4.5
"""
DIRT = ["", "NA", "nan", "inf", "-inf", "1e400", "1e39", "x", "3,2", " ", "-1", "é", '"', "0x1"]
COLUMNS = ["f", "g", "n", "c", "s", "at", "b", "w", "group", "label", "note"]


def make_cell(pick: random.Random, column: str) -> str:
    if pick.random() < 0.04:
        return pick.choice(DIRT)
    zone = pick.choice(["", "Z", "+02:00"])
    return {
        "f": repr(pick.uniform(-4, 4)),
        "g": repr(pick.uniform(-4, 4)),
        "n": str(pick.randint(-90, 90)),
        "c": pick.choice("xyz"),
        "s": pick.choice(["a", "bc", "def"]),
        "at": f"2024-0{pick.randint(1, 9)}-1{pick.randint(0, 9)}T00:00:00{zone}",
        "b": pick.choice(["true", "False", "1", "0"]),
        "w": str(pick.uniform(0, 2)),
        "group": f"g{pick.randint(0, 60)}",
        "label": pick.choice("pqr"),
        "note": pick.choice(["a", "b\n c", 'say "hi"', ""]),
    }[column]


def write_files(pick: random.Random, raw: Path, num_rows: int) -> int:
    """Write one to four files of one table in several formats; return how many rows."""
    total = 0
    for place in range(pick.randint(1, 4)):
        keys = [total + i - (pick.random() < 0.01) for i in range(num_rows)]
        cells = {c: [make_cell(pick, c) for _ in range(num_rows)] for c in COLUMNS}
        frame = pd.DataFrame({"key": np.abs(keys).astype(str), **cells})
        frame = frame[pick.sample(list(frame), len(frame.columns))]
        text = frame.to_csv(index=False) + "1,2,3\n"
        total += num_rows
        match pick.choice(["csv", "csv.gz", "parquet", "jsonl"]):
            case "csv":
                (raw / f"{place}.csv").write_text(text)
                total += 1
            case "csv.gz":
                (raw / f"{place}.csv.gz").write_bytes(gzip.compress(text.encode()))
                total += 1
            case "parquet":
                frame.to_parquet(raw / f"{place}.parquet", row_group_size=100)
            case "jsonl":
                frame.to_json(raw / f"{place}.jsonl", orient="records", lines=True)
    return total


def make_settings(pick: random.Random) -> dict[str, Any]:
    fill = pick.choice(["median", "drop", "clip", {"constant": 0.0}])
    data = {"raw": ["raw/*"], "schema": "table:Table", "label": "label", "partition_bytes": 65536}
    data |= {"group": "group"} if pick.random() < 0.5 else {}
    data |= {"weight": "w"} if pick.random() < 0.5 else {}
    repair = {"max_dropped_ratio": 1.0, "indicators": pick.random() < 0.5}
    repair |= {"numeric": pick.choice(["median", "mean", "clip"]), "columns": {"g": fill}}
    return {"data": data, "repair": repair, "shards": {"rows": pick.choice([50, 65536])}}


def check_published(out: Path, num_rows: int) -> None:
    files = [f for s in ("train", "validation", "test") for f in (out / s).glob("*.parquet")]
    clean = pd.concat([pd.read_parquet(file) for file in files])
    assert clean["f"].between(-5, 4.5, inclusive="left").all()
    assert (clean["f"].round() != 3).all()
    assert np.isfinite(clean[["f", "g"]].astype("float32")).all(axis=None)
    assert (abs(clean["g"] - 3.14) > 0.01).all()
    assert clean["c"].isin(["x", "y", "z"]).all()
    assert clean["s"].str.fullmatch("[a-z]+").all()
    assert clean["label"].isin(["p", "q", "r"]).all()
    assert not clean["key"].duplicated().any()
    aside = pd.concat([pd.read_parquet(file) for file in (out / "quarantine").glob("*.parquet")])
    assert (aside["_reasons"].map(len) > 0).all()
    row_ids = [*clean["row_id"], *aside["_row_id"]]
    assert len(row_ids) == len(set(row_ids)) == num_rows


def run_random_job(seed: int, folder: Path) -> None:
    pick = random.Random(seed)
    (folder / "raw").mkdir(parents=True)
    (folder / "table.py").write_text(SCHEMA)
    num_rows = write_files(pick, folder / "raw", pick.choice([300, 1500]))
    job = Job.from_settings({"name": "random", **make_settings(pick)}, folder)
    run_job(job, out=folder / "one", until="shards")
    run_job(job, out=folder / "two", until="shards", workers=2)
    without = ("manifest.json", ".lock")
    assert hash_files(folder / "one", *without) == hash_files(folder / "two", *without)
    assert verify_dataset(folder / "one").problems == ()
    check_published(folder / "one", num_rows)


@pytest.mark.parametrize("seed", range(3))
def test_no_row_of_a_random_job_is_lost_and_none_that_is_bad_is_published(
    seed: int, tmp_path: Path
) -> None:
    run_random_job(seed, tmp_path / "job")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_no_row_of_many_random_jobs_is_lost(seed: int, tmp_path: Path) -> None:
    run_random_job(seed, tmp_path / "job")
