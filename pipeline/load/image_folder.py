"""The image files of a folder: which they are, in which order, and their hash."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

import xxhash

from pipeline.errors import InputError
from pipeline.load.opening import Location, check_regular, escape_path

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
# Of a link that leads nowhere, and (None) of `check_regular`: the fault of one file alone.
LEADS_NOWHERE = (None, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
# What a file takes on disk at least, and about what it costs to open and decode.
BLOCK_BYTES = 4096


def is_image(path: str) -> bool:
    """Tell whether a file is an image, by its name."""
    return path.lower().endswith(SUFFIXES)


def find_files(folder: str) -> list[str]:
    """Return the paths of all files in and below a folder, less those that are hidden.

    A folder that links lead to several times is entered once, by the first name in order: a link
    may lead back up, and a picture belongs to one class.
    """
    found: list[str] = []
    seen: set[str] = set()
    for path, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # In order, and not as the file system happens to list them.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = (name for name in files if not name.startswith("."))
        found += (os.path.join(path, name) for name in names)
    return found


def common_folder(pattern: str, folder: Path) -> str:
    """Return the folder above all that a pattern can match.

    Example:
        >>> common_folder("glyphs/*/*.png", Path("/job"))
        '/job/glyphs'
        >>> common_folder("glyphs/a/1.png", Path("/job"))
        '/job/glyphs/a'
    """
    parts = PurePath(pattern).parts
    plain = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return os.path.normpath(folder.joinpath(*parts[:plain]))


def group_files(found: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Give each file to one folder: the outermost, where patterns overlap.

    Args:
        found: (folder, file), both absolute.

    Returns:
        Folder to the files' paths below it, in order.
    """
    owners: dict[str, str] = {}
    for folder, file in found:
        owners[file] = min(folder, owners.get(file, folder), key=len)
    grouped: dict[str, list[str]] = {}
    for file, folder in owners.items():
        grouped.setdefault(folder, []).append(Path(os.path.relpath(file, folder)).as_posix())
    return {folder: tuple(sorted(files)) for folder, files in grouped.items()}


def look_at(location: Location, files: Sequence[str]) -> tuple[int, float]:
    """Return the bytes of the files, and when the last was modified; a broken link has neither.

    Raises:
        InputError: One is there no more, or the storage does not give it.
    """
    size, modified = 0, 0.0
    for file in files:
        path = os.path.join(location.url, file)
        try:
            status = os.stat(path)
        except OSError as error:
            refuse_unreadable(location, file, error)
            continue
        size += status.st_size
        modified = max(modified, status.st_mtime)
    return size, modified


def hash_images(location: Location, files: Sequence[str]) -> str:
    """Return a hash of the files' paths and bytes, in hexadecimal.

    A broken link, or what is no regular file, counts by its path: its row will say so.

    Raises:
        InputError: A file is there no more, or the storage does not give it.
    """
    digest = xxhash.xxh3_128()
    for file in files:
        path = os.path.join(location.url, file)
        digest.update(os.fsencode(file) + b"\0")
        try:
            check_regular(path)
            with open(path, "rb") as opened:
                digest.update(f"{os.fstat(opened.fileno()).st_size}:".encode())
                while block := opened.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            refuse_unreadable(location, file, error)
            digest.update(b"unreadable")
    return digest.hexdigest()


def cut_files(
    location: Location, files: Sequence[str], partition_bytes: int
) -> Iterator[tuple[int, int]]:
    """Yield (first file, after the last file) of partitions of about so many bytes.

    Raises:
        InputError: A file is there no more.
    """
    first, size = 0, 0
    for place, file in enumerate(files):
        more = max(BLOCK_BYTES, look_at(location, [file])[0])
        if place > first and size + more > partition_bytes:
            yield first, place
            first, size = place, 0
        size += more
    if first < len(files):
        yield first, len(files)


def refuse_unreadable(location: Location, file: str, error: OSError) -> None:
    """Refuse a file that is gone, or that the storage does not give; any other costs its row alone.

    Raises:
        InputError: Nothing is there, not even a link that leads nowhere; or it may not be read, or
            the disk fails.
    """
    if error.errno in LEADS_NOWHERE and os.path.lexists(os.path.join(location.url, file)):
        return
    raise InputError(
        f"{location.name}: {escape_path(file)} cannot be read: {error.strerror or error}.",
        fix="mend the path or its permissions; let nothing write to the raw files meanwhile.",
        file=location.name,
    ) from error
