"""The third map: every rejected row of a partition, as it was read, with all its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array, strings, to_arrow, to_numpy
from pipeline.batch import QUARANTINE_COLUMNS
from pipeline.ledger import RuleCounts
from pipeline.load import Partition, read_records
from pipeline.manifest import File
from pipeline.run.setup import Setup
from pipeline.run.spilling import reasons_batch
from pipeline.spill import name_spill, read_bins
from pipeline.write import nest_reasons, source_names, write_parquet


@dataclass(frozen=True)
class QuarantineTask:
    """One partition's rejected rows.

    Attributes:
        setup: What the job shares.
        partition: The partition.
        spills: The stems of its spill files.
        late: The files of reasons that finish left, of all partitions.
        settled: Column, rule and the row ids that break it, of this partition; of the rules of
            the whole dataset.
        columns: The columns of all raw files, in order.
        staging: Where the file is written.
    """

    setup: Setup
    partition: Partition
    spills: tuple[Path, ...]
    late: tuple[Path, ...]
    settled: tuple[tuple[str, str, npt.NDArray[np.int64]], ...]
    columns: tuple[str, ...]
    staging: Path


@dataclass(frozen=True)
class Quarantined:
    """What one partition set aside."""

    rows: int = 0
    file: File | None = None
    reasons: RuleCounts = field(default_factory=Counter)


def quarantine_rows(task: QuarantineTask) -> Quarantined:
    """Write one partition's rejected rows."""
    reasons = _gather_reasons(task)
    if reasons is None:
        return Quarantined()
    staged = _staged_rows(task)
    row_ids = np.unique(to_numpy(reasons.column("row_id").combine_chunks()))
    table = _add_missing_rows(staged, row_ids, task)
    order = np.argsort(to_numpy(table.column("row_id").combine_chunks()))
    table = table.take(positions_array(order))
    reasons = _fill_values(reasons, table, row_ids, task.setup.reading.kinds)
    names = reasons.column("column").to_pylist(), reasons.column("rule").to_pylist()
    path = task.staging / f"quarantine-{task.partition.index:05d}.parquet"
    file = write_parquet(
        path,
        _quarantine_table(table, row_ids, reasons, task),
        relative_to=task.staging,
        metadata={"holds": "quarantine"},
    )
    return Quarantined(len(row_ids), file, Counter(zip(*names, strict=True)))


def _gather_reasons(task: QuarantineTask) -> pa.Table | None:
    """Return all reasons of the partition's rejected rows, each once."""
    parts = [batch for stem in task.spills for batch in read_bins(name_spill(stem, "reasons"))]
    first, last = task.partition.row_ids
    for path in task.late:
        for batch in read_bins(path):
            ids = to_numpy(batch.column("row_id"))
            parts.append(_take(batch, (ids >= first) & (ids < last)))
    for column, rule, row_ids in task.settled:
        nothing = pa.nulls(len(row_ids), pa.string())
        parts.append(reasons_batch([(column, rule, row_ids, nothing)]))
    rejected = np.unique(
        np.concatenate(
            [np.zeros(0, np.int64), *(to_numpy(part.column("row_id")) for part in parts)]
        )
    )
    if not len(rejected):
        return None
    # A row that was to be repaired and goes after all breaks what it broke at the scan, too.
    for stem in task.spills:
        parts += [
            _take(batch, np.isin(to_numpy(batch.column("row_id")), rejected))
            for batch in read_bins(name_spill(stem, "broken"))
        ]
    table = pa.Table.from_batches(parts)
    keys = zip(*(table.column(n).to_pylist() for n in ("row_id", "column", "rule")), strict=True)
    first_places = list({key: place for place, key in reversed(list(enumerate(keys)))}.values())
    return table.take(positions_array(np.sort(np.array(first_places, np.int64))))


def _take(batch: pa.RecordBatch, mask: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    return batch.take(positions_array(np.flatnonzero(mask)))


def _staged_rows(task: QuarantineTask) -> list[pa.Table]:
    return [
        pa.Table.from_batches([batch])
        for stem in task.spills
        for batch in read_bins(name_spill(stem, "rejected"))
    ]


def _add_missing_rows(
    staged: Sequence[pa.Table], row_ids: npt.NDArray[np.int64], task: QuarantineTask
) -> pa.Table:
    """Read again the rows that were good at the scan and rejected later."""
    tables = list(staged)
    known = [to_numpy(table.column("row_id").combine_chunks()) for table in tables]
    missing = np.setdiff1d(row_ids, np.concatenate([np.zeros(0, np.int64), *known]))
    if len(missing):
        texts = dict(read_records(task.partition, missing, task.setup.reading))
        rows = texts.pop("_row")
        arrays = {"row_id": to_arrow(missing), "row": rows}
        arrays |= {f"t:{name}": array for name, array in texts.items()}
        tables.append(pa.table(arrays))
    return pa.concat_tables(tables, promote_options="default")


def _fill_values(
    reasons: pa.Table, rows: pa.Table, row_ids: npt.NDArray[np.int64], known: Collection[str]
) -> pa.Table:
    """Put the cell's text to the reasons that came without one.

    A key of several columns may be called like a column that the schema does not know.
    """
    columns, values = reasons.column("column").to_pylist(), reasons.column("value").to_pylist()
    places = np.searchsorted(row_ids, to_numpy(reasons.column("row_id").combine_chunks())).tolist()
    texts: dict[str, list[str | None]] = {}
    for index, (column, value) in enumerate(zip(columns, values, strict=True)):
        if value is None and column in known and f"t:{column}" in rows.column_names:
            if column not in texts:
                texts[column] = rows.column(f"t:{column}").to_pylist()
            values[index] = texts[column][places[index]]
    return reasons.set_column(3, "value", strings(values))


def _quarantine_table(
    rows: pa.Table, row_ids: npt.NDArray[np.int64], reasons: pa.Table, task: QuarantineTask
) -> pa.Table:
    arrays = {
        "_source": source_names(row_ids, task.setup.source_names),
        "_row": rows.column("row"),
        "_row_id": to_arrow(row_ids),
        "_reasons": nest_reasons(row_ids, reasons),
        "_malformed": _column_or_null(rows, "malformed", pa.binary()),
    }
    late = [name[2:] for name in rows.column_names if name.startswith("t:")]  # of JSON Lines
    names = dict.fromkeys([*task.columns, *late])
    for name in names:
        # A file may have a column of our name, such as an earlier quarantine that was mended.
        kept = name
        while kept in QUARANTINE_COLUMNS or (kept != name and kept in names):
            kept += ".raw"
        arrays[kept] = _column_or_null(rows, f"t:{name}", pa.string())
    return pa.table(arrays)


def _column_or_null(rows: pa.Table, name: str, type_: pa.DataType) -> pa.ChunkedArray:
    if name in rows.column_names:
        return rows.column(name)
    return pa.chunked_array([pa.nulls(rows.num_rows, type_)])
