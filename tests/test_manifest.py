"""The manifest: written whole, read back the same, and refused when it is anything else."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.errors import DatasetDiffers, PipelineError, UsageError
from pipeline.manifest import (
    Feature,
    File,
    Label,
    Manifest,
    Shard,
    Spec,
    Split,
    read_manifest,
)
from tests.conftest import HEADER, ROOT, SCHEMA, make_rows
from tests.spoiling import forge_json, publish_small
from tests.test_docs import load

SETTINGS: dict[str, Any] = {"training_dtype": "float32", "layout": "row", "block_rows": 4}
WRITER = load(ROOT / "docs" / "manifest.py")


def file(path: str) -> File:
    return File(path=path, bytes=3, sha256="ab" * 32)


FILE = {"path": "a.json", "bytes": 3, "sha256": "ab" * 32}


def manifest_of(**changed: Any) -> Manifest:
    shard = Shard(rows=2, parquet=file("train/a.parquet"), tfrecord=file("train/a.tfrecord"))
    only = Shard(rows=1, tfrecord=file("test/b.tfrecord"))
    spec = Spec(
        features=(Feature(name="x", kind="float", dtype="float32", mean=1.0, variance=2.0),),
        label=Label(name="y", kind="int", task="classification", classes=(0, 1)),
        **SETTINGS,
    )
    facts: dict[str, Any] = {
        "name": "weather",
        "fingerprint": "3fa9c1d2",
        "created": "2025-01-01T00:00:00Z",
        "schema_reference": "rules:Table",
        "job_folder": "..",
        "spec": spec,
        "splits": {
            "train": Split(rows=2, shards=(shard,)),
            "validation": Split(rows=0, shards=()),
            "test": Split(rows=1, shards=(only,)),
        },
        "rows": {"read": 3},
        "sources": (),
        "files": (file("ledger.json"),),
        "settings": {},
        "versions": {},
    }
    return Manifest(**{**facts, **changed})


def write(out: Path, text: str | bytes) -> Path:
    (out / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return out


def refusal_of(out: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read_manifest(out)
    return caught.value


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, manifest_of().model_dump_json())) == manifest_of()


@pytest.mark.parametrize(
    "classes", [(True, False), (0, 1), (0.0, 1.0), ("0", "1"), ("true", "false")]
)
def test_classes_keep_their_type(tmp_path: Path, classes: tuple[Any, ...]) -> None:
    label = Label(name="y", kind="string", task="classification", classes=classes)
    written = manifest_of(spec=Spec(features=(), label=label, **SETTINGS))
    read = read_manifest(write(tmp_path, written.model_dump_json())).spec.label.classes
    assert read is not None
    assert [(type(value), value) for value in read] == [(type(value), value) for value in classes]


def test_all_files_are_listed_in_order() -> None:
    assert [file.path for file in manifest_of().list_files()] == [
        "train/a.parquet",
        "train/a.tfrecord",
        "test/b.tfrecord",
        "ledger.json",
    ]


def test_a_class_index_is_int64_and_a_regression_label_float32() -> None:
    assert Label(name="y", kind="float", task="regression").dtype == "float32"
    assert (
        Label(name="y", kind="bool", task="classification", classes=(False, True)).dtype == "int64"
    )


def test_no_manifest_means_no_dataset(tmp_path: Path) -> None:
    error = refusal_of(tmp_path)
    assert isinstance(error, UsageError)
    assert "holds no published dataset" in error.message
    assert "nanproof run" in (error.fix or "")


def test_a_manifest_that_cannot_be_read_is_the_caller_s_to_mend(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    error = refusal_of(tmp_path)
    assert isinstance(error, UsageError)
    assert "cannot be read" in error.message


def changed(**facts: Any) -> str:
    return json.dumps({**json.loads(manifest_of().model_dump_json()), **facts})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "the text"),
        ("{", "the text"),
        ("[]", "the text"),
        (manifest_of().model_dump_json()[:-20], "the text"),
        (b"\xff\xfe", "it is no UTF-8 text"),
        (b'{"version": 2, "version": 2}', "the text is no JSON: the key 'version' stands twice"),
        (b'{"version": NaN}', "the text is no JSON: NaN is no number"),
        (changed(more=1), "more"),
        (changed(rows={"read": "many"}), "rows.read"),
        (changed(splits={"trian": {"rows": 0, "shards": []}}), "splits.trian"),
        (changed(spec={"label": {}}), "spec.features"),
        (changed(splits={}), "the text: splits lacks 'train'"),
        (changed(splits={"test": {"rows": 3, "shards": []}}), "splits.test: 0 rows in its shards"),
        (
            changed(splits={"test": {"rows": 0, "shards": [{"rows": 0}]}}),
            "splits.test.shards.0.rows",
        ),
        (changed(files=[{**FILE, "path": "/etc/passwd"}]), "files.0: '/etc/passwd' is no path"),
        (changed(files=[{**FILE, "path": "../job.toml"}]), "files.0: '../job.toml' is no path"),
        (changed(files=[{**FILE, "path": "a\0"}]), "files.0: 'a\\x00' is no path"),
        (changed(files=[{**FILE, "sha256": "../../x"}]), "files.0.sha256"),
    ],
)
def test_what_nanproof_did_not_write_is_no_manifest(
    tmp_path: Path, text: str | bytes, where: str
) -> None:
    error = refusal_of(write(tmp_path, text))
    assert isinstance(error, DatasetDiffers)
    assert error.fields["file"] == str(tmp_path / "manifest.json")
    assert f"is not a manifest of version 2: {where}" in error.message


NUMBER = {"name": "x", "kind": "float", "dtype": "float32"}
IMAGE = {"name": "x", "kind": "tensor", "dtype": "float32", "shape": [2], "stored": "uint8"}
LABEL = {"name": "y", "kind": "int", "task": "classification", "classes": [0, 1]}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"features": [NUMBER, NUMBER]}, "2 columns are named 'x'"),
        ({"features": [{**NUMBER, "name": "y"}]}, "2 columns are named 'y'"),
        ({"features": [NUMBER], "weight": "x"}, "2 columns are named 'x'"),
        ({"features": [], "weight": "row_id"}, "2 columns are named 'row_id'"),
        ({"features": [{**IMAGE, "stored": None}]}, "kind, stored and shape of 'x' do not agree"),
        ({"features": [{**IMAGE, "shape": []}]}, "kind, stored and shape of 'x' do not agree"),
        ({"features": [{**NUMBER, "stored": "uint8"}]}, "kind, stored and shape of 'x' do not"),
        ({"features": [{**NUMBER, "shape": [2]}]}, "kind, stored and shape of 'x' do not agree"),
        ({"features": [{**IMAGE, "kind": "int"}]}, "kind, stored and shape of 'x' do not agree"),
        ({"features": [{**NUMBER, "kind": "string"}]}, "kind and vocabulary of 'x' do not agree"),
        ({"features": [{**NUMBER, "vocabulary": ["a"]}]}, "kind and vocabulary of 'x' do not"),
        ({"features": [{**IMAGE, "shape": [2, 0]}]}, "'x' has an impossible shape"),
        ({"features": [{**IMAGE, "shape": [-1, -1]}]}, "'x' has an impossible shape"),
        ({"features": [{**IMAGE, "shape": [2**70]}]}, "'x' has an impossible shape"),
        ({"features": [], "block_rows": 0}, "spec.block_rows"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_though_it_is_signed(
    tmp_path: Path, spec: dict[str, Any], why: str
) -> None:
    written = json.loads(manifest_of().model_dump_json())
    written["spec"] = {"label": LABEL, **SETTINGS, **spec}
    (tmp_path / "manifest.json").write_text(json.dumps(written))
    forge_json(tmp_path, "manifest.json", lambda document: None)
    error = refusal_of(tmp_path)
    assert isinstance(error, DatasetDiffers)
    assert why in error.message


def test_an_example_holds_features_label_weight_and_row_id() -> None:
    spec = Spec(
        features=(Feature(**NUMBER), Feature(**{**IMAGE, "name": "image"})),
        label=Label(**LABEL),
        weight="w",
        **SETTINGS,
    )
    assert spec.list_columns() == {
        "x": ("float32", ()),
        "image": ("uint8", (2,)),
        "y": ("int64", ()),
        "w": ("float32", ()),
        "row_id": ("int64", ()),
    }


@pytest.mark.parametrize("version", [1, 3, "2", None, 2.5])
def test_another_version_is_told_by_its_number(tmp_path: Path, version: object) -> None:
    error = refusal_of(write(tmp_path, changed(version=version)))
    assert isinstance(error, DatasetDiffers)
    assert error.expected == "version 2, which this nanproof reads"
    assert error.got == f"version {version}"


@pytest.mark.parametrize(
    "edited",
    [
        {"name": "climate"},
        {"rows": {"read": 4}},
        {"created": "2025-01-01T00:00:01Z"},
        {"settings": {"train": {}}},
        {"checksum": "0" * 64},
        {"checksum": None},
        {"schema_fingerprint": "ab"},
    ],
)
def test_a_manifest_edited_by_hand_is_told(tmp_path: Path, edited: dict[str, object]) -> None:
    error = refusal_of(write(tmp_path, changed(**edited)))
    assert isinstance(error, DatasetDiffers)
    assert "it was edited, or is damaged" in error.message
    assert error.fields["file"] == str(tmp_path / "manifest.json")


def test_the_checksum_is_of_the_text_with_sorted_keys_and_without_blanks() -> None:
    text = json.loads(manifest_of(name="wéather").model_dump_json())
    given = text.pop("checksum")
    canonical = json.dumps(text, sort_keys=True, separators=(",", ":"))
    assert "w\\u00e9ather" in canonical
    assert given == hashlib.sha256(canonical.encode("ascii")).hexdigest()


def test_blanks_and_the_order_of_keys_are_nobodys_edit(tmp_path: Path) -> None:
    text = json.loads(manifest_of().model_dump_json())
    for indent in (None, 4):
        turned = dict(reversed(text.items()))
        assert read_manifest(write(tmp_path, json.dumps(turned, indent=indent))) == manifest_of()


def test_a_manifest_that_is_huge_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "it has 1,099,511,627,776 bytes" in refusal_of(tmp_path).message


def test_the_published_json_schema_is_that_of_the_model() -> None:
    published = (ROOT / "docs" / "manifest.schema.json").read_text()
    assert published == WRITER.write_schema()


def test_a_published_manifest_is_valid_by_the_json_schema_and_tells_all(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    out = publish_small(tmp_path / "job")
    text = json.loads((out / "manifest.json").read_text())
    valid = jsonschema.Draft202012Validator(WRITER.describe_manifest())
    valid.validate(text)
    for broken in ({**text, "more": 1}, {**text, "version": 1}, {**text, "rows": {"read": "1"}}):
        assert not valid.is_valid(broken)
    size, count, colour = text["spec"]["features"]
    assert (size["lower"], size["upper"]) == (0.0, 100.0)
    assert (count["lower"], count["upper"], colour["lower"]) == (0, None, None)
    assert text["versions"].keys() == {
        "numpy",
        "pandas",
        "pandera",
        "pyarrow",
        "nanproof",
        "python",
    }
    assert text["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_statistics_are_those_of_the_train_split(tmp_path: Path) -> None:
    out = publish_small(tmp_path / "job", csv=HEADER + make_rows(60))
    spec = read_manifest(out).spec
    train = pd.concat([pd.read_parquet(path) for path in (out / "train").glob("*.parquet")])
    for feature in spec.features[:2]:
        cells = train[feature.name]
        assert (feature.count, feature.minimum, feature.maximum) == (
            len(cells), cells.min(), cells.max()
        )  # fmt: skip
        assert feature.mean == pytest.approx(cells.mean())
        assert feature.variance == pytest.approx(cells.var(ddof=0))
    colour = spec.features[2]
    assert (colour.count, colour.minimum, colour.mean) == (len(train), None, None)
    assert spec.label.counts == tuple(train["label"].value_counts()[[0, 1]])


def test_the_schemas_fingerprint_changes_with_its_text_and_not_with_the_data(
    tmp_path: Path,
) -> None:
    first = read_manifest(publish_small(tmp_path / "a"))
    data = read_manifest(publish_small(tmp_path / "b", csv=HEADER + make_rows(50)))
    schema = read_manifest(publish_small(tmp_path / "c", schema=SCHEMA + "\n# said otherwise\n"))
    assert first.schema_fingerprint == data.schema_fingerprint != schema.schema_fingerprint
    assert first.fingerprint != data.fingerprint
