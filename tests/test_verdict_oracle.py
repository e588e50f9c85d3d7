"""Whatever the schema and the text, the verdict is that of an oracle which shares no code."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pandera.extensions
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import check_job
from pipeline.frame import validate_frame
from pipeline.job import Job
from tests.oracle import Oracle, Reason, Value, read_cell


@pandera.extensions.register_check_method(statistics=["least"])  # type: ignore[untyped-decorator]
def oracle_at_least(cells: Any, *, least: float) -> Any:
    return cells >= least


@pandera.extensions.register_check_method(  # type: ignore[untyped-decorator]
    statistics=["unwanted"], check_type="element_wise"
)
def oracle_is_not(cell: Any, *, unwanted: Any) -> bool:
    return bool(cell != unwanted)


KINDS = {
    "float64": "float", "float32": "float", "Float64": "float", "float16": "float",
    "int64": "int", "int32": "int", "Int64": "int", "uint8": "int",
    "bool": "bool", "boolean": "bool", "str": "string", "category": "string", "listed": "string",
    "datetime64[ns]": "timestamp", "datetime64[ns, UTC]": "timestamp",
}  # fmt: skip
DTYPES: dict[str, Any] = {name: name for name in KINDS}
DTYPES["listed"] = pd.CategoricalDtype(["a", "b", "é", "1"])
ANNOTATIONS: dict[str, Any] = {
    "float64": float, "float32": np.float32, "float16": np.float16, "Float64": pd.Float64Dtype,
    "int64": int, "int32": np.int32, "uint8": np.uint8, "Int64": pd.Int64Dtype,
    "bool": bool, "boolean": pd.BooleanDtype, "str": str,
    "category": pd.CategoricalDtype, "listed": pd.CategoricalDtype,
    "datetime64[ns]": pd.Timestamp,
    "datetime64[ns, UTC]": Annotated[pd.DatetimeTZDtype, "ns", "UTC"],
}  # fmt: skip

DIRT = (
    """
