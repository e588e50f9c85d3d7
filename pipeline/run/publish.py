"""The last step: staged files become the dataset, all at once or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import pipeline
from pipeline.errors import DatasetDiffers, EnvironmentFailure, SettingsError, UsageError
from pipeline.job import Job
from pipeline.ledger import Ledger
from pipeline.load import Source
from pipeline.manifest import SPLITS, File, Manifest, Shard, SourceEntry, Spec, Split, read_manifest
from pipeline.reference import list_source_files
from pipeline.repair import Plan
from pipeline.storage import sha256_of, write_json

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two runs are not kept apart there
    fcntl = None  # type: ignore[assignment]

VERSIONED_PACKAGES = ("numpy", "pandas", "pandera", "pyarrow")


@dataclass(frozen=True)
class Output:
    """Where a job publishes.

    Attributes:
        out: The dataset's folder.
        staging: Where its files are written first; emptied before and after.
        fingerprint: Eight hexadecimal digits of inputs, settings, schema and code.
    """

    out: Path
    staging: Path
    fingerprint: str


@contextmanager
def open_output(out: Path, job: Job) -> Iterator[Path]:
    """Take the output folder for this run, and give an empty staging folder in it.

    Raises:
        UsageError: It cannot be written, or holds another job's dataset.
        EnvironmentFailure: Another run holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(out)  # before anything of ours is laid beside them
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise UsageError(
            f"the output folder {out} cannot be written: {error.strerror}.",
            fix="choose another folder with --out, or mend its permissions.",
            out=str(out),
        ) from None
    with lock:
        _lock(lock, out)
        refuse_foreign(out, job)
        staging = out / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            _leave_no_empty_folder(out)


def _leave_no_empty_folder(out: Path) -> None:
    """Take the lock away where a run that failed has left nothing else."""
    with suppress(OSError):
        if [path.name for path in out.iterdir()] == [".lock"]:
            (out / ".lock").unlink()
            out.rmdir()


def refuse_foreign(out: Path, job: Job) -> None:
    """Refuse an output folder that holds another job's dataset."""
    if not (out / "manifest.json").exists():
        return
    try:
        published = read_manifest(out).name
    except DatasetDiffers as error:
        raise UsageError(
            f"the output folder {out} holds a dataset that this version cannot read.",
            fix=f"delete {out / 'manifest.json'} to publish anew there, or choose another --out.",
            out=str(out),
        ) from error
    if published != job.name:
        raise SettingsError(
            f"the output folder {out} holds the dataset of job {published!r}.",
            expected=f"one of job {job.name!r}",
            got=repr(published),
            fix="choose another folder with --out, or set `name` in the job file.",
            out=str(out),
        )


def _refuse_strangers(out: Path) -> None:
    strangers = sorted(path.name for path in out.iterdir() if path.name not in OWN_NAMES)
    if strangers and not (out / "manifest.json").exists():
        raise SettingsError(
            f"the output folder {out} holds files that are not a dataset's: "
            f"{', '.join(strangers[:5])}.",
            fix="choose an empty folder with --out.",
            out=str(out),
        )


OWN_NAMES = frozenset(
    {".lock", ".staging", "manifest.json", "ledger.json", "plan.json", "report.html", "failed"}
    | {"quarantine", "repairs", "runs", *SPLITS}
)


