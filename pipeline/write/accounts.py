"""What was changed and what was set aside, as Parquet that a reader can query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array, strings, to_arrow
from pipeline.batch import SOURCE_SHIFT
from pipeline.manifest import File
from pipeline.write.parquet import write_parquet

Change = tuple[str, npt.NDArray[np.int64], Sequence[str], pa.Array, pa.Array]
"""One column's changed cells: its name, row positions, rules, old texts, new texts."""

REASON = pa.struct([("column", pa.string()), ("rule", pa.string()), ("value", pa.string())])


def write_repairs(
    path: Path,
    row_ids: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    changes: Sequence[Change],
    sources: Sequence[str],
) -> File:
    """Write every changed cell: row_id, source, row, column, old, new, rule.

    Args:
        path: The file.
        row_ids: `(rows,)` of the shard's rows.
        rows: `(rows,)` their lines or row numbers.
        changes: By column. `old` is the text as it was read, null where it was read as missing.
        sources: The raw files' names, by file number.

    Sorted by row id, then in the columns' order.
    """
    positions = np.concatenate([change[1] for change in changes])
    which = np.repeat(np.arange(len(changes)), [len(change[1]) for change in changes])
    table = pa.table(
        {
            "row_id": to_arrow(row_ids[positions]),
            "source": source_names(row_ids[positions], sources),
            "row": to_arrow(rows[positions]),
            "column": strings([change[0] for change in changes]).take(positions_array(which)),
            "old": pa.concat_arrays([change[3] for change in changes]),
            "new": pa.concat_arrays([change[4] for change in changes]),
            "rule": strings([rule for change in changes for rule in change[2]]),
        }
    )
    order = np.lexsort((which, row_ids[positions]))
    return write_parquet(path, table.take(positions_array(order)), relative_to=path.parent)


def source_names(row_ids: npt.NDArray[np.int64], sources: Sequence[str]) -> pa.Array:
    """Return the name of the raw file of each row."""
    return strings(list(sources)).take(positions_array(row_ids >> SOURCE_SHIFT))


def nest_reasons(row_ids: npt.NDArray[np.int64], reasons: pa.Table) -> pa.Array:
    """Return `(rows,)` lists of {column, rule, value} for ascending row ids.

    Args:
        row_ids: `(rows,)` ascending.
        reasons: row_id, column, rule, value; every row id of it is among `row_ids`.
    """
    ids = np.asarray(reasons.column("row_id").combine_chunks())
    order = np.argsort(ids, kind="stable")
    ends = np.searchsorted(ids[order], row_ids, side="right")
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    ordered = reasons.select(["column", "rule", "value"]).take(positions_array(order))
    fields = [chunked.combine_chunks() for chunked in ordered.columns]
    items = pa.StructArray.from_arrays(fields, fields=list(REASON))
    return pa.ListArray.from_arrays(to_arrow(offsets), items)