| NA|N/A|null|NULL|na|None|nan|NaN|-nan|+NAN|nan(1)|inf|-inf|Infinity|+INF|infinit|1e400|-1e400|1e39
-1e39|1e309|-0|-0.0|+0|1_000|1,000|1 000|1.0|1e3|1.5|.5|5.|+7|0x10|0x1p3|\u0661\u0662|\uff11\uff12
12e|e5|.|-|+|1e-400|1e-46|9007199254740993|9007199254740993.0|9223372036854775807
9223372036854775808|-9223372036854775808|-9223372036854775809|18446744073709551615|2147483647
2147483648|255|256|65519|65519.9999|65520|3.4028235677973366e38|3.4028235677973362e38|0.1
0.10000000001|--1|1d5|1E+5|true|TRUE|True|false|FALSE|1|0|t|yes|tru|01|a|abc|ABC|é|É|ß|日本|e\u0301
a b|x,y|say "hi"|2024-02-29|2023-02-29|2024-13-01|2024-00-10|20240101|2024-1-1
2024-01-01T25:00|2024-01-01T24:00|2024-01-01T23:59:60|2024-01-01T10|2024-01-01 10:30
2024-01-01T10:00:00Z|2024-01-01 12:00:00+02:00|2024-01-01T10:00:00-0530|2024-06-01T00:00:00.123456
2024-06-01T00:00:00.1234567|2024-06-01T00:00:00.1234560|2024-06-01T00:00:00,5|2024-01-01T10:00z
0001-01-01|0001-01-01T00:00+01:00|9999-12-31T23:59:59.999999|9999-12-31T23:59:59-01:00|0000-01-01
2300-01-01|2024-01-01Z|01/02/2024|２０２４-01-01
""".strip("\n")
    .replace("\n", "|")
    .split("|")
)
DIRT += ["two\nlines"]
DIRT += [pad.format(text) for pad in (" {}", "{}\t", "\u00a0{}\u2003") for text in DIRT[:60]]
NUMBERS: list[Any] = [
    0,
    1,
    -1,
    2,
    5,
    1.5,
    0.1,
    0.5,
    -0.0,
    2**53,
    2**53 + 1,
    1e39,
    -1e39,
    1e308,
    3.5e38,
]
NUMBERS += [2**63 - 1, 2**63, -(2**63), 2**70, 1e19, 1000, 65504, 65520, 255, 2**31, 1e-46]
NUMBERS += [float("inf"), np.float64(0.1), np.int64(3), np.float64(2.5), True]
WORDS = ["", "a", "b", "abc", "ABC", "é", "e\u0301", "日本", "1", "1.0", "nan", "true", "a b", "z"]
TIMES = ["2024-01-01", "2024-02-29", "2024-01-01T10:00:00", "2024-06-01T00:00:00.123456"]
TIMES += ["1700-01-01", "2300-01-01", "1969-12-31T23:59:59", "2024-06-01T00:00:00.123456001"]
PATTERNS = ["^a", "[0-9]+", "b$", "(?i)ABC", "é", r"\d", r"\w+$", ".", "^$", r"a\sb", "(a|日)"]
LETTERS = "abcXYZ019 ,;\"'\n\té日\u0301\U0001f600-_."


def make_clean(pick: Random, kind: str) -> str:
    """Return a text that most columns of the kind take for a value."""
    match kind:
        case "float":
            return pick.choice([pick.choice("0 1 2 5 -1 0.5 1.5".split()), repr(pick.gauss(0, 9))])
        case "int":
            return str(pick.choice([pick.randint(0, 5), pick.randint(0, 255)]))
        case "bool":
            return pick.choice("true false 1 0 True FALSE".split())
        case "string":
            return pick.choice([pick.choice(WORDS), "".join(pick.choices(LETTERS, k=3))])
    moment = datetime(1, 1, 1) + timedelta(microseconds=pick.randrange(2**57))
    return pick.choice([pick.choice(TIMES[:-1]), str(moment)])


def vectorised(kind: str) -> dict[str, Callable[[Any], Any]]:
    """Return checks of whole columns that look at each cell alone."""
    return {
        "float": {
            "v_small": lambda s: s.abs() < 3,
            "v_inverse": lambda s: s.map(lambda v: 1 / float(v)) > 0,  # raises on 0
            "v_finite": lambda s: np.isfinite(s.astype("float64")),
        },
        "int": {
            "v_even": lambda s: s % 2 == 0,
            "v_inverse": lambda s: s.map(lambda v: 1 // int(v)) >= 0,
        },
        "bool": {"v_true": lambda s: s, "v_not": lambda s: ~s},
        "string": {
            "v_short": lambda s: s.str.len() < 3,
            "v_digit": lambda s: s.astype(object).map(lambda w: int(w) < 5),  # raises on words
        },
        "timestamp": {"v_year": lambda s: s.dt.year >= 2000, "v_day": lambda s: s.dt.day < 20},
    }[kind]


def element_wise(kind: str) -> dict[str, Callable[[Any], Any]]:
    """Return checks of one cell."""
    return {
        "float": {"e_third": lambda v: 1 / v < 3, "e_not_one": lambda v: v != 1},
        "int": {"e_third": lambda v: 1 / v < 3, "e_not_one": lambda v: v != 1},
        "bool": {"e_true": lambda v: v},
        "string": {"e_word": lambda w: w.isalpha(), "e_first": lambda w: w[0] != "a"},
        "timestamp": {"e_noon": lambda t: t.hour < 12, "e_leap": lambda t: not t.is_leap_year},
    }[kind]


FRAME_CHECKS: dict[str, Any] = {
    "f_label": lambda df: df["label"] == 0,
    "f_first": lambda df: df.iloc[:, 0].notna(),
    "f_blanks": lambda df: df.isna().sum(axis=1) < 1,
    "f_not": lambda df: ~df["a"] if df["a"].dtype in (bool, object) else df["label"] > 0,
    "f_wide": lambda df: df.assign(label=df["label"] < 1) == df,
}


@dataclass(frozen=True)
class Spec:
    """A column of a random schema; `checks` are (Check attribute, arguments)."""

    name: str
    dtype: str
    nullable: bool
    required: bool
    unique: bool
    checks: tuple[tuple[str, dict[str, Any]], ...]
    custom: tuple[str, ...]

    @property
    def kind(self) -> str:
        return KINDS[self.dtype]

    @property
    def is_pattern(self) -> bool:
        return self.name.endswith("*")

    def list_custom(self) -> list[tuple[str, Any, bool]]:
        """Return name, function and whether element-wise of the schema's own checks."""
        found: dict[str, Any] = {**vectorised(self.kind), **element_wise(self.kind)}
        return [(name, found[name], name.startswith("e_")) for name in self.custom]


