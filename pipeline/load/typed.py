"""Typed cells, as Parquet holds them, to the schema's types: without loss, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import is_valid, strings, to_numpy
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, VALUE_DTYPES, Column, Kind
from pipeline.load.cells import (
    FIRST_MICROSECOND,
    INT_LIMITS,
    LAST_MICROSECOND,
    mark_missing_values,
    missing_column,
    missing_numbers,
    parse_texts,
)

Values = npt.NDArray[Any]
# Above it float64 skips integers, and 2**63 itself is beyond int64.
INT_BOUND = 2.0**63
MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def convert_array(
    kind: Kind, array: pa.Array, missing: Sequence[str], decimal: str = "."
) -> Column:
    """Convert one column.

    Strings, and decimals by their digits, are parsed like text. Null is missing, a float NaN is
    NaN in every kind. Other cells are values where the conversion loses nothing, else TYPE.

    Args:
        kind: What the cells are to become.
        array: `(rows,)` of any Arrow type.
        missing: The texts that mean missing; by value where the kind is a number.
        decimal: The character between units and tenths in strings.
    """
    array = _unwrap(array)
    type_ = array.type
    if pa.types.is_null(type_):
        return missing_column(kind, len(array))
    if _is_binary(type_) or not _is_sound(array):
        return _convert_binary(kind, array.cast(pa.binary()), missing)
    if pa.types.is_string(type_) or pa.types.is_decimal(type_):
        return parse_texts(kind, array.cast(pa.string()), missing, decimal)
    if kind == "string":
        return _convert_to_text(array, missing)
    column = _convert_values(kind, array)
    states = column.all_states().copy()
    mark_missing_values(column.values, states, missing_numbers(kind, tuple(missing)))
    return Column(kind, column.values, states if states.any() else None)


def plain_array(array: pa.Array) -> pa.Array:
    """Return the array without dictionary, extension type or a layout that few kernels know.

    Bytes that are no UTF-8 become backslash escapes where the type is text. Whatever is nested
    may be null, as it has to be beside the rows of a file without the column.
    """
    array = _unwrap(array)
    if pa.types.is_nested(array.type):
        return array.cast(_nullable(array.type))
    return array if _is_sound(array) else _decode(array.cast(pa.binary()))


def _nullable(type_: pa.DataType) -> pa.DataType:
    """Return a nested type with every field nullable but the keys of maps, which never are."""

    def relax(field: pa.Field) -> pa.Field:
        return pa.field(field.name, _nullable(field.type))

    if pa.types.is_struct(type_):
        return pa.struct([relax(field) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(type_.key_type, relax(type_.item_field), type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(relax(type_.value_field), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(relax(type_.value_field))
    if pa.types.is_list(type_):
        return pa.list_(relax(type_.value_field))
    return type_


def _unwrap(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    if pa.types.is_large_binary(array.type) or pa.types.is_fixed_size_binary(array.type):
        return array.cast(pa.binary())
    if pa.types.is_float16(array.type):
        return array.cast(pa.float32())
    return array


def list_texts(array: pa.Array) -> pa.Array:
    """Return the cells as text: strings as they are, others as Arrow or JSON writes them."""
    array = plain_array(array)
    type_ = array.type
    if pa.types.is_null(type_):
        return pa.nulls(len(array), pa.string())
    if _is_binary(type_):
        return _decode(array)
    if pa.types.is_nested(type_):
        cells = array.to_pylist()
        return strings([None if c is None else json.dumps(c, default=str) for c in cells])
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        array = array.cast(pa.timestamp(type_.unit, "UTC")).cast(pa.timestamp(type_.unit))
        return pc.binary_join_element_wise(array.cast(pa.string()), "Z", "")
    return array.cast(pa.string())


def list_bytes(array: pa.Array) -> pa.Array:
    """Return the cells as bytes: those of bytes and of text as they are."""
    array = _unwrap(array)
    as_it_is = _is_binary(array.type) or pa.types.is_string(array.type)
    return (array if as_it_is else list_texts(array)).cast(pa.binary())


def _is_sound(array: pa.Array) -> bool:
    """Tell whether an array is not text, or all of it is UTF-8, which Parquet does not ensure."""
    if not pa.types.is_string(array.type):
        return True
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_binary(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_binary_view(type_)


def _decode(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        cells = array.to_pylist()
        return strings([c if c is None else c.decode("utf-8", "backslashreplace") for c in cells])


def _convert_binary(kind: Kind, array: pa.Array, missing: Sequence[str]) -> Column:
    """Read bytes as UTF-8 text, which is what many writers mean by them."""
    column = parse_texts(kind, _decode(array), missing)
    broken = np.array([cell is not None and not _is_text(cell) for cell in array.to_pylist()], bool)
    if not broken.any():
        return column
    states = column.all_states().copy()
    states[broken] = TYPE
    values = column.values
    if kind == "string":
        cells = values.to_pylist()
        values = strings([None if bad else cell for cell, bad in zip(cells, broken, strict=True)])
    return Column(kind, values, states)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _convert_to_text(array: pa.Array, missing: Sequence[str]) -> Column:
    nested = pa.types.is_nested(array.type)
    texts = pa.nulls(len(array), pa.string()) if nested else list_texts(array)
    column = parse_texts("string", texts, missing)
    states = column.all_states().copy()
    values = column.values
    if nested:
        states[_valid(array)] = TYPE
    if pa.types.is_floating(array.type):
        numbers, valid = to_numpy(array), _valid(array)
        states[valid & np.isnan(numbers) & (states == OK)] = NAN
        states[valid & np.isinf(numbers) & (states == OK)] = INF
        cells = zip(values.to_pylist(), states == OK, strict=True)
        values = strings([cell if ok else None for cell, ok in cells]) if states.any() else values
    return Column("string", values, states if states.any() else None)


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    valid = is_valid(array)
    return np.ones(len(array), bool) if valid is None else valid


def _convert_values(kind: Kind, array: pa.Array) -> Column:
    """Convert numbers, booleans and times to a kind that is no text."""
    states = np.where(_valid(array), OK, MISSING).astype(np.uint8)
    type_ = array.type
    if kind == "timestamp" and (pa.types.is_timestamp(type_) or pa.types.is_date(type_)):
        values = _convert_times(array, states)
    elif pa.types.is_integer(type_) or pa.types.is_boolean(type_) or pa.types.is_floating(type_):
        values = _convert_numbers(kind, to_numpy(array), states)
    else:
        states[states == OK] = TYPE
        values = np.zeros(len(array), VALUE_DTYPES[kind])
    # NaN is written anew: a signalling one would warn wherever it is calculated with.
    unread = (states == MISSING) | (states == TYPE) | (states == NAN)
    values[unread] = np.nan if kind == "float" else 0
    return Column(kind, values, states if states.any() else None)


def _convert_numbers(kind: Kind, numbers: Values, states: npt.NDArray[np.uint8]) -> Values:
    ok = states == OK
    if numbers.dtype.kind == "f":
        states[ok & np.isnan(numbers)] = NAN
        states[ok & np.isinf(numbers)] = TYPE if kind == "bool" else INF
        ok = states == OK
    if kind == "float":
        with np.errstate(invalid="ignore"):  # a signalling NaN is NaN like any other
            floats = numbers.astype(np.float64)
        states[ok & ~_is_exact(numbers, floats)] = TYPE
        return floats
    if kind == "bool":
        states[ok & (numbers != 0) & (numbers != 1)] = TYPE
        return numbers == 1
    if kind == "timestamp":
        states[ok] = TYPE
        values = np.zeros(len(numbers), np.int64)
    else:
        values = _to_integers(numbers, states)
    infinite = states == INF
    if infinite.any():
        values[infinite] = np.where(numbers > 0, INT_LIMITS.max, INT_LIMITS.min)[infinite]
    return values


def _is_exact(numbers: Values, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which integers float64 holds exactly; narrower types always are."""
    if numbers.dtype.kind not in "iu" or numbers.dtype.itemsize < 8:
        return np.ones(len(numbers), bool)
    limits = np.iinfo(numbers.dtype)
    inside = (values >= float(limits.min)) & (values < float(limits.max))
    back = np.where(inside, values, 0.0).astype(numbers.dtype)
    return inside & (back == numbers)


