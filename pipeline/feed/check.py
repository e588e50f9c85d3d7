"""Shards are what the manifest says, before the first of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from pipeline.errors import DatasetDiffers, ShardError
from pipeline.manifest import File
from pipeline.storage import sha256_of

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
    """
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        return list(pool.map(lambda file: check_file(out / file.path, file, verify=verify), files))


def check_file(path: Path, file: File, *, verify: bool) -> Path:
    """Return the path of one file that is what the manifest says; see `check_files`."""
    try:
        found = path.stat()
        if found.st_size != file.bytes:
            raise _differ(path, f"{file.bytes:,} bytes", f"{found.st_size:,}")
        if verify:
            digest = _hash_version(path.absolute(), found.st_size, found.st_mtime_ns)
            if digest != file.sha256:
                raise _differ(path, f"SHA-256 {file.sha256[:12]}…", f"{digest[:12]}…")
    except OSError as error:
        what = "is not there" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise DatasetDiffers(
            f"{path} {what}, and the manifest names it.",
            fix="restore it, or run the job again.",
            file=str(path),
        ) from None
    return path


@cache
def _hash_version(path: Path, size: int, mtime_ns: int) -> str:
    """Hash a file once, as long as it looks the same."""
    return sha256_of(path)


def _differ(path: Path, expected: str, got: str) -> ShardError:
    return ShardError(
        f"{path} is not the file that was published.",
        expected=expected,
        got=got,
        fix="restore it, or run the job again.",
        file=str(path),
    )
