"""`clip` moves what is beyond a bound to it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import run_job, verify_dataset
from pipeline.batch import INF, MISSING, NAN, OK, TYPE
from pipeline.job import RepairSettings
from pipeline.repair import clip_bounds, legal_bounds, list_range_rules, plan_column
from pipeline.schema import Check, ColumnSchema
from tests.conftest import JOB
from tests.judging import column
from tests.repairing import plan_of, repair, schema_of, summary_of

GREATEST = float(np.finfo("float32").max)
TINY, BELOW_10 = 2.0**-126, 10 - 2.0**-20  # float32's smallest normal, and its last below 10
RANGE = Check("in_range", {"min_value": 0, "max_value": 10}, "in_range")
OPEN = Check(
    "in_range",
    {"min_value": 0, "max_value": 10, "include_min": False, "include_max": False},
    "in_range",
)
GE = Check("greater_than_or_equal_to", {"min_value": 0}, "ge")
LE = Check("less_than_or_equal_to", {"max_value": 10}, "le")
GT = Check("greater_than", {"min_value": 0}, "gt")
LT = Check("less_than", {"max_value": 10}, "lt")


@pytest.mark.parametrize(
    ("checks", "low", "high"),
    [
        ([RANGE], 0.0, 10.0),
        ([OPEN], TINY, BELOW_10),
        ([GE], 0.0, 4.0),
        ([LE], 4.0, 10.0),
        ([GT, LE], TINY, 10.0),
        ([GE, LT], 0.0, BELOW_10),
        ([], 4.0, 4.0),
    ],
)
def test_clip_moves_what_is_beyond_a_bound_to_it_and_beyond_none_to_the_median(
    checks: list[Check], low: float, high: float
) -> None:
    plan = plan_of("float", [4.0, 4.0, 5.0], "clip", *checks)
    cells = column("float", [-np.inf, -3.0, 7.0, 40.0, np.inf], [INF, OK, OK, OK, INF])
    broken = {"inf": [0, 4], "in_range": [1], "less_than_or_equal_to": [3]}
    assert repair(cells, plan, **broken)[0] == [low, low, 7.0, high, high]


def test_clip_gives_every_other_reason_the_median() -> None:
    plan = plan_of("float", [4.0, 4.0, 5.0], "clip", RANGE)
    cells = column("float", [np.nan, np.nan, np.nan, 50.0, 3.0], [MISSING, NAN, TYPE, OK, OK])
    broken = {"missing": [0], "nan": [1], "type": [2], "in_range": [3], "not_equal_to": [3]}
    assert repair(cells, plan, **broken) == ([4.0, 4.0, 4.0, 4.0, 3.0], [0, 1, 2, 3])


def test_clip_moves_overflow_to_the_bound() -> None:
    plan = plan_of("float", [4.0], "clip", RANGE)
    cells = column("float", [1e300, -1e300])
    broken = {"overflow": [0, 1], "in_range": [0, 1]}
    assert repair(cells, plan, **broken)[0] == [10.0, 0.0]


def test_clip_of_integers_takes_whole_bounds_and_both_infinities() -> None:
    fractional = Check("in_range", {"min_value": 0.5, "max_value": 9.5}, "in_range")
    plan = plan_of("int", [4], "clip", fractional)
    limits = np.iinfo(np.int64)
    cells = column("int", [limits.min, -5, 40, limits.max], [INF, OK, OK, INF])
    assert repair(cells, plan, inf=[0, 3], in_range=[1, 2])[0] == [1, 1, 9, 9]


@pytest.mark.parametrize(
    ("kind", "check", "bounds"),
    [
        ("int", GT, (1, None)),
        ("int", LT, (None, 9)),
        ("int", Check("gt", {"min_value": 0.5}, "gt"), (1, None)),
        ("int", Check("lt", {"max_value": 9.5}, "lt"), (None, 9)),
        ("timestamp", OPEN, (1, 9)),
        ("float", GE, (0.0, None)),
        ("float", Check("isin", {"allowed_values": (1,)}, "isin"), (None, None)),
        ("float", Check("greater_than", index=0), (None, None)),
    ],
)
def test_open_bounds_become_the_nearest_legal_value(kind: Any, check: Check, bounds: Any) -> None:
    assert legal_bounds(schema_of(kind, check)) == bounds
    assert clip_bounds(schema_of(kind, check), "float32") == bounds


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bound", [0.0, 2.0, -0.5])
def test_the_smallest_and_the_largest_legal_value_are_the_next_ones(
    dtype: str, bound: float
) -> None:
    facts = {"min_value": bound, "max_value": bound}
    after = ColumnSchema("x", "float", dtype, checks=(Check("gt", facts, "gt"),))
    before = ColumnSchema("x", "float", dtype, checks=(Check("lt", facts, "lt"),))
    for schema, up in ((after, True), (before, False)):
        found = legal_bounds(schema)[0 if up else 1]
        assert found == (next_of(dtype, bound, up=up) if bound else next_of_zero(dtype, up=up))


@pytest.mark.parametrize(
    ("kind", "dtype", "beyond", "legal"),
    [
        ("int", "int8", 1000, (-128, 127)),
        ("int", "uint8", 1000, (0, 255)),
        ("int", "int64", 1e30, (-(2**63), 2**63 - 1)),
        ("int", "uint64", 2**64, (0, 2**63 - 1)),  # of which a column holds half
        ("timestamp", "datetime64[us]", 2**70, (-(2**63), 2**63 - 1)),
        ("float", "float32", 1e300, (-GREATEST, GREATEST)),
        ("float", "float16", 1e300, (-65504.0, 65504.0)),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_a_bound_beyond_the_dtype_is_the_last_value_that_it_holds(
    kind: Any, dtype: str, beyond: float, legal: Any, closed: bool
) -> None:
    facts = {"min_value": -beyond, "max_value": beyond, "include_min": closed}
    check = Check("in_range", {**facts, "include_max": closed}, "in_range")
    schema = ColumnSchema("x", kind, dtype, checks=(check,))
    assert legal_bounds(schema) == legal
    assert clip_bounds(schema, "float32") == legal


def test_clip_gives_no_value_that_overflows_in_training() -> None:
    check = Check("in_range", {"min_value": -1e300, "max_value": 1e300}, "in_range")
    assert legal_bounds(schema_of("float", check)) == (-1e300, 1e300)
    assert clip_bounds(schema_of("float", check), "float16") == (-65504.0, 65504.0)
    plan = plan_of("float", [1.7e9 + i for i in range(9)], "clip", check)
    assert plan.shift
    assert (plan.lower, plan.upper) == (-GREATEST, GREATEST)


def test_clip_of_a_narrow_integer_stays_in_it() -> None:
    schema = ColumnSchema("x", "int", "int8", checks=(Check("le", {"max_value": 1000}, "le"),))
    plan = plan_column(schema, summary_of("int", [4]), RepairSettings(columns={"x": "clip"}))
    cells = column("int", [np.iinfo(np.int64).max], [INF])
    assert repair(cells, plan, inf=[0])[0] == [127]


SUBNORMAL = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({{
    "x": pa.Column("{dtype}", pa.Check.gt(0)),
    "y": pa.Column("{dtype}", pa.Check.lt(0)),
    "label": pa.Column(int, pa.Check.isin([0, 1])),
}})
"""


