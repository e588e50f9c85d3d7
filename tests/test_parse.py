"""Parsers, defaults, warnings and the rules of a whole column, held against pandera's own way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from pipeline import check_job, run_job, validate_frame
from pipeline.errors import NotRowWise, RuleBroken, SchemaError
from tests.reading import read_all, read_split

Check, Column, Parser = pa.Check, pa.Column, pa.Parser
MakeJob = Callable[..., Path]


def list_reasons(frame: pd.DataFrame, schema: Any) -> list[tuple[int, str | None, str]]:
    reasons = validate_frame(frame, schema).reasons
    return list(reasons[["row", "column", "rule"]].itertuples(index=False, name=None))


def judge_cells(cells: list[str], column: pa.Column) -> list[tuple[int, str]]:
    found = list_reasons(pd.DataFrame({"x": cells}), pa.DataFrameSchema({"x": column}))
    return [(row, rule) for row, _, rule in found]


def test_a_parser_stands_between_the_text_and_the_check() -> None:
    column = Column(float, Check.in_range(0, 1), parsers=Parser(lambda s: s / 100))
    assert judge_cells(["50", "100", "101", "-1", "x"], column) == [
        (2, "in_range"),
        (3, "in_range"),
        (4, "type"),
    ]


def test_parsers_run_in_their_order_and_element_wise_ones_too() -> None:
    parsers = [Parser(lambda s: s.str.upper()), Parser(lambda x: x + "!", element_wise=True)]
    column = Column(str, Check.isin(["A!"]), parsers=parsers)
    assert judge_cells(["a", " A ", "b"], column) == [(2, "isin")]


def test_a_parser_that_fills_blanks_is_believed() -> None:
    column = Column(float, Check.ge(0), parsers=Parser(lambda s: s.fillna(0)))
    assert judge_cells(["", "nan", "inf", "x", "-1"], column) == [
        (2, "inf"),
        (3, "type"),
        (4, "greater_than_or_equal_to"),
    ]


def test_a_cell_that_makes_a_parser_raise_breaks_alone() -> None:
    def invert(x: float) -> float:
        return 1 / int(x)

    column = Column(float, Check.gt(0), parsers=Parser(invert, element_wise=True))
    assert judge_cells(["2", "0", "-4", "1"], column) == [(1, "type"), (2, "greater_than")]


def test_a_parser_that_makes_nan_or_infinity_is_told_so() -> None:
    column = Column(float, parsers=Parser(lambda s: np.log(s.clip(lower=0))))
    with np.errstate(divide="ignore"):
        assert judge_cells(["1", "0"], column) == [(1, "inf")]
    column = Column(float, parsers=Parser(lambda s: s.where(s > 0)))
    assert judge_cells(["1", "0", ""], column) == [(1, "nan"), (2, "missing")]


def test_a_parser_of_whole_rows_sees_every_column_and_comes_first() -> None:
    schema = pa.DataFrameSchema(
        {
            "total": Column(float, Check.le(10), nullable=True),
            "a": Column(float, Check.ge(0), parsers=Parser(lambda s: s - 1)),
            "b": Column(float),
        },
        parsers=Parser(lambda df: df.assign(total=df["a"] + df["b"])),
    )
    frame = pd.DataFrame({"a": ["1", "0", "9"], "b": ["2", "2", "2"]})
    assert list_reasons(frame, schema) == [
        (1, "a", "greater_than_or_equal_to"),
        (2, "total", "less_than_or_equal_to"),
    ]


def test_a_row_that_makes_a_parser_raise_breaks_alone() -> None:
    def refuse(df: pd.DataFrame) -> pd.DataFrame:
        if (df["a"] == 3).any():
            raise ValueError("three")
        return df

    schema = pa.DataFrameSchema({"a": Column(float)}, parsers=Parser(refuse))
    frame = pd.DataFrame({"a": ["1", "3", "5"]})
    assert list_reasons(frame, schema) == [(1, None, "refuse")]


BEYOND = {
    "mean": Parser(lambda s: s - s.mean(), name="mine"),
    "sorted": Parser(lambda s: s.sort_values(ignore_index=True), name="mine"),
    "scalar": Parser(lambda s: 1.0, name="mine"),
    "fewer": Parser(lambda s: s.iloc[1:], name="mine"),
    "filled forward": Parser(lambda s: s.ffill(), name="mine"),
}


@pytest.mark.parametrize("parser", BEYOND.values(), ids=BEYOND)
def test_a_parser_that_looks_beyond_its_row_is_caught_and_named(parser: Any) -> None:
    cells = ["5", "1", "", "9", "2", "7"]
    with pytest.raises(NotRowWise, match="column 'x': the parser 'mine'"):
        judge_cells(cells, Column(float, nullable=True, parsers=parser))


def test_a_parser_of_rows_that_looks_beyond_its_row_is_caught_and_named() -> None:
    parser = Parser(lambda df: df.assign(a=df["a"].rank()), name="mine")
    schema = pa.DataFrameSchema({"a": Column(float)}, parsers=parser)
    with pytest.raises(NotRowWise, match="the schema: the parser 'mine'"):
        validate_frame(pd.DataFrame({"a": ["5", "1", "3"]}), schema)


def test_a_parser_that_always_raises_is_the_users_to_mend() -> None:
    column = Column(float, parsers=Parser(lambda s: s.nothing, name="mine"))
    with pytest.raises(SchemaError, match=r"'mine' raises AttributeError"):
        judge_cells(["1"] * 40, column)


def test_parsers_of_a_model_are_found() -> None:
    class Model(pa.DataFrameModel):
        x: float = pa.Field(le=1)

        @pa.parser("x")
        def shrink(cls, cells: Any) -> Any:  # noqa: N805 - as pandera has it
            return cells / 10

        @pa.dataframe_parser
        def lift(cls, df: Any) -> Any:  # noqa: N805
            return df.assign(x=df["x"] + 1)

    assert list_reasons(pd.DataFrame({"x": ["9", "10"]}), Model) == [
        (1, "x", "less_than_or_equal_to")
    ]


@pytest.mark.parametrize(
    ("dtype", "default", "cells", "bad"),
    [
        (float, 1.5, ["", "nan", "-2", "inf"], [(2, "greater_than"), (3, "inf")]),
        (int, 3, ["", "NA", "-2", "x"], [(2, "greater_than"), (3, "type")]),
        ("datetime64[ns]", pd.Timestamp("2024-01-02"), ["", "2020-01-01"], [(1, "greater_than")]),
    ],
)
def test_a_default_takes_the_place_of_blanks_before_the_check(
    dtype: Any, default: Any, cells: list[str], bad: list[tuple[int, str]]
) -> None:
    low = pd.Timestamp("2023-01-01") if isinstance(default, pd.Timestamp) else 0
    column = Column(dtype, Check.gt(low), default=default)
    assert judge_cells(cells, column) == bad


def test_a_default_that_breaks_a_check_breaks_it() -> None:
    column = Column(str, Check.isin(["a"]), default="b")
    assert judge_cells(["a", ""], column) == [(1, "isin")]


SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({
    "size": pa.Column(float, pa.Check.in_range(0, 1), parsers=pa.Parser(lambda s: s / 100)),
    "colour": pa.Column(str, pa.Check.isin(["red", "blue"]), default="red"),
    "label": pa.Column(int, pa.Check.isin([0, 1]), default=0),
})
"""


