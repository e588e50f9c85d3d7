"""Raw files cut into partitions: of the files and `partition_bytes` alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.batch import SOURCE_SHIFT
from pipeline.load import arrays, image_folder
from pipeline.load.blocks import read_blocks
from pipeline.load.parquet import group_rows
from pipeline.load.records import Offsets
from pipeline.load.source import Source

MAX_RECORDS = 1 << SOURCE_SHIFT
# To find records takes several looks at a block: what fits into a cache is three times as fast.
WALK_BYTES = 2 << 20


@dataclass(frozen=True)
class Partition:
    """A stretch of one file that one task reads.

    Attributes:
        index: Its place among all partitions.
        source: The file.
        start: Its first byte of UTF-8 text, row group, row of arrays, or image.
        stop: After its last; None for the end of the file.
        first_record: The number of its first record.
        first_row: The line (or row, where there are no lines) of its first record.
        stop_record: No record of it has this number or a higher one.
        files: The images, if it is one of a folder of them.
    """

    index: int
    source: Source
    start: int
    stop: int | None
    first_record: int
    first_row: int
    stop_record: int = MAX_RECORDS
    files: tuple[str, ...] = ()

    @property
    def row_ids(self) -> tuple[int, int]:
        """Return the half-open range of its rows' ids."""
        first = self.source.first_id
        return first + self.first_record, first + self.stop_record


def plan_partitions(sources: Sequence[Source], partition_bytes: int) -> tuple[Partition, ...]:
    """Cut every file into partitions of about `partition_bytes`.

    Text is cut where a record ends, with quotes taken into account; text that has to be unpacked
    or decoded is one partition, read as a stream, and so are packed arrays; Parquet is cut
    between row groups, other arrays between rows, and folders between images.

    Raises:
        InputError: A file cannot be read.
    """
    found: list[Partition] = []
    for source in sources:
        for partition in _cut(source, partition_bytes):
            found.append(replace(partition, index=len(found)))
    return tuple(found)


def _cut(source: Source, partition_bytes: int) -> Iterator[Partition]:
    if source.format == "parquet":
        for start, stop, first, last in group_rows(source.location, partition_bytes):
            yield Partition(0, source, start, stop, first, first + 1, last)
    elif source.format == "images":
        bare = replace(source, files=())
        for start, stop in image_folder.cut_files(source.location, source.files, partition_bytes):
            files = source.files[start:stop]
            yield Partition(0, bare, start, stop, start, start + 1, stop, files)
    elif source.format in ("npy", "npz", "idx"):
        for start, stop in arrays.cut_rows(source, partition_bytes):
            yield Partition(0, source, start, stop, start, start + 1, stop)
    elif source.location.is_streamed or source.size <= partition_bytes:
        yield Partition(0, source, source.data_start, None, 0, source.first_row)
    else:
        yield from _cut_text(source, partition_bytes)


def _cut_text(source: Source, partition_bytes: int) -> Iterator[Partition]:
    """Walk through the whole file once, to number the records."""
    place, num_records, row = source.data_start, 0, source.first_row
    part = Partition(0, source, place, None, num_records, row)
    settings = source.csv if source.format == "csv" else None
    for _, records in read_blocks(source.location, settings, place, block_bytes=WALK_BYTES):
        bounds = place + np.append(0, records.stops)
        lines = row + np.append(records.lines, records.num_lines)
        for cut in _find_cuts(bounds, part.start, partition_bytes):
            yield replace(part, stop=int(bounds[cut]), stop_record=num_records + cut)
            part = Partition(0, source, int(bounds[cut]), None, num_records + cut, int(lines[cut]))
        place, num_records, row = int(bounds[-1]), num_records + len(records), int(lines[-1])
    if part.start < place:
        yield replace(part, stop=place, stop_record=num_records)


def _find_cuts(bounds: Offsets, last_cut: int, partition_bytes: int) -> Iterator[int]:
    """Yield where partitions end among the bounds of records: never too large, never empty."""
    while (over := int(bounds.searchsorted(last_cut + partition_bytes, "right"))) < len(bounds):
        # A record that alone is larger than a partition is one.
        cut = over - 1 if over and bounds[over - 1] > last_cut else over
        yield cut
        last_cut = int(bounds[cut])
