"""A key's second occurrence is found wherever it stands; pandas is the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import check_job, run_job
from pipeline.arrow import strings
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, Batch, Column
from pipeline.schema import ColumnSchema, Schema
from pipeline.whole import find_repeats, list_keys, name_keys, spill_keys
from tests.conftest import JOB
from tests.reading import read_all

KEEP = {"all": False, "exclude_first": "first", "exclude_last": "last"}
NUM_BUCKETS = 3


def schema_of(*, nullable: bool = True, **rules: Any) -> Schema:
    columns = (
        ColumnSchema("a", "int", "int64", nullable=nullable, unique=rules.pop("single", False)),
        ColumnSchema("b", "string", "str", nullable=nullable),
        ColumnSchema("c", "float", "float64", nullable=nullable),
    )
    return Schema("table", columns, **rules)


def column(kind: Any, cells: Sequence[Any]) -> Column:
    states = np.array([MISSING if cell is None else OK for cell in cells], np.uint8)
    if kind == "string":
        return Column(kind, strings(cells), states)
    blank: Any = 0 if kind == "int" else np.nan
    values = [blank if cell is None else cell for cell in cells]
    return Column(kind, np.array(values, np.int64 if kind == "int" else float), states)


def batch_of(rows: Sequence[tuple[Any, Any, Any]], first_id: int) -> Batch:
    cells = list(zip(*rows, strict=True)) or [(), (), ()]
    kinds = {"a": "int", "b": "string", "c": "float"}
    return Batch(
        source="x.csv",
        row_ids=np.arange(first_id, first_id + len(rows), dtype=np.int64),
        rows=np.arange(len(rows), dtype=np.int64),
        columns={n: column(k, c) for (n, k), c in zip(kinds.items(), cells, strict=True)},
        carried=pa.table({}),
        read_texts=lambda positions: {},
    )


def find(batches: Sequence[Batch], schema: Schema, folder: Path, key: int = 0) -> list[int]:
    paths = []
    for index, batch in enumerate(batches):
        paths.append(folder / f"{index}.keys")
        spill_keys(paths[-1], batch, schema, 7, NUM_BUCKETS, np.zeros(0, np.int64))
    return find_repeats(paths, key, NUM_BUCKETS, schema.report_duplicates).row_ids.tolist()


ROWS = st.tuples(
    st.sampled_from([None, 0, 1, 2**62]),
    st.sampled_from([None, "", "x", "ü"]),
    st.sampled_from([None, 0.0, -0.0, 1.5]),
)


@settings(deadline=None)
@given(
    parts=st.lists(st.lists(ROWS, max_size=12), min_size=1, max_size=4),
    report=st.sampled_from(list(KEEP)),
    key=st.sampled_from([("a",), ("b",), ("b", "c"), ("a", "b", "c")]),
)
def test_duplicates_across_batches_and_buckets_are_those_of_pandas(
    parts: list[list[tuple[Any, Any, Any]]], report: str, key: tuple[str, ...]
) -> None:
    starts = np.cumsum([0, *(len(part) for part in parts)]).tolist()
    batches = [batch_of(part, start) for part, start in zip(parts, starts)]
    frame = pd.DataFrame([row for part in parts for row in part], columns=list("abc"), dtype=object)
    expected = frame.duplicated(list(key), keep=KEEP[report])  # type: ignore[arg-type]
    schema = schema_of(unique=(key,), report_duplicates=report)
    with TemporaryDirectory() as folder:
        assert find(batches, schema, Path(folder)) == np.flatnonzero(expected).tolist()


def test_first_and_last_are_told_by_the_row_id_and_not_by_the_batch_order(tmp_path: Path) -> None:
    late, early = batch_of([(5, "x", 1.0)], 100), batch_of([(5, "y", 2.0)], 3)
    schema = schema_of(single=True, report_duplicates="exclude_first")
    assert find([late, early], schema, tmp_path) == [100]


def test_single_columns_come_before_sets_and_each_key_is_judged_alone(tmp_path: Path) -> None:
    schema = schema_of(single=True, unique=(("b", "c"), ("a", "c")))
    assert list_keys(schema) == (("a",), ("b", "c"), ("a", "c"))
    batch = batch_of([(1, "x", 1.0), (1, "x", 2.0), (2, "x", 2.0), (1, "z", 2.0)], 0)
    found = [find([batch], schema, tmp_path, key) for key in range(3)]
    assert found == [[0, 1, 3], [1, 2], [1, 3]]


@pytest.mark.parametrize("blank", [(None, "x", 1.0), (1, None, 1.0), (1, "x", None)])
def test_a_blank_is_a_value_where_the_schema_allows_it_and_else_no_key(
    tmp_path: Path, blank: tuple[Any, Any, Any]
) -> None:
    batch = batch_of([blank, (3, "y", 3.0), blank], 0)
    key = (("a", "b", "c"),)
    assert find([batch], schema_of(unique=key), tmp_path) == [0, 2]
    assert find([batch], schema_of(unique=key, nullable=False), tmp_path) == []


@pytest.mark.parametrize("state", [TYPE, INF, NAN])
def test_a_broken_cell_has_its_own_reason_and_is_no_key(tmp_path: Path, state: int) -> None:
    batch = batch_of([(1, "x", 1.0), (1, "x", 1.0)], 0)
    states = np.array([state, state], np.uint8)
    columns = {**batch.columns, "a": Column("int", np.zeros(2, np.int64), states)}
    broken = Batch(**{**vars(batch), "columns": columns})
    assert find([broken], schema_of(single=True, nullable=False), tmp_path) == []


def test_no_row_at_all_breaks_nothing(tmp_path: Path) -> None:
    assert find([batch_of([], 0)], schema_of(single=True), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_row_that_is_broken_otherwise_is_known_to_be_counted(tmp_path: Path) -> None:
    batch = batch_of([(key, "x", 1.0) for key in (5, 6, 5, 5)], 0)
    batch = replace(batch, rows=np.array([2, 3, 7, 9]))
    broken = np.array([1, 2])
    spill_keys(tmp_path / "a.keys", batch, schema_of(single=True), 7, NUM_BUCKETS, broken)
    repeats = find_repeats([tmp_path / "a.keys"], 0, NUM_BUCKETS, "all")
    assert repeats.row_ids.tolist() == [0, 2, 3]
    assert repeats.rows.tolist() == [2, 7, 9]
    assert repeats.otherwise_broken.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("columns", "sets", "names"),
    [
        ("ab", [("a", "b")], ["a+b"]),
        (["a", "b", "a+b"], [("a", "b")], ["(a+b)"]),
        (["a+b", "c", "a", "b+c"], [("a+b", "c"), ("a", "b+c")], ["a+b+c", "(a+b+c)"]),
        (["a", "b", "a+b", "(a+b)"], [("b",), ("a", "b")], ["b", "((a+b))"]),
    ],
)
def test_no_two_keys_and_no_key_and_column_are_called_alike(
    columns: Sequence[str], sets: list[tuple[str, ...]], names: list[str]
) -> None:
    schemas = tuple(ColumnSchema(name, "int", "int64") for name in columns)
    assert list(name_keys(Schema("table", schemas, unique=tuple(sets)))) == names


def test_a_column_and_a_key_that_is_written_alike_are_counted_apart(
    make_job: Callable[..., Path], tmp_path: Path
) -> None:
    schema = """
