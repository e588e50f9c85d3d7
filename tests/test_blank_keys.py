"""No fill breaks a rule of the whole dataset: pandera judges what was published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandera.pandas as pa
import pytest

from pipeline import check_job, run_job
from pipeline.errors import SettingsError
from tests.conftest import JOB
from tests.reading import read_split

MakeJob = Callable[..., Path]
SETTINGS = JOB.replace("[train]", "[repair]\nmax_dropped_ratio = 1.0\n[train]")
# One blank, which no rule of the whole dataset forbids.
ROWS = "".join(f"{'' if i == 30 else i},{i % 7},{i % 2}\n" for i in range(60))


def make_schema(key: str, whole: str = "") -> str:
    return f"""
import pandera.pandas as pa

Table = pa.DataFrameSchema({{
    "key": pa.Column({key}),
    "size": pa.Column(float),
    "label": pa.Column(int, pa.Check.isin([0, 1])),
}}{whole})
"""


REFUSED = {
    "unique": make_schema("int, nullable=True, unique=True"),
    "growing": make_schema('int, pa.Check.is_monotonic("key"), nullable=True'),
    "of a set": make_schema("int, nullable=True", ', unique=["key", "size"]'),
    "optional and absent from a file": make_schema("int, required=False, unique=True"),
}


@pytest.mark.parametrize("policy", ["median", "drop", "clip", {"constant": 999}], ids=str)
@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED)
def test_a_key_that_may_be_blank_is_no_feature(
    make_job: MakeJob, tmp_path: Path, schema: str, policy: object
) -> None:
    value = "{ constant = 999 }" if isinstance(policy, dict) else f'"{policy}"'
    job = make_job("key,size,label\n" + ROWS, SETTINGS + f"[repair.columns]\nkey = {value}", schema)
    if "required=False" in schema:
        (job.parent / "raw" / "b.csv").write_text("size,label\n3,1\n")
    with pytest.raises(SettingsError, match=r"'key' may be blank[\s\S]*Fix: add \"key\" to"):
        run_job(job, out=tmp_path / "out", until="shards")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_check_judges_such_a_key_all_the_same(make_job: MakeJob) -> None:
    job = make_job("key,size,label\n" + ROWS, SETTINGS, REFUSED["unique"])
    assert check_job(job).passed


@pytest.mark.parametrize(
    ("schema", "ignore", "num_rows"),
    [
        (REFUSED["unique"], True, 60),
        (REFUSED["growing"], True, 60),
        (make_schema("int, unique=True"), False, 59),
        (make_schema('int, pa.Check.is_monotonic("key")'), False, 59),
        (make_schema("int, nullable=True, default=-1, unique=True"), False, 60),
    ],
)
def test_what_the_message_advises_publishes_what_the_schema_allows(
    make_job: MakeJob, tmp_path: Path, schema: str, ignore: bool, num_rows: int
) -> None:
    settings = SETTINGS.replace("[repair]", 'ignore = ["key"]\n[repair]') if ignore else SETTINGS
    job = make_job("key,size,label\n" + ROWS, settings, schema)
    run_job(job, out=tmp_path / "out", until="shards")
    rows = read_split(tmp_path / "out").sort_values("row_id")
    assert len(rows) == num_rows
    if not ignore:
        checks = pa.Check(lambda key: key.is_unique)
        pa.DataFrameSchema({"key": pa.Column(int, checks)}).validate(rows)
