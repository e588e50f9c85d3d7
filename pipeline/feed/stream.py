"""Epochs as a `tf.data.Dataset`: pieces of shards, windows of rows, batches."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.feed.examples import arrange, finish_tensors, read_columns
from pipeline.feed.order import Order, Plan, make_seed, order_shards, permute
from pipeline.manifest import Spec

Tensor = Any
Batch = Any

# As a step seldom takes longer than to make so many, and they are small beside a window.
PREFETCHED_BATCHES = 8


def read_passes(
    plan: Plan, spec: Spec, with_row_ids: bool, start_step: int, num_epochs: int | None
) -> tf.data.Dataset:
    """Return the batches of a pass, and of the next when it is iterated again.

    A pass is `num_epochs` epochs, or one without an end. Where the next begins is kept in a
    variable, which a pass's last batch moves on: what only looks at the first batches, as Keras
    does under a distribution strategy, uses up no epoch.
    """
    per_epoch = plan.num_batches
    position = tf.Variable(start_step, dtype=tf.int64, trainable=False)

    def find_end(begin: Tensor) -> Tensor:
        if num_epochs is None:
            return tf.constant(tf.int64.max // per_epoch * per_epoch, tf.int64)
        return (begin // (num_epochs * per_epoch) + 1) * (num_epochs * per_epoch)

    def list_epochs(begin: Tensor) -> tf.data.Dataset:
        epochs = tf.data.Dataset.range(begin // per_epoch, find_end(begin) // per_epoch)
        return epochs.map(lambda epoch: (epoch, tf.maximum(begin - epoch * per_epoch, 0)))

    def count_steps(begin: Tensor) -> tf.data.Dataset:
        end = find_end(begin)

        def count(done: Tensor) -> Tensor:
            return tf.cond(done == end, lambda: position.assign(end), lambda: done)

        return tf.data.Dataset.range(begin + 1, end + 1).map(count)

    # One flat_map after the other: one within the other costs a tenth of a second more a pass.
    begin = tf.data.Dataset.from_tensors(0).map(lambda _: position.read_value())
    batches = begin.flat_map(list_epochs).flat_map(
        lambda epoch, skipped: _read_epoch(plan, spec, with_row_ids, epoch, skipped)
    )
    steps = begin.flat_map(count_steps)
    both = tf.data.Dataset.zip((batches.prefetch(PREFETCHED_BATCHES), steps))
    return both.map(lambda batch, _: batch)


def _read_epoch(
    plan: Plan, spec: Spec, with_row_ids: bool, epoch: Tensor, skipped: Tensor
) -> tf.data.Dataset:
    """Return the batches of one epoch; `skipped` of them are left out."""
    order = order_shards(plan, epoch)
    done = skipped * plan.batch_size
    if plan.seed is None:
        rows = _read_rows(plan, spec, with_row_ids, order, plan.start + done)
    else:
        window = done // plan.window_rows
        begin = plan.start + window * plan.window_rows
        rows = _read_rows(plan, spec, with_row_ids, order, begin)
        rows = _mix_rows(rows, plan, make_seed(plan.seed, epoch), window, done)
    batches = rows.rebatch(plan.batch_size, drop_remainder=plan.drop_remainder)
    if any(feature.kind == "tensor" for feature in spec.features):
        batches = batches.map(
            lambda features, *rest: (finish_tensors(features, spec), *rest),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
    left = plan.num_batches - skipped
    return batches.apply(tf.data.experimental.assert_cardinality(left))


def _mix_rows(
    rows: tf.data.Dataset, plan: Plan, seed: Tensor, window: Tensor, done: Tensor
) -> tf.data.Dataset:
    """Permute the rows of each window; the first one gives what is left of it after `done`."""

    def permute_rows(index: Tensor, columns: Batch) -> Batch:
        size = tf.shape(tf.nest.flatten(columns)[0], tf.int64)[0]
        order = permute(size, tf.random.fold_in(seed, index))
        left = order[tf.maximum(done - index * plan.window_rows, 0) :]
        return tf.nest.map_structure(lambda values: tf.gather(values, left), columns)

    numbers = tf.data.Dataset.range(window, tf.int64.max)
    windows = tf.data.Dataset.zip((numbers, rows.rebatch(plan.window_rows)))
    # One at a time, while the one before is handed out.
    return windows.map(permute_rows, num_parallel_calls=1)


def _read_rows(
    plan: Plan, spec: Spec, with_row_ids: bool, order: Order, begin: Tensor
) -> tf.data.Dataset:
    """Return the worker's rows from `begin` on, in pieces of any size."""
    files = tf.constant(plan.files, tf.string)

    def load(record: Tensor, records: Tensor) -> Batch:
        shard = order.shard_of(record)
        wanted = tf.minimum(order.record_starts[shard + 1] - record, plan.piece_records)
        told = [
            "not as the manifest has it, changed while it was read:",
            files[order.shards[shard]],
        ]
        tf.debugging.Assert(tf.size(records, tf.int64) == wanted, told)
        row, stop = order.row_of(record), order.row_of(record + wanted)
        columns = read_columns(records, stop - row, spec, with_row_ids)
        mine = slice(tf.maximum(begin - row, 0), tf.minimum(stop, plan.stop) - row)
        return arrange({name: values[mine] for name, values in columns.items()}, spec)

    pieces = _read_pieces(plan, order, order.record_of(begin), order.record_of(plan.stop - 1))
    return pieces.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _read_pieces(plan: Plan, order: Order, first: Tensor, last: Tensor) -> tf.data.Dataset:
    """Return the pieces that hold the records from `first` to `last`.

    A piece is the number of its first record and `(records,)` strings, all of one shard. That a
    shard has the records that it should have is asserted.
    """
    files = tf.constant(plan.files, tf.string)
    size = plan.piece_records

    def read(shard: Tensor) -> tf.data.Dataset:
        start, stop = order.record_starts[shard], order.record_starts[shard + 1]
        skipped = tf.maximum(first - start, 0) // size
        pieces = tf.data.TFRecordDataset(files[order.shards[shard]]).batch(size).skip(skipped)
        numbers = tf.data.Dataset.range(start + skipped * size, tf.minimum(stop, last + 1), size)
        wanted = tf.data.experimental.assert_cardinality(numbers.cardinality())
        return tf.data.Dataset.zip((numbers, pieces)).apply(wanted)

    return tf.data.Dataset.range(order.shard_of(first), order.shard_of(last) + 1).flat_map(read)
