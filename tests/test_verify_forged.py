"""Bad values in files whose checksums fit: the deep look finds them, each for what it is."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import verify_dataset
from pipeline.manifest import read_manifest
from tests.conftest import HEADER, JOB, make_rows
from tests.spoiling import (
    forge_example,
    forge_json,
    forge_table,
    publish_small,
    publish_tensors,
    with_cell,
)

NAN = float("nan")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_small(tmp_path_factory.mktemp("forged") / "job")


@pytest.fixture(scope="module")
def parquet_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parquet_alone") / "job"
    return publish_small(folder, shards='rows = 20\nformats = ["parquet"]')


@pytest.fixture
def out(published: Path, tmp_path: Path) -> Path:
    return shutil.copytree(published, tmp_path / "out")


def first(out: Path, pattern: str) -> Path:
    return min(out.glob(pattern))


def floats(value: float) -> bytes:
    return struct.pack("<f", value)


@pytest.mark.parametrize(
    ("feature", "value", "problem"),
    [
        ("size", floats(NAN), "'size': 1 values are not finite in float32"),
        ("size", floats(-float("inf")), "'size': 1 values are not finite in float32"),
        ("size", floats(100.5), "'size': 1 values lie outside the schema's bounds"),
        ("size", floats(-0.5), "'size': 1 values lie outside the schema's bounds"),
        ("size", floats(77.25), "'size': 1 values are not those of the Parquet shard"),
        ("colour", b"\3", "'colour': 1 values are no index of the vocabulary"),
        ("colour", b"\0", "'colour': 1 values are not those of the Parquet shard"),
        ("label", b"\2", "'label': 1 values are no class"),
        ("row_id", b"\x7f", "'row_id': 1 values are not those of the Parquet shard"),
    ],
)
def test_a_forged_example_is_found(out: Path, feature: str, value: bytes, problem: str) -> None:
    shard = first(out, "train/*.tfrecord")
    forge_example(out, shard, feature, 3, value)
    assert verify_dataset(out).passed
    assert f"train/{shard.name}: {problem}" in verify_dataset(out, deep=True).problems


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("size", NAN, "'size': 1 values are not finite in float32"),
        ("size", 1e39, "'size': 1 values are not finite in float32"),
        ("size", None, "'size': 1 values are missing"),
        ("size", 100.00000001, "'size': 1 values lie outside the schema's bounds"),
        ("count", -1, "'count': 1 values lie outside the schema's bounds"),
        ("label", 2, "'label': 1 values are no class"),
        ("row_id", None, "'row_id': 1 values are missing"),
    ],
)
def test_a_forged_cell_is_found(out: Path, column: str, value: object, problem: str) -> None:
    shard = first(out, "test/*.parquet")
    forge_table(out, shard, with_cell(column, 0, value))
    assert verify_dataset(out).passed
    assert f"test/{shard.name}: {problem}" in verify_dataset(out, deep=True).problems


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda t: t.slice(1), "19 rows, expected 20"),
        (lambda t: pa.concat_tables([t, t]), "40 rows, expected 20"),
        (lambda t: t.drop_columns(["size"]), "it has 0 columns 'size'"),
        (lambda t: t.append_column("size", t["size"]), "it has 2 columns 'size'"),
        (lambda t: t.set_column(0, "row_id", t["row_id"].cast(pa.string())), "'row_id' is string"),
    ],
)
def test_a_forged_table_is_found(
    parquet_alone: Path, tmp_path: Path, edit: Callable[[pa.Table], pa.Table], problem: str
) -> None:
    out = shutil.copytree(parquet_alone, tmp_path / "out")
    assert verify_dataset(out, deep=True).passed
    shard = first(out, "train/*.parquet")
    rows = pa.parquet.ParquetFile(shard).metadata.num_rows
    forge_table(out, shard, edit)
    assert verify_dataset(out).passed
    problem = problem.replace("20", str(rows)).replace("19", str(rows - 1))
    problem = problem.replace("40", str(2 * rows))
    assert any(problem in line for line in verify_dataset(out, deep=True).problems)


def test_a_row_that_stands_twice_is_found(parquet_alone: Path, tmp_path: Path) -> None:
    out = shutil.copytree(parquet_alone, tmp_path / "out")
    other = pa.parquet.ParquetFile(first(out, "test/*.parquet")).read()["row_id"][0].as_py()
    forge_table(out, first(out, "train/*.parquet"), with_cell("row_id", 0, other))
    assert verify_dataset(out).passed
    assert "row_id: 1 rows stand in the shards twice" in verify_dataset(out, deep=True).problems


@pytest.mark.parametrize(
    ("row_id", "problem"),
    [
        (5 << 40, "row_id: 1 rows of no raw file"),
        (-1, "row_id: 1 rows of no raw file"),
        (62, "quarantine: 1 rows stand in the shards, too"),
    ],
)
def test_a_row_of_elsewhere_is_found(
    parquet_alone: Path, tmp_path: Path, row_id: int, problem: str
) -> None:
    out = shutil.copytree(parquet_alone, tmp_path / "out")
    forge_table(out, first(out, "train/*.parquet"), with_cell("row_id", 0, row_id))
    assert problem in verify_dataset(out, deep=True).problems


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("quarantine/*", "row_id: 0 rows quarantined, expected 1"),
        ("repairs/*", "ledger.json: repaired: size nan: 1, and there are 0"),
    ],
)
def test_a_forged_account_is_found(out: Path, pattern: str, problem: str) -> None:
    forge_table(out, first(out, pattern), lambda table: table.slice(0, 0))
    assert verify_dataset(out).passed
    assert problem in verify_dataset(out, deep=True).problems


def edit_at(path: str, value: Any) -> Callable[[Any], None]:
    """Return an edit that sets what lies at a path such as `columns.size.mean`."""

    def edit(document: Any) -> None:
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        for part in way:
            document = document[part]
        document[last] = value

    return edit


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("plan.json", "columns.size.mean", 1.0, "plan.json: mean of 'size' is not the manifest's"),
        ("plan.json", "columns.size.shift", 1.0, "plan.json: shift of 'size' is not the manif"),
        ("plan.json", "columns.colour.vocabulary", ["blue", "red"], "vocabulary of 'colour'"),
        ("plan.json", "label.classes", [1, 0], "plan.json: classes of the label"),
        ("plan.json", "columns", {}, "plan.json: its columns are not the manifest's features"),
        ("plan.json", "label.more", 1, "plan.json: label.more: Extra inputs"),
        ("ledger.json", "rows.replaced", 1, "ledger.json: its rows are not the manifest's"),
        ("ledger.json", "rows.clean", 1, "ledger.json: the ledger does not balance"),
        ("ledger.json", "rows", {}, "ledger.json: a count or a stage is absent"),
        ("ledger.json", "stages", {}, "ledger.json: a count or a stage is absent"),
        ("ledger.json", "files.read", 2, "ledger.json: its files are not the manifest's sources"),
        ("manifest.json", "spec.features.0.maximum", 9.0, "plan.json: maximum of 'size'"),
        ("manifest.json", "spec.features.2.vocabulary", ["a"], "vocabulary of 'colour'"),
        (
            "manifest.json",
            "spec.features.0.name",
            "x",
            "plan.json: its columns are not the manifest's features",
        ),
        ("manifest.json", "spec.label.classes", [1, 0], "plan.json: classes of the label"),
        ("manifest.json", "spec.layout", "block", "settings.shards.layout is not"),
        ("manifest.json", "settings.data.label", "size", "settings.data.label is not"),
        ("manifest.json", "settings", {}, "settings.name is not"),
        ("manifest.json", "settings.shards.formats", ["parquet"], "not every shard is there"),
        ("manifest.json", "rows", {}, "ledger.json: its rows are not the manifest's"),
        ("manifest.json", "rows.read", 64, "the rows that were read are not those of its sources"),
        ("manifest.json", "sources", [], "ledger.json: its files are not the manifest's sources"),
        ("manifest.json", "files", [], "manifest.json: it does not name ledger.json"),
        ("manifest.json", "fingerprint", "../../..", "manifest.json: its fingerprint is none"),
        ("manifest.json", "files.0.path", "train/a.parquet", "train/a.parquet: the manifest gives"),
    ],
)
def test_forged_accounts_contradict_each_other(
    out: Path, name: str, path: str, value: object, problem: str
) -> None:
    forge_json(out, name, edit_at(path, value))
    assert any(problem in line for line in verify_dataset(out).problems)
    assert not verify_dataset(out, deep=True).passed


@pytest.fixture(scope="module", params=["row", "block"])
def with_tensors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_tensors(tmp_path_factory.mktemp("tensors") / "job", request.param)


def test_a_dataset_with_tensors_passes(with_tensors: Path) -> None:
    assert verify_dataset(with_tensors, deep=True).problems == ()


@pytest.mark.parametrize("document", ["manifest.json", "plan.json"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("count", 1), ("minimum", -5.0), ("maximum", 1e9), ("mean", 0.0), ("variance", 7.0)],
)
def test_forged_statistics_of_tensors_contradict_each_other(
    with_tensors: Path, tmp_path: Path, document: str, name: str, value: float
) -> None:
    out = shutil.copytree(with_tensors, tmp_path / "out")
    path = "spec.features.0" if document == "manifest.json" else "tensors.image"
    forge_json(out, document, edit_at(f"{path}.{name}", value))
    problem = f"plan.json: {name} of 'image' is not the manifest's"
    assert verify_dataset(out).problems == (problem,)


def test_a_plan_of_other_tensors_is_told(with_tensors: Path, tmp_path: Path) -> None:
    out = shutil.copytree(with_tensors, tmp_path / "out")
    forge_json(out, "plan.json", edit_at("tensors.image.shape", [3, 2, 1]))
    assert verify_dataset(out).problems == ("plan.json: shape of 'image' is not the manifest's",)
    forge_json(out, "plan.json", edit_at("tensors", {}))
    told = ("plan.json: its columns are not the manifest's features",)
    assert verify_dataset(out).problems == told


def test_a_tensor_of_another_size_is_told(with_tensors: Path, tmp_path: Path) -> None:
    out = shutil.copytree(with_tensors, tmp_path / "out")
    path = first(out, "train/*.parquet")
    forge_table(out, path, with_cell("image", 3, b"x"))
    told = f"train/{path.name}: not 6 bytes a row"
    assert told in verify_dataset(out, deep=True).problems


def test_a_manifest_with_its_keys_in_another_order_is_told(out: Path) -> None:
    path = out / "manifest.json"
    document = json.loads(path.read_text())
    turned = dict(reversed(document.items()))
    path.write_text(json.dumps(turned, indent=1, ensure_ascii=False) + "\n")
    told = "manifest.json: its text is not laid out as nanproof writes it"
    assert verify_dataset(out).problems == (told,)


def test_a_row_that_is_set_aside_twice_is_found(out: Path) -> None:
    forge_table(out, first(out, "quarantine/*"), lambda t: pa.concat_tables([t, t]))
    told = "row_id: 1 rows stand in the quarantine twice"
    assert told in verify_dataset(out, deep=True).problems


KINDS = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({
    "size": pa.Column("float32", pa.Check.in_range(0, 0.7), nullable=True),
    "far": pa.Column(float, pa.Check.gt(1e9)),
    "small": pa.Column("int8", pa.Check.le(9)),
    "open": pa.Column(bool),
    "when": pa.Column("datetime64[us, UTC]"),
    "colour": pa.Column(str, nullable=True),
    "weight": pa.Column(float),
    "label": pa.Column(float, pa.Check.in_range(0, 9)),
})
"""
KINDS_JOB = JOB.replace("[train]", 'weight = "weight"\n[repair]\nindicators = true\n[train]')


