"""What a job file may say, and what the reader is told when it says something else."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.job import Constant, Job, describe_job, read_job, read_train_settings

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


@pytest.mark.parametrize(
    ("tables", "where", "fix"),
    [
        ({"data": {"raw": ["a"], "schema": "a:b", "labl": "y"}}, "data.labl", "label"),
        ({"data": {"raws": ["a"], "schema": "a:b", "label": "y"}}, "data.raws", "raw"),
        ({"dta": {"raw": ["a"]}}, "dta", "data"),
        ({"data": DATA, "repair": {"colums": {"a": "drop"}}}, "repair.colums", "columns"),
        (
            {"data": DATA, "repair": {"numeric": {"constnt": 0}}},
            "repair.numeric.constnt",
            "constant",
        ),
        (
            {"data": DATA, "repair": {"columns": {"a": {"Constant": 0}}}},
            "repair.columns.a.Constant",
            "constant",
        ),
    ],
)
def test_a_misspelt_key_is_named_before_the_one_that_is_missing_for_it(
    tables: dict[str, Any], where: str, fix: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Job.from_settings(tables)
    assert caught.value.message == f"unknown setting '{where}'."
    assert caught.value.fix == f"did you mean '{fix}'?"


@pytest.mark.parametrize(
    ("tables", "fix"),
    [
        ({"label": "y", "data": DATA}, "write it under [data]."),
        ({"data": {**DATA, "csv": {"group": "a"}}}, "write it under [data]."),
        ({"data": {**DATA, "delimiter": ";"}}, "write it under [data.csv]."),
        ({"data": DATA, "seed": 3}, "write it under [split] or [train]."),
    ],
)
def test_a_setting_in_the_wrong_table_is_told_the_right_one(
    tables: dict[str, Any], fix: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Job.from_settings(tables)
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("tables", "where", "near"),
    [
        ({"repair": {"numeric": "medain"}}, "repair.numeric", "median"),
        ({"repair": {"categorical": "most_frequnt"}}, "repair.categorical", "most_frequent"),
        ({"repair": {"columns": {"a b": "Clip"}}}, "repair.columns.a b", "clip"),
        ({"shards": {"formats": ["parquet", "tfrecrod"]}}, "shards.formats.1", "tfrecord"),
        ({"data": {"on_bad_file": "quarantined"}}, "data.on_bad_file", "quarantine"),
        ({"train": {"task": "classify"}}, "train.task", "classification"),
    ],
)
def test_a_misspelt_value_is_told_its_nearest(
    tables: dict[str, Any], where: str, near: str
) -> None:
    error = refusal_of(**tables)
    assert error.message.startswith(f"setting '{where}': ")
    assert error.fix == f"did you mean '{near}'?"


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (
            {"repair": {"numeric": "x"}},
            '"median", "mean", "clip", "drop" or { constant = … }',
        ),
        ({"repair": {"max_dropped_ratio": 7}}, "a number from 0 to 1"),
        ({"train": {"hidden": [0]}}, "a whole number ≥ 1"),
        ({"train": {"learning_rate": -1.0}}, "a number > 0"),
        ({"train": {"seed": -1}}, "a whole number ≥ 0 and < 4,294,967,296"),
        ({"data": {"raw": "a.csv"}}, "a list of texts"),
        ({"data": {"missing": 5}}, "a list of texts or a table of lists of texts"),
        ({"data": {"missing": [5]}}, "text"),
        ({"data": {"csv": {"columns": [5]}}}, "text"),
        ({"data": {"csv": {"quote": "''"}}}, "one character"),
        ({"repair": {"indicators": 3}}, "true, false or a list of texts"),
        ({"repair": {"indicators": [3]}}, "text"),
        ({"data": {"missing": {"a": "?"}}}, "a list of texts"),
        (
            {"repair": {"columns": {"a": {"constant": []}}}},
            "true, false, a whole number, a number or text",
        ),
        ({"check": {"rules": 3}}, "a table of numbers from 0 to 1"),
        ({"split": 3}, "a table"),
    ],
)
def test_a_value_that_does_not_fit_is_told_what_would(
    tables: dict[str, Any], expected: str
) -> None:
    assert refusal_of(**tables).expected == expected


@pytest.mark.parametrize(
    ("tables", "where"),
    [
        ({"data": {"missing": 5}}, "data.missing"),
        ({"repair": {"indicators": 3}}, "repair.indicators"),
        ({"repair": {"numeric": {"constant": []}}}, "repair.numeric.constant"),
    ],
)
def test_what_no_branch_of_a_union_takes_is_not_told_one_branch_s_reason(
    tables: dict[str, Any], where: str
) -> None:
    error = refusal_of(**tables)
    assert error.message == f"setting '{where}': it takes no such value."
    assert where in error.fields["settings"]


WRONG = [3, -1, 1.5, math.nan, "x", "", True, [1], [[]], {}, {"a": 1}, {"constant": [1]}, None]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_no_value_of_any_setting_is_more_than_refused(wrong: Any) -> None:
    for table, node in describe_job()["properties"].items():
        for key in node.get("properties", {"": None}):
            tables = {table: {key: wrong} if key else wrong}
            data = {**DATA, **tables.get("data", {})} if table == "data" else DATA
            with suppress(SettingsError):
                Job.from_settings({**tables, "data": data})


def test_what_is_a_table_says_so() -> None:
    assert refusal_of(split=3).message == "setting 'split': it is a table."


def test_an_unknown_setting_that_resembles_none_lists_the_known_ones() -> None:
    assert (
        refusal_of(shards={"zzz": 1}).fix
        == "known here: 'block_rows', 'formats', 'layout', 'rows'."
    )


def test_the_folder_is_no_setting() -> None:
    error = refusal_of(folder="/elsewhere")
    assert error.message == "unknown setting 'folder'."
    assert "'folder'" not in (error.fix or "")


@pytest.mark.parametrize(
    ("tables", "where"),
    [
        ({"data": {"raw": "raw/*.csv"}}, "data.raw"),
        ({"data": {"missing": 5}}, "data.missing"),
        ({"data": {"missing": {"a": [1]}}}, "data.missing.a.0"),
        ({"data": {"csv": {"delimiter": ";;"}}}, "data.csv.delimiter"),
        ({"data": {"partition_bytes": 10}}, "data.partition_bytes"),
        ({"data": 3}, "data"),
        ({"name": 3}, "name"),
        ({"split": {"train": 1.5}}, "split.train"),
        ({"split": {"train": math.nan}}, "split.train"),
        ({"split": {"seed": 1.5}}, "split.seed"),
        ({"repair": {"numeric": "most_frequent"}}, "repair.numeric"),
        ({"repair": {"numeric": {"constant": [1]}}}, "repair.numeric.constant"),
        ({"repair": {"indicators": ["a", 3]}}, "repair.indicators.1"),
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
    fix = caught.value.fix or ""
    assert where in fix or fix.startswith("did you mean ")


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
    with pytest.raises(SettingsError, match=r"setting 'train\.epochs'") as caught:
        read_train_settings({"epochs": 0})
    assert caught.value.fields["settings"] == ["train.epochs"]
    with pytest.raises(SettingsError, match=r"unknown setting 'train\.epoch'"):
        read_train_settings({"epoch": 1})
