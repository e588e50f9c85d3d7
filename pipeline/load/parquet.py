"""Parquet to batches, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrow import positions_array, to_arrow, to_numpy
from pipeline.batch import Batch, Positions
from pipeline.errors import InputError
from pipeline.load.cells import missing_column
from pipeline.load.opening import Location, open_raw
from pipeline.load.reading import Reading
from pipeline.load.source import Source
from pipeline.load.typed import convert_array, list_bytes, list_texts, plain_array
from pipeline.load.unmended import MALFORMED, may_be_unmended, set_unmended_apart


@contextmanager
def _open_table(
    location: Location, int96_unit: Literal["us", "ns"] = "us"
) -> Iterator[pq.ParquetFile]:
    """Open a file; whatever Arrow finds wrong with it, now or while it is read, names it."""
    with open_raw(location) as raw:
        try:
            # From a file object and not a path: a remote file is opened in the same way.
            # Spark's INT96 times by the microsecond: as nanoseconds the year 9999 would wrap
            # around to 1816, in silence.
            with pq.ParquetFile(
                raw, page_checksum_verification=True, coerce_int96_timestamp_unit=int96_unit
            ) as file:
                yield file
        except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
            raise InputError(
                f"{location.name} cannot be read as Parquet: {str(error).splitlines()[0]}",
                fix="restore the file, or take it out of data.raw.",
                file=location.name,
            ) from error


def read_types(location: Location) -> tuple[list[str], list[str]]:
    """Return the columns' names and Arrow types.

    Raises:
        InputError: The file cannot be read.
    """
    with _open_table(location) as file:
        schema = file.schema_arrow
        return list(schema.names), [str(type_) for type_ in schema.types]


def group_rows(location: Location, partition_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first group, after the last group, first row, after the last row) of partitions.

    Raises:
        InputError: The file cannot be read, or its row counts contradict each other.
    """
    with _open_table(location) as file:
        meta = file.metadata
        groups = [meta.row_group(index) for index in range(file.num_row_groups)]
        counts = [group.num_rows for group in groups]
        sizes = [group.total_byte_size for group in groups]
    _check_count(location, sum(counts), meta.num_rows)
    first, row, size = 0, 0, 0
    for index in range(len(groups)):
        if index > first and size + sizes[index] > partition_bytes:
            rows = sum(counts[first:index])
            yield first, index, row, row + rows
            first, row, size = index, row + rows, 0
        size += sizes[index]
    if first < len(groups):
        yield first, len(groups), row, meta.num_rows


def _check_count(location: Location, found: int, expected: int) -> None:
    if found != expected or expected < 0:
        raise InputError(
            f"{location.name} is corrupt Parquet: its row counts contradict each other.",
            expected=f"{expected} rows",
            got=str(found),
            fix="restore the file, or take it out of data.raw.",
            file=location.name,
        )


def read_groups(
    source: Source, groups: range, first: int, stop: int, reading: Reading
) -> Iterator[Batch]:
    """Yield the rows of some row groups.

    Args:
        source: The file.
        groups: The row groups.
        first: The number of the first row, from 0.
        stop: The number after the last row.
        reading: The settings.

    Raises:
        InputError: The file cannot be read.
    """
    place = first
    with _open_table(source.location) as file:
        exact = _read_nanoseconds(source, file, groups)
        for batch in file.iter_batches(
            batch_size=reading.batch_rows, row_groups=list(groups), use_threads=False
        ):
            arrays = dict(zip(source.columns, batch.columns, strict=True))
            for name, times in exact.items():
                again = times.slice(place - first, batch.num_rows).combine_chunks()
                _check_count(source.location, len(again), batch.num_rows)
                arrays[name] = _spell_finer(arrays[name], again)
            yield _wrap(source, batch, arrays, place, reading)
            place += batch.num_rows
    _check_count(source.location, place, stop)


def _read_nanoseconds(
    source: Source, file: pq.ParquetFile, groups: range
) -> dict[str, pa.ChunkedArray]:
    """Read Spark's INT96 times, but for nested ones, a second time: by the nanosecond."""
    leaves = [file.schema.column(index) for index in range(len(file.schema))]
    spark = {
        leaf.name for leaf in leaves if leaf.physical_type == "INT96" and leaf.path == leaf.name
    }
    if not spark:
        return {}
    with _open_table(source.location, "ns") as again:
        table = again.read_row_groups(list(groups), columns=list(spark), use_threads=False)
    headers = zip(source.columns, file.schema_arrow.names, strict=True)
    names = [name for name, header in headers if header in spark]
    return dict(zip(names, table.columns, strict=True))


def _spell_finer(times: pa.Array, exact: pa.Array) -> pa.Array:
    """Return times as text, with all digits, where some are finer than a microsecond.

    Args:
        times: `(rows,)` by the microsecond, the finer digits cut off.
        exact: The same by the nanosecond; what that cannot hold is another time.
    """
    micros, nanos = to_numpy(times), to_numpy(exact)
    finer = (nanos // 1_000 == micros) & (nanos % 1_000 != 0)
    if not finer.any():
        return times
    return pc.if_else(to_arrow(finer), list_texts(exact), list_texts(times))


def _wrap(
    source: Source, rows: pa.RecordBatch, arrays: dict[str, pa.Array], place: int, reading: Reading
) -> Batch:
    """Make a batch of rows; `arrays` are their columns, times that are finer than ours as text.

    Carried columns keep the file's type: there such times are cut off at the microsecond.
    """
    plain = dict(zip(source.columns, rows.columns, strict=True))
    decimal = source.csv.decimal if source.is_mended_quarantine else "."
    columns = {}
    for name, kind in reading.kinds.items():
        if name in arrays:
            columns[name] = convert_array(kind, arrays[name], reading.missing_texts(name), decimal)
        else:
            columns[name] = missing_column(kind, rows.num_rows)
    raw_columns = source.raw_columns
    carried = {
        name: list_texts(arrays[name]) if name in source.as_text else plain_array(plain[name])
        for name in raw_columns
        if reading.carries(name)
    }
    batch = Batch(
        source=source.name,
        row_ids=np.arange(place, place + rows.num_rows) + source.first_id,
        rows=np.arange(place, place + rows.num_rows) + 1,
        columns=columns,
        carried=pa.table(carried),
        read_texts=partial(_read_texts, {name: arrays[name] for name in raw_columns}),
    )
    if not may_be_unmended(source, reading):
        return batch
    return set_unmended_apart(batch, list_bytes(arrays[MALFORMED]))


def _read_texts(arrays: dict[str, pa.Array], positions: Positions) -> dict[str, pa.Array]:
    places = positions_array(positions)
    return {name: list_texts(array.take(places)) for name, array in arrays.items()}
