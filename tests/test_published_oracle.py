"""Whatever the schema and the text, a run publishes what an oracle finds good, and nothing else."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import run_job
from pipeline.errors import DataVerdict, NoRowsLeft, RepairError, RuleBroken
from pipeline.job import Job
from tests.oracle import Oracle, Reason, Verdict
from tests.oracle_cells import Value, kind_of
from tests.random_tables import Table, make_table
from tests.test_verdict_oracle import write_rows

OF_WHOLE_COLUMNS = {"unique", "is_monotonic"}


def write_job(folder: Path, suffix: str) -> Job:
    """Write a job whose every policy is to drop, and whose every row is to learn from."""
    (folder / "table.py").touch()
    tables = {
        "data": {"raw": [f"rows{suffix}"], "schema": "table:Table", "label": "label"},
        "repair": {"numeric": "drop", "categorical": "drop", "max_dropped_ratio": 1.0},
        "split": {"train": 1.0, "validation": 0.0, "test": 0.0},
        "shards": {"formats": ["parquet"]},
    }
    return Job.from_settings({"name": "random", **tables}, folder)


def list_reasons(out: Path) -> set[Reason]:
    files = sorted((out / "quarantine").glob("*.parquet"))
    return {
        (row["_row_id"], reason["column"], reason["rule"])
        for file in files
        for row in pq.read_table(file).to_pylist()
        for reason in row["_reasons"]
    }


def read_rows(out: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(f) for f in sorted((out / "train").glob("*.parquet")))


def published(plain: Any, native: Any) -> Any:
    """Return a value as the column's dtype holds it."""
    if kind_of(native) != "float":
        return plain
    return np.dtype(getattr(native, "numpy_dtype", native)).type(plain).item()


def list_values(table: pa.Table, name: str) -> list[Any]:
    column = table.column(name)
    is_time = pa.types.is_timestamp(column.type)
    return (column.cast(pa.int64()) if is_time else column).to_pylist()


def list_empty_columns(wanted: Verdict) -> list[str]:
    """Return the columns of which no cell is valid: there is nothing to learn from."""
    broken = {(row, column) for row, column, rule in wanted.reasons if rule not in OF_WHOLE_COLUMNS}
    return [
        name
        for name, column in wanted.cells.items()
        if not any(
            isinstance(cell, Value) and (row, name) not in broken for row, cell in enumerate(column)
        )
    ]


def hold_against(out: Path, table: Table, oracle: Oracle, wanted: Verdict) -> None:
    """Hold the reasons and the values of a published dataset against the oracle's."""
    assert not wanted.uncovered
    assert list_reasons(out) == wanted.reasons
    good = sorted(set(range(len(table.rows))) - {row for row, _, _ in wanted.reasons})
    rows = read_rows(out)
    carried = {"unnamed"} & set(table.headers) if table.schema.strict != "filter" else set[str]()
    assert set(rows.column_names) == {"row_id", "_row", *oracle.columns, *carried}
    rows = rows.sort_by("row_id")
    assert rows.column("row_id").to_pylist() == good
    for name, native in oracle.natives.items():
        cells = [wanted.cells[name][row] for row in good]
        assert list_values(rows, name) == [published(cell.plain, native) for cell in cells]


def agree_on_dataset(pick: Random) -> None:
    table, suffix = make_table(pick, tidy=True), pick.choice([".csv", ".jsonl", ".parquet"])
    oracle = Oracle(table.schema, table.headers, label="label")
    wanted = oracle.judge(table.rows)
    load = "pipeline.run.setup.load_schema"
    with TemporaryDirectory() as name, patch(load, lambda job: table.given):
        folder, out = Path(name), Path(name) / "out"
        write_rows(folder / f"rows{suffix}", table)
        try:
            run_job(write_job(folder, suffix), out=out, until="shards")
        except DataVerdict as error:
            refuse_rightly(error, out, table, wanted)
        else:
            hold_against(out, table, oracle, wanted)


def refuse_rightly(error: DataVerdict, out: Path, table: Table, wanted: Verdict) -> None:
    """Hold it against the oracle that a run published nothing."""
    if isinstance(error, RepairError):
        assert error.fields["column"] in list_empty_columns(wanted)
        return
    assert list_reasons(out / "failed") == wanted.reasons
    if isinstance(error, RuleBroken):
        assert (error.fields["column"], error.fields["rule"]) in wanted.uncovered
        return
    assert isinstance(error, NoRowsLeft)
    assert {row for row, _, _ in wanted.reasons} == set(range(len(table.rows)))


RANDOMS = st.randoms(use_true_random=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pick=RANDOMS)
def test_what_a_run_publishes_is_what_the_oracle_finds_good(pick: Random) -> None:
    agree_on_dataset(pick)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(pick=RANDOMS)
def test_what_many_runs_publish_is_what_the_oracle_finds_good(pick: Random) -> None:
    agree_on_dataset(pick)
