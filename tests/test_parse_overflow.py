"""A finite value that its narrow column cannot hold overflows, whatever parsers stand between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from pipeline.batch import Column as BatchColumn
from pipeline.validate import compile_schema, parse_columns
from tests.test_parse import judge_cells, list_reasons

Column, Parser = pa.Column, pa.Parser


UNTOUCHED = {
    "parser": {"parsers": Parser(lambda s: s)},
    "two parsers": {"parsers": [Parser(lambda s: s * 2), Parser(lambda v: v, element_wise=True)]},
    "default": {"default": 1.5},
}


@pytest.mark.parametrize(("dtype", "beyond"), [("float32", "1e39"), ("float16", "-65520")])
@pytest.mark.parametrize("facts", UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_the_dtype_cannot_hold_overflows_behind_a_parser_too(
    facts: Any, dtype: str, beyond: str
) -> None:
    assert judge_cells([beyond, "1", "inf", "1e300"], Column(dtype, **facts)) == [
        (0, "overflow"),
        (2, "inf"),
        (3, "overflow"),
    ]


def test_what_the_dtype_cannot_hold_overflows_behind_a_parser_of_rows() -> None:
    columns = {"a": Column("float32"), "b": Column("float32")}
    schema = pa.DataFrameSchema(columns, parsers=Parser(lambda df: df.assign(b=-df["b"])))
    frame = pd.DataFrame({"a": ["1e39", "1"], "b": ["1e39", "inf"]})
    assert list_reasons(frame, schema) == [
        (0, "a", "overflow"),
        (0, "b", "overflow"),
        (1, "b", "inf"),
    ]


def test_what_a_parser_leaves_infinite_is_handed_on_as_it_was_read() -> None:
    schema = pa.DataFrameSchema({"x": Column("float32", parsers=Parser(lambda s: s.clip(lower=0)))})
    cells = {"x": BatchColumn("float", np.array([1e39, -1e39, 0.1]))}
    parsed = parse_columns(cells, compile_schema(schema), schema)
    assert parsed.columns["x"].values.tolist() == [1e39, 0.0, float(np.float32(0.1))]
    assert {key: rows.tolist() for key, rows in parsed.changed.items()} == {("x", "parser"): [1]}
