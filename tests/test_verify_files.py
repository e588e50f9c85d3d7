"""One file against what the manifest says of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import DatasetDiffers, EnvironmentFailure, ShardError
from pipeline.feed.check import check_file
from pipeline.manifest import File
from pipeline.storage import find_difference

TEXT = b"some bytes"
FILE = File(path="a", bytes=len(TEXT), sha256=hashlib.sha256(TEXT).hexdigest())


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        (TEXT, None),
        (TEXT[::-1], "another checksum"),
        (TEXT + b"!", "11 bytes, expected 10"),
        (b"", "0 bytes, expected 10"),
    ],
)
def test_a_file_differs_in_size_or_checksum(
    tmp_path: Path, text: bytes, difference: str | None
) -> None:
    path = tmp_path / "a"
    path.write_bytes(text)
    assert find_difference(path, FILE) == difference
    if difference is None:
        assert check_file(path, FILE, verify=True) == path
    else:
        with pytest.raises(ShardError, match=difference):
            check_file(path, FILE, verify=True)


def test_a_size_alone_tells_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(TEXT[::-1])
    assert find_difference(path, FILE, None) is None
    assert check_file(path, FILE, verify=False) == path


def test_a_file_that_is_written_anew_is_hashed_anew(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(TEXT)
    check_file(path, FILE, verify=True)
    path.write_bytes(TEXT[::-1])
    with pytest.raises(ShardError):
        check_file(path, FILE, verify=True)


@pytest.mark.parametrize("name", ["absent", "file/a"])
def test_a_file_that_is_not_there_is_the_dataset_s_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetDiffers, match="is not there"):
        check_file(tmp_path / name, FILE, verify=False)


def test_a_file_that_cannot_be_read_is_the_machine_s_fault(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(EnvironmentFailure, match="cannot be read"):
        check_file(loop, FILE, verify=False)
