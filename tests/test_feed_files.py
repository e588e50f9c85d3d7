"""Shards are checked before they are read, fetched once, and what cannot be fed is told."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tensorflow as tf

from pipeline import manifest, read_shards
from pipeline.errors import (
    DatasetDiffers,
    EnvironmentFailure,
    NoRowsLeft,
    SettingsError,
    ShardError,
    UsageError,
)
from pipeline.feed import check, fetch
from pipeline.storage import sha256_of
from tests.conftest import ROOT
from tests.feeding import batches_of, publish, published_ids


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return publish(tmp_path / "out", sizes=[13, 5])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"split": "trian"}, "no split 'trian'.*\n.*\nFix: did you mean 'train'"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"batch_size": 19, "drop_remainder": True}, "leaves no batch"),
        ({"batch_size": 10, "drop_remainder": True, "worker": (0, 2)}, "at most 9"),
        ({"num_epochs": 0}, "num_epochs = 0"),
        ({"worker": (2, 2)}, r"worker = \(2, 2\) is none"),
        ({"worker": (-1, 2)}, "is none"),
        ({"worker": 2}, "worker = 2 is none"),
        ({"worker": (0.0, 2)}, "is none"),
        ({"worker": (0, 1, 2)}, "is none"),
        ({"seed": 1.5}, "seed = 1.5 is no integer"),
        ({"seed": 1.5, "shuffle": True}, "seed = 1.5 is no integer"),
        ({"batch_size": 10.0}, "batch_size = 10.0 is no integer"),
        ({"num_epochs": "2"}, "num_epochs = '2' is no integer"),
        ({"start_step": None}, "start_step = None is no integer"),
        ({"worker": (0, 0)}, "is none"),
        ({"worker": (0, 19)}, "no row to read"),
        ({"worker": (0, 2), "shuffle": True}, "same seed"),
        ({"start_step": -1}, "start_step = -1"),
    ],
)
def test_what_cannot_be_is_told(out: Path, how: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_shards(out, **how)


def test_numpys_integers_will_do(out: Path) -> None:
    one = np.int64(1)
    how: dict[str, Any] = {"shuffle": True, "with_row_ids": True}
    found = read_shards(
        out, seed=-one, batch_size=7 * one, num_epochs=one, start_step=one, worker=(0 * one, one),
        **how,
    )  # fmt: skip
    assert batches_of(found) == batches_of(read_shards(out, seed=-1, batch_size=7, **how))[1:]


def test_a_url_in_a_path_is_told(out: Path) -> None:
    with pytest.raises(UsageError, match=r"s3:/bucket/out is a path.*\nFix: give the URL as text"):
        read_shards(Path("s3://bucket/out"))
    assert len(read_shards(out)) == 1


def test_a_split_without_a_row_is_told(out: Path) -> None:
    with pytest.raises(NoRowsLeft, match="test split"):
        read_shards(out, "test")


def test_a_dataset_without_tfrecord_is_told(tmp_path: Path) -> None:
    out = publish(tmp_path / "flat", formats=["parquet"])
    with pytest.raises(UsageError, match="without TFRecord"):
        read_shards(out)


def test_a_manifest_of_another_version_is_told(out: Path) -> None:
    path = out / "manifest.json"
    path.write_text(path.read_text().replace('"version":2', '"version":1'))
    with pytest.raises(DatasetDiffers, match="version"):
        read_shards(out)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace(path: Path) -> None:
    shutil.copy(path.with_name("part-0.tfrecord"), path)


@pytest.mark.parametrize("damage", [truncate, flip, replace, Path.unlink])
def test_a_damaged_shard_is_named_before_anything_is_read(out: Path, damage: Any) -> None:
    read_shards(out)
    damage(out / "train" / "part-1.tfrecord")
    with pytest.raises(DatasetDiffers, match=r"part-1\.tfrecord"):
        read_shards(out)


def test_without_verify_only_sizes_are_compared(out: Path) -> None:
    shard = out / "train" / "part-1.tfrecord"
    flip(shard)
    read_shards(out, verify=False)
    truncate(shard)
    with pytest.raises(ShardError, match=r"part-1\.tfrecord"):
        read_shards(out, verify=False)


def test_a_shard_is_hashed_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def write_down(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr(check, "sha256_of", write_down)
    read_shards(out)
    read_shards(out)
    assert sorted(path.name for path in hashed) == ["part-0.tfrecord", "part-1.tfrecord"]


@pytest.mark.parametrize("rows", [4, 12])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_shard_that_loses_rows_after_the_check_is_no_short_epoch(
    out: Path, rows: int, shuffle: bool
) -> None:
    dataset = read_shards(out, shuffle=shuffle, batch_size=4)
    shard = str(out / "train" / "part-0.tfrecord")
    records = list(tf.data.TFRecordDataset(shard).take(rows).as_numpy_iterator())
    with tf.io.TFRecordWriter(shard) as writer:
        for record in records:
            writer.write(record)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"part-0\.tfrecord"):
        list(dataset)


@pytest.fixture
def url(out: Path) -> Iterator[str]:
    store = fsspec.filesystem("memory")
    store.put(str(out), "memory://bucket/out", recursive=True)
    yield "memory://bucket/out"
    store.rm("/bucket", recursive=True)


def names(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file())


def test_a_remote_dataset_is_read_as_a_local_one(url: str, out: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = batches_of(read_shards(url, with_row_ids=True, cache=cache))
    assert found == [published_ids(out)]
    kept = {p.read_bytes() for p in cache.rglob("*") if p.is_file()}
    assert kept == {p.read_bytes() for p in out.glob("train/*.tfrecord")}


def test_a_remote_manifest_is_read_anew_and_told_by_its_url(url: str, tmp_path: Path) -> None:
    read_shards(url, cache=tmp_path / "cache")
    fsspec.filesystem("memory").pipe("/bucket/out/manifest.json", b'{"version": 2}')
    with pytest.raises(DatasetDiffers, match=r"^memory://bucket/out/manifest\.json is not"):
        read_shards(url, cache=tmp_path / "cache")


def test_a_remote_manifest_without_an_end_is_not_read_to_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fsspec.implementations.memory.MemoryFile, "read", lambda self, size=-1: b" " * size
    )
    monkeypatch.setattr(fetch, "MAX_MANIFEST_BYTES", 3 << 20)
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", 3 << 20)
    with pytest.raises(DatasetDiffers, match="has more than 3,145,728 bytes"):
        read_shards(url, cache=tmp_path / "cache")


def test_the_cache_lies_in_the_users_cache_folder(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    read_shards(url)
    assert len(names(tmp_path / "xdg" / "nanproof")) == 2
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch.find_cache(None) == tmp_path / ".cache" / "nanproof"


def test_a_second_reader_downloads_no_shard(url: str, tmp_path: Path) -> None:
    read_shards(url, cache=tmp_path / "cache")
    fsspec.filesystem("memory").rm("/bucket/out/train", recursive=True)
    assert (
        sum(map(len, batches_of(read_shards(url, cache=tmp_path / "cache", with_row_ids=True))))
        == 18
    )


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_file_of_the_cache_is_fetched_again(
    url: str, out: Path, tmp_path: Path, damage: Any
) -> None:
    cache = tmp_path / "cache"
    read_shards(url, cache=cache)
    for file in cache.glob("files/*"):
        damage(file)
    assert batches_of(read_shards(url, cache=cache, with_row_ids=True)) == [published_ids(out)]


def test_a_remote_shard_that_differs_is_named_and_not_kept(
    url: str, out: Path, tmp_path: Path
) -> None:
    flip(out / "train" / "part-1.tfrecord")
    store = fsspec.filesystem("memory")
    store.put(str(out / "train" / "part-1.tfrecord"), "/bucket/out/train/part-1.tfrecord")
    with pytest.raises(ShardError, match=r"memory://bucket/out/train/part-1\.tfrecord"):
        read_shards(url, cache=tmp_path / "cache")
    assert len(names(tmp_path / "cache" / "files")) == 1
    store.rm("/bucket/out/train/part-1.tfrecord")
    with pytest.raises(DatasetDiffers, match=r"part-1\.tfrecord is not there"):
        read_shards(url, cache=tmp_path / "cache")


def test_a_url_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        read_shards("memory://nowhere/out", cache=tmp_path)
    with pytest.raises(UsageError, match="cannot be opened"):
        read_shards("nosuch://nowhere/out", cache=tmp_path)


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, path: Path) -> None:
        self.file = FileIO(path, "w")

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, block: bytes) -> None:
        self.file.write(block[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_the_environments_failure_and_leaves_nothing(
    url: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    plain = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r": (
            Full(path) if mode == "wb" and path.parent.name == "files" else plain(path, mode)
        ),
    )
    with pytest.raises(EnvironmentFailure) as caught:
        read_shards(url, cache=cache)
    monkeypatch.undo()
    assert "No space left" in str(caught.value)
    assert f"cache {cache}" in str(caught.value)
    assert "part-" in str(caught.value)
    assert names(cache) == []
    assert batches_of(read_shards(url, cache=cache, with_row_ids=True)) == [published_ids(out)]


def test_a_connection_that_breaks_leaves_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    read_shards(url, cache=cache)
    shutil.rmtree(cache / "files")
    monkeypatch.setattr(fetch, "BLOCK_BYTES", 10)
    monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", _time_out)
    with pytest.raises(EnvironmentFailure, match="cannot be fetched: timed out"):
        read_shards(url, cache=cache)
    assert names(cache) == []


def _time_out(self: Any, size: int = -1) -> bytes:
    if self.tell() > 0:
        raise TimeoutError("timed out")
    content: bytes = self.getbuffer()[:size].tobytes()
    self.seek(size)
    return content


def test_processes_that_fetch_at_once_do_no_harm(out: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.feed.fetch import *\n"
        "from pipeline.manifest import read_manifest\n"
        "out, cache = sys.argv[1:]\n"
        "files = [s.tfrecord for s in read_manifest(Path(out)).splits['train'].shards]\n"
        "for path in fetch_files('file://' + out, files, Path(cache), verify=True): print(path)\n"
    )
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", code, str(out), str(cache)]
    racers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {racer.communicate()[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    (paths,) = printed
    expected = [(out / "train" / f"part-{i}.tfrecord").read_bytes() for i in range(2)]
    assert [Path(path).read_bytes() for path in paths.split()] == expected
    assert len(names(cache)) == 2


def test_a_url_s_query_stays_its_query_and_is_told_to_nobody(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, key, asked = fsspec.open, "token=s3cret&v=1", []

    def over_http(address: str, mode: str) -> Any:
        base, _, query = address.partition("?")
        asked.append(base)
        if query != key or "part-1" in base:
            raise OSError(f"403 for {address}")
        return plain(base.replace("https://host/", "memory://bucket/"), mode)

    monkeypatch.setattr(fsspec, "open", over_http)
    with pytest.raises(EnvironmentFailure, match=r"part-1\.tfrecord cannot be fetched") as caught:
        read_shards(f"https://host/out?{key}", cache=tmp_path)
    assert asked[0] == "https://host/out/manifest.json"
    assert "s3cret" not in str(caught.value) + repr(caught.value.fields)
