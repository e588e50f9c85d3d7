"""One shard: the same rows as Parquet and as TFRecord."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from pipeline.manifest import File, Shard, Spec
from pipeline.write.files import HashingFile
from pipeline.write.parquet import write_parquet
from pipeline.write.tfrecord import encode_examples


def write_shard(
    stem: Path,
    table: pa.Table,
    examples: Mapping[str, npt.NDArray[Any]],
    formats: Sequence[str],
    spec: Spec,
) -> Shard:
    """Write one shard in the formats asked for.

    Args:
        stem: The path without its suffix; the paths in the result are relative to its folder.
        table: The rows as Parquet holds them.
        examples: The rows as TFRecord holds them, `(rows,)` float32 or int64 each.
        formats: Of "parquet" and "tfrecord".
        spec: The feature spec, for the Parquet file's metadata.
    """
    parquet = tfrecord = None
    if "parquet" in formats:
        metadata = {"spec": spec.model_dump_json()}
        path = stem.with_suffix(".parquet")
        parquet = write_parquet(path, table, relative_to=stem.parent, metadata=metadata)
    if "tfrecord" in formats:
        tfrecord = _write_tfrecord(stem.with_suffix(".tfrecord"), examples)
    return Shard(rows=table.num_rows, parquet=parquet, tfrecord=tfrecord)


def _write_tfrecord(path: Path, examples: Mapping[str, npt.NDArray[Any]]) -> File:
    with HashingFile(path) as file:
        for chunk in encode_examples(examples):
            file.write(chunk)
    return file.describe(path.parent)
