"""The deep look at shards with tensors, in both layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.manifest import Feature, Label, Shard, Spec, Stored
from pipeline.verify.values import check_shard
from pipeline.write import write_shard

ROWS = 11


def spec_of(layout: str, stored: Stored = "uint8") -> Spec:
    image = Feature(name="image", kind="tensor", dtype="float32", shape=(2, 3), stored=stored)
    size = Feature(name="si{0}ze.x", kind="float", dtype="float32", lower=0.0, upper=1.0)
    label = Label(name="étiquette", kind="string", task="classification", classes=("a", "b"))
    return Spec(
        features=(size, image),
        label=label,
        weight="w",
        training_dtype="float32",
        layout=layout,
        block_rows=4,
    )


def columns_of(stored: str = "uint8") -> dict[str, Any]:
    images = np.arange(ROWS * 6).reshape(ROWS, 2, 3).astype(stored)
    return {
        "si{0}ze.x": np.linspace(0, 1, ROWS),
        "image": images,
        "étiquette": np.arange(ROWS) % 2,
        "w": np.arange(ROWS),
        "row_id": np.arange(ROWS, dtype=np.int64),
    }


def binary(images: np.ndarray) -> pa.Array:
    return pa.array([image.tobytes() for image in images], pa.binary())


def publish(out: Path, spec: Spec, table: dict[str, Any], examples: dict[str, Any]) -> list[str]:
    """Write a shard of two sets of values, and return what the deep look says of it."""
    (out / "train").mkdir()
    arrays = {**table, "image": binary(table["image"])}
    arrays["étiquette"] = pa.array(np.array(["a", "b", "c"])[table["étiquette"]].tolist())
    given = {
        "si{0}ze.x": examples["si{0}ze.x"].astype(np.float32),
        "image": binary(examples["image"]),
        "étiquette": examples["étiquette"].astype(np.int64),
        "w": examples["w"].astype(np.float32),
        "row_id": examples["row_id"],
    }
    shard = write_shard(out / "train" / "a", pa.table(arrays), given, ["parquet", "tfrecord"], spec)
    files = {
        kind: file.model_copy(update={"path": f"train/{file.path}"})
        for kind, file in (("parquet", shard.parquet), ("tfrecord", shard.tfrecord))
        if file is not None
    }
    shard = Shard(rows=ROWS, **files)
    row_ids, problems = check_shard(out, shard, spec, frozenset(f.path for f in files.values()))
    if not problems:
        assert row_ids.tolist() == list(range(ROWS))
    return problems


@pytest.mark.parametrize("layout", ["row", "block"])
@pytest.mark.parametrize("stored", ["uint8", "int16", "int64", "float16", "float32"])
def test_a_shard_with_tensors_passes(tmp_path: Path, layout: str, stored: Stored) -> None:
    columns = columns_of(stored)
    assert publish(tmp_path, spec_of(layout, stored), columns, columns) == []


def spoiled(name: str, row: int, value: object) -> dict[str, Any]:
    columns = columns_of("float32")
    columns[name] = columns[name].copy()
    columns[name].reshape(ROWS, -1)[row, 0] = value
    return columns


@pytest.mark.parametrize("layout", ["row", "block"])
@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("image", np.nan, "'image': 1 values are not finite in float32"),
        ("image", np.inf, "'image': 1 values are not finite in float32"),
        ("si{0}ze.x", np.nan, "'si{0}ze.x': 1 values are not finite in float32"),
        ("si{0}ze.x", 1.5, "'si{0}ze.x': 1 values lie outside the schema's bounds"),
        ("étiquette", 2, "'étiquette': 1 values are no class"),
        ("w", -1, "'w': 1 values are negative"),
    ],
)
def test_a_bad_value_that_stands_in_both_is_found_in_both(
    tmp_path: Path, layout: str, name: str, value: object, problem: str
) -> None:
    columns = spoiled(name, 9, value)
    problems = publish(tmp_path, spec_of(layout, "float32"), columns, columns)
    assert {f"train/a.parquet: {problem}", f"train/a.tfrecord: {problem}"} <= set(problems)
    others = ("image", "si{0}ze.x", "étiquette", "w")
    assert not any(repr(other) in line for line in problems for other in others if other != name)


@pytest.mark.parametrize("layout", ["row", "block"])
@pytest.mark.parametrize("name", ["image", "si{0}ze.x", "étiquette", "w", "row_id"])
def test_a_value_that_is_another_in_parquet_is_found(
    tmp_path: Path, layout: str, name: str
) -> None:
    columns = spoiled(name, 7, 0)
    problems = publish(tmp_path, spec_of(layout, "float32"), columns_of("float32"), columns)
    assert problems == [f"train/a.tfrecord: {name!r}: 1 values are not those of the Parquet shard"]


@pytest.mark.parametrize("layout", ["row", "block"])
def test_a_shard_of_another_spec_is_told(tmp_path: Path, layout: str) -> None:
    spec = spec_of(layout)
    other = columns_of("int16")
    (problem,) = publish(tmp_path, spec, columns_of(), other)
    assert problem.startswith("train/a.tfrecord: ")


def test_minus_zero_is_another_value_than_zero(tmp_path: Path) -> None:
    problems = publish(
        tmp_path, spec_of("row", "float32"), columns_of("float32"), spoiled("si{0}ze.x", 0, -0.0)
    )
    assert len(problems) == 1
