"""A row of a quarantine that was mended takes the place of the row that it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import check_job, run_job
from pipeline.arrow import strings
from pipeline.load.unmended import read_spelled
from tests.conftest import HEADER, JOB, make_rows
from tests.reading import read_all, read_split

MakeJob = Callable[..., Path]
SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({
    "size": pa.Column(float, pa.Check.in_range(0, 100)),
    "count": pa.Column(int, pa.Check.ge(0), unique=True),
    "colour": pa.Column(str, pa.Check.isin(["red", "blue"])),
    "label": pa.Column(int, pa.Check.isin([0, 1])),
})
"""
SETTINGS = JOB.replace('["raw/*.csv"]', '["raw/*"]').replace(
    "[train]", '[repair]\nnumeric = "drop"\nmax_dropped_ratio = 1.0\n[train]'
)
BROKEN = "500,1000,red,0\n7,1001,red,9\n8,1002,red\n"


def quarantine(make_job: MakeJob, out: Path, text: str) -> tuple[Path, pd.DataFrame]:
    job = make_job(text, SETTINGS, SCHEMA)
    run_job(job, out=out, until="shards")
    return job, read_all(out, "quarantine")


def mend(aside: pd.DataFrame) -> pd.DataFrame:
    mended = aside.assign(size="50", label="1", colour="red")
    mended["count"] = [str(1000 + place) for place in range(len(mended))]
    return mended


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("reasons", [True, False])
def test_a_mended_row_is_no_copy_of_what_it_was(
    make_job: MakeJob, tmp_path: Path, form: str, reasons: bool
) -> None:
    text = HEADER + make_rows(60) + BROKEN
    job, aside = quarantine(make_job, tmp_path / "out", text)
    assert aside["_row"].tolist() == [62, 63, 64]
    mended = mend(aside)
    if not reasons or form == "jsonl":
        mended = mended.drop(columns=["_reasons", "_malformed"])
    file = job.parent / "raw" / f"0-mended.{form}"  # sorted before the file that it mends
    if form == "parquet":
        mended.to_parquet(file)
    elif form == "csv":
        mended.to_csv(file, index=False)
    else:
        mended.to_json(file, orient="records", lines=True)
    ledger = run_job(job, out=tmp_path / "again", until="shards", workers=2).ledger
    assert {name: ledger.rows[name] for name in ("read", "clean", "quarantined", "replaced")} == {
        "read": 63, "clean": 63, "quarantined": 0, "replaced": 3,
    }  # fmt: skip
    rows = read_split(tmp_path / "again")
    assert sorted(rows["count"]) == [*range(60), 1000, 1001, 1002]
    assert sorted(rows.columns) == ["_row", "colour", "count", "label", "row_id", "size"]
    assert check_job(job).rows == 63


def test_a_row_that_was_not_mended_goes_back_with_its_reasons(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job, aside = quarantine(make_job, tmp_path / "out", HEADER + make_rows(60) + BROKEN)
    mended = mend(aside)
    mended.loc[0, "size"] = "600"
    mended.to_parquet(job.parent / "raw" / "mended.parquet")
    ledger = run_job(job, out=tmp_path / "again", until="shards").ledger
    assert (ledger.rows["quarantined"], ledger.rows["replaced"]) == (1, 3)
    again = read_all(tmp_path / "again", "quarantine")
    assert again["_source"].tolist() == ["raw/mended.parquet"]
    assert again["size"].tolist() == ["600"]


def test_a_row_of_a_file_that_is_not_read_replaces_nothing(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job, aside = quarantine(make_job, tmp_path / "out", HEADER + make_rows(60) + BROKEN)
    mend(aside).assign(_source="raw/other.csv").to_parquet(job.parent / "raw" / "mended.parquet")
    ledger = run_job(job, out=tmp_path / "again", until="shards").ledger
    assert (ledger.rows["read"], ledger.rows["replaced"]) == (66, 0)


@pytest.mark.parametrize("others_are_mended", [True, False])
def test_a_malformed_line_that_was_not_mended_keeps_its_bytes(
    make_job: MakeJob, tmp_path: Path, others_are_mended: bool
) -> None:
    job, _ = quarantine(make_job, tmp_path / "out", HEADER + make_rows(60))
    line = b"8,1002,r\xe9d\xff"
    with (job.parent / "raw" / "a.csv").open("ab") as file:
        file.write(BROKEN.splitlines(keepends=True)[0].encode() + line + b"\n")
    run_job(job, out=tmp_path / "out", until="shards")
    aside = read_all(tmp_path / "out", "quarantine")
    for turn in range(2):
        if others_are_mended:
            well_formed = aside["_malformed"].isna()
            aside.loc[well_formed, ["size", "label"]] = ["50", "1"]
        aside.to_parquet(job.parent / "raw" / f"mended-{turn}.parquet")
        ledger = run_job(job, out=tmp_path / f"again-{turn}", until="shards").ledger
        num_aside = 1 if others_are_mended else 2
        assert (ledger.rows["read"], ledger.rows["quarantined"]) == (62, num_aside)
        aside = read_all(tmp_path / f"again-{turn}", "quarantine")
        assert aside["_malformed"].dropna().tolist() == [line]
        reasons = aside.loc[aside["_malformed"].notna(), "_reasons"].iloc[0]
        assert [reason["rule"] for reason in reasons] == ["malformed"]
        (job.parent / "raw" / f"mended-{turn - 1}.parquet").unlink(missing_ok=True)


@pytest.mark.parametrize("form", ["csv", "csv of bytes", "jsonl"])
def test_a_malformed_line_in_text_that_was_not_mended_keeps_its_bytes(
    make_job: MakeJob, tmp_path: Path, form: str
) -> None:
    job, aside = quarantine(make_job, tmp_path / "out", HEADER + make_rows(60) + BROKEN)
    aside = aside.iloc[2:].drop(columns="_reasons")
    if form != "csv of bytes":  # which pandas spells b'8,1002,red'
        aside["_malformed"] = [data.decode() for data in aside["_malformed"]]
    file = job.parent / "raw" / f"mended.{form.split()[0]}"
    if form == "jsonl":
        aside.to_json(file, orient="records", lines=True)
    else:
        aside.to_csv(file, index=False)
    ledger = run_job(job, out=tmp_path / "again", until="shards").ledger
    assert (ledger.rows["read"], ledger.rows["quarantined"]) == (63, 3)
    again = read_all(tmp_path / "again", "quarantine")
    assert again["_malformed"].dropna().tolist() == [b"8,1002,red"]


@given(st.binary())
def test_bytes_that_python_spelled_are_read_back(data: bytes) -> None:
    assert read_spelled(strings([str(data), None])).to_pylist() == [data, None]


@given(st.text() | st.builds("b'{}'".format, st.text()))
def test_any_other_text_stands_for_its_own_bytes(text: str) -> None:
    (found,) = read_spelled(strings([text])).to_pylist()
    assert found == text.encode() or str(found) == text


@pytest.mark.parametrize("text", ["b'a'b'", r"b'\d'", "b'é'", "b'a", "8,b'x'", r"b'\xE9'", "b''x"])
def test_what_only_begins_like_spelled_bytes_is_text(text: str) -> None:
    assert read_spelled(strings([text])).to_pylist() == [text.encode()]
