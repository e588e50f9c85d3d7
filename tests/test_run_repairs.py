"""What a run mends, what it sets aside, and when it gives up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import run_job
from pipeline.errors import RepairError, TooManyDropped, UsageError
from tests.conftest import HEADER, JOB, SCHEMA, make_rows
from tests.reading import read_all, read_split

MakeJob = Callable[..., Path]


def test_the_policies_do_what_they_say(make_job: MakeJob, tmp_path: Path) -> None:
    rows = make_rows(100) + "900,1,red,0\n-5,x,green,1\n"
    job = JOB + '[repair.columns]\nsize = "clip"\ncount = { constant = 3 }\ncolour = "drop"\n'
    result = run_job(make_job(HEADER + rows, job), out=tmp_path / "out", until="shards")
    table = read_split(tmp_path / "out").set_index("row_id")
    assert table.loc[100, "size"] == 100.0
    assert 101 not in table.index
    assert result.ledger.rows["quarantined"] == 1
    assert result.ledger.cells == {"repaired": 1, "filled": 0, "parsed": 0}


def test_a_row_with_too_many_broken_cells_goes(make_job: MakeJob, tmp_path: Path) -> None:
    rows = make_rows(100) + "x,x,red,0\nx,1,red,1\n"
    result = run_job(make_job(HEADER + rows), out=tmp_path / "out", until="shards")
    quarantine = read_all(tmp_path / "out", "quarantine")
    assert quarantine["_row"].tolist() == [102]
    rules = [(r["column"], r["rule"], r["value"]) for r in quarantine["_reasons"][0]]
    assert sorted(rules, key=str) == [
        ("count", "type", "x"), ("size", "type", "x"), (None, "too_many_repairs", None)
    ]  # fmt: skip
    assert result.ledger.cells["repaired"] == 1


def test_a_fill_that_the_schema_rejects_is_an_error_that_names_the_column(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = JOB + "[repair.columns]\nsize = { constant = 101.0 }\n"
    with pytest.raises(RepairError, match=r"'size'.*in_range"):
        run_job(make_job(job=job), out=tmp_path / "out", until="shards")


def test_a_class_that_the_train_split_never_saw_is_quarantined(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = SCHEMA.replace("[0, 1]", "[0, 1, 2]")
    job = JOB.replace("[train]", 'group = "colour"\n[train]')
    schema = schema.replace('pa.Check.isin(["red", "blue"])', "")
    text = HEADER + "".join(f"1,{i},g{i % 40},{i % 2}\n" for i in range(400))
    out = tmp_path / "out"
    run_job(make_job(text, job, schema), out=out, until="shards")
    outside = read_split(out, "test")["colour"].iloc[0]
    run_job(make_job(text + f"1,1,{outside},2\n", job, schema), out=out, until="shards")
    quarantine = read_all(out, "quarantine")
    assert [[r["rule"] for r in reasons] for reasons in quarantine["_reasons"]] == [
        ["class_unseen"]
    ]
    assert quarantine["_row"].tolist() == [402]


def test_a_share_of_dropped_rows_that_is_just_allowed_passes(make_job: MakeJob) -> None:
    text = HEADER + make_rows(71) + "1,1,red,7\n" * 29
    job = make_job(text, JOB + "[repair]\nmax_dropped_ratio = 0.29\n")
    assert 0.29 * 100 < 29  # what rounding would make of it
    assert run_job(job, until="shards").ledger.rows["quarantined"] == 29


def test_errors_carry_their_facts(make_job: MakeJob) -> None:
    with pytest.raises(TooManyDropped) as caught:
        run_job(make_job(HEADER + make_rows(80) + "1,1,red,7\n" * 20), until="shards")
    assert caught.value.fields == {"read": 100, "quarantined": 20}
    with pytest.raises(UsageError, match="workers = 0"):
        run_job(make_job(), until="shards", workers=0)


def test_a_constant_fills_a_column_of_which_nothing_is_valid(
    make_job: MakeJob, tmp_path: Path
) -> None:
    text = HEADER + "".join(f",{i},?,{i % 2}\n" for i in range(60))
    policies = "[repair]\nmax_repaired_ratio_per_row = 1.0\n[repair.columns]\n"
    constants = 'size = { constant = 12.5 }\ncolour = { constant = "red" }\n[train]'
    job = JOB.replace("[train]", policies + constants)
    run_job(make_job(text, job), out=tmp_path / "out", until="shards")
    rows = read_split(tmp_path / "out")
    assert rows["size"].tolist() == [12.5] * 60
    assert rows["colour"].tolist() == ["red"] * 60


def test_a_run_that_cannot_fill_a_column_leaves_its_accounts(
    make_job: MakeJob, tmp_path: Path
) -> None:
    text = HEADER + "".join(f",{i},red,{i % 2}\n" for i in range(60)) + ",x,red,7\n"
    with pytest.raises(RepairError, match="'size'"):
        run_job(make_job(text), out=tmp_path / "out", until="shards")
    ledger = json.loads((tmp_path / "out" / "failed" / "ledger.json").read_text())
    assert (ledger["rows"]["read"], ledger["rows"]["quarantined"]) == (61, 1)
    assert len(read_all(tmp_path / "out" / "failed", "quarantine")) == 1


def test_a_check_of_the_schema_s_own_is_no_bound_whatever_its_name(
    make_job: MakeJob, tmp_path: Path
) -> None:
    own = 'pa.Check(lambda cell: cell != 50, element_wise=True, name="less_than")'
    schema = SCHEMA.replace(
        "pa.Check.in_range(0, 100)", f'[pa.Check.in_range(0, 100, name="within"), {own}]'
    )
    job = JOB + '[repair.columns]\nsize = "clip"\n'
    text = HEADER + make_rows(100) + "50,1,red,0\n900,1,red,1\n"
    run_job(make_job(text, job, schema), out=tmp_path / "out", until="shards")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())["columns"]["size"]
    table = read_split(tmp_path / "out").set_index("row_id")
    assert table.loc[100, "size"] == plan["fill"] != 100.0
    assert table.loc[101, "size"] == 100.0
