"""Is what lies on disk what the manifest says?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipeline.arrow import to_numpy
from pipeline.engine import Progress
from pipeline.errors import PipelineError, ShardError
from pipeline.features import is_finite_in
from pipeline.ledger import Ledger, check_balance
from pipeline.manifest import SPLITS, File, Manifest, Shard, Spec, read_manifest
from pipeline.repair.plan import Plan
from pipeline.storage import sha256_of
from pipeline.write import decode_examples


@dataclass(frozen=True)
class VerifyResult:
    """What was found.

    Attributes:
        files: How many files the manifest names.
        bytes: Their bytes, by the manifest.
        rows: Their rows, by the manifest.
        problems: What differs, a line each.
    """

    files: int
    bytes: int
    rows: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def verify_dataset(out: Path | str, *, on_progress: Progress | None = None) -> VerifyResult:
    """Compare a published dataset with its manifest: checksums, counts, finiteness.

    Every byte is read. A shard that differs in its checksum is looked at no further.

    Args:
        out: The dataset's folder.
        on_progress: Called as files are done.

    Raises:
        UsageError: There is no dataset.
        DatasetDiffers: The manifest itself is not what nanproof wrote.
    """
    out = Path(out)
    manifest = read_manifest(out)
    files = list(manifest.list_files())
    problems: list[str] = []
    sound: set[str] = set()
    for done, file in enumerate(files, start=1):
        difference = _compare_file(out, file)
        if difference is None:
            sound.add(file.path)
        else:
            problems.append(difference)
        if on_progress is not None:
            on_progress("verify", done, len(files))
    for split in SPLITS:
        for shard in manifest.splits[split].shards:
            problems += _look_into(out, shard, manifest.spec, sound)
    problems += _find_strangers(out, {file.path for file in files})
    problems += _check_accounts(out, manifest)
    return VerifyResult(
        files=len(files),
        bytes=sum(file.bytes for file in files),
        rows=manifest.rows["clean"],
        problems=tuple(problems),
    )


def _compare_file(out: Path, file: File) -> str | None:
    path = out / file.path
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{file.path}: {size:,} bytes, expected {file.bytes:,}"
        if sha256_of(path) != file.sha256:
            return f"{file.path}: another checksum"
    except FileNotFoundError:
        return f"{file.path}: is not there"
    except OSError as error:
        return f"{file.path}: cannot be read: {error.strerror}"
    return None


def _look_into(out: Path, shard: Shard, spec: Spec, sound: set[str]) -> Iterator[str]:
    row_ids = {}
    for file, look in ((shard.parquet, _look_at_parquet), (shard.tfrecord, _look_at_tfrecord)):
        if file is None or file.path not in sound:
            continue
        try:
            found, problems = look(out / file.path, spec)
        except (ShardError, pa.ArrowException, OSError) as error:
            yield f"{file.path}: {str(error).splitlines()[0]}"
            continue
        yield from (f"{file.path}: {problem}" for problem in problems)
        if len(found) != shard.rows:
            yield f"{file.path}: {len(found):,} rows, expected {shard.rows:,}"
        row_ids[file.path] = found
    if len(row_ids) == 2:
        (_, left), (name, right) = row_ids.items()
        if not np.array_equal(left, right):
            yield f"{name}: not the rows of its Parquet twin"


def _look_at_parquet(path: Path, spec: Spec) -> tuple[npt.NDArray[np.int64], list[str]]:
    table = pq.read_table(path)
    problems = []
    names = [feature.name for feature in spec.features if feature.indicates is None]
    for name in (*names, spec.label.name, *([spec.weight] if spec.weight else ())):
        if name not in table.column_names:
            problems.append(f"column {name!r} is not there")
            continue
        column = table.column(name).combine_chunks()
        if column.null_count:
            problems.append(f"column {name!r}: {column.null_count:,} cells are missing")
        elif pa.types.is_floating(column.type):
            with np.errstate(over="ignore"):
                values = to_numpy(column).astype(np.float32)
            problems += _nonfinite(name, values, spec.training_dtype)
    return to_numpy(table.column("row_id").combine_chunks()), problems


def _look_at_tfrecord(path: Path, spec: Spec) -> tuple[npt.NDArray[np.int64], list[str]]:
    expected = {feature.name: feature.dtype for feature in spec.features}
    expected |= {spec.label.name: spec.label.dtype, "row_id": "int64"}
    expected |= {spec.weight: "float32"} if spec.weight else {}
    row_ids, problems = [np.zeros(0, np.int64)], []
    for columns in decode_examples(path):
        found = {name: values.dtype.name for name, values in columns.items()}
        if found != expected:
            problems.append("its features are not the manifest's")
            break
        for name, values in columns.items():
            problems += _nonfinite(name, values.reshape(-1), spec.training_dtype)
        if spec.label.classes is not None:
            label = columns[spec.label.name]
            if label.min() < 0 or label.max() >= len(spec.label.classes):
                problems.append(f"label {spec.label.name!r}: a class that is none")
        row_ids.append(columns["row_id"][:, 0])
    return np.concatenate(row_ids), list(dict.fromkeys(problems))


def _nonfinite(name: str, values: npt.NDArray[np.generic], training_dtype: str) -> list[str]:
    count = int((~is_finite_in(values, training_dtype)).sum())
    return [f"{name!r}: {count:,} values are not finite in {training_dtype}"] if count else []


def _find_strangers(out: Path, named: set[str]) -> Iterator[str]:
    for folder in (*SPLITS, "quarantine", "repairs"):
        for path in sorted((out / folder).glob("*")):
            name = path.relative_to(out).as_posix()
            if name not in named:
                yield f"{name}: the manifest does not name it"


def _check_accounts(out: Path, manifest: Manifest) -> Iterator[str]:
    """Hold ledger, plan and the manifest's own counts against each other."""
    for split in SPLITS:
        entry = manifest.splits[split]
        counted = sum(shard.rows for shard in entry.shards)
        if not counted == entry.rows == manifest.rows[split]:
            yield f"manifest.json: {split}: {counted:,} rows in shards, {entry.rows:,} in all"
    try:
        ledger = Ledger.model_validate(json.loads((out / "ledger.json").read_text("utf-8")))
        check_balance(ledger)
        if ledger.rows != manifest.rows:
            yield "ledger.json: its rows are not the manifest's"
        Plan.model_validate_json((out / "plan.json").read_text("utf-8"))
    except FileNotFoundError:
        return  # said already
    except (ValidationError, ValueError, PipelineError) as error:
        yield f"ledger.json or plan.json: {str(error).splitlines()[0]}"
