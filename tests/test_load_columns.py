"""Whether a table has the columns that a schema asks for, and what to do where it has not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.load import Table, check_columns
from pipeline.schema import ColumnSchema, Schema
from tests.reading import find_source


def make_schema(*names: str, **options: bool) -> Schema:
    return Schema(
        "test", tuple(ColumnSchema(name, "float", "float64") for name in names), **options
    )


def find_columns(folder: Path, header: str) -> Table:
    (folder / "a.csv").write_text(header + "\n")
    return find_source(folder / "a.csv").table


def test_a_file_with_all_columns_and_more_is_legal(tmp_path: Path) -> None:
    check_columns(find_columns(tmp_path, "more,b,a"), make_schema("a", "b"))


@pytest.mark.parametrize(
    ("header", "name", "advice"),
    [
        ("Size,b", "size", "did you mean 'Size'"),
        ("sise,b", "size", "did you mean 'sise'"),
        ("a;size;b", "size", "set data.csv.delimiter"),
        ("x,y", "size", "add the column"),
    ],
)
def test_an_absent_column_is_an_error_with_advice(
    tmp_path: Path, header: str, name: str, advice: str
) -> None:
    with pytest.raises(InputError, match=r"a\.csv: the column 'size' is missing") as caught:
        check_columns(find_columns(tmp_path, header), make_schema(name))
    assert advice in (caught.value.fix or "")


@pytest.mark.parametrize("options", [{"required": False}, {"nullable": True}])
def test_an_optional_or_nullable_column_may_be_absent(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    schema = Schema("test", (ColumnSchema("a", "float", "float64", **options),))
    check_columns(find_columns(tmp_path, "b"), schema)


def test_a_strict_schema_refuses_what_it_does_not_name(tmp_path: Path) -> None:
    table = find_columns(tmp_path, "a,b,c")
    with pytest.raises(InputError, match="2 columns that the strict schema") as caught:
        check_columns(table, make_schema("a", strict=True))
    assert caught.value.fields["columns"] == ["b", "c"]
    check_columns(table, make_schema("a", strict=True), ["b", "c"])


def test_an_ordered_schema_wants_its_order(tmp_path: Path) -> None:
    schema = make_schema("a", "b", "c", ordered=True)
    check_columns(find_columns(tmp_path, "a,more,b,c"), schema)
    with pytest.raises(InputError, match="'a' stands after 'b'") as caught:
        check_columns(find_columns(tmp_path, "b,a,c"), schema)
    assert caught.value.fix


@pytest.mark.parametrize("type_", [pa.list_(pa.int64()), pa.list_(pa.int64(), 1)])
def test_lists_where_the_schema_has_plain_values_are_an_error(
    tmp_path: Path, type_: pa.DataType
) -> None:
    pq.write_table(pa.table({"a": pa.array([[1]], type_)}), tmp_path / "a.parquet")
    source = find_source(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="the column 'a' holds") as caught:
        check_columns(source.table, make_schema("a"))
    assert caught.value.fix
    check_columns(source.table, make_schema())


@pytest.mark.parametrize("names", [("a", "b"), ("a;b",), ("1", "2")])
def test_what_a_data_frame_lacks_is_not_looked_for_in_a_file(names: tuple[str, ...]) -> None:
    table = Table("the DataFrame", names, form="DataFrame")
    with pytest.raises(InputError, match="the DataFrame: the column 'size' is missing") as caught:
        check_columns(table, make_schema("size"))
    assert str(caught.value.fix).startswith("add the column to the DataFrame")


@pytest.mark.parametrize(
    "table",
    [
        Table("the DataFrame", ("a", "b"), form="DataFrame"),
        Table("the DataFrame", ("a",), repeated=(("a", ("a.1",)),), form="DataFrame"),
    ],
)
def test_a_data_frame_has_no_job_to_change(table: Table) -> None:
    with pytest.raises(InputError, match="the DataFrame") as caught:
        check_columns(table, make_schema("a", strict=True))
    assert "data.ignore" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "end"), [(12, "'c11'"), (13, "'c11' and 1 more"), (40, "28 more")]
)
def test_of_many_columns_the_first_twelve_are_told(count: int, end: str) -> None:
    table = Table("a.parquet", tuple(f"c{i}" for i in range(count)))
    with pytest.raises(InputError) as caught:
        check_columns(table, make_schema("size"))
    assert str(caught.value.got).startswith("'c0', 'c1', ")
    assert str(caught.value.got).endswith(end)
