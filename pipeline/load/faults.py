"""What becomes of a raw file that cannot be read: the job fails, or the file is set aside."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pipeline.errors import InputError

# Of a seek to where no byte of any file can be: a broken file asks for it, and no disk is at fault.
BAD_SEEK = (errno.EINVAL, errno.EOVERFLOW)


@contextmanager
def keep_fault(on_bad_file: Literal["fail", "quarantine"]) -> Iterator[list[str]]:
    """Run the body of the `with`, which reads one file.

    Yields:
        A list that holds, after the body, what is wrong with the file; empty where nothing is.

    Raises:
        InputError: Something is, and `on_bad_file` is "fail".
    """
    faults: list[str] = []
    try:
        yield faults
    except InputError as error:
        if on_bad_file == "fail":
            raise
        faults.append(error.message)
