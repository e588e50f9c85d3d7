"""What a scan leaves on disk for later tasks: Arrow files of one record batch a bin.

A bin is a bucket of one split, or a bucket of keys. Any bin is read without its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array
from pipeline.storage import atomic_path

# Of each batch of a scan: the rows that stay, their broken cells, those that the schema's own
# parsers and defaults changed, those of columns that are not judged; the rows that go, and their
# reasons; the keys and the orders of the rules of the whole dataset.
Holds = Literal[
    "rows", "broken", "changed", "unjudged", "rejected", "reasons", "keys", "order"
]  # fmt: skip

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def name_spill(stem: Path, holds: Holds, index: int | None = None) -> Path:
    """Return the path of a spill file.

    Args:
        stem: What the files of one batch have in common.
        holds: What is in it.
        index: Which of several of its kind.
    """
    return stem.with_suffix(f".{holds}{'' if index is None else index}")


def write_bins(
    path: Path, rows: pa.RecordBatch, bins: npt.NDArray[np.int64], num_bins: int
) -> npt.NDArray[np.int64]:
    """Write rows by bin, and return `(num_bins,)` how many rows each got.

    Args:
        path: The file. It is not written where there is no row.
        rows: The rows; those of one bin keep their order.
        bins: `(rows,)` the bin of every row, in [0, num_bins).
        num_bins: How many bins there are.
    """
    counts = np.bincount(bins, minlength=num_bins)
    if not len(bins):
        return counts
    ordered = rows.take(positions_array(np.argsort(bins, kind="stable")))
    filled = np.flatnonzero(counts)
    ends = np.cumsum(counts[filled])
    schema = rows.schema.with_metadata({"bins": json.dumps(filled.tolist())})
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema, options=_OPTIONS) as writer,
    ):
        for end, length in zip(ends.tolist(), counts[filled].tolist(), strict=True):
            writer.write_batch(ordered.slice(end - length, length))
    return counts


def read_bins(path: Path, bins: Sequence[int] | None = None) -> list[pa.RecordBatch]:
    """Read the rows of these bins (None: all) as far as they hold any; an absent file has none."""
    if not path.exists():
        return []
    with pa.OSFile(str(path), "rb") as source:
        reader = pa.ipc.open_file(source)
        filled = json.loads(reader.schema.metadata[b"bins"])
        places = {bin_: index for index, bin_ in enumerate(filled)}
        asked = filled if bins is None else [bin_ for bin_ in bins if bin_ in places]
        return [reader.get_batch(places[bin_]) for bin_ in asked]
