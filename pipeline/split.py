"""The split and the place of every row, from a hash.

The split depends on the seed and the group's value, or on the row's cells where there is no
group: rows of one group, and equal rows, share a split, and a new file moves no row. The place
depends on the row's id alone, under another key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.batch import Batch
from pipeline.hashing import Hashes, bucket_of, derive_key, hash_cells, hash_ids
from pipeline.job import SplitSettings
from pipeline.manifest import SPLITS, SplitName


@dataclass(frozen=True)
class Placement:
    """Where the rows of one batch go.

    Attributes:
        splits: `(rows,)` uint8, an index into `SPLITS`.
        buckets: `(rows,)` int64 in [0, number of buckets).
        groups: `(rows,)` the hash that decided the split; one value a group.
    """

    splits: npt.NDArray[np.uint8]
    buckets: npt.NDArray[np.int64]
    groups: Hashes


def place_rows(
    batch: Batch,
    settings: SplitSettings,
    group: str | None,
    num_buckets: int,
    passed_over: Collection[str] = (),
) -> Placement:
    """Place the rows of one batch.

    Args:
        batch: Rows as they were read.
        settings: Shares and seed.
        group: The column whose equal values stay together, or None.
        num_buckets: How many buckets the dataset has.
        passed_over: Columns that do not make two rows differ.
    """
    key = derive_key(settings.seed, "split")
    if group is not None:
        cells: dict[str, Any] = {group: batch.columns[group]}
    else:
        carried = zip(batch.carried.column_names, batch.carried.columns, strict=True)
        cells = {**batch.columns, **dict(carried)}
        cells = {name: column for name, column in cells.items() if name not in passed_over}
    groups = hash_cells(cells, len(batch), key)
    # The upper 53 bits are exact as float64.
    share = (groups >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    limits = [settings.train, settings.train + settings.validation]
    if settings.test == 0.0:
        limits[1] = 2.0  # rounding must not let a row into a split that nobody asked for
    if settings.validation == 0.0 and settings.test == 0.0:
        limits[0] = 2.0
    splits = np.searchsorted(np.array(limits), share, side="right").astype(np.uint8)
    order = order_rows(batch.row_ids, settings.seed)
    return Placement(splits, bucket_of(order, num_buckets), groups)


def order_rows(row_ids: npt.NDArray[np.int64], seed: int) -> Hashes:
    """Return `(rows,)` keys; sorted by them the rows stand in the dataset's global order."""
    return hash_ids(row_ids, derive_key(seed, "order"))


def count_buckets(sizes_bytes: Sequence[int]) -> int:
    """Return the number of buckets for inputs of these (uncompressed) sizes."""
    return max(1, sum(sizes_bytes) // BUCKET_BYTES)


# What a finish task holds at once is a bucket or a shard, whichever is larger.
BUCKET_BYTES = 32 << 20


@dataclass(frozen=True)
class ShardGroup:
    """Neighbouring buckets of one split that one finish task turns into shards.

    Attributes:
        split: The split.
        first_bucket: The first bucket.
        last_bucket: The last bucket, inclusive.
        rows: How many rows were spilled for it.
        num_shards: Into how many shards of about equal length they are cut.
    """

    split: SplitName
    first_bucket: int
    last_bucket: int
    rows: int
    num_shards: int


def plan_shards(counts: npt.NDArray[np.int64], rows_per_shard: int) -> list[ShardGroup]:
    """Merge neighbouring buckets into shards of about `rows_per_shard` rows.

    Args:
        counts: `(splits, buckets)` spilled rows.
        rows_per_shard: The length aimed at.
    """
    groups: list[ShardGroup] = []
    for index, split in enumerate(SPLITS):
        first, rows = 0, 0
        for bucket, count in enumerate(counts[index].tolist()):
            if rows and rows + count > rows_per_shard:
                groups.append(_shard_group(split, first, bucket - 1, rows, rows_per_shard))
                first, rows = bucket, 0
            rows += count
        if rows:
            groups.append(_shard_group(split, first, counts.shape[1] - 1, rows, rows_per_shard))
    return groups


def _shard_group(split: SplitName, first: int, last: int, rows: int, aim: int) -> ShardGroup:
    return ShardGroup(split, first, last, rows, max(1, round(rows / aim)))
