"""What a job file may say, and what the reader is told when it says something else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.job import Constant, Job, read_job, read_train_settings

DATA = {"raw": ["raw/*.csv"], "schema": "table:Table", "label": "y"}


def job_of(**tables: Any) -> Job:
    data = {**DATA, **tables.pop("data", {})}
    return Job.from_settings({"data": data, **tables}, "/jobs/weather")


def refusal_of(**tables: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        job_of(**tables)
    assert caught.value.exit_code == 2
    return caught.value


def test_raw_schema_and_label_are_enough() -> None:
    job = job_of()
    assert (job.name, job.folder) == ("weather", Path("/jobs/weather"))
    assert job.data.schema_ == "table:Table"
    assert (job.split.train, job.split.validation, job.split.test) == (0.8, 0.1, 0.1)
    assert (job.repair.numeric, job.repair.categorical) == ("median", "most_frequent")
    assert (job.repair.max_repaired_ratio_per_row, job.repair.max_categories) == (0.5, 10_000)
    assert job.check.max_broken_ratio == 0.0
    assert job.shards.formats == ("parquet", "tfrecord")
    assert job.train.dtype == "float32"


def test_the_text_nan_is_not_missing_by_default() -> None:
    assert job_of().data.missing_texts("any") == ("", "NA", "N/A", "null", "NULL")


def test_missing_by_column_leaves_the_default_to_the_others() -> None:
    data = job_of(data={"missing": {"rain": ["-", "-200"]}}).data
    assert data.missing_texts("rain") == ("-", "-200")
    assert data.missing_texts("wind") == job_of().data.missing_texts("wind")


def test_missing_for_all_columns() -> None:
    assert job_of(data={"missing": ["?"]}).data.missing_texts("rain") == ("?",)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        job_of().train.epochs = 3  # type: ignore[misc]


def test_a_constant_keeps_its_type() -> None:
    columns = {"a": {"constant": 0.0}, "b": {"constant": True}, "c": {"constant": 3}, "d": "drop"}
    made = job_of(repair={"columns": columns}).repair.columns
    assert [type(made[name].constant) for name in "abc"] == [float, bool, int]
    assert made["d"] == "drop"
    assert made["a"] == Constant(constant=0.0)


@pytest.mark.parametrize(
    ("tables", "where", "near"),
    [
        ({"trian": {}}, "trian", "train"),
        ({"Split": {}}, "Split", "split"),
        ({"train": {"epoch": 3}}, "train.epoch", "epochs"),
        ({"data": {"csv": {"delimter": ";"}}}, "data.csv.delimter", "delimiter"),
        ({"data": {"schema_": "a:b"}}, "data.schema_", "schema"),
        ({"data": {"Label": "y"}}, "data.Label", "label"),
        ({"repair": {"numerics": "mean"}}, "repair.numerics", "numeric"),
    ],
)
def test_an_unknown_setting_is_named_with_its_nearest(
    tables: dict[str, Any], where: str, near: str
) -> None:
    error = refusal_of(**tables)
    assert error.message == f"unknown setting '{where}'."
    assert error.fix == f"did you mean '{near}'?"


def test_an_unknown_setting_that_resembles_none_lists_the_known_ones() -> None:
    assert refusal_of(shards={"zzz": 1}).fix == "known here: 'formats', 'rows'."


def test_the_folder_is_no_setting() -> None:
    error = refusal_of(folder="/elsewhere")
    assert error.message == "unknown setting 'folder'."
    assert "'folder'" not in (error.fix or "")


@pytest.mark.parametrize(
    ("tables", "where"),
    [
        ({"data": {"raw": "raw/*.csv"}}, "data.raw"),
        ({"data": {"missing": 5}}, "data.missing"),
        ({"data": {"missing": {"a": [1]}}}, "data.missing"),
        ({"data": {"csv": {"delimiter": ";;"}}}, "data.csv.delimiter"),
        ({"data": {"partition_bytes": 10}}, "data.partition_bytes"),
        ({"data": 3}, "data"),
        ({"name": 3}, "name"),
        ({"split": {"train": 1.5}}, "split.train"),
        ({"split": {"train": math.nan}}, "split.train"),
        ({"split": {"seed": 1.5}}, "split.seed"),
        ({"repair": {"numeric": "most_frequent"}}, "repair.numeric"),
        ({"repair": {"numeric": {"constant": [1]}}}, "repair.numeric"),
        ({"repair": {"columns": {"temp": "medan"}}}, "repair.columns.temp"),
        ({"repair": {"columns": {"Temp [C]": "medan"}}}, "repair.columns.Temp [C]"),
        ({"repair": {"max_dropped_ratio": True}}, "repair.max_dropped_ratio"),
        ({"repair": {"max_categories": 0}}, "repair.max_categories"),
        ({"check": {"rules": {"in_range": 2}}}, "check.rules.in_range"),
        ({"shards": {"formats": []}}, "shards.formats"),
        ({"shards": {"formats": ["csv"]}}, "shards.formats.0"),
        ({"shards": {"rows": 0}}, "shards.rows"),
        ({"train": {"epochs": "5"}}, "train.epochs"),
        ({"train": {"learning_rate": 0.0}}, "train.learning_rate"),
        ({"train": {"learning_rate": math.inf}}, "train.learning_rate"),
        ({"train": {"hidden": [0]}}, "train.hidden.0"),
        ({"train": {"seed": -1}}, "train.seed"),
        ({"train": {"dtype": "float64"}}, "train.dtype"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_named_by_its_setting(
    tables: dict[str, Any], where: str
) -> None:
    settings = {"data": DATA, **tables}
    if isinstance(tables.get("data"), dict):
        settings["data"] = {**DATA, **tables["data"]}
    with pytest.raises(SettingsError) as caught:
        Job.from_settings(settings)
    assert caught.value.message.startswith(f"setting '{where}': ")
    assert where in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("settings", "where"),
    [({}, "data"), ({"data": {}}, "data.raw"), ({"data": {"raw": ["a"]}}, "data.schema")],
)
def test_a_missing_setting_is_named(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(SettingsError, match=f"the setting '{where}' is missing"):
        Job.from_settings(settings)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"train": 0.8, "validation": 0.1, "test": 0.2}, "is 1.1, and must be 1"),
        ({"train": 0.5}, "is 0.7, and must be 1"),
        ({"train": 0, "validation": 1, "test": 0}, "train is 0"),
    ],
)
def test_splits_must_sum_to_one_and_hold_a_train_share(shares: dict[str, float], says: str) -> None:
    assert says in refusal_of(split=shares).message


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (1, 0, 0), (0.9, 0, 0.1), (0.6, 0.3, 0.1)])
def test_shares_that_sum_to_one_but_for_rounding_are_taken(
    shares: tuple[float, float, float],
) -> None:
    split = job_of(split=dict(zip(("train", "validation", "test"), shares, strict=True))).split
    assert (split.train, split.validation, split.test) == shares


def test_all_wrong_settings_stand_in_the_fields() -> None:
    error = refusal_of(train={"epochs": 0, "epoch": 1})
    assert error.fields["settings"] == ["train.epochs", "train.epoch"]


def test_a_job_file_is_read_relative_to_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('name = "night"\n[data]\nraw = ["é.csv"]\nschema = "a:b"\nlabel = "y"\n')
    job = read_job(path)
    assert (job.name, job.folder, job.data.raw) == ("night", tmp_path.resolve(), ("é.csv",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[data\n", "not valid TOML"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"name = '\xff'\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as caught:
        read_job(path)
    assert str(path) in caught.value.message


def test_an_absent_job_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such job file"):
        read_job(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="is a folder"):
        read_job(tmp_path)


def test_train_settings_alone_are_named_as_in_the_job_file() -> None:
    assert read_train_settings({"hidden": [8]}).hidden == (8,)
    with pytest.raises(SettingsError, match=r"setting 'train\.epochs'"):
        read_train_settings({"epochs": 0})
    with pytest.raises(SettingsError, match=r"unknown setting 'train\.epoch'"):
        read_train_settings({"epoch": 1})
