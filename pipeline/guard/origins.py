"""Where the rows of a published dataset stood before it was made."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.batch import SOURCE_SHIFT
from pipeline.errors import SettingsError
from pipeline.manifest import read_manifest

_RECORD = (1 << SOURCE_SHIFT) - 1


class Origin(NamedTuple):
    """A raw file, and the row in it: its line in text; None where the dataset has no Parquet."""

    file: str
    row: int | None


class Origins:
    """Looks rows up by their ids.

    Args:
        out: The dataset's folder.

    Attributes:
        names: What the feed's label and weight are called in the dataset.

    Raises:
        SettingsError: `out` is a URL.
        UsageError: There is no dataset.
    """

    def __init__(self, out: Path | str) -> None:
        if "://" in str(out):
            raise SettingsError(
                f"guard setting 'dataset': {out} is a URL.",
                fix="give the folder of a local copy, or leave it out: rows then go by their ids.",
                setting="dataset",
            )
        self._out = Path(out)
        self._manifest = read_manifest(self._out)
        spec = self._manifest.spec
        self.names = {"label": spec.label.name, "weight": spec.weight or "weight"}

    def find(self, row_id: int) -> Origin | None:
        """Return where a row stood; None for an id that is not of this dataset."""
        source = row_id >> SOURCE_SHIFT
        if not 0 <= source < len(self._manifest.sources):
            return None
        firsts, offsets = self._offsets
        place = int(np.searchsorted(firsts, row_id, "right")) - 1
        row = (row_id & _RECORD) + int(offsets[place]) if place >= 0 else None
        return Origin(self._manifest.sources[source].name, row)

    @cached_property
    def _offsets(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row ids, ascending, and from each on what a row's place is more than its record number.

        It changes with the file, and where a record takes several lines.
        """
        tables = [
            pq.read_table(self._out / shard.parquet.path, columns=["row_id", "_row"])
            for split in self._manifest.splits.values()
            for shard in split.shards
            if shard.parquet is not None
        ]
        columns = [
            np.concatenate([np.zeros(0, np.int64), *(table[name].to_numpy() for table in tables)])
            for name in ("row_id", "_row")
        ]
        order = np.argsort(columns[0])
        ids, rows = columns[0][order], columns[1][order]
        offsets = rows - (ids & _RECORD)
        changes = np.flatnonzero(
            np.diff(offsets, prepend=0) | np.diff(ids >> SOURCE_SHIFT, prepend=-1)
        )
        return ids[changes], offsets[changes]
