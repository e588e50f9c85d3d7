"""One shard: the same rows as Parquet and as TFRecord."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from pipeline.manifest import File, Shard, Spec
from pipeline.write.blocks import pack_blocks
from pipeline.write.columns import Values, to_values
from pipeline.write.files import HashingFile
from pipeline.write.parquet import write_parquet
from pipeline.write.tfrecord import encode_examples


def write_shard(
    stem: Path,
    table: pa.Table,
    examples: Mapping[str, npt.NDArray[Any] | pa.Array],
    formats: Sequence[str],
    spec: Spec,
) -> Shard:
    """Write one shard in the formats asked for.

    Args:
        stem: The path without its suffix; the paths in the result are relative to its folder.
        table: The rows as Parquet holds them.
        examples: The rows as TFRecord holds them: `(rows,)` float32 or int64, tensors as Arrow
            binary of their little-endian bytes.
        formats: Of "parquet" and "tfrecord".
        spec: The feature spec: the layout of the TFRecord file, the Parquet file's metadata.

    Raises:
        ShardError: A value has no place in an Example; it names the feature.
    """
    parquet = tfrecord = None
    if "parquet" in formats:
        metadata = {"spec": spec.model_dump_json()}
        path = stem.with_suffix(".parquet")
        parquet = write_parquet(path, table, relative_to=stem.parent, metadata=metadata)
    if "tfrecord" in formats:
        tfrecord = _write_tfrecord(stem.with_suffix(".tfrecord"), examples, spec)
    return Shard(rows=table.num_rows, parquet=parquet, tfrecord=tfrecord)


def _write_tfrecord(
    path: Path, examples: Mapping[str, npt.NDArray[Any] | pa.Array], spec: Spec
) -> File:
    columns: Mapping[str, Values] = {
        name: to_values(name, values) if isinstance(values, pa.Array) else values
        for name, values in examples.items()
    }
    if spec.layout == "block":
        columns = pack_blocks(columns, spec.block_rows)
    with HashingFile(path) as file:
        for chunk in encode_examples(columns):
            file.write(chunk)
    return file.describe(path.parent)
