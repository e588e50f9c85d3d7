"""Arrays in .npy, .npz and IDX: rows, columns and tensors, and files that lie or are cut off."""

from __future__ import annotations

import gzip
import io
import math
import struct
import tracemalloc
import warnings
import zipfile
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy

from pipeline.errors import InputError
from pipeline.load import (
    Source,
    check_columns,
    list_sources,
    plan_partitions,
    read_partition,
    read_records,
)
from pipeline.load.tensors import list_derived, measure
from pipeline.schema import ColumnSchema, Schema
from tests.conftest import find_dataset
from tests.reading import COMMA, WHOLE, Rows, find_source, make_reading, read_source

Values = npt.NDArray[Any]
IMAGES, LABELS = "t-images-idx3-ubyte", "t-labels-idx1-ubyte"


def read_path(path: Path) -> Rows:
    return read_source(find_source(path), make_reading({}))


def read_npy(path: Path, array: Any) -> Rows:
    np.save(path / "a.npy", array)
    return read_path(path / "a.npy")


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def make_idx(shape: tuple[int, ...], data: bytes, code: int = 8) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + data


def write_idx(folder: Path, images: bytes, labels: bytes, packed: str = "") -> Path:
    for name, data in ((IMAGES, images), (LABELS, labels)):
        (folder / f"{name}{packed}").write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return folder / f"{IMAGES}{packed}"


def list_tensors(rows: Rows, name: str, dtype: str, shape: tuple[int, ...]) -> Values:
    data = b"".join(rows.carried[name])
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(-1, *shape)


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
    ("array", "type_", "cells"),
    [
        (np.array([1, 2], ">i4"), "int32", [1, 2]),
        (np.array([1.5, np.nan], np.float32), "float", [1.5, None]),
        (np.array([True, False]), "bool", [True, False]),
        (np.array(["a", "ü€"]), "string", ["a", "ü€"]),
        (np.array([b"a", b"\xff"]), "string", ["a", "\\xff"]),
        (
            np.array(["2024-01-02T03:04:05", "NaT"], "M8[s]"),
            "timestamp[s]",
            [datetime(2024, 1, 2, 3, 4, 5), None],
        ),
    ],
)
def test_an_array_of_one_axis_is_a_plain_column(
    tmp_path: Path, array: Values, type_: str, cells: list[Any]
) -> None:
    found = read_npy(tmp_path, array).carried["array"]
    assert [None if c != c else c for c in found] == cells  # NaN differs from itself
    source = find_source(tmp_path / "a.npy")
    assert (source.types, source.tensors) == ((("array", type_),), ())


def test_the_fields_of_a_structured_array_are_columns(tmp_path: Path) -> None:
    array = np.zeros(3, [("x", ">f8"), ("image", "u1", (2, 3)), ("label", "U4")])
    array["x"], array["label"] = [1, 2, 3], ["a", "b", "c"]
    array["image"] = np.arange(18).reshape(3, 2, 3)
    rows = read_npy(tmp_path, array)
    assert (rows.carried["x"], rows.carried["label"]) == ([1, 2, 3], ["a", "b", "c"])
    np.testing.assert_array_equal(list_tensors(rows, "image", "uint8", (2, 3)), array["image"])
    assert find_source(tmp_path / "a.npy").shapes == (("image", (2, 3)),)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_an_archive_are_columns_by_name(tmp_path: Path, save: Any) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    save(tmp_path / "a.npz", x=x, label=np.array(["p", "q", "p", "q"]), y=np.arange(4) / 2)
    rows = read_source(
        find_source(tmp_path / "a.npz"), make_reading({"label": "string", "x_max": "float"})
    )
    assert rows.columns == {"label": ["p", "q", "p", "q"], "x_max": [5, 11, 17, 23]}
    assert rows.carried["y"] == [0, 0.5, 1, 1.5]
    np.testing.assert_array_equal(list_tensors(rows, "x", "float32", (3, 2)), x)
    assert rows.texts["x"] == ["3x2x1 float32"] * 4


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


def test_rows_are_read_again_by_their_ids(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 2)), y=np.arange(9))
    part = plan_partitions([find_source(tmp_path / "a.npz")], 72)[1]
    found = read_records(part, np.array([4, 5]), make_reading({"y": "int"}))
    assert (found["y"].to_pylist(), found["_row"].to_pylist()) == (["4", "5"], [5, 6])


