"""A column that has to grow does so through the whole dataset; plain Python is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import check_job, run_job, validate_frame
from pipeline.errors import SchemaError
from pipeline.validate import compile_schema
from pipeline.whole import find_back_steps
from tests.conftest import JOB
from tests.reading import read_all, read_split

Check, Column = pa.Check, pa.Column
SCHEMA = """
import pandera.pandas as pa
Table = pa.DataFrameSchema({
    "time": pa.Column(int, pa.Check.is_monotonic("time")),
    "size": pa.Column(float, pa.Check.le(100)),
    "label": pa.Column(int),
})
"""


def list_backward(cells: list[float | None], increasing: bool) -> list[int]:
    """Return the rows that are not beyond every value before them."""
    found = []
    for row, cell in enumerate(cells):
        before = [c for c in cells[:row] if c is not None]
        if cell is not None and before:
            beyond = cell > max(before) if increasing else cell < min(before)
            found += [] if beyond else [row]
    return found


@given(
    st.lists(st.none() | st.integers(-5, 5)),
    st.booleans(),
    st.sampled_from(["float64", "int64", "Int64"]),
)
def test_a_row_that_does_not_go_on_breaks_the_order(
    cells: list[Any], increasing: bool, dtype: str
) -> None:
    column = Column(dtype, Check.is_monotonic("x", increasing=increasing), nullable=True)
    frame = pd.DataFrame({"x": ["" if cell is None else str(cell) for cell in cells]}, dtype=str)
    reasons = validate_frame(frame, pa.DataFrameSchema({"x": column})).reasons
    assert reasons["row"].tolist() == list_backward(cells, increasing)
    assert set(reasons["rule"]) <= {"is_monotonic"}


@given(st.lists(st.integers(-5, 5), min_size=1), st.integers(1, 5), st.booleans())
def test_where_the_data_is_cut_changes_nothing(
    values: list[int], num_parts: int, increasing: bool
) -> None:
    found, last = [], None
    furthest = max if increasing else min
    for part in np.array_split(np.array(values), num_parts):
        if len(part):
            found += find_back_steps(part, increasing, last).tolist()
            last = furthest([*part.tolist(), *([] if last is None else [last])])
    assert np.flatnonzero(found).tolist() == list_backward(list(values), increasing)


@pytest.mark.parametrize("num_files", [1, 3, 50])
def test_the_order_holds_over_files_and_workers(
    make_job: Callable[..., Path], tmp_path: Path, num_files: int
) -> None:
    rng = np.random.default_rng(3)
    times = np.arange(300) + rng.choice([0, 0, 0, -40], 300)
    sizes = np.where(np.arange(300) % 50 == 7, 500, 1)  # broken otherwise, and judged all the same
    job = make_job("", JOB.replace("[train]", "[repair]\nmax_dropped_ratio = 1.0\n[train]"), SCHEMA)
    (job.parent / "raw" / "a.csv").unlink()
    for part, rows in enumerate(np.array_split(np.arange(300), num_files)):
        text = "".join(f"{times[i]},{sizes[i]},{i % 2}\n" for i in rows)
        (job.parent / "raw" / f"{part:02d}.csv").write_text("time,size,label\n" + text)
    wanted = list_backward(times.tolist(), True)
    result = check_job(job, workers=2)
    assert result.broken["time", "is_monotonic"] == len(wanted) > 30
    assert ("time", "is_monotonic") in result.rules
    assert result.examples["time", "is_monotonic"][0].value is None
    broken = set(wanted) | set(np.flatnonzero(sizes == 500).tolist())
    assert result.broken_rows == len(broken)
    ledger = run_job(job, out=tmp_path / "out", until="shards").ledger
    assert ledger.stages["settle"].quarantined == len(wanted)
    aside = read_all(tmp_path / "out", "quarantine")
    starts = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(300), num_files))])
    ids = aside["_row_id"].to_numpy()
    assert sorted(starts[ids >> 40] + (ids & ((1 << 40) - 1))) == wanted
    kept = read_split(tmp_path / "out").sort_values("row_id")
    assert kept["time"].is_monotonic_increasing
    assert kept["time"].is_unique


def test_a_frame_can_ask_for_the_order_of_a_column() -> None:
    schema = pa.DataFrameSchema(
        {"t": Column("datetime64[ns]")}, checks=Check.is_monotonic("t", increasing=False)
    )
    frame = pd.DataFrame({"t": ["2024-03-01", "2024-02-01", "2024-02-15"]})
    reasons = validate_frame(frame, schema).reasons
    assert reasons[["row", "column", "rule"]].to_numpy().tolist() == [[2, "t", "is_monotonic"]]


REFUSED = {
    "of texts": Column(str, Check.is_monotonic("x")),
    "both ways": Column(int, [Check.is_monotonic("x"), Check.is_monotonic("x", increasing=False)]),
    "as a warning": Column(int, Check.is_monotonic("x", raise_warning=True)),
    "for arrays": Column(int, Check.no_duplicates_in_coord("x")),
}


@pytest.mark.parametrize("column", REFUSED.values(), ids=REFUSED)
def test_an_order_that_cannot_be_judged_is_refused_by_name(column: Any) -> None:
    with pytest.raises(SchemaError, match=r"is_monotonic|no_duplicates_in_coord"):
        compile_schema(pa.DataFrameSchema({"x": column}))
