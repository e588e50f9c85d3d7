"""Each public set by the command, and beside it an oracle in plain pandas."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.conftest import ROOT, Ended, find_dataset

# Row id and column.
Cells = set[tuple[int, str]]


class Expected(NamedTuple):
    """What plain pandas says that a job has to do; rows are named by row id."""

    rows: int
    quarantined: set[int]
    repaired: Cells
    filled: Cells


def read_tables(path: Path, **options: Any) -> pd.DataFrame:
    """Read a file, or a folder's CSV files, as one table; the index is the row id."""
    paths = [path] if path.is_file() else sorted(path.glob("*.csv"))
    frames = [
        pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, **options)
        for file in paths
    ]
    for number, frame in enumerate(frames):
        frame.index = pd.RangeIndex(number << 40, (number << 40) + len(frame))
    return pd.concat(frames)


def read_texts(path: Path) -> pd.DataFrame:
    return read_tables(path, dtype=str, keep_default_na=False)


def judge(
    num_features: int, broken: pd.DataFrame, blank: pd.DataFrame, bad: pd.Series[bool]
) -> Expected:
    """Set rows aside that are bad in themselves or have too many broken cells; mend the rest.

    Args:
        num_features: How many features there are.
        broken: True where a feature's cell is to be mended.
        blank: True where a nullable feature's cell is to be filled.
        bad: True where the label, a column that is never mended, or a rule on whole rows is broken.
    """
    aside = bad | (broken.sum(axis=1) > 0.5 * num_features)
    return Expected(
        rows=len(bad),
        quarantined=set(aside.index[aside]),
        repaired=list_cells(broken[~aside]),
        filled=list_cells(blank[~aside]),
    )


def list_cells(mask: pd.DataFrame) -> Cells:
    return {(row, str(name)) for name in mask for row in mask.index[mask[name]]}


def out_of_bounds(frame: pd.DataFrame, bounds: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: ~pd.to_numeric(frame[name], errors="coerce").between(*bounds[name])
            for name in bounds
        }
    )


def expect_penguins(path: Path) -> Expected:
    frame = read_texts(path)
    bounds = {
        "bill_length_mm": (25, 70),
        "bill_depth_mm": (10, 25),
        "flipper_length_mm": (150, 250),
        "body_mass_g": (2000, 8500),
        "year": (2007, 2009),
    }
    broken = out_of_bounds(frame, bounds)
    broken["island"] = ~frame["island"].isin(["Biscoe", "Dream", "Torgersen"])
    blank = (frame[["sex"]] == "NA") | (frame[["sex"]] == "")
    broken["sex"] = ~frame["sex"].isin(["male", "female"]) & ~blank["sex"]
    bad_label = ~frame["species"].isin(["Adelie", "Chinstrap", "Gentoo"])
    return judge(broken.shape[1], broken, blank, bad_label)


def expect_titanic(path: Path) -> Expected:
    frame = read_texts(path)
    bounds = {"age": (0, 122), "fare": (0, 870), "sibsp": (0, 20), "parch": (0, 20)}
    broken = out_of_bounds(frame, bounds)
    broken["pclass"] = ~frame["pclass"].isin(["1", "2", "3"])
    broken["sex"] = ~frame["sex"].isin(["female", "male"])
    broken["embarked"] = ~frame["embarked"].isin(["C", "Q", "S"])
    return judge(broken.shape[1], broken, broken.iloc[:, :0], ~frame["survived"].isin(["0", "1"]))


def expect_california_housing(path: Path) -> Expected:
    frame = read_texts(path)
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
    return judge(broken.shape[1], broken, broken.iloc[:, :0], ~value.between(14_999, 500_001))


