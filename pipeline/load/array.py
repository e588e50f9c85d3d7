"""One array within a file: what it is, where its values lie, and its rows, a stretch at a time."""

from __future__ import annotations

import gzip
import math
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import strings, to_arrow
from pipeline.errors import InputError
from pipeline.load.tensors import list_derived, tensor_columns, tensor_type

# A file can claim any length; no more than this is asked for before some of it has come.
PIECE_BYTES = 1 << 20
# Deflate cannot shrink further (zlib's own technical note), so a header that claims more lies.
MAX_DEFLATE_RATIO = 1032
NUMBERS = "biuf"
TIME_UNITS = ("s", "ms", "us", "ns")


def refuse(what: str, fault: str) -> InputError:
    """Return an error on a file that is not what its name says."""
    return InputError(
        f"{what} {fault}.", fix="restore the file, or take it out of data.raw.", file=what
    )


def read_some(file: IO[bytes], num_bytes: int, what: str) -> bytes:
    """Read at most so many bytes; a fault names this array, where several files are open.

    Raises:
        InputError: The file is cut off or corrupt.
    """
    try:
        return file.read(num_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise refuse(what, f"is truncated or corrupt: {error}") from error


def read_exactly(file: IO[bytes], num_bytes: int, what: str) -> bytes:
    """Read so many bytes.

    Raises:
        InputError: The file ends before.
    """
    parts: list[bytes] = []
    left = num_bytes
    while left:
        part = read_some(file, min(left, PIECE_BYTES), what)
        if not part:
            raise InputError(
                f"{what} ends too early.",
                expected=f"{num_bytes:,} bytes",
                got=f"{num_bytes - left:,}",
                fix="restore the file, or take it out of data.raw.",
                file=what,
            )
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


@dataclass(frozen=True)
class Array:
    """An array within a file.

    Attributes:
        name: Its column; nothing where its dtype has fields, which are the columns then.
        dtype: Of its values, in the file's byte order.
        shape: `(rows, …)`.
        start: Where its first value lies.
        fortran: Whether the first axis is the one that varies fastest.
        what: What errors call it.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    fortran: bool = False
    what: str = ""

    @property
    def num_bytes(self) -> int:
        """Return how many bytes its values are."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Return how many bytes the values of one row are."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def is_scattered(self) -> bool:
        """Return whether a row's values do not lie together."""
        return self.fortran and len(self.shape) > 1

    def fields(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Return column to dtype and shape of one row; one value a row has no shape."""
        if self.dtype.fields is None:
            found = {self.name: (self.dtype, self.shape[1:])}
        else:
            names = {name: self.dtype.fields[name][0] for name in self.dtype.names or ()}
            found = {n: (d.base, (*self.shape[1:], *d.shape)) for n, d in names.items()}
        return {n: (d, () if shape == (1,) else shape) for n, (d, shape) in found.items()}

    def types(self) -> dict[str, str]:
        """Return column to Arrow type, a tensor's derived columns after it."""
        return dict(self.list_columns())

    def list_columns(self) -> list[tuple[str, str]]:
        """Return the same in pairs: a field may be called as another's derived column is."""
        found: list[tuple[str, str]] = []
        for name, (dtype, shape) in self.fields().items():
            if shape:
                found += [(name, tensor_type(dtype)), *list_derived(name, shape).items()]
            else:
                found.append((name, str(_to_column(np.zeros(0, dtype)).type)))
        return found

    def check(self) -> None:
        """Refuse what cannot be rows of a table.

        Raises:
            InputError: It has no axis, no field, no values in a row, or such of a dtype that is no
                plain value's.
        """
        if not self.shape:
            raise refuse(self.what, "is a single value, and no array of rows")
        if not self.fields():
            raise refuse(self.what, "has no field")
        for name, (dtype, shape) in self.fields().items():
            if 0 in shape or not dtype.itemsize:
                raise refuse(self.what, f"has no value in a row of {name!r}")
            if not _is_plain(dtype, is_tensor=bool(shape)):
                wanted = "booleans, integers or floats" + ("" if shape else ", times or text")
                raise InputError(
                    f"{self.what}: {name!r} is of the dtype {dtype}.",
                    expected=wanted,
                    got=str(dtype),
                    fix="save it with a plain dtype, or take it out of the file.",
                    file=self.what,
                )

    def read_rows(
        self, file: IO[bytes], start: int, stop: int, step: int, *, can_seek: bool
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows from `start` to `stop`, `step` at a time.

        Args:
            file: At the first value; anywhere if it `can_seek`, where other arrays may share it.
            start: The first row; 0 unless it `can_seek`.
            stop: After the last row.
            step: How many rows at a time.
            can_seek: Whether the file can be read from anywhere.

        Raises:
            InputError: The file ends before.
        """
        if self.is_scattered:
            if can_seek:
                file.seek(self.start)
            data = read_exactly(file, self.num_bytes, self.what)
            whole = np.frombuffer(data, self.dtype).reshape(self.shape, order="F")
            yield from (whole[i : min(i + step, stop)] for i in range(start, stop, step))
            return
        for first in range(start, stop, step):
            rows = min(step, stop - first)
            if can_seek:
                file.seek(self.start + first * self.row_bytes)
            data = read_exactly(file, rows * self.row_bytes, self.what)
            yield np.frombuffer(data, self.dtype).reshape(rows, *self.shape[1:])

    def columns(self, rows: npt.NDArray[Any]) -> dict[str, pa.Array]:
        """Return the columns of some rows, as `types` lists them.

        Raises:
            InputError: Text is no Unicode.
        """
        found: dict[str, pa.Array] = {}
        for name, (_, shape) in self.fields().items():
            values = rows if self.dtype.fields is None else rows[name]
            values = values.reshape(len(values), *shape)
            if values.dtype.kind == "U" and not _is_unicode(values):
                raise refuse(self.what, f"holds text in {name!r} that is no Unicode")
            found |= tensor_columns(name, values) if shape else {name: _to_column(values)}
        return found


def _is_plain(dtype: np.dtype[Any], *, is_tensor: bool) -> bool:
    if dtype.kind in NUMBERS:
        return dtype.itemsize <= 8
    if dtype.kind == "M":
        return not is_tensor and np.datetime_data(dtype) in [(unit, 1) for unit in TIME_UNITS]
    return not is_tensor and dtype.kind in "US"


def _is_unicode(values: npt.NDArray[Any]) -> bool:
    codes = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).view(np.uint32)
    surrogate = (codes >= 0xD800) & (codes <= 0xDFFF)
    return not (surrogate | (codes > sys.maxunicode)).any()


def _to_column(values: npt.NDArray[Any]) -> pa.Array:
    """Wrap `(rows,)` values; NaT becomes null."""
    kind = values.dtype.kind
    if kind in "US":
        decoded = values if kind == "U" else np.char.decode(values, "utf-8", "backslashreplace")
        return strings(decoded.tolist())
    native = values.astype(values.dtype.newbyteorder("="))
    if kind == "M":
        type_ = pa.timestamp(np.datetime_data(values.dtype)[0])
        return to_arrow(native.view(np.int64), ~np.isnat(native), type_)
    return to_arrow(native)
