"""Files of a remote dataset in a local cache, known by their content.

TensorFlow reads no object store of its own accord. A file lies in the cache under its SHA-256, is
checked while it is downloaded, and takes its name when it is whole: any number of processes can
share a cache, and the files of all datasets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from pipeline.errors import DatasetDiffers, EnvironmentFailure, ShardError, UsageError
from pipeline.feed.check import check_file
from pipeline.manifest import MAX_MANIFEST_BYTES, File, Manifest, parse_manifest
from pipeline.storage import atomic_path

BLOCK_BYTES = 1 << 20
# One connection seldom fills a line; many are refused by some stores.
MAX_DOWNLOADS = 4


def is_url(out: Path | str) -> bool:
    """Tell whether a dataset lies elsewhere, behind an fsspec URL."""
    return "://" in str(out)


def find_cache(cache: Path | str | None) -> Path:
    """Return the cache folder: the given one, or nanproof's in the user's."""
    if cache is not None:
        return Path(cache)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "nanproof"


def fetch_manifest(url: str) -> Manifest:
    """Read the manifest of a remote dataset, which is fetched anew each time and not kept.

    Raises:
        UsageError: There is no dataset, or the URL is of a kind that is not installed.
        DatasetDiffers: The manifest is not what nanproof wrote.
        EnvironmentFailure: It cannot be fetched.
    """
    path = _join(url, "manifest.json")
    content = bytearray()
    with _open(path) as remote:
        for block in _read_blocks(remote, path):
            content += block
            if len(content) > MAX_MANIFEST_BYTES:  # which the parser refuses
                break
    return parse_manifest(bytes(content), _shown(path))


def fetch_files(url: str, files: Sequence[File], cache: Path, *, verify: bool) -> list[Path]:
    """Return where the files lie in the cache, downloading those that do not.

    Args:
        url: The dataset's.
        files: What the manifest says of them.
        cache: The folder.
        verify: Whether a file that lies there already is checked by more than its size.

    Raises:
        DatasetDiffers: A file is not there, or not what the manifest says.
        EnvironmentFailure: A file cannot be fetched, or the cache cannot be written.
    """
    with ThreadPoolExecutor(MAX_DOWNLOADS) as pool:
        return list(pool.map(lambda file: _fetch(url, file, cache, verify=verify), files))


def _fetch(url: str, file: File, cache: Path, *, verify: bool) -> Path:
    path = cache / "files" / file.sha256
    try:
        return check_file(path, file, verify=verify)
    except DatasetDiffers:  # not there yet, or damaged since
        _download(_join(url, file.path), path, file, cache)
    return path


def _download(url: str, path: Path, file: File, cache: Path) -> None:
    digest = hashlib.sha256()
    where = f"the cache {cache}, or give another folder as `cache`; it is for {_shown(url)}."
    with _open(url) as remote, atomic_path(path, fix=f"free space in {where}") as temporary:
        with temporary.open("wb") as local:
            for block in _read_blocks(remote, url):
                digest.update(block)
                local.write(block)
        if digest.hexdigest() != file.sha256:
            raise ShardError(
                f"{_shown(url)} is not the file that was published.",
                expected=f"{file.bytes:,} bytes of SHA-256 {file.sha256[:12]}…",
                got=f"{temporary.stat().st_size:,} of {digest.hexdigest()[:12]}…",
                fix="upload it again, or run the job again.",
                file=_shown(url),
            )


@contextmanager
def _open(url: str) -> Iterator[IO[bytes]]:
    import fsspec

    try:
        opened: Any = fsspec.open(url, "rb").open()
    except FileNotFoundError as error:
        if _shown(url).endswith("/manifest.json"):
            raise UsageError(
                f"{_shown(url)} is not there.",
                fix="give the URL of a published dataset, its folder's.",
                file=_shown(url),
            ) from error
        raise DatasetDiffers(
            f"{_shown(url)} is not there, and the manifest names it.",
            fix="upload it again, or run the job again.",
            file=_shown(url),
        ) from error
    except (ImportError, ValueError) as error:  # a protocol without its package, or unknown
        raise UsageError(
            f"{_shown(url)} cannot be opened: {error}.",
            fix="mend the URL, or install the package that its kind needs, such as s3fs.",
            file=_shown(url),
        ) from error
    except Exception as error:  # each store has exceptions of its own
        raise _unreachable(url, error) from error
    with opened:
        yield opened


def _read_blocks(remote: IO[bytes], url: str) -> Iterator[bytes]:
    while True:
        try:
            block = remote.read(BLOCK_BYTES)
        except Exception as error:  # each store has exceptions of its own
            raise _unreachable(url, error) from error
        if not block:
            return
        yield block


def _unreachable(url: str, error: Exception) -> EnvironmentFailure:
    told = str(error) or type(error).__name__
    query = _query_of(url)
    return EnvironmentFailure(
        f"{_shown(url)} cannot be fetched: {told.replace(query, '…') if query else told}.",
        fix="see that it can be reached from here with these credentials, then try again.",
        file=_shown(url),
    )


def _query_of(url: str) -> str:
    return urlsplit(url).query if url.startswith(("http://", "https://")) else ""


def _shown(url: str) -> str:
    """Leave out the query, which may be somebody's key."""
    query = _query_of(url)
    return url.replace(f"?{query}", "", 1) if query else url


def _join(url: str, path: str) -> str:
    query = _query_of(url)
    return f"{_shown(url).rstrip('/')}/{path}" + (f"?{query}" if query else "")
