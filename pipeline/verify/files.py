"""Every file that the manifest names, and none beside them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.engine import Progress
from pipeline.manifest import SPLITS, File, Manifest
from pipeline.storage import find_difference

# What a job leaves in OUT that is no part of the dataset.
IGNORED = frozenset({"runs", "failed", ".staging", ".lock"})


def compare_files(
    out: Path, manifest: Manifest, on_progress: Progress | None
) -> tuple[frozenset[str], list[str]]:
    """Return the paths of the files that are as they were written, and what differs in others.

    Only files of the names that nanproof gives are opened: a forged manifest leads nowhere else.
    """
    files = list(manifest.list_files())
    expected = list_expected(manifest)
    problems = list(_check_names([file.path for file in files], expected))
    if not re.fullmatch("[0-9a-f]{8}", manifest.fingerprint):
        problems, expected = ["manifest.json: its fingerprint is none"], []
    allowed, sound = set(expected), set()
    for done, file in enumerate(files, start=1):
        if file.path not in allowed:
            difference: str | None = "the manifest gives it another name than nanproof"
        elif file.path in sound:
            difference = "the manifest names it twice"
        else:
            difference = _compare(out / file.path, file)
        if difference is None:
            sound.add(file.path)
        else:
            problems.append(f"{file.path}: {difference}")
        if on_progress is not None:
            on_progress("verify", done, len(files))
    return frozenset(sound), problems


def _check_names(names: list[str], expected: list[str]) -> Iterator[str]:
    known = set(names)
    absent = [path for path in expected if path not in known]
    yield from (f"manifest.json: it does not name {path}" for path in absent)
    if names != expected and sorted(names) == sorted(expected):
        yield "manifest.json: its files stand in another order than nanproof's"


def list_expected(manifest: Manifest) -> list[str]:
    """Return the paths that nanproof gives to this many shards and accounts, in order."""
    names = []
    for split in SPLITS:
        shards = manifest.splits[split].shards
        for index, shard in enumerate(shards):
            stem = f"{split}/part-{index:05d}-of-{len(shards):05d}-{manifest.fingerprint}"
            names += [f"{stem}.parquet"] if shard.parquet else []
            names += [f"{stem}.tfrecord"] if shard.tfrecord else []
    for folder in ("quarantine", "repairs"):
        count = sum(file.path.startswith(f"{folder}/") for file in manifest.files)
        names += [f"{folder}/part-{i:05d}-{manifest.fingerprint}.parquet" for i in range(count)]
    return [*names, "ledger.json", "plan.json"]


def _compare(path: Path, file: File) -> str | None:
    try:
        mode = path.lstat().st_mode
        return find_difference(path, file) if stat.S_ISREG(mode) else f"is {_describe(mode)}"
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def find_strangers(out: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what lies in the dataset's folder and is no part of it."""
    named = {file.path for file in manifest.list_files()}
    folders = {str(PurePosixPath(path).parent) for path in named}
    for path in _list(out):
        name = path.name
        if name in IGNORED or (name in named and "/" not in name):
            continue
        mode = path.lstat().st_mode
        if name == "manifest.json":
            yield from _check_manifest_file(path, mode, manifest)
        elif not stat.S_ISDIR(mode) or name not in folders:
            yield f"{name}: {_stranger(mode)}"
        else:
            for inner in _list(path):
                if f"{name}/{inner.name}" not in named:
                    yield f"{name}/{inner.name}: {_stranger(inner.lstat().st_mode)}"


def _check_manifest_file(path: Path, mode: int, manifest: Manifest) -> Iterator[str]:
    if not stat.S_ISREG(mode):
        yield f"manifest.json: is {_describe(mode)}"
    if path.read_bytes() != (manifest.model_dump_json(indent=1) + "\n").encode():
        yield "manifest.json: its text is not laid out as nanproof writes it"


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _stranger(mode: int) -> str:
    what = "" if stat.S_ISREG(mode) else f" (it is {_describe(mode)})"
    return f"the manifest does not name it{what}"


def _describe(mode: int) -> str:
    names = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder"}
    return names.get(stat.S_IFMT(mode), "no regular file")
