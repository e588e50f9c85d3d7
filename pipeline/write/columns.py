"""Arrow columns as what an Example can hold: float32, int64 or bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import to_numpy
from pipeline.errors import ShardError
from pipeline.write.crc32c import Bytes

INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Ragged:
    """`(rows,)` byte strings, one behind the other.

    Attributes:
        offsets: `(rows + 1,)` int64; row i is `data[offsets[i] : offsets[i + 1]]`.
        data: `(bytes,)` uint8.
    """

    offsets: npt.NDArray[np.int64]
    data: Bytes

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return `(rows,)`."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> Ragged:
        start, stop, _ = rows.indices(len(self))
        return Ragged(self.offsets[start : max(start, stop) + 1], self.data)

    @property
    def is_uniform(self) -> bool:
        """Whether all are of one length."""
        lengths = self.lengths
        return bool((lengths == lengths[:1]).all())

    def to_matrix(self) -> Bytes:
        """Return `(rows, bytes)` of what is uniform, without a copy."""
        return self.data[self.offsets[0] : self.offsets[-1]].reshape(len(self), -1)

    def to_arrow(self) -> pa.Array:
        """Return a binary array of less than 2 GiB, without a copy of the data."""
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        offsets = (self.offsets - first).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data[first:last])]
        return pa.Array.from_buffers(pa.binary(), len(self), buffers)


Values = npt.NDArray[Any] | Ragged
"""`(rows,)` or `(rows, size)` float32 or int64, or `(rows,)` byte strings."""


def to_values(name: str, array: pa.Array) -> Values:
    """Return a column as an Example holds it.

    Floats become float32; ints and booleans int64; dates and timestamps int64 microseconds since
    1970, UTC; strings and binaries bytes; fixed-size lists and tensors of numbers `(rows, size)`.

    Raises:
        ShardError: A cell is null, no float32 or int64 holds it, or an Example has no place for
            the type.
    """
    _refuse_nulls(name, array)
    type_ = array.type
    if isinstance(type_, pa.FixedShapeTensorType) and _is_number(type_.value_type):
        values = _to_numbers(name, array.storage.flatten())
        return _permuted(values.reshape(len(array), prod(type_.shape)), type_)
    if isinstance(type_, pa.BaseExtensionType):
        return to_values(name, array.storage)
    if pa.types.is_dictionary(type_):
        return to_values(name, array.dictionary_decode())
    if pa.types.is_fixed_size_list(type_) and _is_number(type_.value_type):
        return _to_numbers(name, array.flatten()).reshape(len(array), type_.list_size)
    if pa.types.is_temporal(type_):
        return _microseconds(name, array)
    if _is_number(type_):
        return _to_numbers(name, array)
    if _is_text(type_):
        return to_ragged(array)
    fix = "cast it to numbers, strings, binary or a fixed_size_list of numbers, or leave it out."
    raise _refused(name, f"an Example has no place for {type_}", fix)


def _refuse_nulls(name: str, array: pa.Array) -> None:
    if array.null_count:
        what = f"{array.null_count:,} of {len(array):,} cells are null"
        raise _refused(name, what, "fill them, or drop their rows.")


def _permuted(values: npt.NDArray[Any], type_: pa.FixedShapeTensorType) -> npt.NDArray[Any]:
    """Return tensors `(rows, size)` in their own order of axes, which may not be the storage's."""
    if type_.permutation is None:
        return values
    axes = [1 + axis for axis in type_.permutation]
    whole = values.reshape(len(values), *type_.shape).transpose(0, *axes)
    return np.ascontiguousarray(whole).reshape(values.shape)


def _is_number(type_: pa.DataType) -> bool:
    kinds = pa.types
    return kinds.is_integer(type_) or kinds.is_floating(type_) or kinds.is_boolean(type_)


def _is_text(type_: pa.DataType) -> bool:
    kinds = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )  # fmt: skip
    return any(is_kind(type_) for is_kind in kinds)


def _to_numbers(name: str, array: pa.Array) -> npt.NDArray[Any]:
    """Return numbers as float32 or int64."""
    _refuse_nulls(name, array)
    values = to_numpy(array)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            floats = values.astype(np.float32, copy=False)
        if values.dtype == np.float64:
            lost = int((np.isinf(floats) & np.isfinite(values)).sum())
            if lost:
                raise _refused(name, f"{lost:,} values overflow float32", "scale or clip them.")
        return floats
    if values.dtype == np.uint64 and values.size and values.max() > INT64_MAX:
        raise _refused(name, "a value overflows int64", "store it as binary, or as a float.")
    return values.astype(np.int64, copy=False)


def _microseconds(name: str, array: pa.Array) -> npt.NDArray[np.int64]:
    kinds = pa.types
    if not (kinds.is_timestamp(array.type) or kinds.is_date(array.type)):
        raise _refused(name, f"{array.type} is no point in time", "cast it to int64.")
    zone = array.type.tz if kinds.is_timestamp(array.type) else None
    try:
        cast = array.cast(pa.timestamp("us", zone))
    except pa.ArrowInvalid as error:
        fix = "round it to microseconds yourself."
        raise _refused(name, f"no int64 of microseconds holds it: {error}", fix) from None
    return to_numpy(cast.view(pa.int64()))


def to_ragged(array: pa.Array) -> Ragged:
    """Return strings or binaries without a null as byte strings, mostly without a copy."""
    if pa.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        offsets = (np.arange(len(array) + 1) + array.offset) * width
        return Ragged(offsets, _bytes_of(array.buffers()[1]))
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    _, offsets_buffer, data = array.buffers()
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if large else np.int32)
    if not len(array):  # its offsets need not be there
        return Ragged(np.zeros(1, np.int64), np.zeros(0, np.uint8))
    start = array.offset * dtype.itemsize
    offsets = np.frombuffer(offsets_buffer, dtype, len(array) + 1, start)
    return Ragged(offsets.astype(np.int64), _bytes_of(data))


def _bytes_of(buffer: pa.Buffer | None) -> Bytes:
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


def _refused(name: str, what: str, fix: str) -> ShardError:
    return ShardError(f"column {name!r}: {what}.", fix=fix, column=name)
