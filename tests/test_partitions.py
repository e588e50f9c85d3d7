"""However the rows are cut into files and partitions, and whoever reads them, the verdict is one."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import check_job, run_job
from pipeline.errors import NotRowWise
from pipeline.job import Job
from pipeline.load import list_sources, plan_partitions
from tests.oracle import Oracle, Reason

HEADERS = ["key", "part", "amount", "name", "label", "note"]
SCHEMA = """
import pandera.pandas as pa

def table(report):
    return pa.DataFrameSchema(
        {{
            "key": pa.Column(int, unique=True, report_duplicates=report),
            "part": pa.Column(str, nullable=True),
            "amount": pa.Column("float32", pa.Check.in_range(-3, 3), nullable=True),
            "name": pa.Column(str, pa.Check(lambda s: s.str.len() < 3, name="short")),
            "label": pa.Column(int, pa.Check.isin([0, 1])),
        }},
        unique=["part", "amount"],
        report_duplicates=report,
    )

Table = table("{report}")
"""
NUM_ROWS = 4_000
PARTITION_BYTES = 1 << 16  # the least that a job may ask for


def make_rows() -> list[list[str | None]]:
    """Return rows with repeats at any distance; `note` numbers them, and makes them long."""
    pick = Random(11)
    rows: list[list[str | None]] = []
    for row in range(NUM_ROWS):
        key = str(row if pick.random() < 0.97 else pick.randrange(NUM_ROWS))
        part = pick.choice(["x", "y", "z", "", "NA", "é"])
        amount = pick.choice([f"{pick.gauss(0, 1):.5f}", f"{pick.gauss(0, 1):.5f}", "0", "-0.0"])
        if pick.random() < 0.3:
            amount = pick.choice(["0.1", "0.10000000001", "inf", "nan", "", "1e39", "x"])
        name = pick.choice(["a", "bb", "cc", "dd", "ccc"])
        label = "2" if pick.random() < 0.01 else str(row % 2)
        note = f"{row:06d}" + "\n" * (row % 7 == 0) + "." * 830
        rows.append([key, part, amount, name, label, note])
    return rows


ROWS = make_rows()


def write_job(folder: Path, num_files: int, partition_bytes: int, report: str) -> Job:
    """Write the rows in so many files of about the same length; every policy is to drop."""
    (folder / "raw").mkdir(parents=True)
    (folder / "table.py").write_text(SCHEMA.format(report=report))
    bounds = [NUM_ROWS * place // num_files for place in range(num_files + 1)]
    for place, (start, stop) in enumerate(itertools.pairwise(bounds)):
        with (folder / "raw" / f"{place:02d}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADERS, *ROWS[start:stop]])
    tables = {
        "data": {
            "raw": ["raw/*.csv"], "schema": "table:Table", "label": "label",
            "ignore": ["part", "amount"], "partition_bytes": partition_bytes,
        },
        "repair": {"numeric": "drop", "categorical": "drop", "max_dropped_ratio": 1.0},
        "shards": {"formats": ["parquet"]},
    }  # fmt: skip
    return Job.from_settings({"name": "cut", **tables}, folder)


def list_reasons(out: Path) -> set[Reason]:
    """Return what the quarantine says, each row by the number in its note."""
    parts = [pq.read_table(file).to_pylist() for file in (out / "quarantine").glob("*.parquet")]
    return {
        (int(row["note"][:6]), reason["column"], reason["rule"])
        for part in parts
        for row in part
        for reason in row["_reasons"]
    }


@pytest.fixture(scope="module")
def wanted() -> Callable[[str], set[Reason]]:
    """Return the oracle's verdict for a `report_duplicates`, worked out once."""
    known: dict[str, set[Reason]] = {}

    def judge(report: str) -> set[Reason]:
        if report not in known:
            space: dict[str, Any] = {}
            exec(SCHEMA.format(report=report), space)
            known[report] = Oracle(space["Table"], HEADERS).judge(ROWS).reasons
        return known[report]

    return judge


LAYOUTS = {
    "whole": (1, 16 << 20, 1),
    "3 files": (3, 16 << 20, 3),
    "50 files": (50, 16 << 20, 50),
    "3 pieces": (1, 20 * PARTITION_BYTES, 3),
    "50 pieces": (1, PARTITION_BYTES, 50),
    "3 files in pieces": (3, PARTITION_BYTES, 50),
}