def expect_cicids2017(path: Path) -> Expected:
    """Bounds by the words in a column's name."""
    frame = read_tables(path, skipinitialspace=True).rename(columns=str.strip)
    frame = frame.drop(
        columns=[c for c in map(str, frame) if "Flag" in c and c != "PSH Flag Count"]
    )
    label = frame.pop("PSH Flag Count")
    frame = frame.drop(columns=["Label", "Fwd Header Length.1"])
    windows = frame[["Init_Win_bytes_forward", "Init_Win_bytes_backward"]]
    blank = windows == -1
    broken = pd.DataFrame(index=frame.index)
    for name in map(str, frame):
        times = name.startswith(("Active", "Idle")) or "IAT" in name or name == "Flow Duration"
        lengths = "Packet Length" in name or "Segment Size" in name or name == "Average Packet Size"
        high = float(np.finfo("float64").max)
        if times:
            high = 120_000_000
        elif name == "min_seg_size_forward":
            high = 60
        elif (lengths and "Variance" not in name) or "Port" in name or name in windows:
            high = 65_535
        broken[name] = ~frame[name].between(0, high)
    broken[windows.columns] &= ~blank
    return judge(frame.shape[1], broken, blank, ~label.isin([0, 1]))


def expect_mammographic_masses(path: Path) -> Expected:
    frame = read_texts(path)
    bounds = {"BI-RADS": (0, 6), "Age": (0, 122), "Shape": (1, 4), "Margin": (1, 5)}
    broken = out_of_bounds(frame, bounds | {"Density": (1, 4)})
    return judge(5, broken, broken.iloc[:, :0], ~frame["Severity"].isin(["0", "1"]))


def expect_nyc_weather(path: Path) -> Expected:
    frame = read_texts(path)
    bounds = {
        "month": (1, 12), "day": (1, 31), "hour": (0, 23), "temp": (-80, 134), "dewp": (-100, 95),
        "humid": (0, 100), "wind_dir": (0, 360), "wind_speed": (0, 253.3),
        "wind_gust": (0, 253.3), "precip": (0, 12), "pressure": (870, 1089.4),
    }  # fmt: skip
    broken = out_of_bounds(frame, bounds)
    broken["origin"] = ~frame["origin"].isin(["EWR", "JFK", "LGA"])
    blank = frame[["wind_dir", "wind_gust"]] == "NA"
    broken[blank.columns] &= ~blank
    degrees = frame[["temp", "dewp"]].apply(pd.to_numeric, errors="coerce")
    bad = ~pd.to_numeric(frame["visib"], errors="coerce").between(0, 10)
    return judge(12, broken, blank, bad | (degrees["dewp"] > degrees["temp"] + 0.5))


def expect_uci_air_quality(path: Path) -> Expected:
    frame = read_texts(path)
    values = frame.drop(columns="Time").apply(pd.to_numeric, errors="coerce").replace(-200, np.nan)
    broken = pd.DataFrame({name: ~(values[name] > 0) for name in values if "PT08" in name})
    bounds = {"T": (-30, 48.8), "RH": (0, 100), "AH": (0, np.inf)}
    broken = broken.join(out_of_bounds(values, bounds))
    broken["Time"] = ~frame["Time"].isin([f"{hour}:00:00" for hour in range(24)])
    analysers = values[["CO(GT)", "NOx(GT)", "NO2(GT)"]]
    broken = broken.join(analysers < 0)
    broken["CO(GT)"] |= analysers["CO(GT)"] > 100
    return judge(12, broken, analysers.isna(), ~values["C6H6(GT)"].between(0, 3250))