@dataclass(frozen=True)
class Table:
    """A random schema, as it is given and as pandera's plain one, and rows of text."""

    given: Any
    schema: pa.DataFrameSchema
    headers: list[str]
    rows: Sequence[Sequence[str]]


def values_of(kind: str, dtype: str, cells: Sequence[str]) -> list[Any]:
    """Return arguments for the checks of a column, its own values among them."""
    native = pa.Column(DTYPES[dtype]).dtype.type
    read = [read_cell(text, native) for text in cells]
    own = [cell.plain for cell in read if isinstance(cell, Value)]
    if kind != "timestamp":
        others: dict[str, list[Any]] = {"bool": [True, False], "string": WORDS}
        return own * 2 + others.get(kind, NUMBERS)
    zone = getattr(native, "tz", None)
    stamps = [pd.Timestamp(np.datetime64(value, "us"), tz=zone) for value in own]
    return stamps * 2 + [pd.Timestamp(text, tz=zone) for text in TIMES]


def make_checks(pick: Random, kind: str, values: list[Any]) -> Any:
    """Return at most two built-in and registered checks."""
    names = ["eq", "ne", "isin", "notin", "oracle_is_not"]
    if kind != "bool":
        names += ["gt", "ge", "lt", "le", "in_range", "oracle_at_least"]
    if kind == "string":
        names += ["str_matches", "str_contains", "str_startswith", "str_endswith", "str_length"]
    chosen = pick.sample(names, pick.randint(0, 2))
    found = [(name, make_arguments(pick, name, values)) for name in chosen]
    return tuple((name, arguments) for name, arguments in found if arguments is not None)


def make_arguments(pick: Random, name: str, values: list[Any]) -> dict[str, Any] | None:
    """Return a check's arguments by name; None for a range that pandera refuses."""
    value = pick.choice(values)
    match name:
        case "in_range":
            low, high = sorted([value, pick.choice(values)])
            flags = {"include_min": pick.random() < 0.5, "include_max": pick.random() < 0.5}
            if low == high and not all(flags.values()):
                return None
            return {"min_value": low, "max_value": high, **flags}
        case "str_length":
            least = pick.randint(0, 3)
            bounds = {"min_value": least, "max_value": pick.randint(least, 4)}
            return pick.choice([bounds, {"exact_value": least}])
        case "isin":
            return {"allowed_values": make_list(pick, values, 6)}
        case "notin":
            return {"forbidden_values": make_list(pick, values, 3)}
        case "oracle_at_least":
            return {"least": value}
        case "oracle_is_not":
            return {"unwanted": value}
        case "str_matches" | "str_contains":
            return {"pattern": pick.choice(PATTERNS)}
        case "str_startswith" | "str_endswith":
            return {"string": value}
        case "eq" | "ne":
            return {"value": value}
    return {"max_value" if name in ("lt", "le") else "min_value": value}


def make_list(pick: Random, values: list[Any], most: int) -> list[Any]:
    """Return some of the values; beside a float, pandas would round an int beyond 2**53."""
    listed = pick.choices(values, k=pick.randint(0, most))
    if all(isinstance(value, int) for value in listed):
        return listed
    return [value for value in listed if not isinstance(value, int) or abs(value) <= 2**53]


def build_schema(specs: Sequence[Spec], frame: Sequence[str], **facts: Any) -> pa.DataFrameSchema:
    columns = {}
    for spec in specs:
        checks = [getattr(pa.Check, name)(**arguments) for name, arguments in spec.checks]
        for name, function, each in spec.list_custom():
            checks.append(pa.Check(function, name=name, element_wise=each))
        columns[spec.name] = pa.Column(
            DTYPES[spec.dtype], checks, nullable=spec.nullable, required=spec.required,
            unique=spec.unique, regex=spec.is_pattern, report_duplicates=facts["report_duplicates"],
        )  # fmt: skip
    rows = [pa.Check(FRAME_CHECKS[name], name=name) for name in frame]
    return pa.DataFrameSchema(columns, checks=rows, **facts)


