"""Shards are what the manifest says, before the first of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from pipeline.errors import DatasetDiffers, EnvironmentFailure, ShardError
from pipeline.manifest import File
from pipeline.storage import find_difference, sha256_of

# Hashing lets other threads run; more than this does not read faster.
MAX_THREADS = 8


def check_files(out: Path, files: Sequence[File], *, verify: bool) -> list[Path]:
    """Return the files' paths, in their order.

    Args:
        out: The folder that their paths are relative to.
        files: What the manifest says of them.
        verify: Whether every byte is looked at, once in the life of the process; else sizes only.

    Raises:
        DatasetDiffers: One is not there.
        ShardError: One has another size or checksum.
        EnvironmentFailure: One cannot be read.
    """
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        return list(pool.map(lambda file: check_file(out / file.path, file, verify=verify), files))


def check_file(path: Path, file: File, *, verify: bool) -> Path:
    """Return the path of one file that is what the manifest says; see `check_files`."""
    try:
        difference = find_difference(path, file, _hash_once if verify else None)
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetDiffers(
            f"{path} is not there, and the manifest names it.",
            fix="restore it, or run the job again.",
            file=str(path),
        ) from None
    except OSError as error:
        raise EnvironmentFailure(
            f"{path} cannot be read: {error.strerror or error}.",
            fix="mend its permissions or the disk, then try again.",
            file=str(path),
        ) from error
    if difference is not None:
        raise ShardError(
            f"{path} is not the file that was published: {difference}.",
            fix="restore it, or run the job again.",
            file=str(path),
        )
    return path


def _hash_once(path: Path) -> str:
    found = path.stat()
    return _hash_version(path.absolute(), found.st_size, found.st_mtime_ns)


@cache
def _hash_version(path: Path, size: int, mtime_ns: int) -> str:
    """Hash a file once, as long as it looks the same."""
    return sha256_of(path)
