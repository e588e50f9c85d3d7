"""A stretch of a text file as blocks of whole records."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import InputError
from pipeline.job import CsvSettings
from pipeline.load.opening import Location, read_text
from pipeline.load.records import Records, split_lines, split_records

# A record without an end within this is no record of a table.
MAX_RECORD_BYTES = 64 << 20


def read_blocks(
    location: Location,
    settings: CsvSettings | None,
    start: int = 0,
    stop: int | None = None,
    block_bytes: int = 0,
) -> Iterator[tuple[bytes, Records]]:
    """Yield blocks of whole records of the text from `start` to `stop`.

    Args:
        location: The file.
        settings: How delimited text is written; None for text of which every line is a record.
        start: Where a record starts, in the UTF-8 text.
        stop: Where one ends; None for the end of the file.
        block_bytes: About how large blocks are; 0 for `BLOCK_BYTES`.

    Raises:
        InputError: The file cannot be read, or holds something that is no table.
    """
    rest = b""
    texts = read_text(location, start, stop, block_bytes)
    text = next(texts, b"")
    while text or rest:
        following = next(texts, b"")
        data = rest + text if rest else text
        final = not following
        if settings is None:
            records = split_lines(data, final=final)
        else:
            records = split_records(data, settings.delimiter, settings.quote, final=final)
        used = records.num_bytes
        if used:
            yield (data if used == len(data) else data[:used]), records
        rest, text = data[used:], following
        if len(rest) > MAX_RECORD_BYTES:
            raise InputError(
                f"{location.name}: a line is longer than {MAX_RECORD_BYTES >> 20} MiB.",
                fix="is it a table with line ends? Convert it, or take it out of data.raw.",
                file=location.name,
            )