def publish_kinds(folder: Path, **settings: str) -> Path:
    rows = "".join(
        f"{'' if i % 7 == 0 else 0.1 * (i % 8)},{1000000000 + i / 100},{i % 10},"
        f"{i % 2 == 0},2024-01-{1 + i % 28:02d}T00:00:00.000001+01:00,"
        f"{'' if i % 9 == 0 else 'c' + str(i % 4)},{i / 10},{i % 10}\n"
        for i in range(80)
    )
    csv = "size,far,small,open,when,colour,weight,label\n" + rows
    return publish_small(folder, csv, KINDS_JOB, KINDS, **settings)


def test_every_kind_of_column_passes(tmp_path: Path) -> None:
    out = publish_kinds(tmp_path / "job")
    assert verify_dataset(out, deep=True).problems == ()


@pytest.mark.parametrize(("dtype", "first"), [("float16", 0), ("float32", 100_000_000)])
def test_a_column_of_a_coarse_dtype_is_the_same_in_both_formats(
    tmp_path: Path, dtype: str, first: int
) -> None:
    schema = (
        f'import pandera.pandas as pa\nTable = pa.DataFrameSchema({{"size": pa.Column("{dtype}"),'
    )
    schema += '"label": pa.Column(int, pa.Check.isin([0, 1]))})'
    rows = "".join(f"{first + i / 10},{i % 2}\n" for i in range(80))
    out = publish_small(tmp_path / "job", "size,label\n" + rows, JOB, schema)
    assert verify_dataset(out, deep=True).problems == ()


