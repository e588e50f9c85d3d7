"""The judge in memory, beside pandera, libraries like it, and the bare comparison.

    python benchmarks/validate.py [--rows 1000000] [--repeats 5]

Every contestant holds the table in its own form: ours as columns in batches of 65,536 rows, the
peers as a frame. Each has to tell which cells break which rule; the floor only compares and
counts the good rows. They run in turn, round after round. Before, they have to agree: ours and
pandera on the failures of every column and rule, the others on the number of broken cells.
dataframely, pointblank and polars take part where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.compute as pc
from workload import FLOATS, make_columns

from pipeline.batch import Column
from pipeline.load import convert_array
from pipeline.validate import compile_schema, judge_columns

BATCH_ROWS = 65_536
WORDS = tuple(f"word{i:02d}" for i in range(20))
PATTERN = r"^[a-z]+-?\d+$"
LENGTHS = (1, 10)
# Who has taken so long in a case is not asked again.
MAX_SECONDS = 10.0
# With 16 columns, four rows in five have a broken cell.
AWFUL_SHARE = 1 - 0.2 ** (1 / 16)
# A NaN and an infinity have a reason of their own with us.
PANDERA_RULES = {"nan": "not_nullable", "inf": "in_range"}
# A rule: "range" with its two bounds, "isin", "notin", "matches", "length".
Rule = tuple[Any, ...]
Contestant = Callable[[], int]


@dataclass(frozen=True)
class Case:
    """A table, `(rows,)` each, and the rule of each of its columns."""

    name: str
    table: Mapping[str, Any]
    rules: Mapping[str, Rule]


def list_cases(rows: int) -> Iterator[Case]:
    """Yield the cases, each made when it is asked for."""
    dirty = make_columns(rows)
    rules: dict[str, Rule] = dict.fromkeys(dirty, ("range", 0, 49))
    rules |= dict.fromkeys(FLOATS, ("range", -100, 200)) | {"label": ("range", 0, 1)}
    clean = dict(dirty)
    for name in FLOATS:
        clean[name] = np.where(np.abs(dirty[name] - 50) < 150, dirty[name], 50.0)
    yield Case("clean", clean, rules)
    yield Case("its own dirt", dirty, rules)
    yield Case("four rows in five bad", break_cells(clean, AWFUL_SHARE), rules)
    random = np.random.default_rng(1)
    wide = {f"f{i:03d}": random.normal(50, 10, rows // 50) for i in range(1000)}
    yield Case("1,000 columns of a fiftieth", wide, dict.fromkeys(wide, ("range", -100, 200)))
    drawn = random.integers(0, len(WORDS), rows)
    drawn[random.random(rows) < 0.001] = len(WORDS)
    few = np.array([*WORDS, "not a word"], object)[drawn]
    columns: dict[str, Rule] = {"words": ("isin",), "pattern": ("matches",), "text": ("length",)}
    yield Case("texts, few distinct", dict.fromkeys(columns, few), columns)
    distinct = np.array([f"id-{i:07d}" for i in random.permutation(rows)], object)
    columns["words"] = ("notin",)
    yield Case("texts, all distinct", dict.fromkeys(columns, distinct), columns)


def break_cells(table: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Return the table with a share of its floats broken as those of the workload are."""
    random = np.random.default_rng(2)
    broken = dict(table)
    for name in FLOATS:
        hit = random.random(len(table[name])) < share
        broken[name] = table[name].copy()
        broken[name][hit] = random.choice([np.nan, np.inf, -np.inf, 1e6], hit.sum())
    return broken


