"""The manifest: written whole, read back the same, and refused when it is anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DatasetDiffers, PipelineError, UsageError
from pipeline.manifest import Feature, File, Label, Manifest, Shard, Spec, Split, read_manifest


def file(path: str) -> File:
    return File(path=path, bytes=3, sha256="ab")


def manifest_of(**changed: Any) -> Manifest:
    shard = Shard(rows=2, parquet=file("train/a.parquet"), tfrecord=file("train/a.tfrecord"))
    only = Shard(rows=1, tfrecord=file("test/b.tfrecord"))
    spec = Spec(
        features=(Feature(name="x", kind="float", dtype="float32", mean=1.0, variance=2.0),),
        label=Label(name="y", kind="int", task="classification", classes=(0, 1)),
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
    written = manifest_of(spec=Spec(features=(), label=label))
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
    assert Label(name="y", kind="bool", task="classification").dtype == "int64"


def test_no_manifest_means_no_dataset(tmp_path: Path) -> None:
    error = refusal_of(tmp_path)
    assert isinstance(error, UsageError)
    assert "holds no published dataset" in error.message
    assert "nanproof run" in (error.fix or "")


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_manifest_that_cannot_be_read_is_the_caller_s_to_mend(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is None:
        (tmp_path / "manifest.json").mkdir()
    else:
        write(tmp_path, content)
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
        (changed(version=1), "version"),
        (changed(more=1), "more"),
        (changed(rows={"read": "many"}), "rows.read"),
        (changed(splits={"trian": {"rows": 0, "shards": []}}), "splits.trian"),
        (changed(spec={"label": {}}), "spec.features"),
    ],
)
def test_what_nanproof_did_not_write_is_no_manifest(tmp_path: Path, text: str, where: str) -> None:
    error = refusal_of(write(tmp_path, text))
    assert isinstance(error, DatasetDiffers)
    assert error.exit_code == 1
    assert f"is not a manifest of version 2: {where}" in error.message
