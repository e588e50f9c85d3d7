"""Files that are hashed while they are written, and appear whole or not at all."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.manifest import File
from pipeline.storage import atomic_path


class HashingFile:
    """A binary file open for writing that knows its SHA-256 without a second read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._stack = ExitStack()

    def __enter__(self) -> HashingFile:
        temporary = self._stack.enter_context(atomic_path(self.path))
        self._file = self._stack.enter_context(temporary.open("wb"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, data: Any) -> int:
        """Append bytes."""
        self._digest.update(data)
        self._file.write(data)
        size = memoryview(data).nbytes
        self._bytes += size
        return size

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._bytes

    def flush(self) -> None:
        """Do nothing: the file is flushed when it closes."""

    def close(self) -> None:
        """Do nothing: the `with` block closes the file."""

    def describe(self, relative_to: Path) -> File:
        """Return the finished file's path, size and checksum."""
        path = self.path.relative_to(relative_to).as_posix()
        return File(path=path, bytes=self._bytes, sha256=self._digest.hexdigest())