@pytest.mark.parametrize(
    ("feature", "value", "problem"),
    [
        ("size_was_missing", floats(0.5), "'size_was_missing': 1 values are neither 0 nor 1"),
        ("open", floats(2.0), "'open': 1 values are neither 0 nor 1"),
        ("size", floats(0.70001), "'size': 1 values lie outside the schema's bounds"),
        ("far", floats(-1e6), "'far': 1 values lie outside the schema's bounds"),
        ("small", b"\x0a", "'small': 1 values lie outside the schema's bounds"),
        ("weight", floats(-1.0), "'weight': 1 values are negative"),
        ("weight", floats(NAN), "'weight': 1 values are not finite in float32"),
        ("label", floats(10.0), "'label': 1 values lie outside the schema's bounds"),
        ("label", floats(NAN), "'label': 1 values are not finite in float32"),
    ],
)
def test_a_forged_value_of_every_kind_is_found(
    kinds: Path, tmp_path: Path, feature: str, value: bytes, problem: str
) -> None:
    out = shutil.copytree(kinds, tmp_path / "out")
    shard = first(out, "train/*.tfrecord")
    forge_example(out, shard, feature, 0, value)
    assert verify_dataset(out).passed
    assert f"train/{shard.name}: {problem}" in verify_dataset(out, deep=True).problems


