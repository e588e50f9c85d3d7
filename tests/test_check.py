"""The verdict on raw files: what was asked, what broke it, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import check_job
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, Column, Kind
from pipeline.errors import NotRowWise, SettingsError
from pipeline.run.check import CheckResult
from pipeline.schema import Check, ColumnSchema, Schema
from pipeline.validate import judge_columns, list_cell_rules
from tests.conftest import HEADER, JOB, SCHEMA

MakeJob = Callable[..., Path]


def test_repeated_keys_have_places_and_a_row_that_repeats_two_counts_once(
    make_job: MakeJob,
) -> None:
    schema = SCHEMA.replace("pa.Check.ge(0)", "pa.Check.ge(0), unique=True")
    schema = schema.rstrip().removesuffix("})") + '}, unique=["size", "count"])\n'
    job = make_job(HEADER + '1,7,red,0\n2,8,red,0\n1,7,"red",0\n', schema=schema)
    (job.parent / "raw" / "b.csv").write_text("\n" + HEADER + "\n9,8,red,0\n")
    result = check_job(job)
    a, b = "raw/a.csv", "raw/b.csv"
    assert [(e.source, e.row) for e in result.examples["count", "unique"]] == [
        (a, 2), (a, 3), (a, 4), (b, 4),
    ]  # fmt: skip
    assert [(e.source, e.row) for e in result.examples["size+count", "unique"]] == [(a, 2), (a, 4)]
    assert (result.broken["count", "unique"], result.broken["size+count", "unique"]) == (4, 2)
    assert [c for c, rule in result.rules if rule == "unique"] == ["count", "size+count"]
    assert result.settled_rows == 4


def test_many_partitions_keep_the_first_hundred_places_in_order(make_job: MakeJob) -> None:
    job = make_job(HEADER, JOB.replace("[train]", "partition_bytes = 65536\n[train]"))
    lines = [
        "101,1,red,0" if i % 100 == 0 else f"{i % 100}.5,{i},red,{i % 2}" for i in range(20000)
    ]
    (job.parent / "raw" / "a.csv").write_text(HEADER + "\n".join(lines))
    for workers in (1, 2):
        result = check_job(job, workers=workers)
        assert result.broken == {("size", "in_range"): 200}
        rows = [example.row for example in result.examples["size", "in_range"]]
        assert rows == [i + 2 for i in range(20000) if i % 100 == 0][:100]


def name_rules(result: CheckResult) -> set[str]:
    return {f"{column or '(row)'} {rule}" for column, rule in result.rules}


def test_files_that_cannot_be_read_are_held_against_the_files(make_job: MakeJob) -> None:
    job = JOB.replace("[train]", 'on_bad_file = "quarantine"\n[train]')
    for limit, passes in ((0.5, True), (0.49, False)):
        path = make_job(None, f"{job}[check.rules]\nunreadable = {limit}\n")
        (path.parent / "raw" / "b.csv").write_text("size,label\n1,0\n")
        result = check_job(path)
        assert (result.rows, result.broken) == (60, {(None, "unreadable"): 1})
        assert result.passed == passes
        assert [e.source for e in result.examples[None, "unreadable"]] == ["raw/b.csv"]
        assert "(row) unreadable" in name_rules(result)


def test_listed_values_that_occur_nowhere_fail_whatever_the_limits(make_job: MakeJob) -> None:
    limits = "[check]\nmax_broken_ratio = 1.0\n[check.rules]\nunique_values_eq = 1.0\n"
    for more, passes in (("", False), (", raise_warning=True", True)):
        check = f'pa.Check.unique_values_eq(["red", "blue", "green"]{more})'
        schema = SCHEMA.replace('pa.Check.isin(["red", "blue"])', check)
        result = check_job(make_job(None, JOB + limits, schema))
        told = result.warned if passes else result.broken
        assert told == {("colour", "unique_values_eq"): 1}
        assert result.passed == passes


def test_places_of_warnings_stand_apart_from_those_of_broken_cells(make_job: MakeJob) -> None:
    both = "[pa.Check.ge(1), pa.Check.ge(30, raise_warning=True)]"
    rows = "".join(f"1,{count},red,0\n" for count in (50, 29, 0))
    result = check_job(make_job(HEADER + rows, schema=SCHEMA.replace("pa.Check.ge(0)", both)))
    rule = ("count", "greater_than_or_equal_to")
    assert (result.broken, result.warned) == ({rule: 1}, {rule: 2})
    assert [e.row for e in result.examples[rule]] == [4]
    assert [e.row for e in result.warned_examples[rule]] == [3, 4]


def test_warned_places_in_a_file_that_is_set_aside_are_taken_back(make_job: MakeJob) -> None:
    schema = SCHEMA.replace("in_range(0, 100)", "in_range(0, 100, raise_warning=True)")
    job = JOB.replace("[train]", 'partition_bytes = 65536\non_bad_file = "quarantine"\n[train]')
    path = make_job(HEADER + "101,1,red,0\n", job.replace("*.csv", "*"), schema)
    cells = {"size": [101.0] * 40_000, "count": list(range(40_000)), "colour": ["red"] * 40_000}
    table = pa.table(cells | {"label": [0] * 40_000})
    bad = path.parent / "raw" / "b.parquet"
    pyarrow.parquet.write_table(table, bad, row_group_size=10_000)
    data = bytearray(bad.read_bytes())
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 400] = b"\xff" * 400
    bad.write_bytes(data)
    result = check_job(path)
    assert result.broken == {(None, "unreadable"): 1}
    assert result.warned == {("size", "in_range"): 1}
    assert [e.source for e in result.warned_examples["size", "in_range"]] == ["raw/a.csv"]


def test_a_check_that_looks_beyond_its_row_is_a_mistake_in_the_schema(make_job: MakeJob) -> None:
    beyond = 'pa.Check(lambda s: s <= s.mean(), name="mine")'
    job = make_job(schema=SCHEMA.replace("pa.Check.ge(0)", beyond))
    with pytest.raises(NotRowWise, match="'mine'") as caught:
        check_job(job)
    assert caught.value.exit_code == 2


def test_a_parser_of_rows_is_a_rule_that_may_have_a_limit(make_job: MakeJob) -> None:
    schema = SCHEMA.replace("import pandera", "def halve(df):\n    return df\n\nimport pandera", 1)
    schema = schema.rstrip().removesuffix("})") + "}, parsers=pa.Parser(halve))\n"
    result = check_job(make_job(None, JOB + "[check.rules]\nhalve = 0.1\n", schema))
    assert (None, "halve") in result.rules
    with pytest.raises(SettingsError, match="no rule 'havle'"):
        check_job(make_job(None, JOB + "[check.rules]\nhavle = 0.1\n", schema))


LINES = """
{"size": NaN, "count": NaN, "colour": NaN, "label": NaN}
{"size": Infinity, "count": -Infinity, "colour": Infinity, "label": 0}
{"size": [1], "count": [1], "colour": [1], "label": [1]}
{"size": null, "count": null, "colour": null, "label": null}
{"size": 1e39, "count": 1, "colour": "red", "label": 0}
"""


@pytest.mark.parametrize("nullable", [False, True])
def test_every_state_of_a_cell_is_among_the_rules_that_were_asked(
    make_job: MakeJob, nullable: bool
) -> None:
    schema = SCHEMA.replace("),\n", f", nullable={nullable}),\n")
    path = make_job("", JOB.replace("*.csv", "*.jsonl"), schema)
    (path.parent / "raw" / "a.jsonl").write_text(LINES)
    asked = name_rules(check_job(path))
    good = '{"size": 1, "count": 1, "colour": "red", "label": 0}\n'
    (path.parent / "raw" / "a.jsonl").write_text(good)
    blanks = "" if nullable else "missing nan "
    assert (
        asked
        == name_rules(check_job(path))
        == {
            *(f"size {rule}" for rule in f"{blanks}inf type overflow in_range".split()),
            *(f"count {rule}" for rule in f"{blanks}inf type greater_than_or_equal_to".split()),
            *(f"colour {rule}" for rule in f"{blanks}inf type isin".split()),
            *(f"label {rule}" for rule in "missing nan inf type isin".split()),
            "(row) malformed",
        }
    )


DTYPES: dict[Kind, list[str]] = {
    "float": ["float64", "float32"],
    "int": ["int64", "int8"],
    "bool": ["bool"],
    "string": ["str"],
    "timestamp": ["datetime64[us]"],
}
CELLS: dict[Kind, Any] = {
    "float": st.floats(width=64),
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": st.sampled_from(["a", "b"]),
    "timestamp": st.integers(-(2**50), 2**50),
}


@st.composite
def judged_columns(draw: st.DrawFn) -> tuple[ColumnSchema, Column]:
    kind = draw(st.sampled_from(sorted(DTYPES)))
    cells = draw(st.lists(CELLS[kind], min_size=1, max_size=8))
    legal = [OK, MISSING, NAN, TYPE] + [INF] * (kind != "bool")
    states = draw(st.lists(st.sampled_from(legal), min_size=len(cells), max_size=len(cells)))
    check = Check("isin", {"allowed_values": tuple(cells[:1])}, kernel="isin")
    schema = ColumnSchema(
        "x",
        kind,
        draw(st.sampled_from(DTYPES[kind])),
        nullable=draw(st.booleans()),
        checks=draw(st.sampled_from([(), (check,)])),
    )
    if kind == "string":
        values: Any = pa.array([c if s == OK else None for c, s in zip(cells, states)], pa.string())
    else:
        values = np.array(cells, {"float": "float64", "bool": "bool"}.get(kind, "int64"))
    return schema, Column(kind, values, np.array(states, np.uint8))


@settings(max_examples=400, deadline=None)
@given(judged=judged_columns(), training_dtype=st.sampled_from(["float32", "float16"]))
def test_whatever_the_judge_finds_is_among_the_listed_rules(
    judged: tuple[ColumnSchema, Column], training_dtype: str
) -> None:
    schema, column = judged
    found = judge_columns({"x": column}, Schema("t", (schema,)), training_dtype=training_dtype)
    assert {finding.rule for finding in found} <= set(list_cell_rules(schema))
