"""Archives of arrays: their columns, and archives that lie or are cut off."""

from __future__ import annotations

import errno
import io
import math
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import fsspec
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.load import (
    arrays,
    check_columns,
    list_sources,
    plan_partitions,
    read_partition,
    read_records,
)
from pipeline.load.npz import open_archive, open_member
from pipeline.load.sources import check_tensors
from pipeline.schema import ColumnSchema, Schema
from tests.arrays import (
    list_tensors,
    make_header,
    npy,
    read_path,
)
from tests.reading import COMMA, WHOLE, find_source, make_reading, read_source


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


def test_rows_are_read_again_by_their_ids(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 2)), y=np.arange(9))
    part = plan_partitions([find_source(tmp_path / "a.npz")], 72)[1]
    found = read_records(part, np.array([4, 5]), make_reading({"y": "int"}))
    assert (found["y"].to_pylist(), found["_row"].to_pylist()) == (["4", "5"], [5, 6])


def test_a_remote_archive_is_read_like_a_local_one() -> None:
    file = io.BytesIO()
    np.savez(file, x=np.arange(6).reshape(3, 2))
    with fsspec.open("memory://arrays/a.npz", "wb") as remote:
        remote.write(file.getvalue())
    (source,) = list_sources(["memory://arrays/a.npz"], Path(), COMMA)
    assert len(plan_partitions([source], 16)) == 3
    assert read_source(source, make_reading({}), 16).carried["x_max"] == [1, 3, 5]


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


@pytest.mark.parametrize("packed", [False, True])
def test_an_encrypted_member_beside_a_plain_one_is_an_error(tmp_path: Path, packed: bool) -> None:
    write_archive(tmp_path / "a.npz", [("x.npy", THREE), ("y.npy", THREE)], packed)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.rindex(mark) + offset] |= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz is encrypted") as caught:
        find_source(tmp_path / "a.npz")
    assert caught.value.fix == "save it without a password."


@pytest.mark.parametrize(
    ("mark", "offset", "byte", "fault"),
    [
        (b"PK\3\4", 0, 0, "a broken archive: Bad magic number for file header"),
        (b"PK\1\2", 6, 99, "cannot be unpacked: zip file version 9.9"),
        (b"PK\1\2", 8, 1 << 5, "cannot be unpacked: compressed patched data"),
        (b"PK\5\6", 17, 255, "a broken archive: its index leads out of it"),
    ],
)
def test_what_zipfile_cannot_open_is_an_error_that_says_why(
    tmp_path: Path, mark: bytes, offset: int, byte: int, fault: str
) -> None:
    write_archive(tmp_path / "a.npz", [("x.npy", THREE)])
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(mark) + offset] = byte
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=rf"a\.npz (is )?{fault}"):
        find_source(tmp_path / "a.npz")


def test_a_member_s_name_that_is_no_utf_8_is_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.npz", [("ü.npy", THREE)])
    data = (tmp_path / "a.npz").read_bytes().replace("ü".encode(), b"\xff\xff")
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npz cannot be unpacked: 'utf-8' codec"):
        find_source(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [ValueError, RuntimeError, struct.error])
def test_a_bug_of_ours_is_no_broken_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any, kind: type[Exception]
) -> None:
    save(tmp_path / "a.npz", x=np.arange(3))
    source = find_source(tmp_path / "a.npz")
    monkeypatch.setattr(arrays, "make_batch", Mock(side_effect=kind("a bug")))
    with pytest.raises(kind, match="a bug"):
        read_source(source, make_reading({}))


def test_a_disk_that_fails_is_no_broken_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    file = io.BytesIO((tmp_path / "a.npz").read_bytes())
    with open_archive(file, "a.npz") as archive:
        archive.fp = Mock(file, read=Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            open_member(archive, archive.infolist()[0], "a.npz")


def test_a_strict_schema_need_not_name_what_is_worked_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.arange(2), z=np.arange(2))
    table = find_source(tmp_path / "a.npz").table
    columns = ColumnSchema("y", "int", ""), ColumnSchema("z", "int", "")
    check_columns(table, Schema("s", columns, strict=True))
    with pytest.raises(InputError, match=r"1 columns .*'z'"):
        check_columns(table, Schema("s", columns[:1], strict=True))


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_value_a_row_is_a_plain_column(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.array([4, 5, 6]).reshape(shape))
    (source,) = list_sources(["a.npz"], tmp_path, COMMA)
    assert source.tensors == (("x", "float64"),)
    assert read_source(source, make_reading({"y": "int"})).columns["y"] == [4, 5, 6]


def test_one_value_on_two_axes_is_a_tensor(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.array([4, 5, 6]).reshape(3, 1, 1))
    source = find_source(tmp_path / "a.npz")
    assert source.shapes == (("y", (1, 1)),)
    assert read_source(source, make_reading({})).carried["y_shape"] == ["1x1x1"] * 3


def test_a_table_mixes_with_arrays_that_are_columns_and_not_with_tensors(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    np.savez(tmp_path / "b.npz", x=np.arange(2))
    check_tensors(list_sources(["*"], tmp_path, COMMA))
    np.savez(tmp_path / "c.npz", x=np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"c\.npz holds other arrays than a\.csv"):
        check_tensors(list_sources(["*"], tmp_path, COMMA))


def write_zeros(path: Path, num_arrays: int, shape: tuple[int, ...], order: str = "False") -> None:
    text = f"{{'descr': '|u1', 'fortran_order': {order}, 'shape': {shape}}}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for place in range(num_arrays):
            with archive.open(f"x{place}.npy", "w") as member:
                member.write(make_header(text))
                for _ in range(0, math.prod(shape), 1 << 20):
                    member.write(bytes(1 << 20))


@pytest.mark.parametrize(
    ("num_arrays", "shape", "order", "fault"),
    [
        (3, (2, 90 << 20), "False", "more than 256 MiB"),
        (3, (90 << 20, 2), "True", "too large to be turned"),
    ],
)
def test_what_has_to_be_held_at_once_is_bounded_over_all_arrays(
    tmp_path: Path, num_arrays: int, shape: tuple[int, ...], order: str, fault: str
) -> None:
    write_zeros(tmp_path / "a.npz", num_arrays, shape, order)
    with pytest.raises(InputError, match=fault):
        find_source(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("num_rows", [2**20, 10**9])
def test_an_index_that_claims_more_than_was_packed_is_refused(
    tmp_path: Path, method: int, num_rows: int
) -> None:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({num_rows}, 4)}}"
    data = make_header(text)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", data)
    spoilt = bytearray((tmp_path / "a.npz").read_bytes())
    claimed = struct.pack("<I", len(data) + num_rows * 4)
    place = spoilt.index(b"PK\1\2") + 24
    spoilt[place : place + 4] = claimed
    (tmp_path / "a.npz").write_bytes(spoilt)
    with pytest.raises(InputError, match=r"a\.npz is a broken archive: its index claims more"):
        find_source(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_numpy_never_packs_with_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", THREE)
    with pytest.raises(InputError, match="packed in another way"):
        find_source(tmp_path / "a.npz")
