"""One raw file, or one folder of images, as the whole job knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.batch import PLACE_COLUMNS, QUARANTINE_COLUMNS, SOURCE_SHIFT
from pipeline.job import CsvSettings, ImageSettings
from pipeline.load.columns import Table, advise_on_header
from pipeline.load.opening import Location
from pipeline.load.tensors import list_derived

Format = Literal["csv", "parquet", "jsonl", "npy", "npz", "idx", "images", "unknown"]


@dataclass(frozen=True)
class Source:
    """One raw file, or one folder of images.

    Attributes:
        index: Its place in sorted order, the upper part of its rows' ids.
        location: Where it is and how its bytes are wrapped.
        size: Bytes on disk; 0 where that is unknown.
        format: How its bytes are read; "unknown" only of a file with a fault.
        columns: Its columns, in its order; none occurs twice.
        csv: How it is written, if it is delimited text.
        data_start: Where the records begin in its UTF-8 text.
        first_row: The line of the first record.
        types: Column to Arrow type, as text, or "tensor<uint8>"; not of text formats.
        as_text: Columns that are carried as text, since the files' types conflict.
        content_hash: Of its bytes, in hexadecimal.
        modified: Seconds since 1970, or None where that is unknown.
        repeated: Column to the names that its further copies in the header were given.
        images: How images are decoded.
        files: The images of a folder, below it and in order; partitions hold their own instead.
        companion: Where the labels of images in IDX are, or None.
        tensors: Column to dtype of the tensors; each is carried as binary, `(rows,)`: the row's
            values, little-endian and C-ordered.
        shapes: Column to shape of one row, of the tensors whose shape the file settles.
        plain_bytes: About how many bytes its values are once unpacked or decoded, of arrays and
            images; 0 of text and Parquet.
        left_out: How many files of the folder are no images, hidden ones not counted.
        fault: Why it cannot be read, where such files are set aside; else empty.
    """

    index: int
    location: Location
    size: int
    format: Format
    columns: tuple[str, ...]
    csv: CsvSettings
    data_start: int = 0
    first_row: int = 1
    types: tuple[tuple[str, str], ...] = ()
    as_text: frozenset[str] = frozenset()
    content_hash: str = ""
    modified: float | None = None
    repeated: tuple[tuple[str, tuple[str, ...]], ...] = ()
    fault: str = ""
    images: ImageSettings = field(default_factory=ImageSettings)
    files: tuple[str, ...] = ()
    companion: Location | None = None
    tensors: tuple[tuple[str, str], ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    plain_bytes: int = 0
    left_out: int = 0

    @property
    def is_mended_quarantine(self) -> bool:
        """Return whether it has the columns of a quarantine, and so comes from one."""
        return set(PLACE_COLUMNS) <= set(self.columns)

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """Return its columns, less those that nanproof put there."""
        if not self.is_mended_quarantine:
            return self.columns
        return tuple(name for name in self.columns if name not in QUARANTINE_COLUMNS)

    @property
    def worked_out(self) -> frozenset[str]:
        """Return the columns that no schema has to name: tensors, and what is derived of them."""
        if self.format == "images":
            return frozenset(self.columns) - {"label"}
        return frozenset[str]().union(*map(self.list_tensor_columns, dict(self.tensors)))

    def list_tensor_columns(self, tensor: str) -> frozenset[str]:
        """Return a tensor's column, and those that are derived of it."""
        shape = dict(self.shapes).get(tensor, (1, 1, 1))  # images of any size have three axes
        return frozenset({tensor, *list_derived(tensor, shape)})

    @property
    def table(self) -> Table:
        """Return what a schema is compared with."""
        return Table(
            what=self.name,
            columns=self.raw_columns,
            repeated=self.repeated,
            types=self.types,
            worked_out=self.worked_out,
            advice=advise_on_header(self.columns) if self.format == "csv" else "",
        )

    @property
    def name(self) -> str:
        """Return its path relative to the job file, or its URL."""
        return self.location.name

    @property
    def first_id(self) -> int:
        """Return the row id of record 0."""
        return self.index << SOURCE_SHIFT