def agree(layout: str, report: str, workers: int, folder: Path, wanted: set[Reason]) -> None:
    num_files, partition_bytes, least = LAYOUTS[layout]
    job = write_job(folder, num_files, partition_bytes, report)
    sources = list_sources(job.data.raw, job.folder, job.data.csv)
    num_partitions = len(plan_partitions(sources, partition_bytes))
    assert least <= num_partitions <= least + 5
    result = run_job(job, out=folder / "out", until="shards", workers=workers)
    assert list_reasons(folder / "out") == wanted
    rows = result.ledger.rows
    assert (rows["read"], rows["quarantined"]) == (NUM_ROWS, len({row for row, _, _ in wanted}))


@pytest.mark.parametrize(
    ("layout", "report", "workers"),
    [
        ("whole", "all", 1),
        ("3 files", "exclude_first", 2),
        ("3 pieces", "exclude_last", 1),
        ("50 files", "exclude_last", 1),
        ("50 pieces", "exclude_first", 2),
        ("3 files in pieces", "all", 2),
    ],
)
def test_the_same_rows_cut_otherwise_have_the_same_verdict(
    layout: str,
    report: str,
    workers: int,
    tmp_path: Path,
    wanted: Callable[[str], set[Reason]],
) -> None:
    agree(layout, report, workers, tmp_path, wanted(report))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("report", ["all", "exclude_first", "exclude_last"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_cut_has_the_same_verdict(
    layout: str,
    report: str,
    workers: int,
    tmp_path: Path,
    wanted: Callable[[str], set[Reason]],
) -> None:
    agree(layout, report, workers, tmp_path, wanted(report))


BEYOND = """
import pandera.pandas as pa

Table = pa.DataFrameSchema(
    {{"x": pa.Column(float, {column}), "g": pa.Column(str), "label": pa.Column(int)}}, {frame}
)
"""
COLUMN_CHECKS = {
    "mean": "s <= s.mean() + 2 * s.std()",
    "is_unique": "s.is_unique",
    "rank": "s.rank(pct=True) <= 0.9",
    "duplicated": "~s.duplicated()",
    "max": "s < s.max()",
    "diff": "s.diff().fillna(0) < 50",
    "all": "(s < 50).all()",
}
FRAME_CHECKS = {
    "group_mean": "df['x'] <= 3 * df.groupby('g')['x'].transform('mean')",
    "group_size": "df.groupby('g')['x'].transform('count') != 4000",
    "rows_once": "~df.duplicated(['g', 'x'])",
}
# Where the first row lies that a check finds fault with for the sake of others.
TELLTALES = {"early": 5, "late": 2001, "last": 3999}


def check_beyond(folder: Path, telltale: int, column: str = "", frame: str = "") -> None:
    """Check rows of which one repeats the one before it and is larger than all."""
    cells = [str(row % 20 + row / 4000) for row in range(4000)]
    cells[telltale - 1] = cells[telltale] = "99"
    lines = [f"{cell},g,{row % 2}\n" for row, cell in enumerate(cells)]
    (folder / "rows.csv").write_text("x,g,label\n" + "".join(lines))
    (folder / "table.py").write_text(BEYOND.format(column=column, frame=frame))
    data = {"raw": ["rows.csv"], "schema": "table:Table", "label": "label"}
    check_job(Job.from_settings({"name": "beyond", "data": data}, folder))


@pytest.mark.parametrize("telltale", TELLTALES.values(), ids=TELLTALES)
@pytest.mark.parametrize(
    ("where", "name", "body"),
    [("column 'x'", name, f"lambda s: {body}") for name, body in COLUMN_CHECKS.items()]
    + [("the schema", name, f"lambda df: {body}") for name, body in FRAME_CHECKS.items()],
)
def test_a_check_that_looks_beyond_its_row_is_named(
    where: str, name: str, body: str, telltale: int, tmp_path: Path
) -> None:
    check = f"pa.Check({body}, name={name!r})"
    given = {"column": check} if where != "the schema" else {"frame": f"checks={check}"}
    with pytest.raises(NotRowWise, match=f"{where}: the check '{name}'"):
        check_beyond(tmp_path, telltale, **given)
