"""Published shards as a `tf.data.Dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from pipeline.errors import DatasetDiffers, SettingsError, UsageError
from pipeline.manifest import SPLITS, Manifest, Spec, SplitName, read_manifest

# Rows in the shuffle buffer, as serialized records of some hundred bytes each.
SHUFFLE_ROWS = 65_536


def read_shards(
    out: Path | str,
    split: SplitName = "train",
    *,
    batch_size: int = 1024,
    shuffle: bool = False,
    seed: int | None = None,
    with_row_ids: bool = False,
) -> tf.data.Dataset:
    """Return one split of a published dataset, in batches.

    An element is `(features, label)`, or `(features, label, weight)` where the job names a
    weight. `features` maps a name to `(batch, 1)` float32 or int64; `label` is `(batch,)`: an
    int64 class index, or a float32; `weight` is `(batch,)` float32.

    Args:
        out: The dataset's folder.
        split: Which of its splits.
        batch_size: Rows a batch; the last one may be shorter.
        shuffle: Whether each epoch has another order: of the shards, and of the rows within a
            buffer. Otherwise rows come in the dataset's order, which is a hash's, every time.
        seed: Makes the shuffled orders the same every time.
        with_row_ids: Whether `features` also holds `row_id`, `(batch,)` int64. `guarded` takes it
            out before the model, and names rows by it.

    Raises:
        UsageError: There is no dataset, or it was written without TFRecord shards.
        DatasetDiffers: A shard that the manifest names is not there.
        SettingsError: There is no such split, or `batch_size` is below 1.

    Example:
        >>> train = read_shards("data/weather/out", "train", shuffle=True)  # doctest: +SKIP
        >>> model.fit(train, epochs=5)  # doctest: +SKIP
    """
    out = Path(out)
    manifest = read_manifest(out)
    if split not in SPLITS:
        raise SettingsError(
            f"there is no split {split!r}.", expected=f"one of {', '.join(SPLITS)}", got=repr(split)
        )
    if batch_size < 1:
        raise SettingsError(f"batch_size = {batch_size} is not possible.", fix="give 1 or more.")
    files = tf.data.Dataset.from_tensor_slices(
        tf.constant(_list_files(out, manifest, split), tf.string)
    )
    if shuffle:
        files = files.shuffle(max(1, len(files)), seed=seed)
    records = tf.data.TFRecordDataset(files)
    if shuffle:
        records = records.shuffle(SHUFFLE_ROWS, seed=seed)
    features = describe_features(manifest.spec)

    def parse(batch: Any) -> Any:
        return _arrange(tf.io.parse_example(batch, features), manifest.spec, with_row_ids)

    # A batch is parsed at once: row by row costs sixteen times as much.
    batches = records.batch(batch_size).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    num_batches = -(-manifest.splits[split].rows // batch_size)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    return batches.prefetch(tf.data.AUTOTUNE)


def describe_features(spec: Spec) -> dict[str, Any]:
    """Return what `tf.io.parse_example` wants to know."""
    described = {
        feature.name: tf.io.FixedLenFeature([1], tf.as_dtype(feature.dtype))
        for feature in spec.features
    }
    described[spec.label.name] = tf.io.FixedLenFeature([], tf.as_dtype(spec.label.dtype))
    if spec.weight is not None:
        described[spec.weight] = tf.io.FixedLenFeature([], tf.float32)
    described["row_id"] = tf.io.FixedLenFeature([], tf.int64)
    return described


def _arrange(parsed: dict[str, Any], spec: Spec, with_row_ids: bool) -> Any:
    features = {feature.name: parsed[feature.name] for feature in spec.features}
    if with_row_ids:
        features["row_id"] = parsed["row_id"]
    label = parsed[spec.label.name]
    return (features, label) if spec.weight is None else (features, label, parsed[spec.weight])


def _list_files(out: Path, manifest: Manifest, split: SplitName) -> list[str]:
    shards = manifest.splits[split].shards
    files = [out / shard.tfrecord.path for shard in shards if shard.tfrecord is not None]
    if len(files) < len(shards):
        raise UsageError(
            f"{out} was written without TFRecord shards.",
            fix='add "tfrecord" to shards.formats, and run the job again.',
            out=str(out),
        )
    for file in files:
        if not file.exists():
            raise DatasetDiffers(
                f"{file} is not there, and the manifest names it.",
                fix="restore it, or run the job again.",
                file=str(file),
            )
    return [str(file) for file in files]
