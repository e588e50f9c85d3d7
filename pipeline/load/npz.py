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
from pipeline.load.array import (
    MAX_DEFLATE_RATIO,
    PIECE_BYTES,
    Array,
    read_exactly,
    read_some,
    refuse,
)
from pipeline.load.faults import BAD_SEEK
from pipeline.load.npy import read_npy_header

SUFFIX = ".npy"
# Of a member's local header, before its name (PKWARE's APPNOTE.TXT, 4.3.7).
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 1


@contextmanager
def open_archive(file: IO[bytes], what: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive.

    Raises:
        InputError: It is no zip archive.
    """
    with _unpacking(what):
        archive = zipfile.ZipFile(file)
    with archive:
        yield archive


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> IO[bytes]:
    """Open a member; `read_some` says what is wrong with it while it is read.

    Raises:
        InputError: Its header is corrupt, or it is packed in an unknown way.
    """
    with _unpacking(what):
        return archive.open(member)


@contextmanager
def _unpacking(what: str) -> Iterator[None]:
    """Name the archive in what zipfile raises on bytes made to break it, and on no more than that.

    The body is a call of zipfile's alone: in our own code these are bugs, and no broken file.
    """
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
        raise refuse(what, f"is a broken archive: {error}") from error
    # An unknown way of packing; a name that is no UTF-8, or a seek to before a remote file.
    except (NotImplementedError, ValueError) as error:
        raise refuse(what, f"cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno not in BAD_SEEK:
            raise
        raise refuse(what, "is a broken archive: its index leads out of it") from error


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
        _check_packing(archive, member, what)
        with open_member(archive, member, what) as file:
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


def _check_packing(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> None:
    """Refuse what numpy packs no array as, and an index that claims more than can be packed."""
    if member.flag_bits & ENCRYPTED:
        raise InputError(f"{what} is encrypted.", fix="save it without a password.", file=what)
    packed = min(member.compress_size, archive.start_dir)
    ratios = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MAX_DEFLATE_RATIO}
    if member.compress_type not in ratios:
        raise refuse(what, "is packed in another way than numpy.savez_compressed packs")
    if member.file_size > packed * ratios[member.compress_type]:
        raise refuse(what, "is a broken archive: its index claims more than it holds")


def is_stored(archive: zipfile.ZipFile) -> bool:
    """Tell whether no member is packed, so that each can be read from anywhere."""
    return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def check_sums(archive: zipfile.ZipFile, what: str) -> None:
    """Compare the members with their checksums, which reading from anywhere cannot do.

    Raises:
        InputError: One differs.
    """
    for member in archive.infolist():
        with open_member(archive, member, what) as file:
            while read_some(file, PIECE_BYTES, what):
                pass


def find_start(file: IO[bytes], member: zipfile.ZipInfo, what: str) -> int:
    """Return where a member's first byte lies in the archive."""
    file.seek(member.header_offset)
    header = read_exactly(file, LOCAL_HEADER_BYTES, what)
    name_bytes, extra_bytes = struct.unpack("<HH", header[-4:])
    return member.header_offset + LOCAL_HEADER_BYTES + int(name_bytes) + int(extra_bytes)
