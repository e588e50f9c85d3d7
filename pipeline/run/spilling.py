"""What one batch leaves on disk for the stages after the scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import binaries, positions_array, strings, to_arrow
from pipeline.batch import MISSING, OK, TYPE, Batch, Column, Finding, Positions
from pipeline.manifest import SPLITS
from pipeline.spill import name_spill, write_bins
from pipeline.split import Placement


class ReadTexts:
    """The cells of some rows of a batch as they were read, looked up by row and column."""

    def __init__(self, batch: Batch, positions: Positions) -> None:
        self.positions = positions
        self.columns: Mapping[str, pa.Array] = (
            batch.read_texts(self.positions) if len(self.positions) else {}
        )

    def cells(self, column: str | None, positions: npt.NDArray[np.int64]) -> pa.Array:
        """Return one column's texts at these positions; null without such a column."""
        if column is None or column not in self.columns:
            return pa.nulls(len(positions), pa.string())
        places = np.searchsorted(self.positions, positions)
        return self.columns[column].take(positions_array(places))


def spill_rows(
    stem: Path,
    batch: Batch,
    placement: Placement,
    kept: npt.NDArray[np.int64],
    num_buckets: int,
) -> npt.NDArray[np.int64]:
    """Spill the rows that stay, by split and bucket; return `(splits, buckets)` counts."""
    arrays = {"row_id": to_arrow(batch.row_ids), "row": to_arrow(batch.rows)}
    arrays |= {f"c:{name}": spill_column(column) for name, column in batch.columns.items()}
    for name, chunked in zip(batch.carried.column_names, batch.carried.columns, strict=True):
        arrays[f"x:{name}"] = chunked.combine_chunks()
    rows = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    bins = placement.splits.astype(np.int64) * num_buckets + placement.buckets
    if len(kept) < len(batch):
        rows, bins = rows.take(positions_array(kept)), bins[kept]
    counts = write_bins(name_spill(stem, "rows"), rows, bins, len(SPLITS) * num_buckets)
    return counts.reshape(len(SPLITS), num_buckets)


def spill_column(column: Column) -> pa.Array:
    """Return a column as it is spilled: null where there is no value to keep."""
    if column.kind == "string":
        return column.values
    if column.states is None:
        return to_arrow(column.values)
    if column.kind == "float":  # NaN and the infinities are kept as they are
        return to_arrow(column.values, (column.states != MISSING) & (column.states != TYPE))
    infinite = (column.states != OK) & (column.values != 0)
    return to_arrow(column.values, (column.states == OK) | infinite)


def spill_cells(
    path: Path,
    batch: Batch,
    cells: Iterable[Finding],
    placement: Placement,
    rejected: npt.NDArray[np.bool_],
    texts: ReadTexts,
    num_buckets: int,
) -> None:
    """Spill the cells of the rows that stay, to the same bins as their rows."""
    parts = []
    for finding in cells:
        positions = finding.positions[~rejected[finding.positions]]
        if len(positions):
            values = texts.cells(finding.column, positions)
            parts.append((finding.column, finding.rule, positions, values))
    if not parts:
        return
    positions = np.concatenate([part[2] for part in parts])
    rows = reasons_batch(
        [(column, rule, batch.row_ids[where], values) for column, rule, where, values in parts]
    )
    bins = placement.splits[positions].astype(np.int64) * num_buckets + placement.buckets[positions]
    write_bins(path, rows, bins, len(SPLITS) * num_buckets)


def reasons_batch(
    parts: Sequence[tuple[str | None, str, npt.NDArray[np.int64], pa.Array]],
) -> pa.RecordBatch:
    """Return (column, rule, row ids, values) parts as rows of one table of reasons."""
    lengths = [len(part[2]) for part in parts]
    which = np.repeat(np.arange(len(parts)), lengths)
    arrays = [
        to_arrow(np.concatenate([part[2] for part in parts])),
        strings([part[0] for part in parts]).take(positions_array(which)),
        strings([part[1] for part in parts]).take(positions_array(which)),
        pa.concat_arrays([part[3] for part in parts]),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=["row_id", "column", "rule", "value"])


def spill_rejected(
    stem: Path,
    batch: Batch,
    findings: Sequence[Finding],
    rejected: npt.NDArray[np.bool_],
    texts: ReadTexts,
) -> None:
    """Spill the rows that go, as they were read, and beside them their reasons."""
    parts = []
    for finding in findings:
        positions = finding.positions[rejected[finding.positions]]
        if len(positions):
            values = texts.cells(finding.column, positions)
            parts.append((finding.column, finding.rule, batch.row_ids[positions], values))
    if batch.malformed:
        ids = np.array([record.row_id for record in batch.malformed], np.int64)
        details = strings([record.detail for record in batch.malformed])
        parts.append((None, "malformed", ids, details))
    if not parts:
        return
    reasons = reasons_batch(parts)
    write_bins(name_spill(stem, "reasons"), reasons, np.zeros(len(reasons), np.int64), 1)
    rows = _rejected_rows(batch, np.flatnonzero(rejected), texts)
    write_bins(name_spill(stem, "rejected"), rows, np.zeros(len(rows), np.int64), 1)


def _rejected_rows(
    batch: Batch, positions: npt.NDArray[np.int64], texts: ReadTexts
) -> pa.RecordBatch:
    broken = batch.malformed
    row_ids = np.concatenate([batch.row_ids[positions], [record.row_id for record in broken]])
    rows = np.concatenate([batch.rows[positions], [record.row for record in broken]])
    nothing = pa.nulls(len(positions), pa.binary())
    data = binaries([record.data for record in broken])
    arrays = {
        "row_id": to_arrow(row_ids.astype(np.int64)),
        "row": to_arrow(rows.astype(np.int64)),
        "malformed": pa.concat_arrays([nothing, data]),
    }
    blank = pa.nulls(len(broken), pa.string())
    for name in texts.columns:
        arrays[f"t:{name}"] = pa.concat_arrays([texts.cells(name, positions), blank])
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
