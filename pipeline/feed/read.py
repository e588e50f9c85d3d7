"""What a caller asks of the feed."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import tensorflow as tf

from pipeline.errors import NoRowsLeft, SettingsError, UsageError, suggest
from pipeline.feed.check import check_files
from pipeline.feed.fetch import fetch_files, fetch_manifest, find_cache, is_url
from pipeline.feed.order import Stream
from pipeline.feed.stream import read_passes
from pipeline.manifest import SPLITS, File, Manifest, SplitName, read_manifest

# Rows that are mixed with each other. They lie in memory some three times, so bytes bound them too.
WINDOW_ROWS = 65_536
WINDOW_BYTES = 128 << 20
# Rows that are parsed at once: fewer pay overhead, more leave the cache.
PIECE_ROWS = 8192
PIECE_BYTES = 8 << 20


def read_shards(
    out: Path | str,
    split: SplitName = "train",
    *,
    batch_size: int = 1024,
    shuffle: bool = False,
    seed: int | None = None,
    num_epochs: int | None = 1,
    drop_remainder: bool = False,
    worker: tuple[int, int] = (0, 1),
    start_step: int = 0,
    with_row_ids: bool = False,
    cache: Path | str | None = None,
    verify: bool = True,
) -> tf.data.Dataset:
    """Return one split of a published dataset, in batches.

    An element is `(features, label)`, or `(features, label, weight)` where the job names a
    weight. `features` maps a name to `(batch, 1)` float32 or int64, or to `(batch, *shape)`
    float32 of a tensor; `label` is `(batch,)`: an int64 class index, or a float32; `weight` is
    `(batch,)` float32.

    Each iteration is a pass over `num_epochs` epochs, and goes on where the last one that was
    read to its end has ended: `fit(train, epochs=5)` sees five orders. A pass that is broken off
    begins anew. What `start_step` resumes in the middle of a pass is that pass alone, since Keras
    would cut all others to its length: read the next ones with their own `start_step`. (A
    distribution strategy reads some batches ahead: an epoch of fewer than eight may count as read
    to its end before it is.)

    Args:
        out: The dataset's folder, or its fsspec URL, such as `s3://bucket/out`.
        split: Which of its splits.
        batch_size: Rows a batch; the last one of an epoch may be shorter.
        shuffle: Whether each epoch has another order: of the shards, and of the rows within
            windows of 65,536 (fewer of large rows). Otherwise rows come in the dataset's order,
            which is a hash's, every time.
        seed: Makes the shuffled orders the same every time; None draws one, for a single worker.
        num_epochs: Epochs a pass; None for no end.
        drop_remainder: Whether the last batch of an epoch is left out where it is shorter. Workers
            then have as many batches each, as training in step needs.
        worker: `(index, workers)`: which worker's share of every epoch's rows is read, where
            several read the dataset with the same seed. Shares differ by one row at most.
        start_step: Batches that were read before, counted from the first epoch: the stream goes on
            with the next row.
        with_row_ids: Whether `features` also holds `row_id`, `(batch,)` int64. `guarded` takes it
            out before the model, and names rows by it.
        cache: Where the files of a URL are kept; by default `nanproof` in the user's cache folder.
        verify: Whether the shards' checksums are compared, once in the life of the process;
            otherwise their sizes are.

    Raises:
        UsageError: There is no dataset, or it was written without TFRecord shards.
        DatasetDiffers: The manifest, or a shard that it names, is not what was published. What
            changes later is met while reading, as an error of TensorFlow.
        SettingsError: There is no such split or worker, or no batch to read.
        NoRowsLeft: The split has no row.
        EnvironmentFailure: A file cannot be fetched, or the cache cannot be written.

    Example:
        >>> train = read_shards("data/weather/out", "train", shuffle=True)  # doctest: +SKIP
        >>> model.fit(train, epochs=5)  # doctest: +SKIP
    """
    _check_names(out, split)
    batch_size = _check_integer("batch_size", batch_size, at_least=1)
    start_step = _check_integer("start_step", start_step, at_least=0)
    if num_epochs is not None:
        num_epochs = _check_integer("num_epochs", num_epochs, at_least=1)
    if seed is not None:
        seed = _check_integer("seed", seed)
    worker = _check_worker(worker)
    manifest = fetch_manifest(str(out)) if is_url(out) else read_manifest(Path(out))
    files = _list_files(str(out), manifest, split)
    if shuffle and seed is None:
        if worker[1] > 1 or start_step:
            raise SettingsError(
                "rows that are shuffled without a seed can be neither shared out nor resumed.",
                fix="give every worker and every start the same seed.",
            )
        seed = random.getrandbits(62)
    order_seed = seed if shuffle else None
    stream = _make_stream(manifest, split, files, batch_size, drop_remainder, worker, order_seed)
    _check_stream(stream, worker)
    if is_url(out):
        paths = fetch_files(str(out), files, find_cache(cache), verify=verify)
    else:
        paths = check_files(Path(out), files, verify=verify)
    stream = replace(stream, files=tuple(map(str, paths)))
    batches = read_passes(stream, manifest.spec, with_row_ids, start_step, num_epochs)
    if num_epochs is None:
        wanted = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        batches = batches.apply(wanted)
    else:
        size = num_epochs * stream.num_batches
        wanted = tf.data.experimental.assert_cardinality(size - start_step % size)
        batches = batches.apply(wanted)
    return batches.with_options(_make_options(num_workers=worker[1]))


def _check_names(out: Path | str, split: str) -> None:
    if isinstance(out, PurePath) and re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(out)):
        raise UsageError(
            f"{out} is a path, and a path cannot hold a URL: one of its slashes is lost.",
            fix="give the URL as text.",
            file=str(out),
        )
    if split not in SPLITS:
        raise SettingsError(
            f"there is no split {split!r}.",
            expected=f"one of {', '.join(SPLITS)}",
            got=repr(split),
            fix=suggest(split, SPLITS) or None,
        )


def _check_integer(name: str, value: Any, at_least: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise SettingsError(f"{name} = {value!r} is no integer.", fix="give an integer.") from None
    if at_least is not None and number < at_least:
        raise SettingsError(f"{name} = {number} is not possible.", fix=f"give {at_least} or more.")
    return number


def _check_worker(worker: Any) -> tuple[int, int]:
    try:
        index, num_workers = map(operator.index, worker)
        if 0 <= index < num_workers:
            return index, num_workers
    except (TypeError, ValueError):
        pass
    raise SettingsError(
        f"worker = {worker!r} is none.",
        expected="(index, workers), integers with 0 <= index < workers",
        got=repr(worker),
        fix="count workers from 0.",
    )


def _list_files(out: str, manifest: Manifest, split: SplitName) -> list[File]:
    shards = manifest.splits[split].shards
    if not shards:
        raise NoRowsLeft(
            f"the {split} split of {out} has no row.",
            fix="read another split, or give this one a share in [split] and run the job again.",
            out=out,
            split=split,
        )
    files = [shard.tfrecord for shard in shards if shard.tfrecord is not None]
    if len(files) < len(shards):
        raise UsageError(
            f"{out} was written without TFRecord shards.",
            fix='add "tfrecord" to shards.formats, and run the job again.',
            out=out,
        )
    return files


def _make_stream(
    manifest: Manifest,
    split: SplitName,
    files: Sequence[File],
    batch_size: int,
    drop_remainder: bool,
    worker: tuple[int, int],
    seed: int | None,
) -> Stream:
    rows = tuple(shard.rows for shard in manifest.splits[split].shards)
    num_rows = sum(rows)
    row_bytes = max(1, sum(file.bytes for file in files) // num_rows)
    index, num_workers = worker
    block_rows = manifest.spec.block_rows if manifest.spec.layout == "block" else 1
    start, share_end = (num_rows * place // num_workers for place in (index, index + 1))
    return Stream(
        files=tuple(file.path for file in files),
        rows=rows,
        block_rows=block_rows,
        piece_records=max(1, min(PIECE_ROWS, PIECE_BYTES // row_bytes) // block_rows),
        window_rows=max(1, min(WINDOW_ROWS, WINDOW_BYTES // row_bytes)),
        start=start,
        stop=start + num_rows // num_workers if drop_remainder else share_end,
        batch_size=batch_size,
        drop_remainder=drop_remainder,
        seed=None if seed is None else seed % 2**63,
    )


def _check_stream(stream: Stream, worker: tuple[int, int]) -> None:
    """Raise unless there is a batch to read."""
    num_rows = stream.stop - stream.start
    if not num_rows:
        raise SettingsError(
            f"worker = {worker} has no row to read: there are {sum(stream.rows):,} of them.",
            fix="use fewer workers.",
        )
    if not stream.num_batches:
        raise SettingsError(
            f"batch_size = {stream.batch_size} with drop_remainder leaves no batch.",
            expected=f"at most {num_rows:,}, which is what there are of rows",
            got=str(stream.batch_size),
            fix="give a smaller batch_size, or drop_remainder=False.",
        )


def _make_options(num_workers: int) -> tf.data.Options:
    options = tf.data.Options()
    # Of what is read ahead behind the last step, the end of a pass would be seen too early.
    options.experimental_optimization.inject_prefetch = False
    # Where a pass begins is not part of an iterator's state.
    ignore = tf.data.experimental.ExternalStatePolicy.IGNORE
    options.experimental_external_state_policy = ignore
    policy = tf.data.experimental.AutoShardPolicy
    # Whoever gives workers has divided the rows.
    shard = policy.OFF if num_workers > 1 else policy.DATA
    options.experimental_distribute.auto_shard_policy = shard
    return options
