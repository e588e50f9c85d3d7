"""Files that cannot be read, headers that cannot be trusted, and a quarantine that comes back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import check_job, run_job
from pipeline.errors import InputError, SettingsError
from tests.conftest import HEADER, JOB, SCHEMA, Ended, make_rows
from tests.reading import read_all, read_split

MakeJob = Callable[..., Path]
Command = Callable[..., Ended]
SET_ASIDE = JOB.replace("[data]", '[data]\non_bad_file = "quarantine"').replace(
    '["raw/*.csv"]', '["raw/*"]'
)


def truncated(folder: Path) -> None:
    (folder / "bad.csv.gz").write_bytes(gzip.compress((HEADER + make_rows(5000)).encode())[:-900])


def without_a_column(folder: Path) -> None:
    (folder / "bad.csv").write_text("size,count,label\n1,2,0\n")


def empty(folder: Path) -> None:
    (folder / "bad.csv").touch()


def unknown(folder: Path) -> None:
    (folder / "bad.xlsx").write_bytes(b"PK")


def no_parquet(folder: Path) -> None:
    (folder / "bad.parquet").write_bytes(b"PAR1 and no more")


def cut_parquet(folder: Path) -> None:
    """A page in the middle is overwritten; the footer is sound."""
    table = pa.table(
        {
            "size": [float(i % 100) for i in range(20_000)],
            "count": list(range(20_000)),
            "colour": ["red"] * 20_000,
            "label": [0] * 20_000,
        }
    )
    pq.write_table(table, folder / "bad.parquet", row_group_size=5_000)
    data = bytearray((folder / "bad.parquet").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff" * 400
    (folder / "bad.parquet").write_bytes(data)


BAD = [truncated, without_a_column, empty, unknown, no_parquet, cut_parquet]


@pytest.mark.parametrize("spoil", BAD, ids=lambda f: f.__name__)
def test_a_bad_file_fails_the_job_or_is_set_aside_whole(
    make_job: MakeJob, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    job = make_job(None, SET_ASIDE)
    spoil(job.parent / "raw")
    (bad,) = (path.name for path in (job.parent / "raw").iterdir() if "bad" in path.name)
    result = run_job(job, out=tmp_path / "out", until="shards")
    assert result.ledger.rows == {
        "read": 60, "clean": 60, "quarantined": 0, "replaced": 0, **{
            name: len(read_split(tmp_path / "out", name)) for name in ("train", "validation", "test")
        },
    }  # fmt: skip
    files = json.loads((tmp_path / "out" / "ledger.json").read_text())["files"]
    assert (files["read"], files["quarantined"]) == (1, 1)
    assert files["bad"][0]["file"] == f"raw/{bad}"
    assert bad in files["bad"][0]["fault"]
    job.write_text(SET_ASIDE.replace('"quarantine"', '"fail"'))
    with pytest.raises(InputError, match=bad):
        run_job(job, out=tmp_path / "other", until="shards")


def test_a_bad_file_moves_no_other_row_and_shows_in_check(
    make_job: MakeJob, tmp_path: Path, nanproof: Command
) -> None:
    job = make_job(None, SET_ASIDE)
    truncated(job.parent / "raw")
    (job.parent / "raw" / "c.csv").write_text(HEADER + make_rows(40))
    run_job(job, out=tmp_path / "out", until="shards")
    ids = set(read_split(tmp_path / "out")["row_id"])
    assert {i >> 40 for i in ids} == {0, 2}
    ended = nanproof("check", job)
    assert ended.code == 1
    assert "bad.csv.gz" in ended.out
    ended = nanproof("run", job, "--until", "shards", "--out", tmp_path / "out")
    assert ended.code == 0
    assert "bad.csv.gz" in ended.out


def test_a_job_of_bad_files_alone_is_an_error(make_job: MakeJob) -> None:
    job = make_job("", SET_ASIDE)
    with pytest.raises(InputError, match=r"no raw file can be read.*a.csv is empty"):
        check_job(job)


def test_a_setting_that_is_wrong_sets_no_file_aside(make_job: MakeJob) -> None:
    settings = SET_ASIDE.replace("[train]", '[data.csv]\nencoding = "utf-9"\n[train]')
    job = make_job(None, settings)
    (job.parent / "raw" / "b.jsonl").write_text(
        '{"size": 1, "count": 1, "colour": "red", "label": 0}\n'
    )
    with pytest.raises(SettingsError, match="'utf-9'"):
        check_job(job)


def test_a_file_without_a_header_is_told_of_and_can_be_read(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(make_rows(60))
    with pytest.raises(InputError, match=r"Fix: .*data\.csv\.columns"):
        check_job(job)
    names = 'columns = ["size", "count", "colour", "label"]'
    job.write_text(JOB.replace("[train]", f"[data.csv]\n{names}\n[train]"))
    result = run_job(job, out=tmp_path / "out", until="shards")
    assert result.ledger.rows["clean"] == 60
    job.write_text(JOB.replace("[train]", '[data.csv]\ncolumns = ["size", "size"]\n[train]'))
    with pytest.raises(SettingsError, match=r"data\.csv"):
        check_job(job)


def test_line_numbers_of_a_file_without_a_header_start_at_one(make_job: MakeJob) -> None:
    names = 'columns = ["size", "count", "colour", "label"]'
    job = make_job(
        "1,-1,red,0\n" + make_rows(20), JOB.replace("[train]", f"[data.csv]\n{names}\n[train]")
    )
    examples = check_job(job).examples["count", "greater_than_or_equal_to"]
    assert [example.row for example in examples] == [1]


@pytest.mark.parametrize("header", ["size,count,colour,label,size", "size,size,count,colour,label"])
def test_a_column_of_the_schema_that_occurs_twice_is_an_error(
    make_job: MakeJob, header: str
) -> None:
    job = make_job(header + "\n1,2,red,0,5\n")
    with pytest.raises(InputError, match="'size' 2 times"):
        check_job(job)


def test_another_column_may_occur_twice(make_job: MakeJob, tmp_path: Path) -> None:
    rows = "".join(f"{i},{i},red,{i % 2},x,y,\n" for i in range(60))
    run_job(
        make_job("size,count,colour,label,note,note,\n" + rows),
        out=tmp_path / "out",
        until="shards",
    )
    kept = read_split(tmp_path / "out")
    assert kept["note"].unique().tolist() == ["x"]
    assert kept["note.1"].unique().tolist() == ["y"]


QUARANTINED = "500,3,red,0\n7,x,red,1\n8,5,red\n9,6,green,0\n"
DROP = JOB.replace(
    "[train]", '[repair]\nnumeric = "drop"\ncategorical = "drop"\nmax_dropped_ratio = 1.0\n[train]'
)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_mended_quarantine_is_raw_input_like_another(
    make_job: MakeJob, tmp_path: Path, form: str, strict: bool
) -> None:
    schema = SCHEMA.replace("})", f"}}, strict={strict})")
    text = HEADER + make_rows(60) + QUARANTINED
    job = make_job(text, DROP, schema)
    first = run_job(job, out=tmp_path / "out", until="shards")
    assert first.ledger.rows["quarantined"] == 4
    aside = read_all(tmp_path / "out", "quarantine")
    assert aside["_row"].tolist() == [62, 63, 64, 65]
    broken = aside["_malformed"].notna()
    aside.loc[aside["size"] == "500", "size"] = "50"
    aside.loc[aside["count"] == "x", "count"] = "4"
    aside.loc[broken, ["size", "count", "colour", "label"]] = ["8", "5", "red", "1"]
    aside.loc[aside["colour"] == "green", "colour"] = "blue"
    mended = job.parent / "raw" / f"mended.{form}"
    if form == "parquet":
        aside.to_parquet(mended)
    elif form == "csv":
        aside.to_csv(mended, index=False)
    else:
        plain = aside.drop(columns="_malformed").assign(_malformed=None, _reasons="")
        plain.to_json(mended, orient="records", lines=True)
    job.write_text(DROP.replace('["raw/*.csv"]', '["raw/*"]'))
    second = run_job(job, out=tmp_path / "again", until="shards")
    counts = {name: second.ledger.rows[name] for name in ("read", "quarantined", "replaced")}
    assert counts == {"read": 64, "quarantined": 0, "replaced": 4}
    rows = read_split(tmp_path / "again")
    assert sorted(rows.columns) == ["_row", "colour", "count", "label", "row_id", "size"]
    assert (rows["row_id"] // (1 << 40) == 1).sum() == 4


def test_a_quarantine_of_decimal_commas_comes_back_as_it_was(
    make_job: MakeJob, tmp_path: Path
) -> None:
    settings = DROP.replace("[repair]", '[data.csv]\ndelimiter = ";"\ndecimal = ","\n[repair]')
    text = (HEADER + "".join(f"{i}|5,{i},red,{i % 2}\n" for i in range(60))).replace(",", ";")
    text = text.replace("|", ",") + "7,5;-1;red;0\n"
    job = make_job(text, settings)
    run_job(job, out=tmp_path / "out", until="shards")
    aside = read_all(tmp_path / "out", "quarantine")
    assert aside["size"].tolist() == ["7,5"]
    aside["count"] = "1"
    aside.to_parquet(job.parent / "raw" / "mended.parquet")
    job.write_text(settings.replace('["raw/*.csv"]', '["raw/*"]'))
    run_job(job, out=tmp_path / "again", until="shards")
    rows = read_split(tmp_path / "again")
    assert rows.loc[rows["row_id"] // (1 << 40) == 1, "size"].tolist() == [7.5]


def test_a_row_that_was_not_mended_is_quarantined_again(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(HEADER + make_rows(60) + QUARANTINED, DROP)
    run_job(job, out=tmp_path / "out", until="shards")
    aside = read_all(tmp_path / "out", "quarantine")
    folder = job.parent / "raw"
    (folder / "a.csv").write_text(HEADER + make_rows(60))
    aside.to_parquet(folder / "same.parquet")
    job.write_text(DROP.replace('["raw/*.csv"]', '["raw/*"]'))
    result = run_job(job, out=tmp_path / "again", until="shards")
    assert result.ledger.rows["quarantined"] == len(aside) == 4
    again = read_all(tmp_path / "again", "quarantine")
    columns = ["size", "count", "colour", "label"]
    pd.testing.assert_frame_equal(again[columns], aside[columns])


def test_a_file_that_is_set_aside_takes_no_place_of_a_finding(make_job: MakeJob) -> None:
    settings = SET_ASIDE.replace("[train]", "partition_bytes = 65536\n[train]")
    job = make_job(HEADER + make_rows(20) + "500,1,red,0\n", settings)
    table = pa.table(
        {
            "size": [1000.5 + i for i in range(20_000)],  # each beyond its bound
            "count": list(range(20_000)),
            "colour": ["red"] * 20_000,
            "label": [0] * 20_000,
        }
    )
    bad = job.parent / "raw" / "0.parquet"  # sorted before the good file
    pq.write_table(table, bad, row_group_size=10_000, use_dictionary=False)
    data = bytearray(bad.read_bytes())
    place = pq.ParquetFile(bad).metadata.row_group(1).column(0).data_page_offset
    data[place : place + 400] = b"\xff" * 400
    bad.write_bytes(data)
    result = check_job(job)
    assert result.broken["size", "in_range"] == 1
    assert [e.source for e in result.examples["size", "in_range"]] == ["raw/a.csv"]
    assert [e.source for e in result.examples[None, "unreadable"]] == ["raw/0.parquet"]
