"""Raw files as bytes: local or remote, packed or not, and always as UTF-8."""

from __future__ import annotations

import codecs
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import xxhash

from pipeline.errors import InputError

BLOCK_BYTES = 16 << 20
_BROKEN = "nanproof.broken"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (b"\xfe\xff", "utf-16"),
)
# Python's own: they write names or literals, and no tables.
_NO_TABLES = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
# So much is looked at for UTF-16 without a byte order mark.
_SAMPLE_BYTES = 1 << 10


def _mark_broken(error: UnicodeError) -> tuple[str, int]:
    # A lone surrogate is not valid UTF-8, so what cannot be decoded breaks its own row alone.
    return "\udcff", cast(UnicodeDecodeError, error).end


codecs.register_error(_BROKEN, _mark_broken)


@dataclass(frozen=True)
class Location:
    """Where a raw file is and how its bytes are wrapped.

    Attributes:
        name: What errors and accounts call it.
        url: An absolute path, or an fsspec URL.
        gzip: Whether it is gzip.
        encoding: How its text is encoded; "utf-8" is read without decoding.
        start: How many bytes of a byte order mark are skipped.
    """

    name: str
    url: str
    gzip: bool = False
    encoding: str = "utf-8"
    start: int = 0

    @property
    def is_streamed(self) -> bool:
        """Return whether its text can be read from the beginning only."""
        return self.gzip or self.encoding != "utf-8"


def find_encoding(location: Location, declared: str) -> tuple[str, int]:
    """Return the encoding of a text file and the length of its byte order mark.

    A byte order mark decides where the job declares UTF-8, its default; nothing else is guessed.

    Raises:
        InputError: The file cannot be read, or it is UTF-16 without a byte order mark where UTF-8
            is declared.
    """
    name = codecs.lookup(declared).name
    if name not in ("utf-8", "utf-8-sig", "ascii"):
        return name, 0
    with open_raw(location) as file:
        beginning = file.read(_SAMPLE_BYTES)
    for mark, encoding in _BOMS:
        if beginning.startswith(mark):
            return ("utf-8", len(mark)) if encoding == "utf-8-sig" else (encoding, 0)
    likely = _guess_utf_16(beginning)
    if likely is not None:
        raise InputError(
            f"{location.name} is not {declared}: every second byte is NUL.",
            fix=f'it looks like {likely}: set data.csv.encoding = "{likely}" for delimited text, '
            "or write the file as UTF-8.",
            file=location.name,
        )
    return "utf-8", 0


def is_encoding(name: str) -> bool:
    """Tell whether Python knows an encoding by this name that text tables are written in."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return False
    return codec._is_text_encoding and codec.name not in _NO_TABLES


def _guess_utf_16(beginning: bytes) -> str | None:
    """Tell the byte order of UTF-16 whose first line is mostly ASCII; None for other text."""
    line = beginning.partition(b"\n")[0]
    even, odd = line[0::2].count(0), line[1::2].count(0)
    if odd > len(line) // 4 and not even:
        return "utf-16-le"
    return "utf-16-be" if even > len(line) // 4 and not odd else None


def read_text(
    location: Location, start: int = 0, stop: int | None = None, block_bytes: int = 0
) -> Iterator[bytes]:
    """Yield a file's text as UTF-8, in blocks of about `block_bytes` (0: `BLOCK_BYTES`).

    Args:
        location: The file.
        start: The first byte, in the UTF-8 text.
        stop: After the last byte; None for the end of the file.
        block_bytes: How large blocks are before they are decoded.

    Raises:
        InputError: The file cannot be read, or is shorter than `stop`.
    """
    if not location.is_streamed:
        stop = stop and stop + location.start
        yield from read_bytes(location, start + location.start, stop, block_bytes)
        return
    decoder: Any = None
    if location.encoding != "utf-8":
        decoder = codecs.getincrementaldecoder(location.encoding)(_BROKEN)
    skip = start
    first = True
    for block in _chain_end(read_bytes(location, block_bytes=block_bytes)):
        text = block or b""
        if decoder is not None:
            text = _decode(decoder, text, block is None, location)
        if first and text:
            text, first = text.removeprefix(codecs.BOM_UTF8), False
        if skip < len(text):
            yield text[skip:] if skip else text
        skip = max(0, skip - len(text))


def _decode(decoder: Any, text: bytes, final: bool, location: Location) -> bytes:
    try:
        decoded: str = decoder.decode(text, final)
    except UnicodeError as error:  # not of a cell: UTF-16 or UTF-32 without a byte order mark
        raise InputError(
            f"{location.name} is not {location.encoding}: {error}.",
            fix=f'set data.csv.encoding, such as "{location.encoding}-le".',
            file=location.name,
        ) from error
    return decoded.encode("utf-8", "surrogatepass")


def _chain_end(blocks: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from blocks
    yield None


def read_bytes(
    location: Location, start: int = 0, stop: int | None = None, block_bytes: int = 0
) -> Iterator[bytes]:
    """Yield a file's bytes, unpacked but not decoded.

    In blocks of at most `block_bytes`; 0 is `BLOCK_BYTES`.

    Raises:
        InputError: The file cannot be read, is truncated, or is shorter than `stop`.
    """
    block_bytes = block_bytes or BLOCK_BYTES
    with open_raw(location) as file:
        if start:
            file.seek(start)
        place = start
        while stop is None or place < stop:
            block = file.read(block_bytes if stop is None else min(block_bytes, stop - place))
            if not block:
                break
            place += len(block)
            yield block
    if stop is not None and place < stop:
        raise InputError(
            f"{location.name} is shorter than when it was first read.",
            expected=f"{stop} bytes",
            got=str(place),
            fix="let nothing write to the raw files while a job runs; then run it again.",
            file=location.name,
        )


@contextmanager
def open_raw(location: Location) -> Iterator[IO[bytes]]:
    """Open a file for reading, gzip unpacked; what goes wrong while it is open names the file."""
    try:
        with _open(location.url) as raw:
            if location.gzip:
                with gzip.GzipFile(fileobj=raw) as file:
                    yield cast(IO[bytes], file)
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{location.name} is truncated or corrupt gzip: {error}.",
            fix="restore the file.",
            file=location.name,
        ) from error
    except OSError as error:
        raise InputError(
            f"{location.name} cannot be read: {error.strerror or error}.",
            fix="mend the path or its permissions.",
            file=location.name,
        ) from error


def _open(url: str) -> IO[bytes]:
    if "://" in url:
        import fsspec  # 0.15 s, for whom needs it

        opened: IO[bytes] = fsspec.open(url, "rb").open()
        return opened
    check_regular(url)
    return Path(url).open("rb", buffering=0)


def check_regular(path: str) -> None:
    """Look at a local file before it is opened; a link is followed.

    Raises:
        OSError: It is not there, or it is a pipe or a device, which might have no end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")


def escape_path(path: str) -> str:
    """Return a path as text; bytes of it that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def hash_content(location: Location) -> str:
    """Return a hash of a file's bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    packed = Location(location.name, location.url)
    with open_raw(packed) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
