"""Any Arrow table as a TFRecord file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import ShardError, UsageError
from pipeline.manifest import File
from pipeline.write.columns import Values, to_values
from pipeline.write.crc32c import Bytes
from pipeline.write.files import HashingFile
from pipeline.write.tfrecord import encode_examples

# Bounds what a batch costs as float32 and int64 beside the table itself.
PART_BYTES = 1 << 25


def write_examples(
    path: Path | str,
    table: pa.Table | pa.RecordBatch | pa.RecordBatchReader,
    *,
    allow_nonfinite: bool = False,
) -> File:
    """Write a table as TFRecord, a `tf.train.Example` a row, in the order of rows and columns.

    Floats become float_list (float32); ints and booleans int64_list; dates and timestamps
    int64_list (microseconds since 1970, UTC); strings and binaries bytes_list of one value;
    fixed-size lists and tensors of numbers a list of all their values. Any TFRecord reader reads
    them; `nanproof verify` knows shards alone, whose records are all laid out alike.

    Args:
        path: The local file; it appears when it is whole.
        table: A table or a batch, or a reader of batches, which need not fit into memory.
        allow_nonfinite: Whether NaN and infinities are written as they are, not refused.

    Returns:
        The file's name, size and SHA-256.

    Raises:
        ShardError: A cell is null, not finite, or out of the range of float32 or int64, or an
            Example has no place for the type; it names the column.
        UsageError: `table` is of another type, or `path` is a URL.
        EnvironmentFailure: The file cannot be written.

    Example:
        >>> import tempfile
        >>> table = pa.table({"x": [1.5, 2.5], "word": ["a", "bc"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_examples(f"{folder}/words.tfrecord", table).bytes
        97
    """
    if "://" in str(path):
        raise UsageError(f"{path} is a URL, and a local file is written.", fix="upload it after.")
    path = Path(path)
    with HashingFile(path) as file:
        for chunk in encode_table(table, allow_nonfinite=allow_nonfinite):
            file.write(chunk)
    return file.describe(path.parent)


def encode_table(
    table: pa.Table | pa.RecordBatch | pa.RecordBatchReader, *, allow_nonfinite: bool = True
) -> Iterator[Bytes]:
    """Yield the bytes of a TFRecord file in chunks; see `write_examples`."""
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, (pa.Table, pa.RecordBatchReader)):
        raise UsageError(
            f"a {type(table).__name__} is no Arrow table.",
            fix="give a pyarrow.Table, such as pyarrow.Table.from_pandas(df).",
        )
    names = table.schema.names
    if not names:
        raise ShardError("a table without columns has no Example.", fix="give it a column.")
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ShardError(
            f"column {name!r}: there are several of the name.", fix="rename them.", column=name
        )
    for batch in table.to_batches() if isinstance(table, pa.Table) else table:
        step = max(1, PART_BYTES * batch.num_rows // max(batch.nbytes, 1))
        for start in range(0, batch.num_rows, step):
            part = batch.slice(start, step)
            columns = zip(names, part.columns, strict=True)
            examples = {name: to_values(name, array) for name, array in columns}
            if not allow_nonfinite:
                _refuse_nonfinite(examples)
            yield from encode_examples(examples)


def _refuse_nonfinite(examples: Mapping[str, Values]) -> None:
    for name, values in examples.items():
        if isinstance(values, np.ndarray) and values.dtype == np.float32:
            count = int((~np.isfinite(values)).sum())
            if count:
                raise ShardError(
                    f"column {name!r}: {count:,} values are not finite.",
                    fix="clean them first, or give allow_nonfinite=True.",
                    column=name,
                )
