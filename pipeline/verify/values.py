"""Every value of a shard: finite, in range, and the same in both formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import ShardError, broken_shard
from pipeline.features import is_finite_in
from pipeline.manifest import Feature, File, Shard, Spec
from pipeline.verify.examples import Columns, read_examples
from pipeline.verify.tables import (
    BATCH_ROWS,
    BEYOND,
    BOUNDED,
    Faults,
    TableReader,
    cast_table,
    count_beyond,
    find_table_faults,
)


def check_shard(
    out: Path, shard: Shard, spec: Spec, sound: frozenset[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Read every value of a shard.

    Args:
        out: The dataset's folder.
        shard: The shard.
        spec: What it has to hold.
        sound: The files that are as they were written; no other is opened.

    Returns:
        The row ids, `(rows,)`, and what is wrong.
    """
    parquet, tfrecord = _sound_path(shard.parquet, sound), _sound_path(shard.tfrecord, sound)
    counts: Counter[tuple[str, str, str]] = Counter()
    rows: Counter[str] = Counter()
    row_ids, problems = [np.zeros(0, np.int64)], []
    try:
        for path, columns, faults in _judge_both(out, parquet, tfrecord, spec):
            counts.update({(path, *what): count for what, count in faults.items()})
            found = columns.get("row_id", row_ids[0])  # none where Parquet misses some
            rows[path] += len(found)
            row_ids += [found] if path == (tfrecord or parquet) else []
    except ShardError as error:
        folder = Path(parquet or tfrecord or "").parent
        problems.append(f"{folder}/{error.message.rstrip('.')}")
    else:
        problems += [
            f"{path}: {rows[path]:,} rows, expected {shard.rows:,}"
            for path in (parquet, tfrecord)
            if path is not None and rows[path] != shard.rows
        ]
    for (path, name, what), count in counts.items():
        problems += [f"{path}: {name!r}: {count:,} values {what}"] if count else []
    return np.concatenate(row_ids), problems


def _sound_path(file: File | None, sound: frozenset[str]) -> str | None:
    return file.path if file is not None and file.path in sound else None


def _judge_both(
    out: Path, parquet: str | None, tfrecord: str | None, spec: Spec
) -> Iterator[tuple[str, Columns, Faults]]:
    """Yield a file, a stretch of its rows, and what is wrong with them; the two in step."""
    table = None if parquet is None else TableReader(out / parquet, spec)
    if tfrecord is not None:
        for columns in read_examples(out / tfrecord, spec):
            faults = find_faults(columns, spec)
            if parquet is not None and table is not None:
                part = table.take(len(columns["row_id"]))
                cast, found = _judge_table(out / parquet, part, spec)
                yield parquet, cast, found
                faults |= find_differences(columns, cast)
            yield tfrecord, columns, faults
    while parquet is not None and table is not None and len(part := table.take(BATCH_ROWS)):
        yield parquet, *_judge_table(out / parquet, part, spec)


def _judge_table(path: Path, table: pa.Table, spec: Spec) -> tuple[Columns, Faults]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found
            columns = cast_table(table, spec)
    except ValueError as error:  # a tensor of another size than the manifest's
        raise broken_shard(path, str(error)) from None
    return columns, find_faults(columns, spec) | find_table_faults(table, spec)


def find_faults(columns: Columns, spec: Spec) -> Faults:
    """Return what is wrong with values as a TFRecord shard has them."""
    dtype, label, weight = spec.training_dtype, spec.label, spec.weight
    faults: Faults = {}
    for feature in spec.features:
        if feature.name in columns:
            faults |= _find_feature_faults(columns[feature.name], feature, dtype)
    if label.name in columns:
        values = columns[label.name]
        if label.classes is not None:
            faults[label.name, "are no class"] = count_beyond(values, 0, len(label.classes) - 1)
        else:
            faults |= _find_nonfinite(label.name, values, dtype)
            faults[label.name, BEYOND] = count_beyond(values, label.lower, label.upper)
    if weight is not None and weight in columns:
        faults |= _find_nonfinite(weight, columns[weight], dtype)
        faults[weight, "are negative"] = count_beyond(columns[weight], 0, None)
    return faults


def _find_feature_faults(values: npt.NDArray[Any], feature: Feature, training_dtype: str) -> Faults:
    name = feature.name
    faults = _find_nonfinite(name, values, training_dtype)
    if feature.vocabulary is not None:
        beyond = count_beyond(values, 0, len(feature.vocabulary))
        faults[name, "are no index of the vocabulary"] = beyond
    elif feature.kind == "bool":
        faults[name, "are neither 0 nor 1"] = int(((values != 0) & (values != 1)).sum())
    elif feature.kind in BOUNDED:
        faults[name, BEYOND] = count_beyond(values, feature.lower, feature.upper, feature.shift)
    return faults


def _find_nonfinite(name: str, values: npt.NDArray[Any], training_dtype: str) -> Faults:
    if values.dtype.kind != "f":
        return {}
    finite = is_finite_in(values.reshape(-1), training_dtype)
    return {(name, f"are not finite in {training_dtype}"): int((~finite).sum())}


def find_differences(columns: Columns, cast: Columns) -> Faults:
    """Return where a TFRecord's values are not those of the Parquet shard, bit by bit."""
    faults: Faults = {}
    for name in columns.keys() & cast.keys():
        left, right = columns[name], cast[name]
        rows = min(len(left), len(right))  # that one has fewer is said by its count
        left, right = left[:rows], right[:rows]
        if left.tobytes() != right.tobytes():
            # NaN is unlike itself, and -0.0 like 0.0: there is one at least.
            differs = (left != right).reshape(rows, -1).any(axis=1)
            faults[name, "are not those of the Parquet shard"] = max(1, int(differs.sum()))
    return faults