def test_what_parsers_and_defaults_change_stands_in_repairs(
    make_job: MakeJob, tmp_path: Path
) -> None:
    cells = [f"{i % 90 + 1},{'' if i % 5 == 0 else 'blue'},{i % 2}" for i in range(60)]
    cells[7] = "700,blue,1"
    cells[8] = "8,,"
    job = make_job("size,colour,label\n" + "\n".join(cells) + "\n", schema=SCHEMA)
    result = run_job(job, out=tmp_path / "out", until="shards")
    assert result.ledger.rows["quarantined"] == 1  # a label's blank is never valid
    assert result.ledger.cells == {"repaired": 1, "filled": 0, "parsed": 58 + 12}
    repairs = read_all(tmp_path / "out", "repairs")
    by_rule = repairs.groupby(["column", "rule"]).size().to_dict()
    assert by_rule == {
        ("colour", "default"): 12,
        ("size", "parser"): 58,
        ("size", "parser,in_range"): 1,
    }
    mended = repairs[repairs["rule"] == "parser,in_range"].iloc[0]
    assert (mended["row"], mended["old"]) == (9, "700")
    shards = read_split(tmp_path / "out")
    plain = pd.DataFrame([c.split(",") for c in cells], columns=["size", "colour", "label"])
    kept = plain.drop([7, 8])
    assert sorted(shards["size"]) == pytest.approx(
        sorted([*(kept["size"].astype(float) / 100), shards["size"][shards["row_id"] == 7].item()])
    )
    assert (shards["colour"] == "red").sum() == (kept["colour"] == "").sum()


