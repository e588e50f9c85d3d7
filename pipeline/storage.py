"""Files that appear whole or not at all, and what they are known by."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import EnvironmentFailure
from pipeline.manifest import File


@contextmanager
def atomic_path(
    path: Path, *, fix: str = "free space or mend the permissions, then run the same command again."
) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it replaces `path` in one step.

    Args:
        path: The file.
        fix: What the error tells the reader to do.

    Raises:
        EnvironmentFailure: The disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise EnvironmentFailure(
            f"{path} cannot be written: {error.strerror or error}.",
            fix=fix,
            file=str(path),
        ) from error
    finally:
        with suppress(OSError):  # what went wrong before is what matters
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a whole text file at once."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON that is the same bytes for the same value; NaN is refused by `allow_nan`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_difference(
    path: Path, file: File, hash_file: Callable[[Path], str] | None = sha256_of
) -> str | None:
    """Say how a file differs from what the manifest says of it.

    Args:
        path: Where it lies.
        file: What the manifest says.
        hash_file: Gives its SHA-256; None where its size is enough.

    Raises:
        OSError: It is not there, or cannot be read.
    """
    size = path.stat().st_size
    if size != file.bytes:
        return f"{size:,} bytes, expected {file.bytes:,}"
    if hash_file is not None and hash_file(path) != file.sha256:
        return "another checksum"
    return None
