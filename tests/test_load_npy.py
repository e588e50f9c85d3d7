"""Plain .npy files: columns and fields, and headers made to break."""

from __future__ import annotations

import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.load import (
    list_sources,
)
from pipeline.load.sources import check_tensors
from tests.arrays import (
    Values,
    list_tensors,
    make_header,
    npy,
    read_npy,
    read_path,
)
from tests.reading import COMMA, find_source


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
    "empty dtype": (make_header("{'descr': (), 'fortran_order': False, 'shape': (1,)}"), "header"),
    "short dtype": (
        make_header("{'descr': ('<u1',), 'fortran_order': False, 'shape': (1,)}"),
        "header that is not NumPy's",
    ),
    "short field": (
        make_header("{'descr': [('a', ())], 'fortran_order': False, 'shape': (1,)}"),
        "header that is not NumPy's",
    ),
    "axes": (
        make_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 65}}}") + b"x",
        "header that is not NumPy's",
    ),
    "axes of a field": (
        make_header(
            f"{{'descr': [('a', '|u1', {(2,) + (1,) * 9})], 'fortran_order': False, "
            f"'shape': {(1,) * 60}}}"
        )
        + b"xx",
        "header that is not NumPy's",
    ),
    "digits": (
        make_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(10**4000,) * 2}}}"),
        "header that is not NumPy's",
    ),
    "surrogate": (
        make_header(r"{'descr': [('\ud800', '|u1')], 'fortran_order': False, 'shape': (1,)}")
        + b"x",
        "header that is not NumPy's",
    ),
    "no field": (npy(np.zeros(2, [])), "has no field"),
    "padding alone": (
        make_header("{'descr': [('', '|V4')], 'fortran_order': False, 'shape': (1,)}") + b"pads",
        "has no field",
    ),
    "field twice": (
        npy(np.zeros(2, [("t", "u1", (2, 2)), ("t_shape", "i4")])),
        "'t_shape' is both read and worked out",
    ),
    "size twice": (
        npy(np.zeros(2, [("t_size", "i4"), ("t", "u1", (2,))])),
        "'t_size' is both read and worked out",
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


def test_an_array_without_a_row_is_a_table_without_a_row(tmp_path: Path) -> None:
    assert read_npy(tmp_path, np.zeros((0, 3, 3))).ids == []
    assert find_source(tmp_path / "a.npy").shapes == (("array", (3, 3)),)


def test_a_tensor_of_two_dtypes_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((2, 2), np.float64))
    with pytest.raises(InputError, match=r"b\.npy holds other arrays than a\.npy") as caught:
        check_tensors(list_sources(["*.npy"], tmp_path, COMMA))
    assert "array (float64)" in str(caught.value)


def test_a_header_made_to_break_is_set_aside_where_the_job_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    (tmp_path / "b.npy").write_bytes(REFUSED["short field"][0])
    sources = list_sources(["*.npy"], tmp_path, COMMA, "quarantine")
    assert [bool(source.fault) for source in sources] == [False, True]


def test_columns_in_several_files_are_told_to_be_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    np.save(tmp_path / "y.npy", np.zeros(2))
    with pytest.raises(InputError, match=r"y\.npy holds other arrays") as caught:
        check_tensors(list_sources(["*.npy"], tmp_path, COMMA))
    assert "numpy.savez" in str(caught.value)
