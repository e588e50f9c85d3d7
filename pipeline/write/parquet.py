"""Parquet files, compressed as suits numbers, with what they are in their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.manifest import File
from pipeline.write.files import HashingFile

# Level 1: higher ones cost several times the time for a few percent on numbers.
_COMPRESSION = {"compression": "zstd", "compression_level": 1}
# A reader holds a row group of each column it wants, and divides its work by them: enough rows
# to be read fast, and no more bytes than any machine has to spare.
ROW_GROUP_ROWS = 1 << 17
ROW_GROUP_BYTES = 1 << 26
# Each of their values is another: a dictionary would cost time, and differences are shorter.
_DISTINCT = {"row_id": "DELTA_BINARY_PACKED", "_row": "DELTA_BINARY_PACKED"}


def write_parquet(
    path: Path, table: pa.Table, *, relative_to: Path, metadata: Mapping[str, str] | None = None
) -> File:
    """Write one table as one Parquet file.

    A dictionary costs floats four times the time and saves nothing; integers and strings get one.
    Binary, such as tensors, gets neither that nor statistics.
    """
    plain = [f.name for f in table.schema if not _is_opaque(f.type)]
    repeated = [f.name for f in table.schema if f.name not in _DISTINCT and _repeats(f.type)]
    rows = ROW_GROUP_BYTES * table.num_rows // max(table.nbytes, 1)
    if metadata:
        table = table.replace_schema_metadata({f"nanproof.{k}": v for k, v in metadata.items()})
    with HashingFile(path) as file:
        pq.write_table(
            table,
            pa.PythonFile(file, "w"),
            use_dictionary=repeated or False,
            column_encoding={n: how for n, how in _DISTINCT.items() if n in plain} or None,
            write_statistics=plain or False,
            row_group_size=min(max(rows, 1), ROW_GROUP_ROWS),
            store_schema=True,
            **_COMPRESSION,
        )
    return file.describe(relative_to)


def _repeats(type_: pa.DataType) -> bool:
    return not (_is_opaque(type_) or pa.types.is_floating(type_) or pa.types.is_nested(type_))


def _is_opaque(type_: pa.DataType) -> bool:
    kinds = pa.types
    return (
        kinds.is_binary(type_) or kinds.is_large_binary(type_) or kinds.is_fixed_size_binary(type_)
    )
