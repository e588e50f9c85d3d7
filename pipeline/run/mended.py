"""Rows of a quarantine that was mended, which take the place of the rows that they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.batch import Batch
from pipeline.load import Partition, Reading, read_partition
from pipeline.schema import ColumnSchema, Schema

Replaced = Mapping[str, npt.NDArray[np.int64]]
"""The name of a raw file to the ascending lines (or row numbers) that are read elsewhere."""

# Of `QUARANTINE_COLUMNS`, those that say where a row was.
_PLACE = Schema(
    "place", (ColumnSchema("_source", "string", "str"), ColumnSchema("_row", "int", "int64"))
)
_PLACES = Reading(_PLACE, finds_unmended=False)


def find_replaced(partitions: Sequence[Partition]) -> Replaced:
    """Return which rows of the raw files stand, mended, in another of them.

    Raises:
        InputError: A file cannot be read.
    """
    found: dict[str, list[int]] = {}
    for partition in partitions:
        if not partition.source.is_mended_quarantine:
            continue
        for batch in read_partition(partition, _PLACES):
            names, rows = batch.columns["_source"], batch.columns["_row"]
            told = names.is_ok() & rows.is_ok()
            places = zip(names.values.to_pylist(), rows.values.tolist(), told, strict=True)
            for name, row, is_told in places:
                if is_told:
                    found.setdefault(name, []).append(row)
    return {name: np.unique(rows) for name, rows in found.items()}


def leave_out(batch: Batch, replaced: Replaced) -> tuple[Batch, int]:
    """Return a batch without its rows that are read elsewhere, and how many those are."""
    rows = replaced.get(batch.source)
    if rows is None:
        return batch, 0
    kept = np.flatnonzero(~np.isin(batch.rows, rows))
    known = set(rows.tolist())
    malformed = tuple(record for record in batch.malformed if record.row not in known)
    num_left_out = len(batch) - len(kept) + len(batch.malformed) - len(malformed)
    return (batch.take(kept, malformed), num_left_out) if num_left_out else (batch, 0)
