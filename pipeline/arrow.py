"""Arrow arrays from numpy's and back, without a copy and without pandas.

`pa.array` and `Array.to_numpy` import pandas unasked, which costs a worker 0.4 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_TYPES = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "float16": pa.float16(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "int16": pa.int16(),
    "int8": pa.int8(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
}

_NUMPY_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}


def to_arrow(
    values: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_] | None = None,
    type_: pa.DataType | None = None,
) -> pa.Array:
    """Wrap `(rows,)` numbers or booleans; cells that are not `valid` become null."""
    if values.dtype == bool:
        data = np.packbits(values, bitorder="little")
        type_ = pa.bool_()
    else:
        data = np.ascontiguousarray(values)
        type_ = type_ or _TYPES[values.dtype.name]
    bitmap = None
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(type_, len(values), [bitmap, pa.py_buffer(data)])


def to_numpy(array: pa.Array) -> npt.NDArray[Any]:
    """Return the values of a primitive array, `(rows,)`; what null cells hold is arbitrary."""
    buffer = array.buffers()[1]
    if pa.types.is_boolean(array.type):
        return unpack_bits(buffer, array.offset, len(array))
    name = str(array.type)
    dtype = np.dtype("int64" if name.startswith("timestamp") else _NUMPY_NAMES.get(name, name))
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def is_valid(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Return a mask `(rows,)` of the cells that are not null, or None when none is."""
    if array.null_count == 0:
        return None
    buffer = array.buffers()[0]
    if buffer is None:  # the null type has no bitmap
        return np.zeros(len(array), bool)
    return unpack_bits(buffer, array.offset, len(array))


def unpack_bits(buffer: pa.Buffer, offset: int, length: int) -> npt.NDArray[np.bool_]:
    """Return `length` bits from `offset` on as booleans."""
    first = offset // 8
    packed = np.frombuffer(buffer, np.uint8)[first : (offset + length + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")
    return bits[offset - 8 * first :][:length].astype(bool)


def strings(values: Sequence[str | None]) -> pa.Array:
    """Return an Arrow string array; `pa.array` without its look at pandas."""
    whole = "".join(value for value in values if value is not None)
    if whole.isascii():  # a character is a byte: three times as fast
        return _wrap_pieces(pa.string(), values, whole.encode())
    encoded = [None if value is None else value.encode("utf-8", "replace") for value in values]
    return binaries(encoded).cast(pa.string())


def binaries(values: Sequence[bytes | None]) -> pa.Array:
    """Return an Arrow binary array; `pa.array` without its look at pandas."""
    return _wrap_pieces(pa.binary(), values, b"".join(v for v in values if v is not None))


def _wrap_pieces(type_: pa.DataType, pieces: Sequence[str | bytes | None], data: bytes) -> pa.Array:
    """Return an array of pieces that stand one after the other in `data`, a byte a character."""
    offsets = np.zeros(len(pieces) + 1, np.int32)
    bitmap = None
    if None in pieces:
        valid = np.array([piece is not None for piece in pieces])
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
        pieces = [piece or b"" for piece in pieces]
    np.cumsum(list(map(len, pieces)), out=offsets[1:])  # type: ignore[arg-type]
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(type_, len(pieces), buffers)


def positions_array(positions: npt.NDArray[np.int64]) -> pa.Array:
    """Wrap row positions as Arrow's `take` wants them."""
    return to_arrow(positions.astype(np.int64, copy=False))
