"""Files appear whole or not at all; a spill gives back what was put into each bin."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import EnvironmentFailure
from pipeline.spill import read_bins, write_bins
from pipeline.storage import atomic_path, sha256_of, write_json, write_text


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def fail_halfway(path: Path, error: BaseException) -> NoReturn:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "neü\n")
    assert (tmp_path / "a.txt").read_bytes() == "neü\n".encode()
    assert contents(tmp_path) == {"a.txt": "neü\n"}


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    write_text(tmp_path / "b" / "c" / "a.txt", "x")
    assert contents(tmp_path / "b" / "c") == {"a.txt": "x"}


def test_nothing_is_seen_until_all_is_written(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
        assert temporary.parent == tmp_path
    assert contents(tmp_path) == {"a.txt": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error):
        fail_halfway(tmp_path / "a.txt", error())
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_full_disk_is_the_environment_s_failure(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(EnvironmentFailure) as caught:
        fail_halfway(tmp_path / "a.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert "a.txt cannot be written: No space left on device." in caught.value.message
    assert caught.value.exit_code == 4
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_rename_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(EnvironmentFailure, match="Permission denied"):
        write_text(tmp_path / "a.txt", "x")
    assert contents(tmp_path) == {}


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "taken", "x")
    with pytest.raises(EnvironmentFailure, match=r"taken/a\.txt cannot be written"):
        write_text(tmp_path / "taken" / "a.txt", "x")


def test_json_is_the_same_bytes_for_the_same_value_and_never_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2.5], "a": "ü"})
    assert path.read_text(encoding="utf-8") == '{\n "b": [\n  1,\n  2.5\n ],\n "a": "ü"\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"b": float("nan")})
    assert path.read_text(encoding="utf-8").startswith('{\n "b": [')


def test_a_checksum_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@settings(deadline=None)
@given(
    bins=st.lists(st.integers(0, 5), max_size=40), asked=st.lists(st.integers(0, 6), unique=True)
)
def test_a_bin_gives_back_its_rows_in_their_order(bins: list[int], asked: list[int]) -> None:
    rows = pa.RecordBatch.from_pydict({"n": list(range(len(bins)))}, pa.schema([("n", pa.int64())]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.rows"
        counts = write_bins(path, rows, np.array(bins, np.int64), 6)
        found = [batch.column("n").to_pylist() for batch in read_bins(path, asked)]
        everything = [batch.column("n").to_pylist() for batch in read_bins(path)]
    expected = [[i for i, b in enumerate(bins) if b == bin_] for bin_ in range(7)]
    assert counts.tolist() == [len(rows) for rows in expected[:6]]
    assert found == [expected[bin_] for bin_ in asked if expected[bin_]]
    assert everything == [rows for rows in expected if rows]


def test_a_spill_without_a_row_is_not_written_and_reads_as_empty(tmp_path: Path) -> None:
    rows = pa.RecordBatch.from_pydict({"n": pa.array([], pa.int64())})
    assert write_bins(tmp_path / "x", rows, np.zeros(0, np.int64), 3).tolist() == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []
    assert read_bins(tmp_path / "x", [0]) == []
