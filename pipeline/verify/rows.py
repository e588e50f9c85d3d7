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
from pipeline.batch import SOURCE_SHIFT
from pipeline.ledger import Ledger, Line, Rule, RuleCounts
from pipeline.manifest import Manifest

NO_ROWS = np.zeros(0, np.int64)
RowIds = npt.NDArray[np.int64]


def check_rows(
    out: Path,
    manifest: Manifest,
    ledger: Ledger | None,
    sound: frozenset[str],
    clean: RowIds,
) -> list[str]:
    """Return where rows stand twice, are lost or of no raw file, and where the ledger is wrong.

    Args:
        out: The dataset's folder.
        manifest: What it should be.
        ledger: Its accounts, where they can be read.
        sound: The files that are as they were written; no other is opened.
        clean: `(rows,)` the row ids of all shards, which are sorted in place.
    """
    problems: list[str] = []
    clean.sort()
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
    """What `quarantine/` or `repairs/` holds: ascending row ids, and how often which rule."""

    row_ids: RowIds
    rules: RuleCounts


def _read_account(
    out: Path, manifest: Manifest, sound: frozenset[str], folder: str, problems: list[str]
) -> _Account:
    is_quarantine = folder == "quarantine"
    columns = ["_row_id", "_reasons"] if is_quarantine else ["row_id", "column", "rule"]
    row_ids, rules = [NO_ROWS], Counter[Rule]()
    for file in manifest.files:
        if not file.path.startswith(f"{folder}/") or file.path not in sound:
            continue
        try:
            table = pq.ParquetFile(out / file.path).read(columns)
            ids = table.column(columns[0]).combine_chunks()
            if ids.type != pa.int64() or ids.null_count:
                raise ValueError("its row ids are missing, or no int64")
            row_ids.append(to_numpy(ids))
            if is_quarantine:
                reasons = table.column("_reasons").combine_chunks().flatten()
                names = [reasons.field("column"), reasons.field("rule")]
                table = pa.table(names, ["column", "rule"])
            counts = table.group_by(["column", "rule"]).aggregate([([], "count_all")])
            for row in counts.to_pylist():
                rules[row["column"], row["rule"]] += row["count_all"]
        except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError) as error:
            problems.append(f"{file.path}: {str(error).splitlines()[0]}")
    return _Account(np.sort(np.concatenate(row_ids)), rules)


def _check_places(clean: RowIds, aside: RowIds, changed: RowIds) -> Iterator[str]:
    """Yield where row ids, which ascend, stand in a place too many."""
    for where, ids in (("the shards", clean), ("the quarantine", aside)):
        if num_twice := int((ids[1:] == ids[:-1]).sum()):
            yield f"row_id: {num_twice:,} rows stand in {where} twice"
    if num_both := int(_stand_in(clean, aside).sum()):
        yield f"quarantine: {num_both:,} rows stand in the shards, too"
    if num_unknown := int((~_stand_in(clean, changed)).sum()):
        yield f"repairs: {num_unknown:,} cells of rows that are in no shard"


def _stand_in(clean: RowIds, ids: RowIds) -> npt.NDArray[np.bool_]:
    """Return `(ids,)`; NumPy's `isin` would sort the clean rows again, beside themselves."""
    if not len(clean):
        return np.zeros(len(ids), bool)
    places = np.searchsorted(clean, ids).clip(max=len(clean) - 1)
    return clean[places] == ids


def _check_counts(manifest: Manifest, clean: RowIds, aside: RowIds) -> Iterator[str]:
    for name, ids in (("clean", clean), ("quarantined", aside)):
        if len(ids) != manifest.rows.get(name):
            yield f"row_id: {len(ids):,} rows {name}, expected {manifest.rows.get(name)}"
    starts = np.arange(len(manifest.sources) + 1, dtype=np.int64) << SOURCE_SHIFT
    counts = np.diff(np.searchsorted(clean, starts)) + np.diff(np.searchsorted(aside, starts))
    if num_unknown := len(clean) + len(aside) - int(counts.sum()):
        yield f"row_id: {num_unknown:,} rows of no raw file"
    for source, count in zip(manifest.sources, counts.tolist(), strict=True):
        if count != source.rows:
            yield f"row_id: {count:,} rows of {source.name}, expected {source.rows:,}"


def _check_lines(what: str, lines: Sequence[Line], found: RuleCounts) -> Iterator[str]:
    said = {(line.column, line.rule): line.count for line in lines}
    for column, rule in sorted(said.keys() | found.keys(), key=str):
        left, right = said.get((column, rule), 0), found[column, rule]
        if left != right:
            yield f"ledger.json: {what}: {column} {rule}: {left:,}, and there are {right:,}"
