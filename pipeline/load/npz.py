"""The arrays of an archive as numpy.savez writes it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pipeline.errors import InputError, list_some
from pipeline.load.array import MAX_DEFLATE_RATIO, PIECE_BYTES, Array, refuse
from pipeline.load.npy import read_npy_header

SUFFIX = ".npy"
# Of a member's local header, before its name (PKWARE's APPNOTE.TXT, 4.3.7).
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 1


@contextmanager
def open_archive(file: IO[bytes], what: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what is wrong with it, now or while it is read, names it.

    Raises:
        InputError: It is no zip archive, or a member is corrupt or packed in an unknown way.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
        raise refuse(what, f"is a broken archive: {error}") from error
    # An unknown way of packing, a password, an offset that is none.
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise refuse(what, f"cannot be unpacked: {error}") from error


def list_members(archive: zipfile.ZipFile, what: str) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays' names and where each lies.

    Raises:
        InputError: A member is no array, or has no name of its own, or a path.
    """
    members = archive.infolist()
    names = [member.filename for member in members]
    odd = [name for name in names if not name.endswith(SUFFIX) or name == SUFFIX]
    if odd or not names:
        raise refuse(what, f"holds what is no array: {list_some(odd)}" if odd else "holds no array")
    if paths := [name for name in names if "/" in name or "\\" in name]:
        raise InputError(
            f"{what}: names that are paths: {list_some(paths)}.",
            fix="save the arrays under plain names.",
            file=what,
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise refuse(what, f"holds arrays twice: {list_some(twice)}")
    return {member.filename.removesuffix(SUFFIX): member for member in members}


def read_headers(archive: zipfile.ZipFile, what: str) -> list[Array]:
    """Return the arrays of an archive.

    Raises:
        InputError: A member is no array, or not of the length that its header says.
    """
    arrays = []
    for name, member in list_members(archive, what).items():
        _check_size(archive, member, what)
        with archive.open(member) as file:
            array = read_npy_header(file, name, f"{what}: {name}")
        if array.start + array.num_bytes != member.file_size:
            raise InputError(
                f"{array.what} is not as long as its header says.",
                expected=f"{array.start + array.num_bytes:,} bytes",
                got=f"{member.file_size:,}",
                fix="restore the file, or take it out of data.raw.",
                file=what,
            )
        arrays.append(array)
    return arrays


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> None:
    """Refuse an index that claims more than can have been packed."""
    packed = min(member.compress_size, archive.start_dir)
    ratios = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MAX_DEFLATE_RATIO}
    if member.compress_type not in ratios:
        raise refuse(what, "is packed in another way than numpy.savez_compressed packs")
    if member.file_size > packed * ratios[member.compress_type]:
        raise refuse(what, "is a broken archive: its index claims more than it holds")


def is_stored(archive: zipfile.ZipFile) -> bool:
    """Tell whether no member is packed, so that each can be read from anywhere."""
    return all(
        member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & ENCRYPTED
        for member in archive.infolist()
    )


def check_sums(archive: zipfile.ZipFile) -> None:
    """Compare the members with their checksums, which reading from anywhere cannot do.

    Raises:
        BadZipFile: One differs.
    """
    for member in archive.infolist():
        with archive.open(member) as file:
            while file.read(PIECE_BYTES):
                pass


def find_start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Return where a member's first byte lies in the archive."""
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER_BYTES)
    name_bytes, extra_bytes = struct.unpack("<HH", header[-4:])
    return member.header_offset + LOCAL_HEADER_BYTES + int(name_bytes) + int(extra_bytes)
