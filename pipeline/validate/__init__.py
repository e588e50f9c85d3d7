"""Batch to verdict: which cell breaks which rule. Only this package imports pandera.

compile.py          a pandera schema to plain values
checks.py           its checks
dtypes.py           its dtypes
plain.py            its checks' arguments
bind.py             to the columns that the files really have
parse.py            its defaults, and its parsers
judge.py            every rule that every cell breaks
rules.py            every rule that cells and rows can break
kernels.py          the built-in checks, on whole columns
pandera_checks.py   what only pandera can decide
pandera_parsers.py  what only pandera can parse
row_wise.py         how a schema's own functions are run, and held to looking at one row
series.py           columns as such functions take them
between.py          what one parser left, as the next one is given it
cells.py            what a parser made of a column
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pipeline.validate.bind import bind_schema
from pipeline.validate.judge import judge_columns
from pipeline.validate.parse import DEFAULT, PARSER, parse_columns
from pipeline.validate.rules import describe_rules, list_cell_rules, list_row_parsers

if TYPE_CHECKING:
    from pipeline.schema import Schema

__all__ = [
    "DEFAULT",
    "PARSER",
    "bind_schema",
    "compile_schema",
    "describe_rules",
    "judge_columns",
    "list_cell_rules",
    "list_row_parsers",
    "parse_columns",
]


# pandera reads it when a schema's module imports it, and refuses to load for any other value.
_DEPTHS = frozenset({"SCHEMA_ONLY", "DATA_ONLY", "SCHEMA_AND_DATA"})
if os.environ.get("PANDERA_VALIDATION_DEPTH") not in _DEPTHS:
    os.environ.pop("PANDERA_VALIDATION_DEPTH", None)


def compile_schema(schema: Any) -> Schema:
    """Turn a pandera `DataFrameModel` or `DataFrameSchema` into plain values.

    Raises:
        SchemaError: It is neither, or holds what cannot be judged row by row.
    """
    # Importing pandera takes 0.7 s, and a worker whose kernels decide everything needs none.
    from pipeline.validate.compile import compile_pandera

    return compile_pandera(schema)
