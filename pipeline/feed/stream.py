"""Epochs as a `tf.data.Dataset`: pieces of shards, windows of rows, batches."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.feed.examples import arrange, finish_tensors, read_columns
from pipeline.feed.order import Shards, Stream, make_seed, order_shards, permute
from pipeline.manifest import Spec

Tensor = Any
Batch = Any

# As a step seldom takes longer than to make so many, and they are small beside a window.
PREFETCHED_BATCHES = 8
# What `tf.data.TFRecordDataset` reads at once too.
READ_BYTES = 256 << 10


def read_passes(
    stream: Stream, spec: Spec, with_row_ids: bool, start_step: int, num_epochs: int | None
) -> tf.data.Dataset:
    """Return the batches of a pass, and of the next when it is iterated again.

    A pass is `num_epochs` epochs, or one without an end. Where the next begins is kept in a
    variable, which a pass's last batch moves on: what only looks at the first batches, as Keras
    does under a distribution strategy, uses up no epoch.
    """
    per_epoch = stream.num_batches
    position = tf.Variable(start_step, dtype=tf.int64, trainable=False)
    is_one_pass = num_epochs is not None and start_step % (num_epochs * per_epoch) > 0

    def list_epochs(begin: Tensor) -> tf.data.Dataset:
        if is_one_pass:
            told = (
                "this stream was resumed in the middle of a pass, and ends with it; "
                "read what follows with start_step ="
            )
            tf.debugging.Assert(begin == start_step, [told, begin])
        if num_epochs is None:
            end = tf.constant(tf.int64.max // per_epoch * per_epoch, tf.int64)
        else:
            end = (begin // (num_epochs * per_epoch) + 1) * (num_epochs * per_epoch)
        epochs = tf.data.Dataset.range(begin // per_epoch, end // per_epoch)
        return tf.data.Dataset.zip((epochs, tf.data.Dataset.from_tensors((begin, end)).repeat()))

    def read_epoch(epoch: Tensor, bounds: tuple[Tensor, Tensor]) -> tf.data.Dataset:
        begin, end = bounds
        first = tf.maximum(begin, epoch * per_epoch)
        stop = (epoch + 1) * per_epoch
        batches = _read_epoch(stream, spec, with_row_ids, epoch, first - epoch * per_epoch)
        wanted = tf.data.experimental.assert_cardinality(stop - first)
        steps = tf.data.Dataset.range(first + 1, stop + 1)
        return tf.data.Dataset.zip(
            (batches.apply(wanted), steps, tf.data.Dataset.from_tensors(end).repeat())
        )

    def keep_position(batch: Batch, done: Tensor, end: Tensor) -> Batch:
        tf.cond(done == end, lambda: position.assign(end), lambda: end)
        return batch

    # To begin a pass takes 0.15 s of processor time: TensorFlow optimises every function anew for
    # every iterator, by its nodes. So there are few functions of few nodes, and one flat_map stands
    # after the other: one within the other costs a tenth of a second more.
    begin = tf.data.Dataset.from_tensors(0).map(lambda _: position.read_value())
    batches = begin.flat_map(list_epochs).flat_map(read_epoch)
    return batches.prefetch(PREFETCHED_BATCHES).map(keep_position)


def _read_epoch(
    stream: Stream, spec: Spec, with_row_ids: bool, epoch: Tensor, skipped: Tensor
) -> tf.data.Dataset:
    """Return the batches of one epoch; `skipped` of them are left out."""
    shards = order_shards(stream, epoch)
    done = skipped * stream.batch_size
    if stream.seed is None:
        rows = _read_rows(stream, spec, with_row_ids, shards, stream.start + done)
    else:
        window = done // stream.window_rows
        begin = stream.start + window * stream.window_rows
        rows = _read_rows(stream, spec, with_row_ids, shards, begin)
        rows = _mix_rows(rows, stream, make_seed(stream.seed, epoch), window, done)
    batches = rows.rebatch(stream.batch_size, drop_remainder=stream.drop_remainder)
    if any(feature.kind == "tensor" for feature in spec.features):
        batches = batches.map(
            lambda features, *rest: (finish_tensors(features, spec), *rest),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
    return batches


def _mix_rows(
    rows: tf.data.Dataset, stream: Stream, seed: Tensor, window: Tensor, done: Tensor
) -> tf.data.Dataset:
    """Permute the rows of each window; the first one gives what is left of it after `done`."""

    def permute_rows(index: Tensor, columns: Batch) -> Batch:
        size = tf.shape(tf.nest.flatten(columns)[0], tf.int64)[0]
        order = permute(size, tf.random.fold_in(seed, index))
        left = order[tf.maximum(done - index * stream.window_rows, 0) :]
        return tf.nest.map_structure(lambda values: tf.gather(values, left), columns)

    numbers = tf.data.Dataset.range(window, tf.int64.max)
    windows = tf.data.Dataset.zip((numbers, rows.rebatch(stream.window_rows)))
    # One at a time, while the one before is handed out.
    return windows.map(permute_rows, num_parallel_calls=1)


def _read_rows(
    stream: Stream, spec: Spec, with_row_ids: bool, shards: Shards, begin: Tensor
) -> tf.data.Dataset:
    """Return the worker's rows from `begin` on, in pieces of any size."""

    def load(row: Tensor, records: Tensor, shard: tuple[Tensor, Tensor]) -> Batch:
        file, shard_stop = shard
        stop = tf.minimum(shard_stop, row + stream.piece_rows)
        wanted = -((row - stop) // stream.block_rows)
        told = ["not as the manifest has it, changed while it was read:", file]
        tf.debugging.Assert(tf.size(records, tf.int64) == wanted, told)
        columns = read_columns(records, stop - row, spec, with_row_ids)
        # As tensors that all columns share: each of a slice's own would be made anew for each.
        first = tf.stack([tf.maximum(begin - row, 0)])
        after = tf.stack([tf.minimum(stop, stream.stop) - row])
        step = tf.ones(1, tf.int64)
        mine = {n: tf.strided_slice(v, first, after, step) for n, v in columns.items()}
        return arrange(mine, spec)

    pieces = _read_pieces(stream, shards, begin)
    return pieces.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _read_pieces(stream: Stream, shards: Shards, begin: Tensor) -> tf.data.Dataset:
    """Return the pieces that hold the rows from `begin` to the worker's last.

    A piece is the number of its first row, `(records,)` strings, the shard that they are of, and
    the number of the row after the shard's last.
    """

    def read(file: Tensor, start: Tensor, stop: Tensor) -> tf.data.Dataset:
        skipped = tf.maximum(begin - start, 0) // stream.piece_rows
        # `tf.data.TFRecordDataset` wraps this for many files, which costs a tenth more a record.
        file_records = tf.raw_ops.TFRecordDataset(
            filenames=file, compression_type="", buffer_size=READ_BYTES
        )
        records = tf.data.experimental.from_variant(file_records, tf.TensorSpec([], tf.string))
        pieces = records.batch(stream.piece_records).skip(skipped)
        first = start + skipped * stream.piece_rows
        numbers = tf.data.Dataset.range(first, tf.minimum(stop, stream.stop), stream.piece_rows)
        wanted = tf.data.experimental.assert_cardinality(numbers.cardinality())
        same = tf.data.Dataset.from_tensors((file, stop)).repeat()
        return tf.data.Dataset.zip((numbers, pieces, same)).apply(wanted)

    num_passed = tf.math.count_nonzero(shards.stops <= begin)
    num_wanted = tf.math.count_nonzero(shards.starts < stream.stop) - num_passed
    listed = tf.data.Dataset.from_tensor_slices(tuple(shards)).skip(num_passed).take(num_wanted)
    return listed.flat_map(read)
