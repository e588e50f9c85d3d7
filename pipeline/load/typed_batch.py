"""Typed columns of a file, tensors among them, to a batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array
from pipeline.batch import Batch, Malformed, Positions
from pipeline.load.cells import missing_column
from pipeline.load.reading import Reading
from pipeline.load.source import Source
from pipeline.load.tensors import describe_tensors
from pipeline.load.typed import convert_array, list_texts


def make_batch(
    source: Source,
    arrays: Mapping[str, pa.Array],
    records: npt.NDArray[np.int64],
    reading: Reading,
    malformed: tuple[Malformed, ...] = (),
) -> Batch:
    """Make a batch; a tensor, and what tells of it, is carried whatever the schema says.

    Args:
        source: The file.
        arrays: Its columns, `(rows,)` each; a tensor's is binary.
        records: `(rows,)` the rows' numbers, from 0.
        reading: The settings.
        malformed: The records of the same stretch that are no rows.
    """
    tensors = dict(source.tensors)
    columns = {
        name: convert_array(kind, arrays[name], reading.missing_texts(name))
        if name in arrays and name not in tensors
        else missing_column(kind, len(records))
        for name, kind in reading.kinds.items()
    }
    carried = {
        name: list_texts(array) if name in source.as_text else array
        for name, array in arrays.items()
        if reading.carries(name) or (name in source.worked_out and name not in reading.kinds)
    }
    return Batch(
        source=source.name,
        row_ids=records + source.first_id,
        rows=records + 1,
        columns=columns,
        carried=pa.table(carried),
        read_texts=partial(_read_texts, arrays, tensors),
        malformed=malformed,
    )


def _read_texts(
    arrays: Mapping[str, pa.Array], tensors: Mapping[str, str], positions: Positions
) -> dict[str, pa.Array]:
    places = positions_array(positions)
    plain = {name: array.take(places) for name, array in arrays.items() if name not in tensors}
    return {
        name: describe_tensors(plain, name, tensors[name])
        if name in tensors
        else list_texts(plain[name])
        for name in arrays
    }
