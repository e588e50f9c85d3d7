"""The header of an array in NumPy's own format.

The format is that of NumPy's enhancement proposal 1 and its documentation,
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Python objects are never
unpickled.
"""

from __future__ import annotations

import ast
import struct
from typing import IO, Any

import numpy as np

from pipeline.errors import InputError
from pipeline.load.array import Array, read_exactly, refuse

MAGIC = b"\x93NUMPY"
# NumPy writes tens of bytes, or as many as there are field names.
MAX_HEADER_BYTES = 1 << 20
# NumPy's own limits (NPY_MAXDIMS, and npy_intp of 64 bits).
MAX_AXES = 64
MAX_LENGTH = (1 << 63) - 1


def read_npy_header(file: IO[bytes], name: str, what: str) -> Array:
    """Read the header of one array; afterwards the file stands at its first value.

    Args:
        file: The beginning of the array.
        name: The array's column.
        what: What errors call it.

    Raises:
        InputError: It is no array of that format, or of Python objects.
    """
    beginning = read_exactly(file, len(MAGIC) + 2, what)
    version = beginning[len(MAGIC) :]
    if not beginning.startswith(MAGIC) or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise refuse(what, "does not begin as an array of NumPy's format does")
    layout = "<H" if version == b"\1\0" else "<I"
    (length,) = struct.unpack(layout, read_exactly(file, struct.calcsize(layout), what))
    if length > MAX_HEADER_BYTES:
        raise refuse(what, f"has a header of {length:,} bytes")
    text = read_exactly(file, length, what).decode(
        "utf-8" if version[0] == 3 else "latin-1", "replace"
    )
    start = len(beginning) + struct.calcsize(layout) + length
    try:
        header = ast.literal_eval(text)
        dtype, shape = _parse(header)
        fortran = header["fortran_order"] is True
    # The two parsers raise nearly anything on text made to break them.
    except Exception:
        raise refuse(what, "has a header that is not NumPy's") from None
    if dtype.hasobject:
        raise InputError(
            f"{what} holds Python objects, which are never unpickled.",
            fix="save it with a plain dtype: numpy.save(..., allow_pickle=False).",
            file=what,
        )
    return Array(name, dtype, shape, start, fortran=fortran, what=what)


def _parse(header: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(
        type(n) is int and 0 <= n <= MAX_LENGTH for n in shape
    ):
        raise ValueError("no shape")
    dtype = np.lib.format.descr_to_dtype(header["descr"])
    for name in dtype.names or ():
        name.encode()  # a lone surrogate is nothing that a column can be called
    deepest = max([len(dtype[name].shape) for name in dtype.names or ()], default=len(dtype.shape))
    if len(shape) + deepest > MAX_AXES:
        raise ValueError("too many axes")
    return dtype, shape