def expect_chicago_taxi(path: Path) -> Expected:
    """The CSV file holds the label big_tipper; the Parquet file does not, and the fare is one."""
    frame = read_tables(path)
    places = {"latitude": (41.64, 42.03), "longitude": (-87.95, -87.52), "community_area": (1, 77)}
    bounds = {f"{end}_{n}": places[n] for n in places for end in ("pickup", "dropoff")}
    blank = frame[[*bounds, "company"]].isna()
    bounds |= {
        "trip_start_month": (1, 12), "trip_start_day": (1, 7), "trip_start_hour": (0, 23),
        "trip_seconds": (0, 86_400), "trip_miles": (0, 840), "fare": (0, 3000),
    }  # fmt: skip
    broken = out_of_bounds(frame, bounds)
    broken["payment_type"] = frame["payment_type"].isna()
    broken[blank.columns.drop("company")] &= ~blank.drop(columns="company")
    # The rule is asked of mended rows; no median is 0 seconds or beyond half a mile's reach.
    mended = frame["trip_seconds"].fillna(frame["trip_seconds"].median())
    miles = frame["trip_miles"].mask(broken["trip_miles"], frame["trip_miles"].median())
    bad = (mended == 0) & (miles > 0.5)
    if "big_tipper" in frame:
        return judge(15, broken, blank, bad | ~frame["big_tipper"].isin([0, 1]))
    return judge(14, broken.drop(columns="fare"), blank, bad | broken["fare"])


def expect_nyc_taxi(path: Path) -> Expected:
    frame = read_tables(path, parse_dates=["pickup_datetime", "dropoff_datetime"])
    frame["rate_code_id"] = frame["rate_code_id"].replace(99, np.nan)
    codes = {
        "vendor_id": [1, 2], "passenger_count": range(1, 7), "rate_code_id": range(1, 7),
        "store_and_fwd_flag": ["Y", "N"], "payment_type": range(1, 7),
        "congestion_surcharge": [0, 0.75, 2.5], "mta_tax": [0, 0.5],
        "improvement_surcharge": [0, 0.3],
    }  # fmt: skip
    broken = pd.DataFrame({name: ~frame[name].isin(list(codes[name])) for name in codes})
    blank = frame[list(codes)[:6]].isna()
    broken[blank.columns] &= ~blank
    zones = {"pickup_location_id": (1, 265), "dropoff_location_id": (1, 265)}
    bounds = zones | {"extra": (0, 20), "tolls_amount": (0, 100)}
    broken = broken.join(out_of_bounds(frame, bounds))
    begun, ended = frame["pickup_datetime"], frame["dropoff_datetime"]
    bad = ~frame["fare_amount"].between(2.5, 1000)
    bad |= (begun < "2019-01-01") | (begun >= "2020-05-01")
    bad |= (frame["trip_distance"] <= 0) | (frame["trip_distance"] > 500)
    bad |= (ended <= begun) | (ended - begun > "1 day")
    return judge(14, broken, blank, bad)


def expect_raha_beers(path: Path) -> Expected:
    frame = read_texts(path)
    broken = out_of_bounds(frame, {"ibu": (0, 2500)})
    broken["state"] = ~frame["state"].str.fullmatch("[A-Z]{2}")
    bad = ~pd.to_numeric(frame["abv"], errors="coerce").between(0, 0.675)
    return judge(3, broken, frame[["style"]] == "", bad)


def expect_raha_hospital(path: Path) -> Expected:
    """In these columns no word has an x of its own, and an x takes the place of what was hurt."""
    frame = read_texts(path)
    names = "State CountyName HospitalType HospitalOwner Condition MeasureCode".split()
    broken = frame[names].apply(lambda texts: texts.str.contains("x"))
    return judge(6, broken, broken.iloc[:, :0], ~frame["EmergencyService"].isin(["yes", "no"]))


