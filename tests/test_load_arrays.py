"""Tensors, and what is worked out of them, in files of arrays of any format."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy

from pipeline.load import (
    arrays,
    plan_partitions,
    read_partition,
)
from pipeline.load.tensors import list_derived, measure, tensor_columns
from tests.arrays import (
    IMAGES,
    list_tensors,
    make_idx,
    read_npy,
    write_idx,
)
from tests.reading import WHOLE, find_source, make_reading, read_source

ARRAYS = {
    "bytes": np.arange(120, dtype=np.uint8).reshape(5, 4, 3, 2),
    "big-endian": np.linspace(-1, 1, 60).reshape(5, 4, 3).astype(">f4"),
    "fortran": np.asfortranarray(np.arange(60, dtype=np.int16).reshape(5, 4, 3)),
    "halves": np.linspace(0, 1, 15, dtype=np.float16).reshape(5, 3),
    "large": np.full((5, 2), 2**64 - 1, np.uint64),
    "deep": np.arange(5 * 16).reshape(5, 2, 2, 2, 2),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_tensor_is_its_little_endian_bytes_in_c_order(tmp_path: Path, kind: str) -> None:
    array = ARRAYS[kind]
    rows = read_npy(tmp_path, array)
    dtype = array.dtype.name
    source = find_source(tmp_path / "a.npy")
    assert source.tensors == (("array", dtype),)
    assert source.shapes == (("array", array.shape[1:]),)
    np.testing.assert_array_equal(list_tensors(rows, "array", dtype, array.shape[1:]), array)
    assert (rows.ids, rows.lines) == ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5])


@pytest.mark.parametrize("kind", ARRAYS)
def test_derived_columns_are_those_of_numpy(tmp_path: Path, kind: str) -> None:
    array = ARRAYS[kind]
    carried = read_npy(tmp_path, array).carried
    flat = array.reshape(5, -1).astype(np.float64)
    for name in ("min", "max", "mean", "std"):
        expected = getattr(np, name)(flat, axis=1)
        assert carried[f"array_{name}"] == pytest.approx(expected, rel=1e-9, abs=1e-9), name
    if array.ndim in (3, 4):
        sizes = [carried[f"array_{axis}"] for axis in ("height", "width", "channels")]
        assert set(zip(*sizes, strict=True)) == {(*array.shape[1:], 1)[:3]}
    else:
        assert carried["array_size"] == [math.prod(array.shape[1:])] * 5


def test_booleans_are_bytes_of_zero_and_one(tmp_path: Path) -> None:
    array = np.array([[True, False], [True, True]])
    assert read_npy(tmp_path, array).carried["array"] == [b"\1\0", b"\1\1"]
    assert find_source(tmp_path / "a.npy").tensors == (("array", "uint8"),)


def test_a_boolean_of_any_byte_but_zero_is_true(tmp_path: Path) -> None:
    spoilt = np.array([[0, 2], [255, 1]], np.uint8).view(bool)
    carried = read_npy(tmp_path, spoilt).carried
    assert carried["array"] == [b"\0\1", b"\1\1"]
    assert (carried["array_max"], carried["array_mean"]) == ([1, 1], [0.5, 1])
    assert carried == read_npy(tmp_path, np.array([[False, True], [True, True]])).carried


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_column_of_booleans_is_true_by_any_byte_but_zero(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", x=np.array([0, 2, 255, 1], np.uint8).view(bool))
    rows = read_source(find_source(tmp_path / "a.npz"), make_reading({"x": "bool"}))
    assert rows.columns["x"] == [False, True, True, True]


def test_equal_bytes_of_another_shape_or_dtype_have_another_digest() -> None:
    row = np.arange(4, dtype=np.uint8)
    tensors = [row.reshape(1, 4), row.reshape(1, 2, 2), row.view("i1")[None], row.view("<u2")[None]]
    digests = {tensor_columns("x", tensor)["x_digest"][0].as_py() for tensor in tensors}
    assert len(digests) == 4


def test_values_that_are_not_finite_are_counted_and_left_out(tmp_path: Path) -> None:
    array = np.array([[1, np.nan, 3], [np.inf, -np.inf, 7], [np.nan] * 3, [0.1] * 3])
    carried = read_npy(tmp_path, array).carried
    assert carried["array_nonfinite"] == [1, 2, 3, 0]
    assert carried["array_mean"][:2] == [2, 7]
    assert carried["array_std"][:2] == [1, 0]
    assert [carried[f"array_{n}"][3] for n in ("min", "max", "mean", "std")] == [0.1] * 3 + [0]
    assert all(math.isnan(carried[f"array_{n}"][2]) for n in ("min", "max", "mean", "std"))


def test_a_row_larger_than_a_piece_is_measured_whole() -> None:
    row = np.random.default_rng(0).normal(5, 2, (2, (1 << 20) + 7)).astype(np.float32)
    row[1, -1] = np.nan
    low, high, mean, std, nonfinite = measure(row)
    wide = row.astype(np.float64)
    np.testing.assert_array_equal(low, np.nanmin(wide, axis=1))
    np.testing.assert_array_equal(high, np.nanmax(wide, axis=1))
    np.testing.assert_allclose(mean, np.nanmean(wide, axis=1), rtol=1e-12)
    np.testing.assert_allclose(std, np.nanstd(wide, axis=1), rtol=1e-12)
    assert nonfinite.tolist() == [0, 1]


def test_the_largest_floats_overflow_without_a_warning(tmp_path: Path) -> None:
    array = np.full((1, 3), np.finfo(np.float64).max)
    array[0, 1] *= -1
    carried = read_npy(tmp_path, array).carried
    assert carried["array_max"] == [np.finfo(np.float64).max]
    assert carried["array_nonfinite"] == [0]


@pytest.mark.parametrize(
    ("name", "num_parts"),
    [("a.npy", 10), ("plain.npz", 13), ("packed.npz", 1), (IMAGES, 13), (f"{IMAGES}.gz", 1)],
)
def test_partitions_cover_all_rows_once_whatever_their_size(
    tmp_path: Path, name: str, num_parts: int
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (50, 20, 10), np.uint8)
    y = np.arange(50, dtype=np.uint8)
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "plain.npz", x=x, y=y)
    np.savez_compressed(tmp_path / "packed.npz", x=x, y=y)
    for packed in ("", ".gz"):
        labels = make_idx((50,), y.tobytes())
        write_idx(tmp_path, make_idx(x.shape, x.tobytes()), labels, packed)
    source = find_source(tmp_path / name)
    parts = plan_partitions([source], 1_000)
    assert len(parts) == num_parts
    assert [p.first_record for p in parts[1:]] == [p.stop_record for p in parts[:-1]]
    rows = read_source(source, make_reading({}), 1_000)
    assert rows == read_source(source, make_reading({}, batch_rows=7))
    tensor = source.tensors[0][0]
    np.testing.assert_array_equal(list_tensors(rows, tensor, "uint8", (20, 10)), x)
    assert rows.ids == list(range(50))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_array_comes_through_in_any_cut(data: st.DataObject) -> None:
    dtypes = st.one_of(
        numpy.boolean_dtypes(), numpy.integer_dtypes(), numpy.floating_dtypes(sizes=(16, 32, 64))
    )
    # One value a row is a plain column.
    shapes = numpy.array_shapes(min_dims=2, max_dims=5, max_side=5).filter(lambda s: s[1:] != (1,))
    array = data.draw(numpy.arrays(data.draw(dtypes), shapes))
    array = data.draw(st.sampled_from([array, np.asfortranarray(array)]))
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        save(path, x=array, place=np.arange(len(array)))
        source = find_source(path)
        reading = make_reading({"place": "int"}, batch_rows=data.draw(st.integers(1, 4)))
        rows = read_source(source, reading, data.draw(st.integers(1, 200)))
    ((_, dtype),) = source.tensors
    np.testing.assert_array_equal(list_tensors(rows, "x", dtype, array.shape[1:]), array)
    assert rows.columns["place"] == list(range(len(array)))
    flat = array.reshape(len(array), -1)
    assert rows.carried["x_nonfinite"] == (~np.isfinite(flat)).sum(axis=1).tolist()
    distinct = {row.tobytes() for row in np.ascontiguousarray(flat)}
    assert len(set(rows.carried["x_digest"])) == len(distinct)


@pytest.mark.parametrize(("name", "num_files"), [("a.npy", 1), ("a.npz", 1), (IMAGES, 2)])
def test_each_file_is_opened_once_for_what_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, num_files: int
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)))
    write_idx(tmp_path, make_idx((1, 1, 1), b"x"), make_idx((1,), b"x"))
    source = find_source(tmp_path / name)
    opening = Mock(side_effect=arrays.open_raw)
    monkeypatch.setattr(arrays, "open_raw", opening)
    assert arrays.add_arrays(source) == source
    assert opening.call_count == num_files


def test_batches_are_cut_by_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 3 << 19), np.uint8))
    (part,) = plan_partitions([find_source(tmp_path / "a.npy")], WHOLE)
    assert [len(batch) for batch in read_partition(part, make_reading({}))] == [2, 2, 1]


def test_derived_names_are_those_of_the_shape() -> None:
    assert [name.removeprefix("x_") for name in list_derived("x", (7,))] == [
        *("shape", "size", "min", "max", "mean", "std", "nonfinite", "digest")
    ]
    assert list(list_derived("x", (7, 5)))[1:4] == ["x_height", "x_width", "x_channels"]
