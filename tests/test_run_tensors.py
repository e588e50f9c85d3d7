"""Arrays through a whole run: what is quarantined, and what is learned of the rest, by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from pipeline import check_job, run_job, verify_dataset
from pipeline.errors import InputError, SettingsError
from pipeline.run import RunResult
from tests.reading import read_all, read_split

Values = npt.NDArray[Any]
NUM_ROWS = 200
LARGEST = float(np.finfo(np.float32).max)
JOB = """
[data]
raw = ["raw/*"]
schema = "table:Table"
label = "y"
{data}
[repair]
max_dropped_ratio = 0.5
[train]
{train}
"""
SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({{"y": pa.Column(int, pa.Check.isin([0, 1])), {columns}}})
"""


def make_job(
    folder: Path, *arrays: Mapping[str, Values], columns: str = "", data: str = "", train: str = ""
) -> Path:
    """Write a job on one .npz a mapping; each gets labels."""
    (folder / "raw").mkdir()
    (folder / "pyproject.toml").touch()
    (folder / "table.py").write_text(SCHEMA.format(columns=columns))
    (folder / "job.toml").write_text(JOB.format(data=data, train=train))
    for number, given in enumerate(arrays):
        labels = np.arange(len(next(iter(given.values())))) % 2
        np.savez(folder / "raw" / f"{number}.npz", y=labels, **dict(given))
    return folder / "job.toml"


def make_tensors(dtype: str = "float64", *shape: int) -> Values:
    """Return `(NUM_ROWS, *shape)`, no two rows alike."""
    values = np.random.default_rng(0).normal(5, 100, (NUM_ROWS, *(shape or (3, 2, 1))))
    return values.astype(dtype)


def with_cells(values: Values, cells: Mapping[int, Any]) -> Values:
    """Return a copy in which one value of some rows is another."""
    copy = values.copy()
    for row, value in cells.items():
        copy[row].flat[row % copy[row].size] = value
    return copy


def publish(job: Path, out: Path) -> tuple[RunResult, pd.DataFrame]:
    """Run a job to its shards; return the quarantined rows, too."""
    result = run_job(job, out=out, until="shards")
    assert verify_dataset(out, deep=True).problems == ()
    return result, read_all(out, "quarantine")


def list_reasons(quarantine: pd.DataFrame) -> dict[int, set[tuple[str, str]]]:
    """Return row id to the columns and rules that it breaks."""
    rows = zip(quarantine["_row_id"], quarantine["_reasons"], strict=True)
    return {row: {(reason["column"], reason["rule"]) for reason in told} for row, told in rows}