# The job's name: where the set lies, what of it, and what is to become of it.
SETS: dict[str, tuple[str, str, Callable[[Path], Expected]]] = {
    "penguins/job": ("penguins/penguins.csv", "", expect_penguins),
    "titanic/job": ("titanic/titanic.csv", "", expect_titanic),
    "california_housing/job": ("california_housing/housing.csv", "", expect_california_housing),
    "cicids2017/job": ("cicids2017_sample", "/*.csv", expect_cicids2017),
    "mammographic_masses/job": (
        "mammographic_masses/mammographic_masses.csv", "", expect_mammographic_masses
    ),
    "nyc_weather/job": ("nyc_weather/weather.csv", "", expect_nyc_weather),
    "uci_air_quality/job": (
        "uci_air_quality/AirQualityUCI_comma_mdY.csv", "", expect_uci_air_quality
    ),
    "chicago_taxi/job": ("chicago_taxi/big_tipper.csv", "", expect_chicago_taxi),
    "chicago_taxi/fare": ("chicago_taxi/data.parquet", "", expect_chicago_taxi),
    "nyc_taxi/job": ("nyc_taxi", "/*.csv", expect_nyc_taxi),
    "raha_beers/job": ("raha_beers/dirty.csv", "", expect_raha_beers),
    "raha_hospital/job": ("raha_hospital/dirty.csv", "", expect_raha_hospital),
}  # fmt: skip


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


def read_work(out: Path) -> tuple[set[int], Cells, Cells]:
    """Read which rows lie in quarantine, and which cells were repaired and filled."""
    rows = {
        row for file in out.glob("quarantine/*.parquet") for row in pd.read_parquet(file)["_row_id"]
    }
    repairs = pd.concat(map(pd.read_parquet, out.glob("repairs/*.parquet")))
    fill = repairs["rule"] == "fill"

    def cells(part: pd.DataFrame) -> Cells:
        return set(zip(part["row_id"], part["column"], strict=True))

    return rows, cells(repairs[~fill]), cells(repairs[fill])


@pytest.mark.parametrize("name", SETS)
def test_a_public_set_is_cleaned_as_pandas_would_and_trains(
    nanproof: Callable[..., Ended], tmp_path: Path, name: str
) -> None:
    place, pattern, expect = SETS[name]
    path = find_dataset(place)
    out = tmp_path / "out"
    ended = nanproof(
        "run", ROOT / "data" / f"{name}.toml", "--raw", f"{path}{pattern}", "--out", out,
        "--workers", 1, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    ledger, expected = result["ledger"], expect(path)
    rows = ledger["rows"]
    assert rows["read"] == rows["clean"] + rows["quarantined"] == expected.rows
    assert rows["clean"] == rows["train"] + rows["validation"] + rows["test"]
    assert rows["quarantined"] == len(expected.quarantined)
    repaired, filled = expected.repaired, expected.filled
    cells = ledger["cells"]
    assert (cells["repaired"], cells["filled"]) == (len(repaired), len(filled))
    assert sum(cells.values()) == len(repaired) + len(filled)
    assert read_work(out) == (expected.quarantined, repaired, filled)
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


def test_a_file_without_the_label_is_refused_by_the_labels_name(
    nanproof: Callable[..., Ended], tmp_path: Path
) -> None:
    path = find_dataset("chicago_taxi/data.parquet")
    job = ROOT / "data" / "chicago_taxi" / "job.toml"
    ended = nanproof("run", job, "--raw", path, "--out", tmp_path / "out", "--workers", 1)
    assert ended.code == 2
    assert "the column 'big_tipper' is missing" in ended.err


KNOWN = {
    "cicids2017/job": (7999, 0, 146, 7604),
    "penguins/job": (344, 2, 0, 9),
    "mammographic_masses/job": (961, 1, 160, 0),
    "nyc_weather/job": (26_115, 0, 2_737, 21_238),
    "uci_air_quality/job": (9_471, 480, 0, 4_840),
    "chicago_taxi/job": (15_002, 12, 7, 6_612),
    "chicago_taxi/fare": (10_000, 9, 3, 1_198),
    "nyc_taxi/job": (30_000, 529, 561, 10_508),
    "raha_beers/job": (2_410, 785, 699, 2),
    "raha_hospital/job": (1_000, 27, 183, 0),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_counts_of_the_oracle_are_the_known_ones(name: str) -> None:
    place, _, expect = SETS[name]
    expected = expect(find_dataset(place))
    rows, quarantined, repaired, filled = expected
    assert (rows, len(quarantined), len(repaired), len(filled)) == KNOWN[name]
