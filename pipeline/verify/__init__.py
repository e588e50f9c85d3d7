"""Is what lies on disk what the manifest says?

files.py      every file: there, regular, of its size and checksum; and none beside them
accounts.py   manifest, ledger and plan against each other
values.py     every value of the shards: finite, in range, the same in both formats
examples.py   TFRecord shards of either layout as rows
tables.py     Parquet shards as what their twins have to hold
rows.py       every row once, in the shards or in the quarantine, and the cells that were changed
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.engine import Progress
from pipeline.manifest import SPLITS, Manifest, read_manifest
from pipeline.verify.accounts import check_accounts
from pipeline.verify.files import compare_files, find_strangers
from pipeline.verify.rows import check_rows
from pipeline.verify.values import check_shard

__all__ = ["VerifyResult", "verify_dataset"]


@dataclass(frozen=True)
class VerifyResult:
    """What was found.

    Attributes:
        files: How many files the manifest names.
        bytes: Their bytes, by the manifest.
        rows: Their rows, by the manifest.
        deep: Whether every value was looked at.
        problems: What differs, a line each.
    """

    files: int
    bytes: int
    rows: int
    deep: bool
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def verify_dataset(
    out: Path | str, *, deep: bool = False, on_progress: Progress | None = None
) -> VerifyResult:
    """Compare a published dataset with its manifest.

    Every byte is read and held against its checksum, files that are too many or too few are told,
    and the manifest, the ledger and the plan have to agree. A file that differs in its checksum is
    looked at no further.

    Args:
        out: The dataset's folder.
        deep: Whether to read every value, too: finite in the training dtype, within the schema's
            bounds, the vocabulary and the classes, the same in Parquet and TFRecord, and every row
            there once. It finds what was written wrong, or forged with a checksum to suit.
            Memory grows by 9 bytes a row (measured at 100 million), and with the quarantine.
        on_progress: Called as files are done, and as shards are.

    Raises:
        UsageError: There is no dataset.
        DatasetDiffers: The manifest itself is not what nanproof wrote.
    """
    out = Path(out)
    manifest = read_manifest(out)
    sound, problems = compare_files(out, manifest, on_progress)
    problems += find_strangers(out, manifest)
    ledger, contradictions = check_accounts(out, manifest, sound)
    problems += contradictions
    if deep:
        row_ids, faults = _read_values(out, manifest, sound, on_progress)
        problems += faults
        problems += check_rows(out, manifest, ledger, sound, row_ids)
    files = list(manifest.list_files())
    return VerifyResult(
        files=len(files),
        bytes=sum(file.bytes for file in files),
        rows=manifest.rows.get("clean", 0),
        deep=deep,
        problems=tuple(problems),
    )


def _read_values(
    out: Path, manifest: Manifest, sound: frozenset[str], on_progress: Progress | None
) -> tuple[npt.NDArray[np.int64], list[str]]:
    problems: list[str] = []
    row_ids = array("q")  # grows in place; a list of arrays would be there twice when joined
    shards = [shard for split in SPLITS for shard in manifest.splits[split].shards]
    for done, shard in enumerate(shards, start=1):
        found, faults = check_shard(out, shard, manifest.spec, sound)
        row_ids.frombytes(found.tobytes())
        problems += faults
        if on_progress is not None:
            on_progress("values", done, len(shards))
    return np.frombuffer(row_ids, np.int64), problems