def test_a_default_is_no_value_as_read_for_an_indicator(make_job: MakeJob, tmp_path: Path) -> None:
    text = "size,colour,label\n" + "".join(
        f"{i},{'' if i % 4 == 0 else 'blue'},{i % 2}\n" for i in range(80)
    )
    settings = '[data]\nraw = ["raw/*.csv"]\nschema = "table:Table"\nlabel = "label"\n[repair]\nindicators = ["colour", "size"]\n'
    run_job(make_job(text, settings, SCHEMA), out=tmp_path / "out", until="shards")
    import tensorflow as tf

    files = [str(f) for f in (tmp_path / "out").rglob("*.tfrecord")]
    spec = {
        n: tf.io.FixedLenFeature([], t)
        for n, t in {
            "row_id": tf.int64,
            "colour_was_missing": tf.float32,
            "size_was_missing": tf.float32,
        }.items()
    }
    rows = [tf.io.parse_single_example(r, spec) for r in tf.data.TFRecordDataset(files)]
    assert len(rows) == 80
    assert all(float(r["colour_was_missing"]) == (int(r["row_id"]) % 4 == 0) for r in rows)
    assert not any(float(r["size_was_missing"]) for r in rows)


def test_a_check_that_wants_blanks_is_asked_of_them() -> None:
    present = Check(lambda s: s.notna(), ignore_na=False, name="present")
    assert judge_cells(["1", "", "nan"], Column(float, present, nullable=True)) == [
        (1, "present"),
        (2, "present"),
    ]
    strict = Check.ge(0, ignore_na=False)
    column = Column(float, strict, nullable=True)
    assert judge_cells(["1", "", "-1"], column) == [
        (1, "greater_than_or_equal_to"),
        (2, "greater_than_or_equal_to"),
    ]
    words = Column(str, Check.isin(["a"], ignore_na=False), nullable=True)
    assert judge_cells(["a", "", "b"], words) == [(1, "isin"), (2, "isin")]