def build_model(specs: Sequence[Spec], frame: Sequence[str], **facts: Any) -> Any:
    """Return a `DataFrameModel` of the same columns; `report_duplicates` stays "all"."""
    space: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
    for place, spec in enumerate(specs):
        one = {name: next(iter(a.values())) if len(a) == 1 else a for name, a in spec.checks}
        own = {"categories": DTYPES["listed"].categories} if spec.dtype == "listed" else None
        field = f"field_{place}"
        space[field] = pa.Field(
            alias=spec.name, nullable=spec.nullable, unique=spec.unique, regex=spec.is_pattern,
            dtype_kwargs=own, **one,
        )  # fmt: skip
        series = pa.typing.Series[ANNOTATIONS[spec.dtype]]
        space["__annotations__"][field] = series if spec.required else series | None
        for name, function, each in spec.list_custom():
            method = (lambda f: lambda cls, cells: f(cells))(function)
            method.__name__ = f"{name}_{place}"
            decorate = pa.check(spec.name, name=name, element_wise=each, regex=spec.is_pattern)
            space[method.__name__] = decorate(method)
    for name in frame:
        method = (lambda f: lambda cls, df: f(df))(FRAME_CHECKS[name])
        method.__name__ = name
        space[name] = pa.dataframe_check(method, name=name)
    space["Config"] = type("Config", (), {"unique": facts["unique"]})
    return type("Random", (pa.DataFrameModel,), space)


def make_column(pick: Random, name: str, num_rows: int) -> tuple[Spec, list[str]]:
    """Return a column of the schema and its cells."""
    dtype = pick.choice(list(KINDS))
    kind = KINDS[dtype]
    dirt_ratio = pick.choice([0.0, 0.1, 0.5])
    cells = [
        pick.choice(DIRT) if pick.random() < dirt_ratio else make_clean(pick, kind)
        for _ in range(pick.randint(1, num_rows))
    ]
    custom = [*vectorised(kind), *element_wise(kind)]
    spec = Spec(
        name, dtype,
        nullable=pick.random() < 0.5, required=pick.random() < 0.7, unique=pick.random() < 0.2,
        checks=make_checks(pick, kind, values_of(kind, dtype, cells)),
        custom=tuple(pick.sample(custom, pick.randint(0, 1))),
    )  # fmt: skip
    return spec, (cells * num_rows)[:num_rows]


def make_table(pick: Random) -> Table:
    """Return one to three columns and a label, among them a pattern and what it matches."""
    num_rows = pick.randint(1, 8)
    specs, cells = [], dict[str, list[str]]()
    for name in ["a", "b", "r_.*"][: pick.randint(1, 3)]:
        spec, texts = make_column(pick, name, num_rows)
        specs.append(spec)
        if spec.is_pattern:
            cells |= {"r_1": texts, "r_2": pick.sample(texts, num_rows)}
        elif name == "a" or (spec.required and not spec.nullable) or pick.random() < 0.5:
            cells[name] = texts
    label = Spec("label", "int64", False, True, False, (("isin", {"allowed_values": [0, 1]}),), ())
    specs.append(label)
    cells["label"] = [
        pick.choice(["0", "1", "1.0", "0", "1e0", "2", "nan"]) for _ in range(num_rows)
    ]
    if pick.random() < 0.5:
        cells["unnamed"] = [str(row) for row in range(num_rows)]
    headers = pick.sample(list(cells), len(cells))
    rows = [[cells[name][row] for name in headers] for row in range(num_rows)]
    return Table(*make_schema(pick, specs, headers), headers, rows)


def make_schema(
    pick: Random, specs: list[Spec], headers: list[str]
) -> tuple[Any, pa.DataFrameSchema]:
    frame = pick.sample(sorted(FRAME_CHECKS), pick.randint(0, 1))
    keyed = [spec.name for spec in specs if not spec.is_pattern]
    unique = pick.choice([None, pick.sample(keyed, pick.randint(1, min(2, len(keyed))))])
    if pick.random() < 0.5:
        model = build_model(specs, frame, unique=unique)
        return model, model.to_schema()
    report = pick.choice(["all", "exclude_first", "exclude_last"])
    schema = build_schema(specs, frame, unique=unique, report_duplicates=report)
    return schema, schema


