"""Every row once, in a shard or in the quarantine; every reason and change as the ledger says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.arrow import to_numpy
from pipeline.ledger import Ledger, Line, Rule, RuleCounts
from pipeline.manifest import Manifest

# `row_id >> SOURCE_SHIFT` is the file's number.
SOURCE_SHIFT = 40
NO_ROWS = np.zeros(0, np.int64)
RowIds = npt.NDArray[np.int64]


def check_rows(
    out: Path,
    manifest: Manifest,
    ledger: Ledger | None,
    sound: frozenset[str],
    shards: Sequence[RowIds],
) -> list[str]:
    """Return where rows stand twice, are lost or of no raw file, and where the ledger is wrong.

    Args:
        out: The dataset's folder.
        manifest: What it should be.
        ledger: Its accounts, where they can be read.
        sound: The files that are as they were written; no other is opened.
        shards: `(rows,)` the row ids of each shard.
    """
    problems: list[str] = []
    clean = np.sort(np.concatenate([NO_ROWS, *shards]))
    aside = _read_account(out, manifest, sound, "quarantine", problems)
    changed = _read_account(out, manifest, sound, "repairs", problems)
    problems += _check_places(clean, aside.row_ids, changed.row_ids)
    if problems or any(file.path not in sound for file in manifest.list_files()):
        return problems  # what is lost is said already
    problems += _check_counts(manifest, clean, aside.row_ids)
    if ledger is not None:
        problems += _check_lines("quarantined", ledger.quarantined, aside.rules)
        problems += _check_lines("repaired", ledger.repaired, changed.rules)
    return problems


@dataclass(frozen=True)
class _Account:
    """What `quarantine/` or `repairs/` holds: row ids, and how often which rule of which column."""

    row_ids: RowIds
    rules: RuleCounts


def _read_account(
    out: Path, manifest: Manifest, sound: frozenset[str], folder: str, problems: list[str]
) -> _Account:
    row_ids, rules = [NO_ROWS], Counter[Rule]()
    for file in manifest.files:
        if not file.path.startswith(f"{folder}/") or file.path not in sound:
            continue
        try:
            table = pq.ParquetFile(out / file.path).read()
            ids = table.column("_row_id" if folder == "quarantine" else "row_id").combine_chunks()
            if ids.type != pa.int64() or ids.null_count:
                raise ValueError("its row ids are missing, or no int64")
            row_ids.append(to_numpy(ids))
            if folder == "quarantine":
                reasons = table.column("_reasons").combine_chunks().flatten()
                names = [reasons.field("column"), reasons.field("rule")]
            else:
                names = [table.column("column"), table.column("rule")]
            rules.update(zip(*(name.to_pylist() for name in names), strict=True))
        except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError) as error:
            problems.append(f"{file.path}: {str(error).splitlines()[0]}")
    return _Account(np.concatenate(row_ids), rules)


def _check_places(clean: RowIds, aside: RowIds, changed: RowIds) -> Iterator[str]:
    """Yield where row ids stand in a place too many; those of the shards ascend."""
    if num_twice := int((np.diff(clean) == 0).sum()):
        yield f"row_id: {num_twice:,} rows stand in the shards twice"
    rejected = np.unique(aside)
    if len(rejected) < len(aside):
        yield f"quarantine: {len(aside) - len(rejected):,} rows stand there twice"
    if num_both := int(np.isin(rejected, clean).sum()):
        yield f"quarantine: {num_both:,} rows stand in the shards, too"
    if num_unknown := int((~np.isin(changed, clean)).sum()):
        yield f"repairs: {num_unknown:,} cells of rows that are in no shard"


def _check_counts(manifest: Manifest, clean: RowIds, aside: RowIds) -> Iterator[str]:
    for name, ids in (("clean", clean), ("quarantined", aside)):
        if len(ids) != manifest.rows.get(name):
            yield f"row_id: {len(ids):,} rows {name}, expected {manifest.rows.get(name)}"
    places = np.concatenate([clean, aside]) >> SOURCE_SHIFT
    known = (places >= 0) & (places < len(manifest.sources))
    if not known.all():
        yield f"row_id: {int((~known).sum()):,} rows of no raw file"
    counts = np.bincount(places[known], minlength=len(manifest.sources))
    for source, count in zip(manifest.sources, counts.tolist(), strict=True):
        if count != source.rows:
            yield f"row_id: {count:,} rows of {source.name}, expected {source.rows:,}"


def _check_lines(what: str, lines: Sequence[Line], found: RuleCounts) -> Iterator[str]:
    said = {(line.column, line.rule): line.count for line in lines}
    for column, rule in sorted(said.keys() | found.keys(), key=str):
        left, right = said.get((column, rule), 0), found[column, rule]
        if left != right:
            yield f"ledger.json: {what}: {column} {rule}: {left:,}, and there are {right:,}"
