"""What of an Arrow table becomes an Example, and what is refused by name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import ShardError, UsageError
from pipeline.write import write_examples
from pipeline.write.columns import Ragged, to_values
from pipeline.write.decode import decode_examples
from pipeline.write.table import encode_table
from pipeline.write.tfrecord import encode_examples


def values_of(array: pa.Array) -> list[Any]:
    values = to_values("c", array)
    assert isinstance(values, np.ndarray)
    return list(values.tolist())


TENSORS = pa.fixed_shape_tensor(pa.float64(), [2, 3], permutation=[1, 0])


def tensors(rows: list[list[float | None]]) -> pa.Array:
    return pa.ExtensionArray.from_storage(TENSORS, pa.array(rows, TENSORS.storage_type))


REFUSED = {
    "a null": (pa.array([1, None, None]), "2 of 3 cells are null"),
    "a null string": (pa.array(["a", None]), "1 of 2 cells are null"),
    "nothing but nulls": (pa.nulls(2), "2 of 2 cells are null"),
    "a null in a list": (pa.array([[1, None]], pa.list_(pa.int8(), 2)), "1 of 2 cells are null"),
    "a null in a tensor": (tensors([[1, 2, None, 4, 5, 6]]), "1 of 6 cells are null"),
    "a null in a dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])),
        "1 of 2 cells are null",
    ),
    "a float too large": (pa.array([1.0, 3.5e38]), "1 values overflow float32"),
    "an int too large": (pa.array([2**63], pa.uint64()), "overflows int64"),
    "half a microsecond": (pa.array([500], pa.timestamp("ns")), "microseconds"),
    "a year too far": (pa.array([2**62], pa.timestamp("s")), "microseconds"),
    "a list of any length": (pa.array([[1], [2, 3]]), "no place for list<"),
    "strings in a list": (pa.array([["a"]], pa.list_(pa.string(), 1)), "no place for fixed_size_"),
    "a struct": (pa.array([{"a": 1}]), "no place for struct<"),
    "a decimal": (pa.array([Decimal("1.5")]), "no place for decimal"),
    "a duration": (pa.array([dt.timedelta(1)]), "no point in time"),
}


@pytest.mark.parametrize(("array", "what"), REFUSED.values(), ids=REFUSED)
def test_what_an_example_cannot_hold_is_refused_by_the_column_s_name(
    tmp_path: Path, array: pa.Array, what: str
) -> None:
    table = pa.table({"fine": range(len(array)), "wrong one": array})
    with pytest.raises(ShardError, match=f"column 'wrong one': .*{what}") as caught:
        write_examples(tmp_path / "t", table)
    assert caught.value.fields["column"] == "wrong one"
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(ShardError, match="column 'a': there are several"):
        list(encode_table(table))


def test_a_record_longer_than_protobuf_can_be_trusted_with_is_refused() -> None:
    # Nobody reads the bytes: there are none.
    values = Ragged(np.array([0, 5, 2**30]), np.zeros(0, np.uint8))
    with pytest.raises(ShardError, match=r"1,073,741,8\d\d bytes is too long"):
        list(encode_examples({"a": values}))


def test_infinite_and_nan_floats_pass_as_they_are() -> None:
    found = to_values("c", pa.array([np.inf, -np.inf, np.nan, -0.0]))
    assert isinstance(found, np.ndarray)
    assert found.tobytes() == np.array([np.inf, -np.inf, np.nan, -0.0], np.float32).tobytes()


def test_times_are_microseconds_since_1970() -> None:
    assert values_of(pa.array([1, -1], pa.date32())) == [86_400_000_000, -86_400_000_000]
    assert values_of(pa.array([2_000, -1_000], pa.timestamp("ns"))) == [2, -1]
    assert values_of(pa.array([1], pa.timestamp("s", "Asia/Tokyo"))) == [1_000_000]


def test_lists_of_a_slice_are_its_own(tmp_path: Path) -> None:
    lists = pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int16(), 2)).slice(1, 1)
    assert values_of(lists) == [[3, 4]]


def test_tensors_are_in_their_own_order_of_axes() -> None:
    array = tensors([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]])
    assert array.to_numpy_ndarray()[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert values_of(array) == [[1, 4, 2, 5, 3, 6], [7, 10, 8, 11, 9, 12]]
    assert values_of(array.slice(1)) == [[7, 10, 8, 11, 9, 12]]
    assert values_of(array.slice(0, 0)) == []


def test_a_table_in_batches_is_the_same_records_as_a_whole_one(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(6.0), "s": list("abcdef")})
    whole = write_examples(tmp_path / "whole", table)
    cut = pa.Table.from_batches(table.to_batches(max_chunksize=2))
    assert write_examples(tmp_path / "cut", cut).sha256 == whole.sha256
    assert pipeline.write_examples(tmp_path / "read", cut.to_reader()).sha256 == whole.sha256


def test_batches_and_chunks_are_cut_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"s": ["x" * 60] * 11, "n": range(11)})
    whole = b"".join(encode_table(table))
    monkeypatch.setattr("pipeline.write.table.PART_BYTES", 250)
    in_batches = list(encode_table(table))
    monkeypatch.undo()
    monkeypatch.setattr("pipeline.write.tfrecord.CHUNK_BYTES", 250)
    monkeypatch.setattr("pipeline.write.tfrecord.CHUNK_BYTES_PER_FEATURE", 1)
    in_chunks = list(encode_table(table))
    for parts in (in_batches, in_chunks):
        assert len(parts) > 3
        assert b"".join(parts) == whole


def test_a_long_record_stands_among_short_ones(tmp_path: Path) -> None:
    texts = ["x" * 60] * 5 + ["y" * 5_000_000] + [""] * 5
    write_examples(tmp_path / "t", pa.table({"s": texts}))
    parts = [columns["s"].to_pylist() for columns in decode_examples(tmp_path / "t")]
    assert [text.decode() for part in parts for text in part] == texts


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_unless_asked_for(tmp_path: Path, value: float) -> None:
    table, path = pa.table({"n": [1, 2], "x": [1.0, value]}), tmp_path / "a.tfrecord"
    with pytest.raises(ShardError, match="column 'x': 1 values are not finite"):
        write_examples(path, table)
    assert not path.exists()
    write_examples(path, table, allow_nonfinite=True)
    assert path.exists()


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    with pytest.raises(UsageError, match="a dict is no Arrow table"):
        write_examples(path, {"x": [1]})  # type: ignore[arg-type]
    with pytest.raises(ShardError, match="without columns"):
        write_examples(path, pa.table({"x": [1]}).select([]))
    with pytest.raises(UsageError, match="is a URL"):
        write_examples("memory://a.tfrecord", pa.table({"x": [1]}))
    batch = pa.table({"x": [1]}).to_batches()[0]
    assert write_examples(path, batch) == write_examples(path, pa.table({"x": [1]}))
