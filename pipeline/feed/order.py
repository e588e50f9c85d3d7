"""Which rows come when: the shards' order of an epoch, and how the rows of a window are mixed.

All of it is computed in the graph from a seed and numbers, so a stream can begin anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

Tensor = Any


@dataclass(frozen=True)
class Stream:
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
    def piece_rows(self) -> int:
        """Return the rows of a piece; the last one of a shard may have fewer."""
        return self.piece_records * self.block_rows

    @property
    def num_batches(self) -> int:
        """Return the batches of one epoch."""
        num_rows = self.stop - self.start
        return (
            num_rows // self.batch_size if self.drop_remainder else -(-num_rows // self.batch_size)
        )


class Shards(NamedTuple):
    """The shards in the order of one epoch, `(shards,)` each.

    Attributes:
        files: Their paths.
        starts: Which row of the epoch is the first of each.
        stops: Which row is after its last.
    """

    files: Tensor
    starts: Tensor
    stops: Tensor


def order_shards(stream: Stream, epoch: Tensor) -> Shards:
    """Return the order of the shards in an epoch."""
    files, rows = tf.constant(stream.files, tf.string), tf.constant(stream.rows, tf.int64)
    if stream.seed is not None:
        order = permute(len(stream.rows), make_seed(stream.seed, epoch))
        files, rows = tf.gather(files, order), tf.gather(rows, order)
    stops = tf.cumsum(rows)
    return Shards(files, stops - rows, stops)


def make_seed(seed: int, epoch: Tensor) -> Tensor:
    """Return a `(2,)` int64 seed of an epoch's own."""
    return tf.random.fold_in(tf.constant([seed, 0], tf.int64), epoch)


def permute(size: Tensor, seed: Tensor) -> Tensor:
    """Return `(size,)` int64: the numbers below `size`, in an order that the seed decides."""
    size = tf.cast(size, tf.int64)
    return tf.random.experimental.index_shuffle(tf.range(size), seed, size - 1)
