"""Keyed hashes of rows, vectorised; the same on every machine and in every worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.arrow import is_valid, strings, to_numpy
from pipeline.batch import MISSING, NAN, TYPE, Column

Hashes = npt.NDArray[np.uint64]

# The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
# generators", OOPSLA 2014): a bijection on 64 bits, so distinct row ids never tie.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(values: Hashes) -> Hashes:
    """Return `(rows,)` well-mixed hashes of 64-bit values."""
    mixed = values + _GAMMA
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def derive_key(seed: int, purpose: str) -> int:
    """Return the 64-bit key of one purpose, so that the split says nothing about the order."""
    return xxhash.xxh3_64_intdigest(f"nanproof:{purpose}:{seed}".encode())


def hash_ids(row_ids: npt.NDArray[np.int64], key: int) -> Hashes:
    """Return `(rows,)` hashes of row ids; distinct ids have distinct hashes."""
    return mix(row_ids.view(np.uint64) ^ np.uint64(key))


def bucket_of(hashes: Hashes, num_buckets: int) -> npt.NDArray[np.int64]:
    """Return `(rows,)` buckets; they ascend with the hash, so a bucket is a stretch of it."""
    upper = (hashes >> np.uint64(32)).astype(np.int64)
    return (upper * num_buckets) >> 32


def hash_cells(columns: Mapping[str, Any], num_rows: int, key: int) -> Hashes:
    """Return `(rows,)` hashes over the cells of each row.

    Args:
        columns: Names to `Column`s, or to Arrow arrays of columns that the schema does not name.
        num_rows: The number of rows.
        key: The purpose's key.

    Equal values hash alike however they were written (1.0 and 1e0). A missing cell hashes like
    an absent column, so neither the columns' order nor a column that only a new file has moves a
    row. NaN and text that does not parse each hash by what they are.
    """
    hashes = np.zeros(num_rows, np.uint64)
    for name, column in columns.items():
        column_key = np.uint64(xxhash.xxh3_64_intdigest(name.encode(), key))
        bits, present = _column_bits(column, key)
        mixed = mix(bits ^ column_key)
        hashes += mixed if present is None else np.where(present, mixed, np.uint64(0))
    return mix(hashes ^ np.uint64(key))


def _column_bits(column: Any, key: int) -> tuple[Hashes, npt.NDArray[np.bool_] | None]:
    """Return 64 bits a cell, and which cells are present (None: all)."""
    if not isinstance(column, Column):
        return _hash_arrow(column, key)
    if column.kind == "string":
        bits, _ = _hash_arrow(column.values, key)
    elif column.kind == "float":
        bits = (column.values + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
    elif column.kind == "bool":
        bits = column.values.astype(np.uint64)
    else:
        bits = column.values.view(np.uint64)
    if column.states is None:
        return bits, None
    # An infinity keeps its sign; NaN and unparsed text hash by what they are.
    unreadable = (column.states == NAN) | (column.states == TYPE)
    bits = np.where(unreadable, mix(column.states.astype(np.uint64)), bits)
    return bits, column.states != MISSING


def _hash_arrow(values: Any, key: int) -> tuple[Hashes, npt.NDArray[np.bool_] | None]:
    """Hash each distinct text once; other types by their text."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = pc.dictionary_encode(_as_text(values))
    words = encoded.dictionary.cast(pa.binary()).to_pylist()
    digests = [xxhash.xxh3_64_intdigest(word, key) for word in words]
    valid = is_valid(encoded.indices)
    indices = to_numpy(encoded.indices)
    if valid is not None:
        indices = np.where(valid, indices, 0)
    hashed: Hashes = np.array([*digests, 0], np.uint64)[indices]
    return hashed, valid


def _as_text(values: pa.Array) -> pa.Array:
    types, of = pa.types, values.type
    if types.is_nested(of):
        return strings([None if cell is None else repr(cell) for cell in values.to_pylist()])
    if types.is_binary(of) or types.is_large_binary(of) or types.is_fixed_size_binary(of):
        return pc.cast(values, pa.binary())  # of any bytes
    return values if types.is_string(of) else pc.cast(values, pa.string())
