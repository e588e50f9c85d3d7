"""The first record of delimited text: the columns' names, and where the data begins."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import InputError, SettingsError
from pipeline.job import CsvSettings
from pipeline.load.opening import Location, is_encoding, read_text
from pipeline.load.records import Records, split_records

# The first records are looked at in growing pieces; a header beyond this is no header.
MAX_HEADER_BYTES = 16 << 20


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        columns: The columns' names, each once.
        repeated: Name to the names that its further copies were given.
        stop: Where the first record after it starts, in the UTF-8 text.
        row: The line of the first record after it.
    """

    columns: tuple[str, ...]
    stop: int
    row: int
    repeated: tuple[tuple[str, tuple[str, ...]], ...] = ()


def check_settings(settings: CsvSettings) -> None:
    """Refuse encodings, delimiters and quotes that no table can be written with.

    Raises:
        SettingsError: There is no such encoding, or a character is not ASCII, is part of a line
            end, or is another's.
    """
    if not is_encoding(settings.encoding):
        raise SettingsError(
            f"data.csv.encoding: there is no text encoding {settings.encoding!r}.",
            fix='name one that Python knows, such as "utf-8", "latin-1" or "utf-16".',
            setting="data.csv.encoding",
        )
    given = {"delimiter": settings.delimiter, "quote": settings.quote, "decimal": settings.decimal}
    for setting, character in given.items():
        if not character.isascii() or character in "\r\n\0":
            raise SettingsError(
                f"data.csv.{setting} is {character!r}.",
                fix="give one printable ASCII character, or a tab.",
                setting=f"data.csv.{setting}",
            )
    if len({settings.delimiter, settings.quote}) < 2:
        raise SettingsError(
            "data.csv: delimiter and quote are the same character.",
            fix="change one of them.",
            setting="data.csv.quote",
        )


def read_header(location: Location, settings: CsvSettings) -> Header:
    """Read the first record that is not a blank line; none where the settings name the columns.

    Raises:
        InputError: There is none, or it is broken.
    """
    if settings.columns is not None:
        return Header(name_columns(settings.columns), 0, 1)
    beginning = b""
    pieces = read_text(location)
    final = False
    while not final:
        piece = next(pieces, b"")
        beginning += piece
        final = not piece or len(beginning) > MAX_HEADER_BYTES
        records = split_records(beginning, settings.delimiter, settings.quote, final=final)
        for index, (start, stop) in enumerate(zip(records.starts, records.stops, strict=True)):
            line = beginning[start:stop].rstrip(b"\r\n")
            if not line.strip(b" "):
                continue
            row = 1 + int(_next_line(records, index))
            fields = _read_fields(line, records.broken.get(index), location, settings)
            return Header(name_columns(fields), int(stop), row, list_repeated(fields))
    raise InputError(
        f"{location.name} is empty.", fix="remove it from data.raw.", file=location.name
    )


def _next_line(records: Records, index: int) -> int:
    return int(records.lines[index + 1]) if index + 1 < len(records) else records.num_lines


def _read_fields(
    line: bytes, broken: str | None, location: Location, settings: CsvSettings
) -> list[str]:
    try:
        decoded = line.decode("utf-8")
    except UnicodeDecodeError:
        broken, decoded = f"not {location.encoding}", ""
    if "\0" in decoded:
        broken = "NUL bytes"
    if broken is not None:
        raise InputError(
            f"{location.name}: the header cannot be read: {broken}.",
            expected=f"a line of {settings.encoding} text with the columns' names",
            fix="correct the header, or data.csv's encoding, delimiter and quote.",
            file=location.name,
        )
    csv.field_size_limit(MAX_HEADER_BYTES)
    text = io.StringIO(decoded, newline="")  # str.splitlines knows more line ends than CSV
    return next(csv.reader(text, delimiter=settings.delimiter, quotechar=settings.quote))


def name_columns(headers: Sequence[str]) -> tuple[str, ...]:
    """Strip headers, and give each a name of its own, as pandas does.

    Example:
        >>> name_columns([" a", "a", "", "a.1"])
        ('a', 'a.2', 'unnamed_3', 'a.1')
    """
    stripped = [h.strip() or f"unnamed_{place}" for place, h in enumerate(headers, start=1)]
    taken = set(stripped)
    seen: Counter[str] = Counter()
    names = []
    for name in stripped:
        unique = name
        while seen[name] and unique in taken:
            unique = f"{name}.{seen[name]}"
            seen[name] += 1
        seen[name] = max(seen[name], 1)
        taken.add(unique)
        names.append(unique)
    return tuple(names)


def list_repeated(headers: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return every name that occurs more than once, and what its copies are called."""
    copies: dict[str, list[str]] = {}
    for header, name in zip(headers, name_columns(headers), strict=True):
        if header.strip() and header.strip() != name:
            copies.setdefault(header.strip(), []).append(name)
    return tuple((header, tuple(names)) for header, names in copies.items())