def test_batches_are_cut_by_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 3 << 19), np.uint8))
    (part,) = plan_partitions([find_source(tmp_path / "a.npy")], WHOLE)
    assert [len(batch) for batch in read_partition(part, make_reading({}))] == [2, 2, 1]


def test_an_array_without_a_row_is_a_table_without_a_row(tmp_path: Path) -> None:
    assert read_npy(tmp_path, np.zeros((0, 3, 3))).ids == []
    assert find_source(tmp_path / "a.npy").shapes == (("array", (3, 3)),)


def test_a_remote_archive_is_read_like_a_local_one() -> None:
    file = io.BytesIO()
    np.savez(file, x=np.arange(6).reshape(3, 2))
    with fsspec.open("memory://arrays/a.npz", "wb") as remote:
        remote.write(file.getvalue())
    (source,) = list_sources(["memory://arrays/a.npz"], Path(), COMMA)
    assert len(plan_partitions([source], 16)) == 3
    assert read_source(source, make_reading({}), 16).carried["x_max"] == [1, 3, 5]


class Trap:
    """Fails the test where it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_objects_are_refused_and_never_unpickled(tmp_path: Path, name: str) -> None:
    array = np.array([Trap()], object)
    np.savez(tmp_path / name, x=array) if name == "a.npz" else np.save(tmp_path / name, array)
    with pytest.raises(InputError, match="Python objects"):
        find_source(tmp_path / name)


def make_header(text: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text.encode()


REFUSED = {
    "no axis": (npy(np.float32(1)), "single value"),
    "no value": (npy(np.zeros((3, 0))), "no value in a row"),
    "complex": (npy(np.zeros((3, 2), complex)), "dtype complex128"),
    "text tensor": (npy(np.array([["a", "b"]])), "dtype <U1"),
    "durations": (npy(np.zeros(2, "m8[s]")), "dtype timedelta64"),
    "days": (npy(np.zeros(2, "M8[D]")), "dtype datetime64"),
    "nested": (npy(np.zeros(2, [("a", [("b", "i4")])])), "is of the dtype"),
    "cut off": (npy(np.zeros((3, 2)))[:-1], "not as long as its header says"),
    "two arrays": (npy(np.zeros(3)) * 2, "not as long as its header says"),
    "cut header": (npy(np.zeros(3))[:40], "ends too early"),
    "other file": (b"PK\3\4 no array", "does not begin"),
    "version": (b"\x93NUMPY\4\0" + npy(np.zeros(3))[8:], "does not begin"),
    "no dict": (make_header("[1, 2]"), "header that is not NumPy's"),
    "code": (make_header("__import__('os').abort()"), "header that is not NumPy's"),
    "nesting": (make_header("(" * 5000), "header that is not NumPy's"),
    "negative": (
        make_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}"),
        "header that is not NumPy's",
    ),
    "huge": (
        make_header("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 2)}"),
        "not as long as its header says",
    ),
    "huge row": (
        make_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 9999999999999)}"),
        "more than 256 MiB",
    ),
    "huge fortran": (
        make_header("{'descr': '<f4', 'fortran_order': True, 'shape': (9999999999999, 2)}"),
        "ascontiguousarray",
    ),
    "no unicode": (npy(np.array(["a"])).replace(b"a\0\0\0", b"a\0\0\xff"), "no Unicode"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_table_is_an_error_that_names_the_file(tmp_path: Path, kind: str) -> None:
    data, fault = REFUSED[kind]
    (tmp_path / "a.npy").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_path(tmp_path / "a.npy")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert fault in str(caught.value)
    assert "a.npy" in caught.value.message
    assert caught.value.fix


def write_archive(path: Path, members: list[tuple[str, bytes]], packed: bool = False) -> None:
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # zipfile's own, on names that occur twice
        for name, data in members:
            archive.writestr(name, data)


THREE = npy(np.arange(3))


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([("x.npy", THREE), ("x.npy", THREE)], "holds arrays twice"),
        ([("../x.npy", THREE)], "names that are paths"),
        ([("/etc/x.npy", THREE)], "names that are paths"),
        ([("a\\x.npy", THREE)], "names that are paths"),
        ([("x.npy", THREE), ("notes.txt", b"x")], "what is no array: 'notes.txt'"),
        ([(".npy", THREE)], "what is no array"),
        ([], "holds no array"),
        ([("x.npy", THREE), ("y.npy", npy(np.arange(4)))], "'x' has 3, 'y' has 4"),
        ([("x.npy", THREE[:-1])], "not as long as its header says"),
        ([("x.npy", THREE + b"x")], "not as long as its header says"),
        (
            [("x.npy", npy(np.zeros((3, 2)))), ("x_max.npy", THREE)],
            "'x_max' is both read and worked out",
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_is_no_table_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], fault: str, packed: bool
) -> None:
    write_archive(tmp_path / "a.npz", members, packed)
    with pytest.raises(InputError, match=r"a\.npz") as caught:
        find_source(tmp_path / "a.npz")
    assert fault in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_in_an_archive_is_an_error(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "a.npz"
    save(path, x=np.random.default_rng(0).integers(0, 9, 4096))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz"):
        read_path(path)


def test_an_archive_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(9))
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(1, len(whole)):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npz"):
            find_source(tmp_path / "a.npz")


def test_an_archive_much_larger_when_unpacked_is_read_in_pieces(tmp_path: Path) -> None:
    rows = np.lib.stride_tricks.as_strided(np.zeros(1), (160, 1 << 17), (0, 0))
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        header = {"descr": "<f8", "fortran_order": False, "shape": rows.shape}
        np.lib.format.write_array_header_1_0(member, header)
        for row in rows:
            member.write(row.tobytes())
    assert (tmp_path / "a.npz").stat().st_size < 1 << 20
    source = find_source(tmp_path / "a.npz")
    assert source.plain_bytes == 160 << 20
    (part,) = plan_partitions([source], WHOLE)
    tracemalloc.start()
    num_rows = sum(len(batch) for batch in read_partition(part, make_reading({})))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_rows == 160
    assert peak < 64 << 20  # of the 160 MiB


def test_a_password_is_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.npz", [("x.npy", THREE)])
    data = bytearray((tmp_path / "a.npz").read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz"):
        find_source(tmp_path / "a.npz")


PIXELS = bytes(range(24))


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_images_in_idx_have_the_labels_of_their_companion(tmp_path: Path, packed: str) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), b"\7\0\1\7"), packed)
    rows = read_source(find_source(path), make_reading({"label": "int"}))
    assert rows.columns == {"label": [7, 0, 1, 7]}
    assert rows.carried["image"] == [PIXELS[i : i + 6] for i in range(0, 24, 6)]
    sizes = [rows.carried[f"image_{axis}"] for axis in ("height", "width", "channels")]
    assert sizes == [[3] * 4, [2] * 4, [1] * 4]
    assert find_source(path).shapes == (("image", (3, 2, 1)),)


@pytest.mark.parametrize("code", [9, 11, 12, 13, 14])
def test_idx_holds_wider_numbers_big_endian(tmp_path: Path, code: int) -> None:
    dtype = {9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[code]
    array = np.arange(-12, 12).reshape(4, 3, 2).astype(dtype)
    path = write_idx(tmp_path, make_idx((4, 3, 2), array.tobytes(), code), make_idx((4,), bytes(4)))
    rows = read_path(path)
    np.testing.assert_array_equal(list_tensors(rows, "image", array.dtype.name, (3, 2)), array)


def test_a_pattern_may_match_the_labels_as_well(tmp_path: Path) -> None:
    write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)), ".gz")
    (source,) = list_sources(["*.gz"], tmp_path, COMMA)
    assert source.name == f"{IMAGES}.gz"


def test_the_companion_may_be_packed_where_the_images_are_not(tmp_path: Path) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), b"\1\2\3\4"))
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress((tmp_path / LABELS).read_bytes()))
    (tmp_path / LABELS).unlink()
    assert read_path(path).carried["label"] == [1, 2, 3, 4]


def test_the_hash_covers_the_labels(tmp_path: Path) -> None:
    images = make_idx((4, 3, 2), PIXELS)
    first = find_source(write_idx(tmp_path, images, make_idx((4,), bytes(4))))
    second = find_source(write_idx(tmp_path, images, make_idx((4,), b"\1\0\0\0")))
    assert first.content_hash != second.content_hash


@pytest.mark.parametrize(
    ("images", "labels", "fault"),
    [
        (make_idx((4, 3, 2), PIXELS), make_idx((5,), bytes(5)), "'image' has 4, 'label' has 5"),
        (make_idx((4, 3, 2), PIXELS[:-1]), make_idx((4,), bytes(4)), "images|early"),
        (make_idx((4, 3, 2), PIXELS + b"x"), make_idx((4,), bytes(4)), "its header says"),
        (make_idx((1 << 31, 3, 2), PIXELS), make_idx((1 << 31,), bytes(4)), "its header says"),
        (make_idx((4, 3, 2), PIXELS), make_idx((4, 1), bytes(4)), "is an IDX file of the shape"),
        (make_idx((4, 6), PIXELS), make_idx((4,), bytes(4)), "is an IDX file of the shape"),
        (make_idx((4, 3, 2), PIXELS, 10), make_idx((4,), bytes(4)), "does not begin as"),
        (b"\x89PNG", make_idx((4,), bytes(4)), "does not begin as"),
        (make_idx((4, 3, 2), b"")[:9], make_idx((4,), bytes(4)), "ends too early"),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_idx_that_lies_is_refused(
    tmp_path: Path, images: bytes, labels: bytes, fault: str, packed: str
) -> None:
    path = write_idx(tmp_path, images, labels, packed)
    with pytest.raises(InputError, match=fault) as caught:
        read_path(path)
    assert "-ubyte" in caught.value.message


@pytest.mark.parametrize("which", [IMAGES, LABELS])
def test_gzip_that_is_cut_off_or_flipped_is_an_error(tmp_path: Path, which: str) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)), ".gz")
    file = tmp_path / f"{which}.gz"
    whole = file.read_bytes()
    for spoilt in (whole[:-1], whole[:-9], whole[:-6] + b"\xff" + whole[-5:]):
        file.write_bytes(spoilt)
        with pytest.raises(InputError, match=which):
            read_path(path)


def test_images_without_labels_and_labels_alone_are_errors(tmp_path: Path) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)))
    with pytest.raises(InputError, match="labels"):
        find_source(tmp_path / LABELS)
    (tmp_path / LABELS).unlink()
    with pytest.raises(InputError, match="its labels are not beside it") as caught:
        find_source(path)
    assert LABELS in str(caught.value)


def test_a_tensor_of_two_dtypes_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((2, 2), np.float64))
    with pytest.raises(InputError, match="tensor of float32") as caught:
        list_sources(["*.npy"], tmp_path, COMMA)
    assert "float64 in b.npy" in str(caught.value)


def test_a_strict_schema_need_not_name_what_is_worked_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.arange(2), z=np.arange(2))
    table = find_source(tmp_path / "a.npz").table
    columns = ColumnSchema("y", "int", ""), ColumnSchema("z", "int", "")
    check_columns(table, Schema("s", columns, strict=True))
    with pytest.raises(InputError, match=r"1 columns .*'z'"):
        check_columns(table, Schema("s", columns[:1], strict=True))


def test_derived_names_are_those_of_the_shape() -> None:
    assert [name.removeprefix("x_") for name in list_derived("x", (7,))] == [
        *("shape", "size", "min", "max", "mean", "std", "nonfinite", "digest")
    ]
    assert list(list_derived("x", (7, 5)))[1:4] == ["x_height", "x_width", "x_channels"]


def find_letters() -> tuple[Source, Values, Values]:
    folder = find_dataset("notmnist_idx")
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    images, labels = (gzip.decompress((folder / name).read_bytes()) for name in names)
    (source,) = list_sources([names[0]], folder, COMMA)
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return source, pixels, np.frombuffer(labels, np.uint8, offset=8)


def test_ten_thousand_pictures_of_letters_are_those_in_the_file() -> None:
    source, pixels, labels = find_letters()
    rows = read_source(source, make_reading({"label": "int", "image_std": "float"}))
    assert rows.carried["image"] == [picture.tobytes() for picture in pixels]
    assert rows.columns["label"] == labels.tolist()
    blank = pixels.reshape(len(pixels), -1).std(axis=1) == 0
    assert np.array_equal(np.array(rows.columns["image_std"]) == 0, blank)
    assert (len(pixels), int(blank.sum()), set(labels.tolist())) == (10_000, 141, set(range(10)))
    num_distinct = len({picture.tobytes() for picture in pixels})
    assert len(set(rows.carried["image_digest"])) == num_distinct


def test_one_value_a_row_is_a_plain_column_however_it_is_shaped(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.array([[4], [5], [6]]))
    (source,) = list_sources(["a.npz"], tmp_path, COMMA)
    assert source.tensors == (("x", "float64"),)
    assert read_source(source, make_reading({"y": "int"})).columns["y"] == [4, 5, 6]
