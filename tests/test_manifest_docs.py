"""What docs/manifest.md says: TensorFlow and the manifest alone are enough to read the shards."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.manifest import Feature, Label, Spec
from tests.conftest import ROOT
from tests.spoiling import publish_small
from tests.test_manifest import manifest_of

PAGE = (ROOT / "docs" / "manifest.md").read_text()
READING, CHECKING = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture(scope="module")
def tf() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


def run_page(out: Path) -> dict[str, Any]:
    """Run both examples of the page on a dataset; return what they define."""
    code = READING.replace('pathlib.Path("out")', f"pathlib.Path({str(out)!r})")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/manifest.md", "exec"), names)
    exec(compile(CHECKING, "docs/manifest.md", "exec"), names)
    return names


def read_all(names: dict[str, Any], split: str) -> dict[str, np.ndarray]:
    batches = list(names["read"](split).as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


@pytest.mark.parametrize("layout", ["row", "block"])
def test_the_page_reads_a_published_dataset(tf: Any, tmp_path: Path, layout: str) -> None:
    shards = f'rows = 30\nlayout = "{layout}"\nblock_rows = 8'
    out = publish_small(tmp_path / "job", shards=shards)
    names = run_page(out)
    told = json.loads((out / "manifest.json").read_text())
    words = told["spec"]["features"][2]["vocabulary"]
    for split in ("train", "validation", "test"):
        table = pd.concat(
            [pd.read_parquet(out / s["parquet"]["path"]) for s in told["splits"][split]["shards"]]
        )
        found = read_all(names, split)
        np.testing.assert_array_equal(found["row_id"], table["row_id"])
        np.testing.assert_array_equal(found["size"], table["size"].astype("float32"))
        np.testing.assert_array_equal(found["count"], table["count"])
        np.testing.assert_array_equal(found["label"], table["label"])
        assert [words[index - 1] for index in found["colour"]] == list(table["colour"])


IMAGES = np.arange(5 * 2 * 3 * 1, dtype=np.uint8).reshape(5, 2, 3, 1)
ROW_IDS = np.arange(5, dtype=np.int64) + (1 << 40)
WEIGHTS = np.linspace(0, 1, 5, dtype=np.float32)
LABELS = np.array([0.5, 1, 2, 3, -4], np.float32)


def write_by_hand(tf: Any, out: Path, layout: str) -> None:
    """Write five rows with an image each by TensorFlow's own classes."""
    spec = Spec(
        features=(
            Feature(name="image", kind="tensor", dtype="float32", shape=(2, 3, 1), stored="uint8"),
        ),
        label=Label(name="y", kind="float", task="regression"),
        weight="w",
        training_dtype="float32",
        layout=layout,
        block_rows=2,
    )
    columns = {"image": IMAGES, "y": LABELS, "w": WEIGHTS, "row_id": ROW_IDS}
    starts = range(5) if layout == "row" else range(0, 5, 2)
    size = 1 if layout == "row" else 2
    with tf.io.TFRecordWriter(str(out / "a.tfrecord")) as writer:
        for start in starts:
            features = {}
            for name, values in columns.items():
                if layout == "block" or name == "image":
                    data = values[start : start + size].tobytes()
                    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
                elif name == "row_id":
                    given = [int(values[start])]
                    feature = tf.train.Feature(int64_list=tf.train.Int64List(value=given))
                else:
                    given = [float(values[start])]
                    feature = tf.train.Feature(float_list=tf.train.FloatList(value=given))
                features[name] = feature
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    file = {"path": "a.tfrecord", "bytes": 0, "sha256": "0" * 64}
    train = {"rows": 5, "shards": ({"rows": 5, "tfrecord": file},)}
    none = {"rows": 0, "shards": ()}
    manifest = manifest_of(spec=spec, splits={"train": train, "validation": none, "test": none})
    (out / "manifest.json").write_text(manifest.model_dump_json())


@pytest.mark.parametrize("layout", ["row", "block"])
def test_the_page_reads_images(tf: Any, tmp_path: Path, layout: str) -> None:
    write_by_hand(tf, tmp_path, layout)
    found = read_all(run_page(tmp_path), "train")
    np.testing.assert_array_equal(found["image"], IMAGES)
    np.testing.assert_array_equal(found["row_id"], ROW_IDS)
    np.testing.assert_array_equal(found["y"], LABELS)
    np.testing.assert_array_equal(found["w"], WEIGHTS)


def test_the_page_names_every_key_or_the_schema_does() -> None:
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    described = [schema, *schema["$defs"].values()]
    for part in described:
        assert part["description"]
        for name, field in part["properties"].items():
            assert field["description"], name
    named = set(re.findall(r"`(\w+)`", PAGE))
    left = set(schema["properties"]) - named - {"name", "created", "job_folder"}
    assert left == set()
