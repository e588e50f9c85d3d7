"""The rule that no key occurs twice in the whole dataset, judged by key bucket from disk.

A scan spills the 128-bit hash of each key beside its row id and line, by key bucket; between scan
and fit each bucket is read alone, so memory is bounded by a bucket. Two different keys are taken
for equal with a probability below n² / 2¹²⁹.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import to_arrow, to_numpy
from pipeline.batch import MISSING, NAN, OK, Batch, Column, Positions, hold
from pipeline.hashing import Hashes, bucket_of, derive_key, hash_cells
from pipeline.schema import Schema
from pipeline.spill import read_bins, write_bins
from pipeline.whole.breaks import Breaks

_SPILLED = ("high", "low", "row_id", "row", "otherwise_broken")


def list_keys(schema: Schema) -> tuple[tuple[str, ...], ...]:
    """Return the sets of columns whose values must be unique, single columns first."""
    singles = [(column.name,) for column in schema.columns if column.unique]
    return tuple(dict.fromkeys([*singles, *schema.unique]))


def name_keys(schema: Schema) -> tuple[str, ...]:
    """Return what reasons call each of `list_keys`: its columns, joined by "+".

    Where that is the name of a column, or of another key, it stands in brackets.
    """
    names: list[str] = []
    for key in list_keys(schema):
        name = "+".join(key)
        while len(key) > 1 and name in (*schema.names, *names):
            name = f"({name})"
        names.append(name)
    return tuple(names)


def spill_keys(
    path: Path,
    batch: Batch,
    schema: Schema,
    seed: int,
    num_buckets: int,
    broken: Positions,
) -> None:
    """Write the key hashes of one batch, a bin a key and bucket.

    Args:
        path: The file.
        batch: The rows.
        schema: Names the keys.
        seed: Of the hashes.
        num_buckets: How many buckets a key has.
        broken: The rows that break something else, so that none is counted twice.
    """
    keys = list_keys(schema)
    is_broken = np.zeros(len(batch), bool)
    is_broken[broken] = True
    parts, bins = [], []
    for index, names in enumerate(keys):
        held = {name: hold(batch.columns[name], schema[name].dtype) for name in names}
        judged = np.flatnonzero(is_judged(held, schema, names))
        high, low = _hash_keys(held, judged, seed)
        parts.append((high, low, batch.row_ids[judged], batch.rows[judged], is_broken[judged]))
        bins.append(bucket_of(high, num_buckets) + index * num_buckets)
    arrays = [to_arrow(np.concatenate(column)) for column in zip(*parts, strict=True)]
    table = pa.RecordBatch.from_arrays(arrays, names=list(_SPILLED))
    write_bins(path, table, np.concatenate(bins), len(keys) * num_buckets)


def find_repeats(paths: Sequence[Path], key_index: int, num_buckets: int, report: str) -> Breaks:
    """Return the rows that break one key's uniqueness.

    Args:
        paths: The spilled keys of every batch.
        key_index: Which of `list_keys`.
        num_buckets: As at the spill.
        report: "all" copies of a repeated key, or all but the first or the last in source order
            ("exclude_first", "exclude_last").
    """
    found = [
        _judge_bucket(paths, key_index * num_buckets + bucket, report)
        for bucket in range(num_buckets)
    ]
    row_ids, rows, otherwise = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(row_ids)
    return Breaks(row_ids[order], rows[order], otherwise[order])


def _hash_keys(held: Mapping[str, Column], judged: Positions, seed: int) -> tuple[Hashes, Hashes]:
    columns = {name: column.take(judged) for name, column in held.items()}
    high = hash_cells(columns, len(judged), derive_key(seed, "unique high"))
    low = hash_cells(columns, len(judged), derive_key(seed, "unique low"))
    return high, low


def is_judged(
    columns: Mapping[str, Column], schema: Schema, names: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Return a mask `(rows,)` of the rows that have a key.

    A cell that is broken already has its one reason; a valid blank is a value like another.
    """
    judged = np.ones(len(columns[names[0]]), bool)
    for name in names:
        states = columns[name].states
        if states is not None:
            legal = states == OK
            if schema[name].nullable:
                legal |= (states == MISSING) | (states == NAN)
            judged &= legal
    return judged


def _judge_bucket(
    paths: Sequence[Path], bin_index: int, report: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return row ids, rows and whether they are broken otherwise, of one bucket's repeats."""
    batches = [batch for path in paths for batch in read_bins(path, [bin_index])]
    if not batches:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)
    high, low, row_ids, rows, otherwise = (
        np.concatenate([to_numpy(batch.column(name)) for batch in batches]) for name in _SPILLED
    )
    order = np.lexsort((row_ids, low, high))
    high, low = high[order], low[order]
    repeats = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    broken = np.zeros(len(order), bool)
    if report != "exclude_last":
        broken[1:] |= repeats
    if report != "exclude_first":
        broken[:-1] |= repeats
    found = order[broken]
    return row_ids[found], rows[found], otherwise[found]