def test_a_check_that_only_warns_rejects_nothing_and_is_counted(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = """
import pandera.pandas as pa
Table = pa.DataFrameSchema({
    "size": pa.Column(float, [pa.Check.ge(0), pa.Check.le(50, raise_warning=True)]),
    "label": pa.Column(int),
}, checks=pa.Check(lambda df: df["size"] < 80, name="small", raise_warning=True))
"""
    text = "size,label\n" + "".join(f"{i},{i % 2}\n" for i in range(100)) + "-1,0\n"
    result = check_job(make_job(text, schema=schema))
    assert result.broken == {("size", "greater_than_or_equal_to"): 1}
    assert result.warned == {("size", "less_than_or_equal_to"): 49, (None, "small"): 20}
    ledger = run_job(tmp_path / "job" / "job.toml", out=tmp_path / "out", until="shards").ledger
    warned = {(line.column, line.rule): line.count for line in ledger.warned}
    assert (warned, ledger.rows["quarantined"]) == (result.warned, 1)
    frame = pd.DataFrame({"size": ["60"], "label": ["1"]})
    namespace: dict[str, Any] = {}
    exec(schema, namespace)
    assert len(validate_frame(frame, namespace["Table"]).good) == 1


COVER = """
import pandera.pandas as pa
Table = pa.DataFrameSchema({
    "size": pa.Column(float),
    "colour": pa.Column(str, pa.Check.unique_values_eq(["red", "blue", "green"])),
    "label": pa.Column(int),
})
"""


@pytest.mark.parametrize("num_files", [1, 3, 50])
def test_every_listed_value_has_to_occur_somewhere(make_job: MakeJob, num_files: int) -> None:
    job = make_job(None, schema=COVER)
    (job.parent / "raw" / "a.csv").unlink()
    colours = ["red"] * 99 + ["blue", "grey"] + ["red"] * 49
    for part, rows in enumerate(np.array_split(np.arange(150), num_files)):
        text = "".join(f"{i},{colours[i]},{i % 2}\n" for i in rows.tolist())
        (job.parent / "raw" / f"{part:02d}.csv").write_text("size,colour,label\n" + text)
    result = check_job(job)
    assert result.broken == {("colour", "unique_values_eq"): 2}  # grey, and no green
    assert not result.passed
    with pytest.raises(RuleBroken, match="'colour' breaks unique_values_eq: no row holds 'green'"):
        run_job(job, out=job.parent / "out", until="shards")
    assert (job.parent / "out" / "failed" / "ledger.json").exists()
    last = sorted((job.parent / "raw").glob("*.csv"))[-1]
    last.write_text(last.read_text() + "1,green,0\n")
    assert check_job(job).broken == {("colour", "unique_values_eq"): 1}
    result_of_run = run_job(job, out=job.parent / "out", until="shards")
    assert result_of_run.ledger.cells["repaired"] == 1


def test_a_frame_without_a_listed_value_breaks_the_rule() -> None:
    schema = pa.DataFrameSchema({"x": Column(int, Check.unique_values_eq([1, 2]))})
    assert len(validate_frame(pd.DataFrame({"x": ["1", "2"]}), schema).good) == 2
    with pytest.raises(RuleBroken, match="no row holds 2"):
        validate_frame(pd.DataFrame({"x": ["1", "1"]}), schema)


def test_the_dtype_of_the_whole_frame_goes_before_a_column_s_own() -> None:
    schema = pa.DataFrameSchema({"x": Column(str, Check.ge(0))}, dtype=float)
    assert list_reasons(pd.DataFrame({"x": ["1", "-1", "a"]}), schema) == [
        (1, "x", "greater_than_or_equal_to"),
        (2, "x", "type"),
    ]


def test_a_schema_that_filters_carries_nothing_else(make_job: MakeJob, tmp_path: Path) -> None:
    schema = """
import pandera.pandas as pa
Table = pa.DataFrameSchema({"size": pa.Column(float), "label": pa.Column(int)}, strict="filter")
"""
    text = "size,more,label\n" + "".join(f"{i},m,{i % 2}\n" for i in range(60))
    run_job(make_job(text, schema=schema), out=tmp_path / "out", until="shards")
    assert sorted(read_split(tmp_path / "out").columns) == ["_row", "label", "row_id", "size"]


def test_a_column_that_is_added_takes_its_default(make_job: MakeJob, tmp_path: Path) -> None:
    schema = """
import pandera.pandas as pa
Table = pa.DataFrameSchema(
    {"size": pa.Column(float), "more": pa.Column(int, default=7), "label": pa.Column(int)},
    add_missing_columns=True,
)
"""
    text = "size,label\n" + "".join(f"{i},{i % 2}\n" for i in range(60))
    run_job(make_job(text, schema=schema), out=tmp_path / "out", until="shards")
    rows = read_split(tmp_path / "out")
    assert rows["more"].tolist() == [7] * 60


def test_an_int_beyond_its_dtype_never_wraps_around_in_a_parser() -> None:
    column = Column("uint8", Check.le(50), parsers=Parser(lambda s: s))
    assert judge_cells(["300", "7", "60"], column) == [(0, "type"), (2, "less_than_or_equal_to")]
    schema = pa.DataFrameSchema(
        {"x": Column("uint8"), "y": Column(int)}, parsers=Parser(lambda df: df)
    )
    frame = pd.DataFrame({"x": ["300", "7"], "y": ["1", "2"]})
    assert list_reasons(frame, schema) == [(0, "x", "type")]


@pytest.mark.parametrize("fill", [lambda s: s.fillna(s.mean()), lambda s: s.ffill()])
def test_a_parser_that_fills_from_other_rows_is_caught_among_many(fill: Any) -> None:
    cells = [str(row) for row in range(3000)]
    cells[1234] = cells[2345] = ""
    with pytest.raises(NotRowWise, match="'mine'"):
        judge_cells(cells, Column(float, nullable=True, parsers=Parser(fill, name="mine")))


@pytest.mark.parametrize(
    ("function", "copies"),
    [
        (lambda df: pd.concat([df, df[["a"]]], axis=1), 2),
        (lambda df: df.drop(columns="a"), 0),
    ],
)
def test_a_parser_that_doubles_or_drops_a_column_is_named(function: Any, copies: int) -> None:
    schema = pa.DataFrameSchema(
        {"a": Column(int), "b": Column(int)}, parsers=Parser(function, name="mine")
    )
    with pytest.raises(SchemaError, match=f"the parser 'mine' gives the column 'a' {copies} times"):
        validate_frame(pd.DataFrame({"a": [1], "b": [2]}), schema)


def test_a_parser_that_raises_on_all_of_the_first_rows_breaks_those_alone() -> None:
    column = Column(float, parsers=Parser(lambda v: 1 / int(v), element_wise=True))
    found = judge_cells(["0"] * 60 + ["1"] * 40, column)
    assert found == [(row, "type") for row in range(60)]
