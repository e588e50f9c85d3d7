"""Each public set by the command, and beside it an oracle in plain pandas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.conftest import ROOT, Ended, find_dataset


class Expected(NamedTuple):
    """What plain pandas says that a job has to do."""

    rows: int
    quarantined: int
    repaired: int
    filled: int


def judge(
    features: pd.DataFrame, broken: pd.DataFrame, blank: pd.DataFrame, bad_label: pd.Series[bool]
) -> Expected:
    """Count rows to set aside (bad label, too many broken cells) and cells to mend in the rest."""
    aside = bad_label | (broken.sum(axis=1) > 0.5 * features.shape[1])
    return Expected(
        rows=len(features),
        quarantined=int(aside.sum()),
        repaired=int(broken[~aside].sum().sum()),
        filled=int(blank[~aside].sum().sum()),
    )


def out_of_bounds(frame: pd.DataFrame, bounds: dict[str, tuple[float, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: ~pd.to_numeric(frame[name], errors="coerce").between(*bounds[name])
            for name in bounds
        }
    )


def expect_penguins(path: Path) -> Expected:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    bounds = {
        "bill_length_mm": (25, 70),
        "bill_depth_mm": (10, 25),
        "flipper_length_mm": (150, 250),
        "body_mass_g": (2000, 8500),
        "year": (2007, 2009),
    }
    broken = out_of_bounds(frame, bounds)  # type: ignore[arg-type]
    broken["island"] = ~frame["island"].isin(["Biscoe", "Dream", "Torgersen"])
    blank = (frame[["sex"]] == "NA") | (frame[["sex"]] == "")
    broken["sex"] = ~frame["sex"].isin(["male", "female"]) & ~blank["sex"]
    bad_label = ~frame["species"].isin(["Adelie", "Chinstrap", "Gentoo"])
    return judge(broken, broken, blank, bad_label)


def expect_titanic(path: Path) -> Expected:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    bounds = {"age": (0, 122), "fare": (0, 870), "sibsp": (0, 20), "parch": (0, 20)}
    broken = out_of_bounds(frame, bounds)  # type: ignore[arg-type]
    broken["pclass"] = ~frame["pclass"].isin(["1", "2", "3"])
    broken["sex"] = ~frame["sex"].isin(["female", "male"])
    broken["embarked"] = ~frame["embarked"].isin(["C", "Q", "S"])
    return judge(broken, broken, broken.iloc[:, :0], ~frame["survived"].isin(["0", "1"]))


def expect_california_housing(path: Path) -> Expected:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    bounds = {
        "longitude": (-124.5, -114.1),
        "latitude": (32.5, 42.1),
        "housing_median_age": (0, 221),
        "total_rooms": (1, np.inf),
        "total_bedrooms": (1, np.inf),
        "population": (1, np.inf),
        "households": (1, np.inf),
        "median_income": (0, 15.0001),
    }
    broken = out_of_bounds(frame, bounds)
    coasts = ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]
    broken["ocean_proximity"] = ~frame["ocean_proximity"].isin(coasts)
    value = pd.to_numeric(frame["median_house_value"], errors="coerce")
    return judge(broken, broken, broken.iloc[:, :0], ~value.between(14_999, 500_001))


def expect_cicids2017(path: Path) -> Expected:
    """Bounds by the words in a column's name."""
    frames = [pd.read_csv(file, skipinitialspace=True) for file in sorted(path.glob("*.csv"))]
    frame = pd.concat([f.rename(columns=str.strip) for f in frames], ignore_index=True)
    frame = frame.drop(columns=[c for c in frame if "Flag" in c and c != "PSH Flag Count"])
    label = frame.pop("PSH Flag Count")
    frame = frame.drop(columns=["Label", "Fwd Header Length.1"])
    windows = frame[["Init_Win_bytes_forward", "Init_Win_bytes_backward"]]
    blank = windows == -1
    broken = pd.DataFrame(index=frame.index)
    for name in frame:
        times = name.startswith(("Active", "Idle")) or "IAT" in name or name == "Flow Duration"
        lengths = "Packet Length" in name or "Segment Size" in name or name == "Average Packet Size"
        high = np.finfo("float64").max
        if times:
            high = 120_000_000
        elif name == "min_seg_size_forward":
            high = 60
        elif (lengths and "Variance" not in name) or "Port" in name or name in windows:
            high = 65_535
        broken[name] = ~frame[name].between(0, high)
    broken[windows.columns] &= ~blank
    return judge(frame, broken, blank, ~label.isin([0, 1]))


SETS: dict[str, tuple[str, str, Callable[[Path], Expected]]] = {
    "penguins": ("penguins/penguins.csv", "", expect_penguins),
    "titanic": ("titanic/titanic.csv", "", expect_titanic),
    "california_housing": ("california_housing/housing.csv", "", expect_california_housing),
    "cicids2017": ("cicids2017_sample", "/*.csv", expect_cicids2017),
}


def read_with_tensorflow_alone(
    out: Path, manifest: dict[str, Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Read every TFRecord shard by parse_example from the manifest's plain JSON."""
    spec = manifest["spec"]
    dtypes = {f["name"]: f["dtype"] for f in spec["features"]}
    dtypes[spec["label"]["name"]] = "int64" if spec["label"]["classes"] else "float32"
    dtypes["row_id"] = "int64"
    features = {n: tf.io.FixedLenFeature([], tf.as_dtype(d)) for n, d in dtypes.items()}
    files = [
        str(out / s["tfrecord"]["path"]) for p in manifest["splits"].values() for s in p["shards"]
    ]
    records = tf.data.TFRecordDataset(files).batch(manifest["rows"]["clean"])
    (batch,) = records.map(lambda records: tf.io.parse_example(records, features))
    return {name: values.numpy() for name, values in batch.items()}


@pytest.mark.parametrize("name", SETS)
def test_a_public_set_is_cleaned_as_pandas_would_and_trains(
    nanproof: Callable[..., Ended], tmp_path: Path, name: str
) -> None:
    place, pattern, expect = SETS[name]
    path = find_dataset(place)
    out = tmp_path / "out"
    ended = nanproof(
        "run", ROOT / "data" / name / "job.toml", "--raw", f"{path}{pattern}", "--out", out,
        "--workers", 1, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    ledger, expected = result["ledger"], expect(path)
    rows = ledger["rows"]
    assert rows["read"] == rows["clean"] + rows["quarantined"] == expected.rows
    assert rows["clean"] == rows["train"] + rows["validation"] + rows["test"]
    assert rows["quarantined"] == expected.quarantined
    assert ledger["cells"] == {"repaired": expected.repaired, "filled": expected.filled}
    manifest = json.loads((out / "manifest.json").read_text())
    shards = read_with_tensorflow_alone(out, manifest)
    assert all(np.isfinite(values).all() for values in shards.values())
    assert len(shards["row_id"]) == rows["clean"] == len(set(shards["row_id"]))
    files = [s["parquet"]["path"] for p in manifest["splits"].values() for s in p["shards"]]
    tables = pd.concat([pd.read_parquet(out / file) for file in files])
    assert tables["row_id"].tolist() == shards["row_id"].tolist()
    training = result["training"]
    assert training["num_nonfinite"] == 0
    assert training["beats_baseline"]
    model = keras.models.load_model(Path(training["run"]) / "model.keras")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_counts_of_the_oracle_are_the_known_ones() -> None:
    assert expect_cicids2017(find_dataset("cicids2017_sample")) == Expected(7999, 0, 146, 7604)
    assert expect_penguins(find_dataset("penguins/penguins.csv")) == Expected(344, 2, 0, 9)
