"""A pandera schema to plain values, or a refusal by name."""

from __future__ import annotations

from typing import Any

import pandera.pandas as pa
import pytest

from pipeline.errors import SchemaError
from pipeline.validate import bind_schema, compile_schema

Check = pa.Check
REFUSED = {
    "groups": pa.Column(float, Check(lambda g: True, groupby="x", name="grouped")),
    "values of another type": pa.Column(float, Check.unique_values_eq(["a"])),
    "no dtype": pa.Column(None),
    "timedelta": pa.Column("timedelta64[ns]"),
    "default of another type": pa.Column(int, default="none"),
    "infinite default": pa.Column(float, default=float("inf")),
}


@pytest.mark.parametrize("column", REFUSED.values(), ids=REFUSED)
def test_what_is_no_statement_about_rows_is_refused_before_the_data(column: Any) -> None:
    with pytest.raises(SchemaError, match="'x'"):
        compile_schema(pa.DataFrameSchema({"x": column}))


def test_patterns_name_columns_that_no_other_has_named() -> None:
    schema = pa.DataFrameSchema({"a_1": pa.Column(int), "^a_": pa.Column(float, regex=True)})
    bound = bind_schema(compile_schema(schema), ["a_1", "a_2", "b"])
    assert [(column.name, column.kind) for column in bound.columns] == [
        ("a_1", "int"),
        ("a_2", "float"),
    ]


@pytest.mark.parametrize("dtype", ["date", pa.Decimal(10, 2), "float128"], ids=str)
def test_a_type_that_would_go_unjudged_is_refused(dtype: Any) -> None:
    with pytest.raises(SchemaError, match="no feature or label"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(dtype)}))


def test_a_schema_that_pandera_cannot_build_is_the_users_to_mend() -> None:
    class Broken(pa.DataFrameModel):
        x: float

        @pa.check("nowhere")
        def f(cls, cells: Any) -> Any:  # noqa: N805 - as pandera has it
            return cells > 0

    with pytest.raises(SchemaError, match="nowhere"):
        compile_schema(Broken)
    with pytest.raises(SchemaError, match="regular expression"):
        compile_schema(pa.DataFrameSchema({"[an": pa.Column(float, regex=True)}))
