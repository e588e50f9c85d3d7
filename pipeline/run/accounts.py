"""What the tasks counted, added up to the ledger and to the manifest's lists."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.ledger import Ledger, Stage, add_counts, list_lines
from pipeline.load import Partition, Source
from pipeline.manifest import SPLITS, File
from pipeline.repair import TOO_MANY_REPAIRS
from pipeline.run.bad_files import count_files
from pipeline.run.finish import CLASS_UNSEEN, Finished
from pipeline.run.quarantine import Quarantined
from pipeline.run.scan import Scanned
from pipeline.run.settle import Settled


def keep_ledger(
    sources: Sequence[Source],
    scans: Sequence[Scanned],
    settled: Settled,
    finished: Sequence[Finished],
    aside: Sequence[Quarantined],
) -> Ledger:
    """Add up the accounts; the quarantine is counted from what was written, not from plans."""
    read, rejected = sum(s.read for s in scans), sum(s.rejected for s in scans)
    dropped, late = sum(f.settled for f in finished), sum(f.late for f in finished)
    shards = [(SPLITS[f.split], shard.rows) for f in finished for shard in f.shards]
    splits = {split: sum(rows for name, rows in shards if name == split) for split in SPLITS}
    clean = sum(splits.values())
    spilled = read - rejected
    quarantined = add_counts(part.reasons for part in aside)
    broken = add_counts(scan.broken for scan in scans)
    broken.update({(column, rule): len(ids) for column, rule, ids in settled.by_rule})
    late_rules = (CLASS_UNSEEN, TOO_MANY_REPAIRS)
    broken.update({key: count for key, count in quarantined.items() if key[1] in late_rules})
    return Ledger(
        files=count_files(sources),
        stages={
            "scan": Stage(read=read, clean=spilled, quarantined=rejected),
            "settle": Stage(read=spilled, clean=spilled - dropped, quarantined=dropped),
            "finish": Stage(
                read=sum(f.read for f in finished) - dropped, clean=clean, quarantined=late
            ),
        },
        rows={
            "read": read,
            "clean": clean,
            "quarantined": sum(part.rows for part in aside),
            "replaced": sum(scan.replaced for scan in scans),
            **splits,
        },
        cells={
            "repaired": sum(f.changes.repaired for f in finished),
            "filled": sum(f.changes.filled for f in finished),
            "parsed": sum(f.changes.parsed for f in finished),
        },
        broken=list_lines(broken),
        warned=list_lines(add_counts(scan.warned for scan in scans)),
        quarantined=list_lines(quarantined),
        repaired=list_lines(add_counts(f.changes.counts for f in finished)),
    )


def list_account_files(
    finished: Sequence[Finished], aside: Sequence[Quarantined]
) -> list[tuple[str, File]]:
    """Return the files of `quarantine/` and `repairs/`, by folder, as they lie in staging."""
    quarantine = [("quarantine", part.file) for part in aside if part.file is not None]
    return quarantine + [("repairs", part.repairs) for part in finished if part.repairs is not None]


def count_rows_by_source(
    sources: Sequence[Source], partitions: Sequence[Partition], scans: Sequence[Scanned]
) -> list[int]:
    """Return how many rows each raw file gave, in their order."""
    rows = [0] * len(sources)
    for part, scan in zip(partitions, scans, strict=True):
        rows[part.source.index] += scan.read
    return rows