@pytest.mark.parametrize("policy", ["median", "clip"])
@pytest.mark.parametrize(
    ("dtype", "cell"),
    [("float64", 1e-310), ("Float64", 5e-324), ("float32", 1e-40), ("Float32", 1.5e-45)],
)
def test_a_published_bound_lets_pass_what_the_schema_does(
    make_job: Callable[..., Path], tmp_path: Path, dtype: str, cell: float, policy: str
) -> None:
    rows = "".join(f"{i or cell},-{i or cell},{i % 2}\n" for i in range(60))
    job = JOB.replace("[train]", f'[repair]\nnumeric = "{policy}"\n[train]')
    path = make_job("x,y,label\n" + rows, job, SUBNORMAL.format(dtype=dtype))
    result = run_job(path, out=tmp_path / "out", until="shards")
    assert result.ledger.rows["clean"] == 60
    assert result.ledger.cells["repaired"] == 0
    assert verify_dataset(tmp_path / "out", deep=True).problems == ()


def next_of_zero(dtype: str, *, up: bool) -> float:
    """Return the smallest subnormal number, by its exponent, or the negative of it."""
    exponent = {"float16": -24, "float32": -149, "float64": -1074}[dtype]
    return 2.0**exponent if up else -(2.0**exponent)


def test_the_tightest_of_several_bounds_counts() -> None:
    tight = Check("in_range", {"min_value": 2, "max_value": 30}, "in_range")
    assert legal_bounds(schema_of("float", RANGE, tight)) == (2.0, 10.0)
    assert clip_bounds(schema_of("float", RANGE, tight), "float32") == (2.0, 10.0)