@pytest.mark.parametrize(("name", "value"), [("indicates", "far_"), ("shift", 2.0), ("count", 1)])
def test_an_indicator_indicates_and_nothing_else(
    kinds: Path, tmp_path: Path, name: str, value: object
) -> None:
    out = shutil.copytree(kinds, tmp_path / "out")
    places = [feature.name for feature in read_manifest(out).spec.features]
    place = f"spec.features.{places.index('size_was_missing')}"
    forge_json(out, "manifest.json", edit_at(f"{place}.{name}", value))
    told = ("manifest.json: 'size_was_missing' is no indicator of a feature",)
    assert verify_dataset(out).problems == told


@pytest.mark.parametrize("name", ["size", "far", "small", "when"])
def test_bounds_that_no_float_holds_are_bounds(kinds: Path, tmp_path: Path, name: str) -> None:
    out = shutil.copytree(kinds, tmp_path / "out")
    places = [feature.name for feature in read_manifest(out).spec.features]
    place = f"spec.features.{places.index(name)}"
    forge_json(out, "manifest.json", edit_at(f"{place}.upper", 10**400))
    assert verify_dataset(out, deep=True).problems == ()
    forge_json(out, "manifest.json", edit_at(f"{place}.lower", 10**400))
    problems = verify_dataset(out, deep=True).problems
    assert problems
    assert all(f"{name!r}: " in line and "the schema's bounds" in line for line in problems)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "job"
    return publish_kinds(folder, shards='formats = ["tfrecord"]')


def test_what_float16_cannot_hold_is_found(tmp_path: Path) -> None:
    job = JOB.replace("[train]", '[train]\ndtype = "float16"')
    schema = "import pandera.pandas as pa\nTable = pa.DataFrameSchema({'size': pa.Column(float), "
    schema += "'count': pa.Column(int), 'colour': pa.Column(str), 'label': pa.Column(int)})\n"
    out = publish_small(tmp_path / "job", HEADER + make_rows(60), job, schema)
    assert verify_dataset(out, deep=True).passed
    forge_example(out, first(out, "train/*.tfrecord"), "size", 0, floats(70000.0))
    problems = "\n".join(verify_dataset(out, deep=True).problems)
    assert "'size': 1 values are not finite in float16" in problems
