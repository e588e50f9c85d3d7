"""A partition to batches, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import to_arrow
from pipeline.batch import Batch
from pipeline.load import arrays, images, json_lines, parquet
from pipeline.load.blocks import read_blocks
from pipeline.load.csv import CsvReader
from pipeline.load.partitions import Partition
from pipeline.load.reading import Reading


def read_partition(partition: Partition, reading: Reading) -> Iterator[Batch]:
    """Yield the rows of a partition in their order, in batches.

    Raises:
        InputError: The file cannot be read.
        UsageError: It is a folder of images, and Pillow is not installed.
    """
    source = partition.source
    if source.format == "images":
        yield from images.read_batches(source, partition.files, partition.first_record, reading)
        return
    if source.format in ("npy", "npz", "idx"):
        yield from arrays.read_batches(source, partition.start, partition.stop or 0, reading)
        return
    if source.format == "parquet":
        groups = range(partition.start, partition.stop or 0)
        first, stop = partition.first_record, partition.stop_record
        yield from parquet.read_groups(source, groups, first, stop, reading)
        return
    csv_reader = CsvReader(source, reading) if source.format == "csv" else None
    record, row = partition.first_record, partition.first_row
    settings = None if csv_reader is None else source.csv
    blocks = read_blocks(source.location, settings, partition.start, partition.stop)
    for data, records in blocks:
        if csv_reader is not None:
            yield from csv_reader.read_batches(data, records, record, row)
        else:
            yield from json_lines.read_batches(source, data, records, record, row, reading)
        record += len(records)
        row += records.num_lines


def read_records(
    partition: Partition, row_ids: npt.NDArray[np.int64], reading: Reading
) -> Mapping[str, pa.Array]:
    """Read some rows of a partition again, as they stand in the file.

    Args:
        partition: The partition that holds them.
        row_ids: `(rows,)` ascending; each of a row, none of a malformed record.
        reading: As for `read_partition`.

    Returns:
        Column to an Arrow string array `(rows,)`, as `Batch.read_texts` gives, and `_row` to the
        rows' lines as int64.

    Raises:
        InputError: The file cannot be read.
    """
    found: list[Mapping[str, pa.Array]] = []
    for batch in read_partition(partition, reading):
        positions = np.flatnonzero(np.isin(batch.row_ids, row_ids))
        if len(positions):
            found.append({**batch.read_texts(positions), "_row": to_arrow(batch.rows[positions])})
    if not found:
        empty = dict.fromkeys(partition.source.columns, pa.nulls(0, pa.string()))
        return {**empty, "_row": pa.nulls(0, pa.int64())}
    names = dict.fromkeys(name for part in found for name in part)
    return {name: pa.concat_arrays([_get(part, name) for part in found]) for name in names}


def _get(part: Mapping[str, pa.Array], name: str) -> pa.Array:
    """Return a column; JSON Lines may name one for the first time in a later batch."""
    return part.get(name, pa.nulls(len(part["_row"]), pa.string()))
