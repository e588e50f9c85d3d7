"""Which rows come when: the shards' order of an epoch, and where in it a row lies.

All of it is computed in the graph from a seed and numbers, so a stream can begin anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

Tensor = Any


@dataclass(frozen=True)
class Plan:
    """What a stream of batches is made of.

    Attributes:
        files: The shards, in the dataset's order.
        rows: Of each.
        block_rows: Rows a record; the last record of a shard holds what is left.
        piece_records: Records that are parsed at once.
        window_rows: Consecutive rows that are mixed with each other.
        start: The first row of the worker, in the stream of an epoch.
        stop: After its last.
        batch_size: Rows a batch.
        drop_remainder: Whether an epoch's last, shorter batch is left out.
        seed: Of the order; None for the dataset's own.
    """

    files: tuple[str, ...]
    rows: tuple[int, ...]
    block_rows: int
    piece_records: int
    window_rows: int
    start: int
    stop: int
    batch_size: int
    drop_remainder: bool
    seed: int | None

    @property
    def num_batches(self) -> int:
        """Return the batches of one epoch."""
        num_rows = self.stop - self.start
        return (
            num_rows // self.batch_size if self.drop_remainder else -(-num_rows // self.batch_size)
        )


class Order(NamedTuple):
    """The shards in the order of one epoch.

    Attributes:
        shards: `(shards,)` int64, each an index into the plan's files.
        row_starts: `(shards + 1,)` int64, the rows before each in this order, and all.
        record_starts: Likewise the records.
        block_rows: Rows a record.
    """

    shards: Tensor
    row_starts: Tensor
    record_starts: Tensor
    block_rows: int

    def record_of(self, row: Tensor) -> Tensor:
        """Return which record of the epoch holds a row of the epoch."""
        row = tf.cast(row, tf.int64)
        shard = tf.searchsorted(self.row_starts[1:], [row], side="right")[0]
        inside = (row - self.row_starts[shard]) // self.block_rows
        return self.record_starts[shard] + inside

    def row_of(self, record: Tensor) -> Tensor:
        """Return the first row of a record; of the record after the last, the number of rows."""
        shard = self.shard_of(record)
        return self.row_starts[shard] + (record - self.record_starts[shard]) * self.block_rows

    def shard_of(self, record: Tensor) -> Tensor:
        """Return which shard in this order holds a record."""
        return tf.searchsorted(self.record_starts[1:], [record], side="right", out_type=tf.int64)[0]


def order_shards(plan: Plan, epoch: Tensor) -> Order:
    """Return the order of the shards in an epoch."""
    rows = tf.constant(plan.rows, tf.int64)
    shards = tf.range(len(plan.rows), dtype=tf.int64)
    if plan.seed is not None:
        shards = permute(len(plan.rows), make_seed(plan.seed, epoch))
    rows = tf.gather(rows, shards)
    records = -(-rows // plan.block_rows)
    return Order(shards, _starts(rows), _starts(records), plan.block_rows)


def _starts(counts: Tensor) -> Tensor:
    return tf.concat([[tf.constant(0, tf.int64)], tf.cumsum(counts)], axis=0)


def make_seed(seed: int, epoch: Tensor) -> Tensor:
    """Return a `(2,)` int64 seed of an epoch's own."""
    return tf.random.fold_in(tf.constant([seed, 0], tf.int64), epoch)


def permute(size: Tensor, seed: Tensor) -> Tensor:
    """Return `(size,)` int64: the numbers below `size`, in an order that the seed decides."""
    size = tf.cast(size, tf.int64)
    return tf.random.experimental.index_shuffle(tf.range(size), seed, size - 1)
