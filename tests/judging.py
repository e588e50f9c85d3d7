"""Columns and their verdict, as the tests of the judge write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandera.pandas as pa

from pipeline.arrow import strings
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, VALUE_DTYPES, Column
from pipeline.validate import bind_schema, compile_schema, judge_columns

KINDS = {
    "float64": "float", "float32": "float", "Float64": "float",
    "int64": "int", "int8": "int", "Int64": "int",
    "bool": "bool", "boolean": "bool", "str": "string", "datetime64[us]": "timestamp",
}  # fmt: skip

LIMIT = 3.4028235677973366e38  # the smallest float64 that float32 rounds to infinity
STATES = [OK, MISSING, NAN, INF, TYPE]
BLANK: dict[str, Any] = {
    "float": [1.0, np.nan, np.nan, np.inf, np.nan],
    "int": [1, 0, 0, np.iinfo(np.int64).max, 0],
    "bool": [True, False, False, False, False],
    "string": ["1", None, None, None, None],
    "timestamp": [1, 0, 0, np.iinfo(np.int64).max, 0],
}


def column(kind: Any, cells: Any, states: Any = None) -> Column:
    found = None if states is None else np.array(states, np.uint8)
    if kind == "string":
        return Column(kind, strings(cells), found)
    return Column(kind, np.array(cells, VALUE_DTYPES[kind]), found)


def judge(
    schema: Any, columns: dict[str, Column], dtype: str = "float32"
) -> list[tuple[str | None, str, list[int]]]:
    compiled = bind_schema(compile_schema(schema), list(columns))
    found = judge_columns(columns, compiled, training_dtype=dtype, pandera_schema=schema)
    return [(finding.column, finding.rule, finding.positions.tolist()) for finding in found]


def rules(dtype: Any, cells: Any, *checks: Any, states: Any = None, **facts: Any) -> dict[str, Any]:
    """Return rule to positions of one column `x`."""
    schema = pa.DataFrameSchema({"x": pa.Column(dtype, list(checks), **facts)})
    kind = compile_schema(schema).columns[0].kind
    training = "float32"
    found = judge(schema, {"x": column(kind, cells, states)}, training)
    return {rule: positions for _, rule, positions in found}
