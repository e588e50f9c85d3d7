"""The image files of a folder: which they are, in which order, and their hash."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

import xxhash

from pipeline.errors import InputError
from pipeline.load.opening import Location

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
# What a file takes on disk at least, and about what it costs to open and decode.
BLOCK_BYTES = 4096


def is_image(path: str) -> bool:
    """Tell whether a file is an image, by its name."""
    return path.lower().endswith(SUFFIXES)


def find_images(folder: str) -> list[str]:
    """Return the paths of all image files in and below a folder; hidden ones are left out.

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
        names = (name for name in files if is_image(name) and not name.startswith("."))
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


def group_images(found: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Give each image to one folder: the outermost, where patterns overlap.

    Args:
        found: (folder, image), both absolute.

    Returns:
        Folder to the images' paths below it, in order.
    """
    owners: dict[str, str] = {}
    for folder, image in found:
        owners[image] = min(folder, owners.get(image, folder), key=len)
    grouped: dict[str, list[str]] = {}
    for image, folder in owners.items():
        grouped.setdefault(folder, []).append(Path(os.path.relpath(image, folder)).as_posix())
    return {folder: tuple(sorted(images)) for folder, images in grouped.items()}


def look_at(location: Location, files: Sequence[str]) -> tuple[int, float]:
    """Return the bytes of the files, and when the last was modified.

    Raises:
        InputError: One is there no more.
    """
    size, modified = 0, 0.0
    for file in files:
        try:
            status = os.stat(os.path.join(location.url, file))
        except OSError as error:
            raise _unreadable(location, file, error) from error
        size += status.st_size
        modified = max(modified, status.st_mtime)
    return size, modified


def hash_images(location: Location, files: Sequence[str]) -> str:
    """Return a hash of the files' paths and bytes, in hexadecimal.

    A file that may not be read counts by its path: its row will say so.
    """
    digest = xxhash.xxh3_128()
    for file in files:
        path = os.path.join(location.url, file)
        digest.update(os.fsencode(file) + b"\0")
        try:
            with open(path, "rb") as opened:
                digest.update(f"{os.fstat(opened.fileno()).st_size}:".encode())
                while block := opened.read(1 << 20):
                    digest.update(block)
        except FileNotFoundError as error:
            raise _unreadable(location, file, error) from error
        except OSError:
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


def _unreadable(location: Location, file: str, error: OSError) -> InputError:
    return InputError(
        f"{location.name}: {file} cannot be read: {error.strerror or error}.",
        fix="mend the path or its permissions; let nothing write to the raw files meanwhile.",
        file=location.name,
    )