def _to_integers(numbers: Values, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    ok = states == OK
    if numbers.dtype.kind == "f":
        whole = ok & (np.floor(numbers) == numbers)
        whole &= (numbers >= -INT_BOUND) & (numbers < INT_BOUND)
    elif numbers.dtype == np.uint64:
        whole = ok & (numbers <= np.uint64(INT_LIMITS.max))
    else:
        whole = ok
    states[ok & ~whole] = TYPE
    return np.where(whole, numbers, 0).astype(np.int64)


def _convert_times(array: pa.Array, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return microseconds since 1970; a time without a zone is UTC."""
    type_ = array.type
    if pa.types.is_date32(type_):
        ticks, scale = to_numpy(array.cast(pa.int32())).astype(np.int64), 86_400_000_000
    elif pa.types.is_date64(type_):
        ticks, scale = to_numpy(array.cast(pa.int64())), 1_000
    else:
        ticks, scale = to_numpy(array.cast(pa.int64())), MICROSECONDS.get(type_.unit, 0)
    if scale:
        sound = (ticks >= FIRST_MICROSECOND // scale) & (ticks <= LAST_MICROSECOND // scale)
        values = np.where(sound, ticks, 0) * scale
    else:  # nanoseconds
        sound = ticks % 1_000 == 0
        values = ticks // 1_000
    states[(states == OK) & ~sound] = TYPE
    return values
