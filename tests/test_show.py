"""A verdict on raw files as a table for people, and as plain values for machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import HEADER, JOB, SCHEMA, Ended, make_rows
from tests.pictures import write_classes

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]


def test_what_is_broken_most_stands_first_and_at_its_first_line(
    make_job: MakeJob, nanproof: Command
) -> None:
    rows = "1,1,red,0\n101,-1,red,0\n102,-1,green,7\nx,1,red,7\ny,1,red,7\n"
    ended = nanproof("check", make_job(HEADER + rows))
    told = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert told == [
        "What 5 raw rows break",
        "column broken first at",
        "size in_range 2, type 2 raw/a.csv:3",
        "label isin 3 raw/a.csv:4",
        "count greater_than_or_equal_to 2 raw/a.csv:3",
        "colour isin 1 raw/a.csv:4",
        "check FAILED: 4 of 5 rows break the schema.",
    ]


def test_a_rule_that_is_broken_in_a_blank_cell_shows_no_value(
    make_job: MakeJob, nanproof: Command
) -> None:
    ended = nanproof("check", make_job(HEADER + ",1,red,0\n"), "--show-values")
    assert ended.out.splitlines()[2].split() == ["size", "missing", "1", "raw/a.csv:2"]


@pytest.mark.parametrize(
    ("limit", "verdict"), [(0.5, "passed, within the job's limits"), (0.4, "FAILED")]
)
def test_a_verdict_says_whether_anything_is_broken_within_the_limits(
    make_job: MakeJob, nanproof: Command, limit: float, verdict: str
) -> None:
    job = f"{JOB}[check]\nmax_broken_ratio = {limit}\n"
    ended = nanproof("check", make_job(HEADER + "1,1,red,0\n101,1,red,0\n", job))
    assert ended.out.endswith(f"check {verdict}: 1 of 2 rows break the schema.\n")
    assert nanproof("check", make_job(None, job)).out == (
        "No rule is broken in 60 rows.\ncheck passed: 0 of 60 rows break the schema.\n"
    )


def test_a_verdict_says_how_many_rows_break_a_rule_of_the_whole_dataset(
    make_job: MakeJob, nanproof: Command
) -> None:
    schema = SCHEMA.replace("pa.Check.ge(0)", "pa.Check.ge(0), unique=True")
    rows = "1,1,red,0\n1,1,red,0\n101,2,red,0\n"
    ended = nanproof("check", make_job(HEADER + rows, schema=schema))
    assert ended.out.endswith(
        "3 of 3 rows break the schema, 2 of them a rule of the whole dataset.\n"
    )


def test_the_rows_that_a_check_of_whole_rows_was_not_asked_are_told_of(
    make_job: MakeJob, nanproof: Command
) -> None:
    whole = SCHEMA.rstrip().removesuffix("})")
    whole += '}, checks=pa.Check(lambda df: df["size"] >= 0, name="whole"))\n'
    told = "checks of whole rows: asked of 2 of 3 rows; the others have a broken cell\n"
    for schema, last, is_told in (
        (whole, "101", True),
        (whole, "1", False),
        (SCHEMA, "101", False),
    ):
        job = make_job(HEADER + make_rows(2) + f"{last},1,red,0\n", schema=schema)
        shown = nanproof("check", job).out
        assert (told in shown, "checks of whole rows" in shown) == (is_told, is_told)


def test_json_has_the_fault_of_an_image_beside_its_file(tmp_path: Path, nanproof: Command) -> None:
    write_classes(tmp_path)
    (tmp_path / "g" / "b" / "x.png").write_bytes(b"x")
    (tmp_path / "pyproject.toml").touch()
    table = 'Table = pa.DataFrameSchema({"label": pa.Column(str)}, strict=False)\n'
    (tmp_path / "table.py").write_text(f"import pandera.pandas as pa\n{table}")
    (tmp_path / "job.toml").write_text(JOB.replace("raw/*.csv", "g"))
    ended = nanproof("check", tmp_path / "job.toml", "--json")
    (broken,) = json.loads(ended.out)["broken"]
    fault = "no image of a known format"
    assert broken["places"] == [{"source": "g", "row": 7, "file": "b/x.png", "detail": fault}]


def test_json_has_rules_in_order_and_values_if_asked_for(
    make_job: MakeJob, nanproof: Command
) -> None:
    ended = nanproof("check", make_job(HEADER + "101,1,green,7\n"), "--json", "--show-values")
    told = json.loads(ended.out)
    assert (told["passed"], told["rows"], told["broken_rows"]) == (False, 1, 1)
    found = [(broken["column"], broken["places"][0]["value"]) for broken in told["broken"]]
    assert found == [("colour", "green"), ("label", "7"), ("size", "101")]