def test_an_open_bound_of_a_narrow_float_is_legal_in_its_own_type() -> None:
    bound = float(np.float32(0.1))
    narrow = ColumnSchema(
        "x", "float", "float32", checks=(Check("gt", {"min_value": bound}, "gt"),)
    )
    lower, _ = legal_bounds(narrow)
    assert lower == clip_bounds(narrow, "float32")[0]
    assert np.float32(lower) > np.float32(bound)


def next_of(dtype: str, bound: float, *, up: bool) -> float:
    """Return the smallest normal value of the dtype beyond a bound, found by its bits."""
    bits = {"float16": np.int16, "float32": np.int32, "float64": np.int64}[dtype]
    typed = np.array([bound], dtype)
    return float((typed.view(bits) + (1 if up == (bound > 0) else -1)).view(dtype)[0])


@pytest.mark.parametrize("column_dtype", ["float64", "float32"])
@pytest.mark.parametrize("training", ["float32", "float16"])
@pytest.mark.parametrize(("check", "up"), [("gt", True), ("lt", False)])
@pytest.mark.parametrize("bound", [0.0, 2.0, -0.5])
def test_an_open_bound_is_still_beyond_after_the_cast(
    column_dtype: str, training: str, check: str, up: bool, bound: float
) -> None:
    name = "min_value" if up else "max_value"
    schema = ColumnSchema("x", "float", column_dtype, checks=(Check(check, {name: bound}, check),))
    found = clip_bounds(schema, training)[0 if up else 1]
    assert found is not None
    cast = np.array([found]).astype(training)[0]
    assert cast > bound if up else cast < bound
    assert abs(cast) >= np.finfo(training).tiny  # TensorFlow takes a smaller one for 0
    if bound:
        assert found == next_of(training, bound, up=up)


def test_bounds_that_lie_closer_than_the_training_dtype_keep_the_column_s_own() -> None:
    facts = {"min_value": 1e8, "max_value": 1e8 + 1, "include_min": False, "include_max": False}
    low, high = clip_bounds(schema_of("float", Check("in_range", facts, "in_range")), "float32")
    assert low is not None
    assert high is not None
    assert 1e8 < low < high < 1e8 + 1


@pytest.mark.parametrize("kind", ["float", "int", "timestamp"])
def test_an_infinite_bound_is_none(kind: Any) -> None:
    open_ended = Check("in_range", {"min_value": -np.inf, "max_value": np.inf}, "in_range")
    assert legal_bounds(schema_of(kind, open_ended)) == (None, None)
    assert clip_bounds(schema_of(kind, open_ended), "float32") == (None, None)


def test_a_shifted_column_keeps_the_resolution_that_the_shift_saves() -> None:
    base = 1.7e9
    values = [base + 0.25 * i for i in range(1, 9)]
    plan = plan_of("float", values, "clip", Check("gt", {"min_value": base}, "gt"))
    assert plan.shift
    assert isinstance(plan.lower, float)
    assert base < plan.lower < base + 1e-6


def test_the_rules_of_range_are_told_by_the_check_and_not_by_its_name() -> None:
    own = Check("less_than", kernel=None)
    named = Check("my_bound", {"max_value": 10}, "le")
    warns = Check("in_range", {"min_value": 0, "max_value": 1}, "in_range", warns=True)
    rules = list_range_rules(schema_of("float", GE, own, named, warns))
    assert rules == {"inf", "overflow", "greater_than_or_equal_to", "my_bound"}
    both = Check("greater_than_or_equal_to", kernel=None)
    assert list_range_rules(schema_of("float", GE, both)) == {"inf", "overflow"}