def judge_frame(table: Table) -> set[Reason]:
    frame = pd.DataFrame(table.rows, columns=table.headers, dtype=object)
    verdict = validate_frame(frame, table.given)
    reasons = set(zip(*(verdict.reasons[c] for c in ("row", "column", "rule")), strict=True))
    good = sorted(set(range(len(frame))) - {row for row, _, _ in reasons})
    assert verdict.good.index.tolist() == good
    return reasons


def judge_file(table: Table, training_dtype: str) -> set[Reason]:
    """Return what `check` finds in a CSV file of the rows; it tells the line of every reason."""
    load = "pipeline.run.setup.load_schema"
    with TemporaryDirectory() as name, patch(load, lambda job: table.given):
        file = Path(name) / "rows.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([table.headers, *table.rows])
        with file.open(newline="", encoding="utf-8") as back:
            ends = csv.reader(back)
            stops = [ends.line_num for _ in ends]
        data = {"raw": ["rows.csv"], "schema": "table:Table", "label": "label"}
        settings = {"name": "random", "data": data, "train": {"dtype": training_dtype}}
        result = check_job(Job.from_settings(settings, name))
    places = [(place, *key) for key, found in result.examples.items() for place in found]
    row_of = {stop + 1: row for row, stop in enumerate(stops)}  # a row starts after another
    reasons = {(row_of[place.row], column, rule) for place, column, rule in places}
    assert result.rows == len(table.rows)
    assert sum(result.broken.values()) == len(places) == len(reasons), "a reason is told twice"
    return reasons


def agree_on_frame(pick: Random) -> None:
    table = make_table(pick)
    assert judge_frame(table) == Oracle(table.schema, table.headers).judge(table.rows)


def agree_on_file(pick: Random) -> None:
    table, training_dtype = make_table(pick), pick.choice(["float32", "float16"])
    wanted = Oracle(table.schema, table.headers, training_dtype)
    assert judge_file(table, training_dtype) == wanted.judge(table.rows)


NOT = pa.Check(lambda s: ~s, name="not")
NOT_A = pa.Check(lambda word: word != "a", element_wise=True, name="not_a")
NOT_X = pa.Check(lambda df: ~df["x"], name="not_x")
PINNED = {
    "a bool beside a broken one": (pa.Column(bool, NOT), None, ["true", "no", "false"]),
    "a bool beside a blank": (pa.Column(bool, nullable=True), NOT_X, ["true", "", "false"]),
    "one word": (pa.Column("category", NOT_A), None, ["b"]),
    "two words": (pa.Column("category", NOT_A), None, ["b", "a"]),
    "ints too large": (pa.Column("uint8", unique=True), None, ["300", "300", "7", "7"]),
    "alike in float32": (pa.Column("float32", unique=True), None, ["0.1", "0.10000000001"]),
}


@pytest.mark.parametrize("case", PINNED.values(), ids=PINNED)
def test_what_random_tables_found_stays_mended(case: Any) -> None:
    column, frame_check, cells = case
    schema = pa.DataFrameSchema({"x": column}, checks=frame_check)
    table = Table(schema, schema, ["x"], [[cell] for cell in cells])
    assert judge_frame(table) == Oracle(schema, ["x"]).judge(table.rows)


def test_a_key_of_which_the_file_lacks_a_column_is_judged_by_the_others() -> None:
    columns = {"x": pa.Column(int), "y": pa.Column(int, required=False)}
    schema = pa.DataFrameSchema(columns, unique=["x", "y"])
    table = Table(schema, schema, ["x"], [["1"], ["2"], ["1"]])
    assert judge_frame(table) == {(0, "x", "unique"), (2, "x", "unique")}


# Plain randomness: Hypothesis' own draws repeat themselves too much to meet a rare pair.
RANDOMS = st.randoms(use_true_random=True)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(pick=RANDOMS)
def test_the_verdict_on_a_frame_of_texts_is_the_oracle_s(pick: Random) -> None:
    agree_on_frame(pick)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(pick=RANDOMS)
def test_the_verdict_on_a_csv_file_is_the_oracle_s(pick: Random) -> None:
    agree_on_file(pick)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(pick=RANDOMS)
def test_the_verdict_on_many_frames_is_the_oracle_s(pick: Random) -> None:
    agree_on_frame(pick)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(pick=RANDOMS)
def test_the_verdict_on_many_csv_files_is_the_oracle_s(pick: Random) -> None:
    agree_on_file(pick)
