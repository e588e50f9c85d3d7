"""Rows of a mended quarantine that are still what they were: the bytes of a malformed record."""

from __future__ import annotations

import ast
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import binaries, positions_array, to_numpy
from pipeline.batch import Batch, Malformed
from pipeline.load.reading import Reading
from pipeline.load.source import Source

# One of `QUARANTINE_COLUMNS`.
MALFORMED = "_malformed"
NOT_MENDED = "not mended"

# Python's own spelling of bytes, as pandas writes them to CSV.
_SPELLED = re.compile(r"""b(['"])(?:(?!\1)[ -\[\]-~]|\\[\\'tnr]|\\x[0-9a-f]{2})*\1""")


def may_be_unmended(source: Source, reading: Reading) -> bool:
    """Tell whether some rows of a file may be malformed records that nobody mended."""
    has_bytes = source.is_mended_quarantine and MALFORMED in source.columns
    return has_bytes and reading.finds_unmended


def set_unmended_apart(batch: Batch, malformed: pa.Array) -> Batch:
    """Take the rows of which no cell was written for malformed records again.

    Args:
        batch: Rows of a mended quarantine.
        malformed: `(rows,)` binary; the cells of `MALFORMED`.
    """
    with_bytes = pc.greater(pc.fill_null(pc.binary_length(malformed), 0), 0)
    told = np.flatnonzero(to_numpy(with_bytes))
    if not len(told):
        return batch
    blank = np.ones(len(told), bool)
    for texts in batch.read_texts(told).values():
        blank &= to_numpy(pc.equal(pc.fill_null(texts, ""), ""))
    unmended = told[blank]
    found = zip(
        batch.row_ids[unmended].tolist(),
        batch.rows[unmended].tolist(),
        malformed.take(positions_array(unmended)).to_pylist(),
        strict=True,
    )
    records = tuple(Malformed(row_id, row, data, NOT_MENDED) for row_id, row, data in found)
    kept = np.setdiff1d(np.arange(len(batch)), unmended)
    return batch.take(kept, (*batch.malformed, *records))


def read_spelled(texts: pa.Array) -> pa.Array:
    """Return bytes that stand in text: as Python spells them, or else the text's own."""
    return binaries([None if text is None else _read_spelled(text) for text in texts.to_pylist()])


def _read_spelled(text: str) -> bytes:
    if not _SPELLED.fullmatch(text):
        return text.encode("utf-8", "surrogatepass")
    spelled: bytes = ast.literal_eval(text)
    return spelled
