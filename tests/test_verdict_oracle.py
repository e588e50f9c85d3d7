"""Whatever the schema and the text, the verdict is that of an oracle which shares no code."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import check_job, validate_frame
from pipeline.errors import NotRowWise, RuleBroken
from pipeline.job import Job
from pipeline.run import CheckResult
from tests.oracle import Oracle, Reason, Verdict
from tests.random_tables import Table, make_table


def judge_frame(table: Table) -> set[Reason]:
    frame = pd.DataFrame(table.rows, columns=table.headers, dtype=object)
    verdict = validate_frame(frame, table.given)
    reasons = set(zip(*(verdict.reasons[c] for c in ("row", "column", "rule")), strict=True))
    good = sorted(set(range(len(frame))) - {row for row, _, _ in reasons})
    assert verdict.good.index.tolist() == good
    return reasons


def write_rows(file: Path, table: Table) -> list[int]:
    """Write rows of text in the format that the name ends on; return where each row starts."""
    if file.suffix == ".parquet":
        columns = zip(*table.rows, strict=True)
        pq.write_table(pyarrow.table(dict(zip(table.headers, columns, strict=True))), file)
        return list(range(1, len(table.rows) + 1))
    if file.suffix == ".jsonl":
        records = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        file.write_text("".join(lines), encoding="utf-8")
        return list(range(1, len(table.rows) + 1))
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([table.headers, *table.rows])
    with file.open(newline="", encoding="utf-8") as back:
        ends = csv.reader(back)
        stops = [ends.line_num for _ in ends]
    return [stop + 1 for stop in stops[:-1]]  # a row starts after another


Places = tuple[list[Reason], list[Reason]]
"""Of what is broken, and of what is only warned of."""


def check_file(table: Table, training_dtype: str, suffix: str) -> tuple[CheckResult, Places]:
    """Return what `check` says of a file of the rows, and the places of all that it finds."""
    load = "pipeline.run.setup.load_schema"
    with TemporaryDirectory() as name, patch(load, lambda job: table.given):
        starts = write_rows(Path(name) / f"rows{suffix}", table)
        data = {"raw": [f"rows{suffix}"], "schema": "table:Table", "label": "label"}
        settings = {"name": "random", "data": data, "train": {"dtype": training_dtype}}
        result = check_job(Job.from_settings(settings, name))
    row_of = {start: row for row, start in enumerate(starts)}
    broken, warned = (
        [(row_of[place.row], *key) for key, found in examples.items() for place in found]
        for examples in (result.examples, result.warned_examples)
    )
    return result, (broken, warned)


def count(reasons: set[Reason], uncovered: dict[tuple[str, str], list[Any]]) -> Counter[Any]:
    """Count reasons by column and rule, and the listed values that never occur."""
    absent = Counter({key: len(values) for key, values in uncovered.items()})
    return Counter((column, rule) for _, column, rule in reasons) + absent


def by_text(reasons: Any) -> list[Reason]:
    return sorted(reasons, key=str)


def agree_on_frame(pick: Random) -> None:
    table = make_table(pick)
    wanted = Oracle(table.schema, table.headers).judge(table.rows)
    if not wanted.uncovered:
        assert judge_frame(table) == wanted.reasons
        return
    with pytest.raises(RuleBroken) as caught:
        judge_frame(table)
    key, values = next(iter(wanted.uncovered.items()))
    told = caught.value.fields
    assert (told["column"], told["rule"], len(told["values"])) == (*key, len(values))


def agree_on_file(pick: Random, suffix: str) -> None:
    table, training_dtype = make_table(pick), pick.choice(["float32", "float16"])
    oracle = Oracle(table.schema, table.headers, training_dtype, label="label")
    result, places = check_file(table, training_dtype, suffix)
    hold_against(result, places, oracle.judge(table.rows), len(table.rows))


def hold_against(result: CheckResult, places: Places, wanted: Verdict, num_rows: int) -> None:
    assert tuple(map(by_text, places)) == (by_text(wanted.reasons), by_text(wanted.warned))
    assert result.broken == count(wanted.reasons, wanted.uncovered)
    assert result.warned == count(wanted.warned, wanted.uncovered_warned)
    assert result.rows == num_rows
    assert result.broken_rows == len({row for row, _, _ in wanted.reasons})
    assert result.passed == (not wanted.reasons and not wanted.uncovered)


NOT = pa.Check(lambda s: ~s, name="not")
NOT_BLANK = pa.Check(lambda s: ~s, name="not", ignore_na=False)
NOT_A = pa.Check(lambda word: word != "a", element_wise=True, name="not_a")
NOT_ONE = pa.Check(lambda v: v != 1, element_wise=True, name="not_one", ignore_na=False)
NOT_X = pa.Check(lambda df: ~df["x"], name="not_x")
SAME = pa.Parser(lambda s: s, name="same")
TURN = pa.Parser(lambda s: ~s, name="turn")
NANO = pa.Parser(lambda s: s.dt.as_unit("ns") + pd.Timedelta(1, "ns"), name="nano")
PINNED = {
    "a bool beside a broken one": (pa.Column(bool, NOT), None, ["true", "no", "false"]),
    "a bool beside a blank": (pa.Column(bool, nullable=True), NOT_X, ["true", "", "false"]),
    "a bool asked beside a blank": (
        pa.Column(bool, NOT_BLANK, nullable=True), None, ["true", "", "false"],
    ),
    "a bool parsed beside a broken one": (
        pa.Column(bool, pa.Check.eq(True), parsers=TURN), None, ["false", "no", "true"],
    ),
    "one word": (pa.Column("category", NOT_A), None, ["b"]),
    "two words": (pa.Column("category", NOT_A), None, ["b", "a"]),
    "ints too large": (pa.Column("uint8", unique=True), None, ["300", "300", "7", "7"]),
    "ints too large for a parser": (pa.Column("uint8", parsers=SAME), None, ["300", "7"]),
    "floats too large for a parser": (pa.Column("float16", parsers=SAME), None, ["1e6", "7"]),
    "times too early for a parser": (
        pa.Column("datetime64[ns]", parsers=NANO), None, ["1500-01-01", "2024-01-01"],
    ),
    "alike in float32": (pa.Column("float32", unique=True), None, ["0.1", "0.10000000001"]),
    "nothing but blanks": (pa.Column("Int64", NOT_ONE, nullable=True), None, ["", "NA"]),
    "blanks and a group": (
        pa.Column(str, pa.Check.str_contains("(a)", ignore_na=False), nullable=True), None,
        ["", "a", "b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PINNED.values(), ids=PINNED)
def test_what_random_tables_found_stays_mended(case: Any) -> None:
    column, frame_check, cells = case
    schema = pa.DataFrameSchema({"x": column}, checks=frame_check)
    table = Table(schema, schema, ["x"], [[cell] for cell in cells])
    assert judge_frame(table) == Oracle(schema, ["x"]).judge(table.rows).reasons


def test_a_parser_of_rows_leaves_what_a_neighbour_s_dtype_cannot_hold() -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column("uint8"), "y": pa.Column(int)}, parsers=pa.Parser(lambda df: df)
    )
    table = Table(schema, schema, ["x", "y"], [["300", "1"], ["7", "2"]])
    assert judge_frame(table) == {(0, "x", "type")}


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float64"])
def test_a_parser_that_fills_a_blank_from_other_rows_is_named(dtype: str) -> None:
    column = pa.Column(dtype, parsers=pa.Parser(lambda s: s.fillna(s.max()), name="mine"))
    schema = pa.DataFrameSchema({"x": column})
    with pytest.raises(NotRowWise, match="column 'x': the parser 'mine'"):
        judge_frame(Table(schema, schema, ["x"], [["5"], [""], ["7"]]))


def test_a_value_that_the_dtype_rounds_away_does_not_occur() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column("float32", pa.Check.unique_values_eq([0.1]))})
    with pytest.raises(RuleBroken, match="'x' breaks unique_values_eq"):
        judge_frame(Table(schema, schema, ["x"], [["0.1"]]))


def test_a_key_of_which_the_file_lacks_a_column_is_judged_by_the_others() -> None:
    columns = {"x": pa.Column(int), "y": pa.Column(int, required=False)}
    schema = pa.DataFrameSchema(columns, unique=["x", "y"])
    table = Table(schema, schema, ["x"], [["1"], ["2"], ["1"]])
    assert judge_frame(table) == {(0, "x", "unique"), (2, "x", "unique")}


# Plain randomness: Hypothesis' own draws repeat themselves too much to meet a rare pair.
RANDOMS = st.randoms(use_true_random=True)
FORMATS = {".csv": 150, ".jsonl": 50, ".parquet": 50}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(pick=RANDOMS)
def test_the_verdict_on_a_frame_of_texts_is_the_oracle_s(pick: Random) -> None:
    agree_on_frame(pick)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_verdict_on_a_file_is_the_oracle_s(suffix: str) -> None:
    @settings(max_examples=FORMATS[suffix], deadline=None, derandomize=True)
    @given(pick=RANDOMS)
    def agree(pick: Random) -> None:
        agree_on_file(pick, suffix)

    agree()


@pytest.mark.slow
@settings(max_examples=4000, deadline=None)
@given(pick=RANDOMS)
def test_the_verdict_on_many_frames_is_the_oracle_s(pick: Random) -> None:
    agree_on_frame(pick)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=2000, deadline=None)
@given(pick=RANDOMS)
def test_the_verdict_on_many_files_is_the_oracle_s(suffix: str, pick: Random) -> None:
    agree_on_file(pick, suffix)