def check_learned(result: RunResult, values: Values, name: str = "x") -> None:
    """Compare what is published of a tensor with what NumPy says of the train rows."""
    (feature,) = [f for f in result.manifest.spec.features if f.name == name]
    train = values[read_split(result.out, "train")["row_id"].to_numpy()].astype(np.float64)
    assert (feature.count, feature.shape) == (len(train), values.shape[1:])
    assert (feature.minimum, feature.maximum) == (train.min(), train.max())
    assert feature.mean == pytest.approx(train.mean(), rel=1e-9)
    assert feature.variance == pytest.approx(train.var(), rel=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_nan_and_infinity_cost_their_rows_and_teach_nothing(tmp_path: Path, dtype: str) -> None:
    bad = {3: np.nan, 7: np.inf, 8: -np.inf}
    values = with_cells(make_tensors(dtype), bad)
    values[9].flat[:2] = np.nan, np.inf
    result, quarantine = publish(make_job(tmp_path, {"x": values}), tmp_path / "out")
    assert list_reasons(quarantine) == {
        3: {("x", "nan")},
        7: {("x", "inf")},
        8: {("x", "inf")},
        9: {("x", "nan")},
    }
    check_learned(result, values)


@pytest.mark.parametrize("huge", [1e60, -1e60, 1e200, 1e308, 3.5e38])
def test_finite_values_beyond_float32_cost_their_rows_and_teach_nothing(
    tmp_path: Path, huge: float
) -> None:
    values = with_cells(make_tensors(), dict.fromkeys(range(0, NUM_ROWS, 17), huge))
    result, quarantine = publish(make_job(tmp_path, {"x": values}), tmp_path / "out")
    rows = set(range(0, NUM_ROWS, 17))
    assert list_reasons(quarantine) == {row: {("x", "overflow")} for row in rows}
    check_learned(result, values)


def test_the_largest_float32_passes_and_what_rounds_to_infinity_does_not(tmp_path: Path) -> None:
    cells = {0: LARGEST, 1: 3.4028235e38, 2: -LARGEST, 3: 3.4028236e38, 4: -3.5e38}
    with np.errstate(over="ignore"):
        wanted = {row for row, value in cells.items() if np.isinf(np.float32(value))}
    assert wanted == {3, 4}
    job = make_job(tmp_path, {"x": with_cells(make_tensors(), cells)})
    _, quarantine = publish(job, tmp_path / "out")
    assert list_reasons(quarantine) == {row: {("x", "overflow")} for row in wanted}


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_the_training_dtype_is_what_a_value_has_to_be_finite_in(tmp_path: Path, dtype: str) -> None:
    values = np.abs(make_tensors()).astype(dtype)
    values = with_cells(values, {0: 65504, 1: 65519, 2: 65520, 3: 65535})
    job = make_job(tmp_path, {"x": values}, train='dtype = "float16"')
    result, quarantine = publish(job, tmp_path / "out")
    assert list_reasons(quarantine) == {2: {("x", "overflow")}, 3: {("x", "overflow")}}
    check_learned(result, values)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("bool", "uint8"),
        ("uint8", "uint8"),
        ("int8", "int8"),
        ("uint16", "uint16"),
        ("int16", "int16"),
        ("uint32", "int64"),
        ("int32", "int32"),
        ("uint64", "float32"),
        ("int64", "int64"),
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float32"),
        (">f8", "float32"),
    ],
)
def test_a_shard_holds_the_values_in_the_dtype_that_the_spec_names(
    tmp_path: Path, dtype: str, stored: str
) -> None:
    values = (np.abs(make_tensors()) % 100).astype(dtype)
    values = make_tensors() > 5 if dtype == "bool" else values
    result, _ = publish(make_job(tmp_path, {"x": values}), tmp_path / "out")
    (feature,) = result.manifest.spec.features
    assert feature.stored == stored
    rows = read_split(result.out)
    expected = values.astype(stored)[rows["row_id"]]
    assert [np.frombuffer(cell, stored).tolist() for cell in rows["x"]] == [
        row.ravel().tolist() for row in expected
    ]
    check_learned(result, values)


def test_check_and_run_find_the_same(tmp_path: Path) -> None:
    values = with_cells(make_tensors(), {1: np.nan, 2: np.inf, 3: 1e60, 4: 1e200})
    job = make_job(tmp_path, {"x": values})
    checked = check_job(job)
    assert not checked.passed
    expected = {("x", "nan"): 1, ("x", "inf"): 1, ("x", "overflow"): 2}
    assert {rule: checked.broken[rule] for rule in checked.broken} == expected
    result, _ = publish(job, tmp_path / "out")
    lines = {(line.column, line.rule): line.count for line in result.ledger.quarantined}
    assert lines == expected


