"""A pandera schema to plain values, or a refusal by name."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow
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
    "default beyond an int": pa.Column("int8", default=300),
    "default beyond a float": pa.Column("float32", default=1e39),
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


REFUSED_OF_A_FRAME = {
    "hypothesis": {"checks": pa.Hypothesis.one_sample_ttest(popmean=1.0)},
    "groupby": {"checks": Check(lambda groups: groups, groupby="x", name="grouped")},
    "unique": {"unique": ["x", "z"]},
}


@pytest.mark.parametrize("facts", REFUSED_OF_A_FRAME.values(), ids=REFUSED_OF_A_FRAME)
def test_a_frame_s_own_rules_are_refused_where_they_say_nothing_of_a_row(facts: Any) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float)}, **facts)
    with pytest.raises(SchemaError, match="the schema"):
        compile_schema(schema)


def test_a_hypothesis_test_of_a_column_is_refused_by_name() -> None:
    test = pa.Hypothesis.one_sample_ttest(popmean=1.0)
    with pytest.raises(SchemaError, match=f"{test.name}' is a hypothesis test"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(float, test)}))


@pytest.mark.parametrize("thing", [42, "table", pd.DataFrame(), type("Plain", (), {})])
def test_what_is_no_schema_is_refused(thing: Any) -> None:
    with pytest.raises(SchemaError, match="which is no schema"):
        compile_schema(thing)


def test_two_ways_to_report_duplicates_are_refused() -> None:
    columns = {
        "a": pa.Column(int, unique=True, report_duplicates="exclude_first"),
        "b": pa.Column(int, unique=True),
    }
    with pytest.raises(SchemaError, match="report_duplicates"):
        compile_schema(pa.DataFrameSchema(columns))


def test_a_schema_of_the_index_is_refused_for_a_file_has_none() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float)}, index=pa.Index(int, Check.ge(0)))
    with pytest.raises(SchemaError, match="the schema has an index"):
        compile_schema(schema)


@pytest.mark.parametrize("name", ["unique", "missing", "fill", "class_unseen", "is_monotonic"])
def test_a_check_that_bears_the_name_of_a_rule_of_ours_is_refused(name: str) -> None:
    check = Check(lambda s: s > 0, name=name)
    with pytest.raises(SchemaError, match=f"is called '{name}'"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(float, check)}))
    with pytest.raises(SchemaError, match=f"is called '{name}'"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(float)}, checks=check))


def test_a_built_in_check_is_a_kernel_whatever_it_is_called() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float, Check.ge(0, name="mine"))})
    (check,) = compile_schema(schema)["x"].checks
    assert (check.name, check.kernel) == ("mine", "ge")


def test_an_order_of_another_column_is_refused() -> None:
    for schema in (
        pa.DataFrameSchema({"x": pa.Column(int, Check.is_monotonic("y")), "y": pa.Column(int)}),
        pa.DataFrameSchema({"x": pa.Column(int)}, checks=Check.is_monotonic("z")),
    ):
        with pytest.raises(SchemaError, match=r"names '[yz]'"):
            compile_schema(schema)


def test_a_column_whose_name_is_no_text_is_refused() -> None:
    with pytest.raises(SchemaError, match="calls a column 0"):
        compile_schema(pa.DataFrameSchema({0: pa.Column(float)}))
    with pytest.raises(SchemaError, match="unique names 0"):
        compile_schema(pa.DataFrameSchema({"x": pa.Column(float)}, unique=[0, "x"]))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "+02:00"])
def test_the_times_of_any_zone_can_be_read_back_by_pandas(zone: str) -> None:
    native = pd.DatetimeTZDtype("us", zone)
    dtype = compile_schema(pa.DataFrameSchema({"x": pa.Column(native)}))["x"].dtype
    named = dtype.partition(",")[2].strip(" ]")
    times = pyarrow.array([0], pyarrow.timestamp("us", named)).to_pandas()
    assert times[0].utcoffset() == pd.Timestamp(0, tz=zone).utcoffset()
