"""What random tables are made of: dtypes, texts clean and dirty, and the arguments of checks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from tests.oracle_cells import Value, read_cell

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


def own_values(dtype: str, cells: Sequence[str]) -> list[Any]:
    """Return the distinct values among a column's texts."""
    native = pa.Column(DTYPES[dtype]).dtype.type
    read = [read_cell(text, native) for text in cells]
    own = list(dict.fromkeys(cell.plain for cell in read if isinstance(cell, Value)))
    if KINDS[dtype] != "timestamp":
        return own
    zone = getattr(native, "tz", None)
    return [pd.Timestamp(np.datetime64(value, "us"), tz=zone) for value in own]


def other_values(dtype: str) -> list[Any]:
    """Return values for the checks of a column; some are none of its dtype."""
    kind = KINDS[dtype]
    if kind != "timestamp":
        others: dict[str, list[Any]] = {"bool": [True, False], "string": WORDS}
        return others.get(kind, NUMBERS)
    zone = getattr(pa.Column(DTYPES[dtype]).dtype.type, "tz", None)
    return [pd.Timestamp(text, tz=zone) for text in TIMES]


def make_default(pick: Random, dtype: str) -> Any:
    """Return a value that a column of the dtype can hold."""
    kind = KINDS[dtype]
    if kind == "timestamp":
        return pick.choice(other_values(dtype)[:4])
    known: dict[str, list[Any]] = {
        "float": [0.0, 1, 2.5, -7.0], "int": [0, 1, 5.0, 200], "bool": [True, False],
        "string": ["a", "zz", "É", "1"],
    }  # fmt: skip
    return pick.choice(known[kind])


def make_arguments(
    pick: Random, name: str, own: list[Any], others: list[Any]
) -> dict[str, Any] | None:
    """Return a check's arguments by name; None where pandera would refuse them.

    Args:
        pick: The randomness.
        name: The attribute of `pandera.Check`.
        own: The column's own values.
        others: Values that it need not hold.
    """
    values = own * 2 + others
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
        case "unique_values_eq":
            chosen = own if pick.random() < 0.7 else pick.sample(own, (len(own) + 1) // 2)
            return {"values": chosen} if own else None
    return {"max_value" if name in ("lt", "le") else "min_value": value}


def make_list(pick: Random, values: list[Any], most: int) -> list[Any]:
    """Return some of the values; beside a float, pandas would round an int beyond 2**53."""
    listed = pick.choices(values, k=pick.randint(0, most))
    if all(isinstance(value, int) for value in listed):
        return listed
    return [value for value in listed if not isinstance(value, int) or abs(value) <= 2**53]