@pytest.mark.parametrize(
    "columns",
    [
        '"x_max": pa.Column(float), "x_nonfinite": pa.Column(int)',
        '"x_max": pa.Column("float32"), "x_mean": pa.Column("float32")',
        '"x_max": pa.Column(float, nullable=True), "x_mean": pa.Column(float, nullable=True)',
        '"x_max": pa.Column(str), "x_std": pa.Column(str), "x_nonfinite": pa.Column(str)',
        '"x_nonfinite": pa.Column(bool)',
        '"x_mean": pa.Column(float, parsers=pa.Parser(lambda s: s / 255, element_wise=False)), '
        '"x_max": pa.Column(float, parsers=pa.Parser(lambda s: s.clip(0, 9)))',
    ],
)
def test_a_schema_that_reads_what_tells_of_a_tensor_changes_nothing(
    tmp_path: Path, columns: str
) -> None:
    values = make_tensors()
    values[5] = 7.0  # its maximum and its mean mean missing
    values = with_cells(values, {1: np.nan, 3: 1e60})
    job = make_job(tmp_path, {"x": values}, columns=columns, data='missing = ["7"]')
    result, quarantine = publish(job, tmp_path / "out")
    found = list_reasons(quarantine)
    assert found.keys() >= {1, 3}
    assert ("x", "nan") in found[1]
    assert ("x", "overflow") in found[3]
    check_learned(result, values)


def test_rows_of_another_shape_are_set_aside(tmp_path: Path) -> None:
    values = make_tensors()
    other = make_tensors("float64", 2, 3, 1)[:20]
    result, quarantine = publish(make_job(tmp_path, {"x": values}, {"x": other}), tmp_path / "out")
    rows = [(1 << 40) + row for row in range(len(other))]
    assert list_reasons(quarantine) == {row: {("x", "shape")} for row in rows}
    check_learned(result, values)


def test_a_column_whose_name_begins_as_a_tensor_s_does_is_none_of_its_own(tmp_path: Path) -> None:
    values = make_tensors("float32")
    weight = np.ones(NUM_ROWS)
    weight[::10] = -1
    arrays = {"x": values, "x_weight": weight, "x_size": np.arange(NUM_ROWS)}
    columns = '"x_weight": pa.Column(float), "x_size": pa.Column(int, pa.Check.lt(150))'
    job = make_job(tmp_path, arrays, columns=columns, data='weight = "x_weight"')
    result, quarantine = publish(job, tmp_path / "out")
    assert set(range(0, NUM_ROWS, 10)) <= list_reasons(quarantine).keys()
    counts = {feature.name: feature.count or 0 for feature in result.manifest.spec.features}
    # All rows of the train split, what breaks elsewhere included, teach the tensor.
    assert counts["x"] > counts["x_size"] > 0


@pytest.mark.parametrize(
    ("other", "got"),
    [
        ({"x": make_tensors("float32")}, "x (float32)"),
        ({"z": make_tensors()}, "z (float64)"),
        ({"x": make_tensors()[:, 0, 0, 0]}, "no array"),
        ({"x": make_tensors(), "z": make_tensors()}, "x (float64), z (float64)"),
    ],
)
def test_files_whose_arrays_differ_are_refused(
    tmp_path: Path, other: Mapping[str, Values], got: str
) -> None:
    job = make_job(tmp_path, {"x": make_tensors()}, other)
    with pytest.raises(InputError, match=r"1\.npz holds other arrays than raw/0\.npz") as caught:
        run_job(job, until="shards")
    assert got in str(caught.value)


def test_a_bad_file_without_arrays_is_set_aside(tmp_path: Path) -> None:
    values = make_tensors()
    job = make_job(tmp_path, {"x": values}, data='on_bad_file = "quarantine"')
    (tmp_path / "raw" / "notes.txt").write_text("a,b\n1,2\n")
    result, _ = publish(job, tmp_path / "out")
    assert result.ledger.rows["clean"] == NUM_ROWS
    check_learned(result, values)


def test_a_policy_for_what_is_worked_out_is_refused(tmp_path: Path) -> None:
    columns = '"x_mean": pa.Column(float)'
    job = make_job(tmp_path, {"x": make_tensors()}, columns=columns)
    job.write_text(job.read_text() + '\n[repair.columns]\nx_mean = "median"\n')
    with pytest.raises(SettingsError, match="'x_mean', which is worked out of a tensor"):
        run_job(job, out=tmp_path / "out", until="shards")