def _lock(file: Any, out: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise EnvironmentFailure(
            f"another run is writing to {out}.",
            fix="wait for it to end; a run that died holds no lock.",
            out=str(out),
        ) from None


def fingerprint_of(job: Job, sources: Sequence[Source]) -> str:
    """Return eight hexadecimal digits that tell this dataset from any other.

    Inputs count by name and content, the schema by the text of its module and of those of its
    tree that it imports, the code by the package's sources and the versions of the libraries. Of
    `[train]` the dtype and the task count, since they decide what is written.
    """
    settings = job.model_dump(mode="json", by_alias=True, exclude={"folder", "train", "check"})
    settings["data"].pop("raw")
    facts = {
        "inputs": [[source.name, source.content_hash] for source in sources],
        "settings": settings,
        "train": [job.train.dtype, job.train.task],
        "schema": _schema_texts(job),
        "code": _hash_code(),
        "versions": list_versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _schema_texts(job: Job) -> list[str]:
    files = list_source_files(job.data.schema_.partition(":")[0], job.folder)
    return [file.read_text(encoding="utf-8") for file in files]


def _hash_schema(job: Job) -> str:
    return hashlib.sha256(json.dumps(_schema_texts(job)).encode()).hexdigest()


def list_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what is written."""
    return {name: version(name) for name in VERSIONED_PACKAGES}


def _hash_code() -> str:
    root = Path(pipeline.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def publish(
    output: Output,
    job: Job,
    sources: Sequence[Source],
    source_rows: Sequence[int],
    plan: Plan,
    spec: Spec,
    ledger: Ledger,
    shards: Sequence[tuple[str, Shard]],
    accounts: Sequence[tuple[str, File]],
) -> Manifest:
    """Move the staged files to their places, write the manifest, delete what is outdated.

    Args:
        output: Where.
        job: The settings.
        sources: The raw files.
        source_rows: How many rows each held.
        plan: The repair plan.
        spec: The feature spec.
        ledger: The balanced accounts.
        shards: Split and staged shard, in order.
        accounts: "quarantine" or "repairs" and the staged file, in order.
    """
    splits = {
        split: _publish_split(output, split, [s for name, s in shards if name == split])
        for split in SPLITS
    }
    files = [_publish_account(output, kind, i, f) for kind, i, f in _numbered(accounts)]
    write_json(output.out / "ledger.json", ledger.model_dump(mode="json"))
    write_json(output.out / "plan.json", plan.model_dump(mode="json"))
    files += [_describe(output.out, name) for name in ("ledger.json", "plan.json")]
    manifest = Manifest(
        name=job.name,
        fingerprint=output.fingerprint,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        schema_reference=job.data.schema_,
        schema_fingerprint=_hash_schema(job),
        job_folder=Path(os.path.relpath(job.folder, output.out)).as_posix(),
        spec=spec,
        splits=splits,
        rows=ledger.rows,
        sources=tuple(
            SourceEntry(name=s.name, bytes=s.size, content_hash=s.content_hash, rows=rows)
            for s, rows in zip(sources, source_rows, strict=True)
        ),
        files=tuple(files),
        settings=job.model_dump(mode="json", by_alias=True, exclude={"folder"}),
        versions=list_versions() | {"nanproof": version("nanproof"), "python": python_version()},
    )
    write_json(output.out / "manifest.json", manifest.model_dump(mode="json"))
    _delete_outdated(output.out, manifest)
    return manifest


def publish_failure(
    out: Path, staging: Path, ledger: Ledger, accounts: Sequence[tuple[str, File]]
) -> Path:
    """Lay ledger and quarantine of a failed job under `failed/`; the dataset stays as it is."""
    failed = out / "failed"
    shutil.rmtree(failed, ignore_errors=True)
    (failed / "quarantine").mkdir(parents=True)
    for kind, index, file in _numbered(accounts):
        if kind == "quarantine":
            os.replace(staging / file.path, failed / kind / f"part-{index:05d}.parquet")
    write_json(failed / "ledger.json", ledger.model_dump(mode="json"))
    return failed


def _publish_split(output: Output, split: str, shards: Sequence[Shard]) -> Split:
    placed = []
    for index, shard in enumerate(shards):
        stem = f"{split}/part-{index:05d}-of-{len(shards):05d}-{output.fingerprint}"
        files = {
            suffix: _move(output, file, f"{stem}.{suffix}")
            for suffix, file in (("parquet", shard.parquet), ("tfrecord", shard.tfrecord))
            if file is not None
        }
        placed.append(Shard(rows=shard.rows, **files))
    return Split(rows=sum(shard.rows for shard in shards), shards=tuple(placed))


def _publish_account(output: Output, kind: str, index: int, file: File) -> File:
    return _move(output, file, f"{kind}/part-{index:05d}-{output.fingerprint}.parquet")


def _move(output: Output, file: File, path: str) -> File:
    target = output.out / path
    target.parent.mkdir(exist_ok=True)
    os.replace(output.staging / file.path, target)
    return file.model_copy(update={"path": path})


def _numbered(accounts: Sequence[tuple[str, File]]) -> Iterator[tuple[str, int, File]]:
    counts: dict[str, int] = {}
    for kind, file in accounts:
        index = counts.get(kind, 0)
        counts[kind] = index + 1
        yield kind, index, file


def _describe(out: Path, name: str) -> File:
    path = out / name
    return File(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def _delete_outdated(out: Path, manifest: Manifest) -> None:
    """Delete the part files of earlier generations: what the manifest does not name."""
    named = {file.path for file in manifest.list_files()}
    for folder in (*SPLITS, "quarantine", "repairs"):
        for path in (out / folder).glob("part-*"):
            if path.relative_to(out).as_posix() not in named:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # an empty folder says nothing
            (out / folder).rmdir()
    shutil.rmtree(out / "failed", ignore_errors=True)