import pandera.pandas as pa
columns = {"a": pa.Column(int), "b": pa.Column(int), "a+b": pa.Column(int, unique=True)}
Table = pa.DataFrameSchema({**columns, "label": pa.Column(int)}, unique=["a", "b"])
"""
    rows = [(i, i, i, i % 2) for i in range(60)] + [(90, 90, 5, 0), (91, 91, 95, 0)] * 2
    frame = pd.DataFrame(rows, columns=["a", "b", "a+b", "label"])
    settings = JOB.replace("[train]", "[repair]\nmax_dropped_ratio = 1.0\n[train]")
    job = make_job(frame.to_csv(index=False), settings, schema)
    single = int(frame.duplicated("a+b", keep=False).sum())
    pair = int(frame.duplicated(["a", "b"], keep=False).sum())
    found = check_job(job).broken
    assert found == {("a+b", "unique"): single, ("(a+b)", "unique"): pair}
    assert (single, pair) == (5, 4)
    run_job(job, out=tmp_path / "out", until="shards")
    aside = read_all(tmp_path / "out", "quarantine")
    reasons = [(r["column"], r["value"]) for row in aside["_reasons"] for r in row]
    assert reasons.count(("a+b", "5")) == 3
    assert reasons.count(("(a+b)", None)) == pair


def test_a_key_that_is_given_twice_is_judged_once() -> None:
    schema = schema_of(single=True, unique=(("a",), ("b", "c"), ("b", "c")))
    assert list_keys(schema) == (("a",), ("b", "c"))


def test_a_key_has_no_value_of_a_carried_column_that_is_called_like_it(
    make_job: Callable[..., Path], tmp_path: Path
) -> None:
    schema = """
import pandera.pandas as pa
columns = {name: pa.Column(int) for name in ("a", "b", "label")}
Table = pa.DataFrameSchema(columns, unique=["a", "b"])
"""
    rows = [(i, i, "x", i % 2) for i in range(60)] + [(7, 7, "x", 0)]
    frame = pd.DataFrame(rows, columns=["a", "b", "a+b", "label"])
    run_job(make_job(frame.to_csv(index=False), JOB, schema), out=tmp_path / "o", until="shards")
    aside = read_all(tmp_path / "o", "quarantine")
    reasons = [(r["column"], r["value"]) for row in aside["_reasons"] for r in row]
    assert reasons == [("a+b", None)] * 2
