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


def write_parquet(
    path: Path, table: pa.Table, *, relative_to: Path, metadata: Mapping[str, str] | None = None
) -> File:
    """Write one table as one Parquet file.

    A dictionary costs floats four times the time and saves nothing; integers and strings get one.
    """
    repeated = [
        field.name for field in table.schema if not pa.types.is_floating(field.type)
        and not pa.types.is_nested(field.type)
    ]  # fmt: skip
    if metadata:
        table = table.replace_schema_metadata({f"nanproof.{k}": v for k, v in metadata.items()})
    with HashingFile(path) as file:
        pq.write_table(
            table,
            pa.PythonFile(file, "w"),
            use_dictionary=repeated or False,
            write_statistics=True,
            store_schema=True,
            **_COMPRESSION,
        )
    return file.describe(relative_to)
