"""Raw files that cannot be read to their end: such a file contributes no row at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.ledger import BadFile, Files
from pipeline.load import Partition, Source
from pipeline.run.scan import Scanned, empty_scan
from pipeline.run.setup import refuse_all_bad


def set_files_aside(
    sources: Sequence[Source], partitions: Sequence[Partition], scans: Sequence[Scanned]
) -> tuple[tuple[Source, ...], list[Scanned]]:
    """Mark the files that a scan could not read, and take back what their partitions told.

    Raises:
        InputError: No file is left.
    """
    faults: dict[int, str] = {}
    for partition, scan in zip(partitions, scans, strict=True):
        if scan.fault:
            faults.setdefault(partition.source.index, scan.fault)
    if not faults:
        return tuple(sources), list(scans)
    marked = tuple(replace(s, fault=s.fault or faults.get(s.index, "")) for s in sources)
    refuse_all_bad(marked)
    kept = [
        empty_scan(scan.partition, *scan.counts.shape) if part.source.index in faults else scan
        for part, scan in zip(partitions, scans, strict=True)
    ]
    return marked, kept


def count_files(sources: Sequence[Source]) -> Files:
    """Return how many files were read, and which were set aside."""
    bad = tuple(BadFile(file=s.name, fault=s.fault) for s in sources if s.fault)
    return Files(read=len(sources) - len(bad), quarantined=len(bad), bad=bad)