def cut(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table in batches, texts as Arrow holds them."""
    rows = len(next(iter(table.values())))
    batches = [
        {name: cells[start : start + BATCH_ROWS].copy() for name, cells in table.items()}
        for start in range(0, rows, BATCH_ROWS)
    ]
    for batch in batches:
        for name, cells in batch.items():
            if cells.dtype == object:
                batch[name] = pyarrow.array(cells, pyarrow.string())
    return batches


def make_floor(case: Case) -> Contestant:
    """Compare, and take the masks together; for texts, Arrow's own kernels."""
    batches = cut(case.table)
    words = pyarrow.array(WORDS)

    def judge(rule: Rule, cells: Any) -> Any:
        if rule[0] == "range":
            return (cells >= rule[1]) & (cells <= rule[2])
        if rule[0] == "matches":
            return pc.match_substring_regex(cells, PATTERN).to_numpy(False)
        if rule[0] == "length":
            lengths = pc.utf8_length(cells).to_numpy(False)
            return (lengths >= LENGTHS[0]) & (lengths <= LENGTHS[1])
        among = pc.is_in(cells, value_set=words).to_numpy(False)
        return among if rule[0] == "isin" else ~among

    def run() -> int:
        num_good = 0
        for batch in batches:
            masks = (judge(case.rules[name], cells) for name, cells in batch.items())
            good = next(masks)
            for mask in masks:
                good &= mask
            num_good += int(np.count_nonzero(good))
        return num_good

    return run


def make_schema(case: Case) -> Any:
    """Return pandera's schema."""
    checks = {
        "range": lambda rule: pa.Check.in_range(rule[1], rule[2]),
        "isin": lambda _: pa.Check.isin(WORDS),
        "notin": lambda _: pa.Check.notin(WORDS),
        "matches": lambda _: pa.Check.str_matches(PATTERN),
        "length": lambda _: pa.Check.str_length(*LENGTHS),
    }
    kinds = {"f": float, "i": int, "O": str}
    return pa.DataFrameSchema(
        {
            name: pa.Column(kinds[cells.dtype.kind], checks[case.rules[name][0]](case.rules[name]))
            for name, cells in case.table.items()
        }
    )


def make_ours(case: Case) -> tuple[Contestant, Callable[[], Counter[tuple[str, str]]]]:
    """Return the contestant, and what it finds by column and pandera's rule."""
    pandera_schema = make_schema(case)
    schema = compile_schema(pandera_schema)
    batches: list[dict[str, Column]] = []
    for batch in cut(case.table):
        arrays = {name: pyarrow.array(cells, from_pandas=False) for name, cells in batch.items()}
        batches.append({n: convert_array(schema[n].kind, a, ()) for n, a in arrays.items()})

    def judge() -> Iterator[Any]:
        for batch in batches:
            yield from judge_columns(batch, schema, pandera_schema=pandera_schema)

    def count() -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for found in judge():
            rule = PANDERA_RULES.get(found.rule, found.rule)
            counts[found.column, rule] += len(found.positions)
        return counts

    return lambda: sum(len(found.positions) for found in judge()), count


def make_pandera(case: Case) -> tuple[Contestant, Callable[[], Counter[tuple[str, str]]]]:
    """As `make_ours`."""
    schema, frame = make_schema(case), make_frame(case)

    def judge() -> Any:
        try:
            schema.validate(frame, lazy=True)
        except pa.errors.SchemaErrors as error:
            return error.failure_cases
        return None

    def count() -> Counter[tuple[str, str]]:
        cases = judge()
        if cases is None:
            return Counter()
        rules = cases["check"].str.split("(").str[0]
        return Counter(zip(cases["column"], rules, strict=True))

    def run() -> int:
        cases = judge()
        return 0 if cases is None else len(cases)

    return run, count


def make_frame(case: Case) -> pd.DataFrame:
    """Return the table as pandas holds it, texts as `str`."""
    return pd.DataFrame(
        {
            name: pd.Series(c, dtype="str" if c.dtype == object else None)
            for name, c in case.table.items()
        }
    )


def make_polars(case: Case) -> Contestant:
    """Ask for the rows of every column that break its rule, in one query."""
    import polars as pl

    frame = pl.DataFrame({name: cells.tolist() for name, cells in case.table.items()})

    def passes(name: str, rule: Rule) -> Any:
        cell = pl.col(name)
        return {
            "range": lambda: cell.is_between(rule[1], rule[2]),
            "isin": lambda: cell.is_in(WORDS),
            "notin": lambda: ~cell.is_in(WORDS),
            "matches": lambda: cell.str.contains(PATTERN),
            "length": lambda: cell.str.len_chars().is_between(*LENGTHS),
        }[rule[0]]()

    broken = [(~passes(name, rule)).arg_true().implode() for name, rule in case.rules.items()]
    return lambda: sum(len(rows[0]) for rows in frame.select(broken).iter_columns())


def make_dataframely(case: Case) -> Contestant:
    """Filter, and count what each rule refused; a NaN is above any bound."""
    import dataframely as dy
    import polars as pl

    def make_column(kind: str, rule: Rule) -> Any:
        if kind == "f":
            return dy.Float64(allow_nan=True, allow_inf=True, min=rule[1], max=rule[2])
        if kind == "i":
            return dy.Int64(min=rule[1], max=rule[2])
        return {
            "isin": lambda: dy.String(check=lambda cell: cell.is_in(WORDS)),
            "notin": lambda: dy.String(check=lambda cell: ~cell.is_in(WORDS)),
            "matches": lambda: dy.String(regex=PATTERN),
            "length": lambda: dy.String(min_length=LENGTHS[0], max_length=LENGTHS[1]),
        }[rule[0]]()

    columns = {n: make_column(c.dtype.kind, case.rules[n]) for n, c in case.table.items()}
    schema = type("Table", (dy.Schema,), columns)
    frame = pl.DataFrame({name: cells.tolist() for name, cells in case.table.items()})
    return lambda: sum(schema.filter(frame)[1].counts().values())


def make_pointblank(case: Case) -> Contestant:
    """Interrogate, without extracts of the rows."""
    import pointblank as pb
    import polars as pl

    frame = pl.DataFrame({name: cells.tolist() for name, cells in case.table.items()})

    def run() -> int:
        plan = pb.Validate(frame)
        for name, rule in case.rules.items():
            if rule[0] == "range":
                plan = plan.col_vals_between(name, rule[1], rule[2])
            elif rule[0] == "matches":
                plan = plan.col_vals_regex(name, PATTERN)
            elif rule[0] == "length":
                plan = plan.col_vals_expr(pl.col(name).str.len_chars().is_between(*LENGTHS))
            elif rule[0] == "isin":
                plan = plan.col_vals_in_set(name, list(WORDS))
            else:
                plan = plan.col_vals_not_in_set(name, list(WORDS))
        return sum(plan.interrogate(collect_extracts=False).n_failed().values())

    return run


PEERS = {
    "polars": make_polars,
    "dataframely": make_dataframely,
    "pointblank": make_pointblank,
}


def gather(case: Case) -> dict[str, Contestant]:
    """Return the contestants, after they have agreed on the case."""
    ours, count_ours = make_ours(case)
    pandera, count_pandera = make_pandera(case)
    expected = count_pandera()
    if count_ours() != expected:
        raise SystemExit(f"{case.name}: {count_ours()} with us, {expected} with pandera")
    contestants = {"bare masks": make_floor(case), "nanproof": ours, "pandera, lazy": pandera}
    for name, make in PEERS.items():
        if importlib.util.find_spec(name) is None:
            continue
        contestants[name] = make(case)
        found = contestants[name]()
        if found != expected.total():
            raise SystemExit(f"{case.name}: {name} finds {found}, pandera {expected.total()}")
    print(f"\n{case.name}: {expected.total():,} broken cells")
    return contestants


def measure(contestants: Mapping[str, Contestant], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each, `(repeats,)`, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, run in contestants.items():
            if sum(seconds[name]) > MAX_SECONDS:
                continue
            start = time.perf_counter()
            run()
            if turn or time.perf_counter() - start > MAX_SECONDS:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed")
    for case in list_cases(asked.rows):
        seconds = measure(gather(case), asked.repeats)
        ours = statistics.median(seconds["nanproof"])
        print(f"{'':16s} {'median':>10s} {'min':>10s}   of nanproof's median")
        for name, taken in seconds.items():
            middle = statistics.median(taken)
            least, ratio = min(taken) * 1e3, middle / ours
            print(f"{name:16s} {middle * 1e3:7.1f} ms {least:7.1f} ms   {ratio:7.2f}x")


if __name__ == "__main__":
    main()
