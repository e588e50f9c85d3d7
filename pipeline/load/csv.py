"""Delimited text to batches.

Most text is parsed by Arrow straight to typed columns. That is a subset of what `cells` reads,
made sure of by the checks here; where it fails, the column is read as text and parsed by
`cells`. `records` finds the records, takes out the broken ones and numbers the rest, so that a
bad record or cell never costs its neighbours.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from pipeline.arrow import is_valid, strings, to_numpy
from pipeline.batch import (
    INF,
    MISSING,
    NAN,
    OK,
    VALUE_DTYPES,
    Batch,
    Column,
    Kind,
    Malformed,
    Positions,
)
from pipeline.errors import InputError
from pipeline.load.cells import (
    FIRST_MICROSECOND,
    LAST_MICROSECOND,
    mark_missing_values,
    missing_column,
    missing_numbers,
    parse_texts,
)
from pipeline.load.reading import Reading
from pipeline.load.records import Offsets, Records
from pipeline.load.source import Source
from pipeline.load.unmended import MALFORMED, may_be_unmended, read_spelled, set_unmended_apart

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "string": pa.string(),
}
# Arrow's own default; larger blocks were slower, and a longer record asks for one.
ARROW_BLOCK_BYTES = 1 << 20
# Columns that turn out not to be plain are read again one by one, and then all at once.
MAX_RETRIES = 2


class CsvReader:
    """Reads the blocks of one partition, and remembers which columns are not plain."""

    def __init__(self, source: Source, reading: Reading) -> None:
        self.source = source
        self.reading = reading
        present = set(source.columns)
        self.kinds = {n: k for n, k in reading.kinds.items() if n in present}
        texts = {text for name in self.kinds for text in reading.missing_texts(name)}
        # Arrow compares before it strips, and a number is compared by value.
        plain = {text for text in texts if text == text.strip()}
        self.null_texts = sorted(text for text in plain if not missing_numbers("float", (text,)))
        decimal = source.csv.decimal
        self.as_text = {
            name
            for name, kind in self.kinds.items()
            if _is_unsafe(kind, reading.missing_texts(name), decimal)
        }
        self.as_text |= self.kinds.keys() & reading.also_carried

    def read_batches(
        self, data: bytes, records: Records, first_record: int, first_row: int
    ) -> Iterator[Batch]:
        """Yield the records of a block, at most `batch_rows` at a time.

        Args:
            data: The block's text.
            records: Its records.
            first_record: The number of its first record.
            first_row: The line of its first record.
        """
        limit = self.reading.batch_rows
        for begin in range(0, len(records), limit):
            part, span = _cut(records, begin, begin + limit)
            text = data if len(part) == len(records) else data[span]
            row = first_row + int(records.lines[begin])
            yield self._read_batch(text, part, first_record + begin, row)

    def _read_batch(self, data: bytes, records: Records, first: int, row: int) -> Batch:
        faults = _find_faults(data, records)
        kept = _kept(data, records, faults)
        rejected: dict[int, str] = {}
        plain = gather(data, records, kept)
        columns, carried = self._read_columns(plain, records.longest, rejected)
        for place, detail in rejected.items():
            faults[int(kept[place]) if kept is not None else place] = detail
        rows = _places(records, kept, rejected)
        read_texts = partial(self._read_texts, data, records, rows)
        batch = Batch(
            source=self.source.name,
            row_ids=rows + (self.source.first_id + first),
            rows=records.lines[rows] + row,
            columns=columns,
            carried=carried,
            read_texts=partial(read_texts, self.source.raw_columns),
            malformed=self._describe(data, records, faults, first, row),
        )
        if not may_be_unmended(self.source, self.reading):
            return batch
        texts = read_texts((MALFORMED,), np.arange(len(rows)))
        return set_unmended_apart(batch, read_spelled(texts[MALFORMED]))

    def _describe(
        self, data: bytes, records: Records, faults: Mapping[int, str], first: int, row: int
    ) -> tuple[Malformed, ...]:
        starts = records.starts
        blanks = b" \t".replace(self.source.csv.delimiter.encode(), b"")
        found = []
        for index in sorted(faults):
            text = data[starts[index] : records.stops[index]]
            text = text.removesuffix(b"\n").removesuffix(b"\r")
            if text.strip(blanks):
                row_id = self.source.first_id + first + index
                line = row + int(records.lines[index])
                found.append(Malformed(row_id, line, text, faults[index]))
        return tuple(found)

    def _read_texts(
        self,
        data: bytes,
        records: Records,
        rows: Offsets,
        columns: Sequence[str],
        positions: Positions,
    ) -> dict[str, pa.Array]:
        """Return the cells of some rows as they stand in the file, all as text."""
        text = gather(data, records, rows[positions])
        types = dict.fromkeys(self.source.columns, pa.string())
        table = self._parse(text, records.longest, types, [], {})
        return {name: _combine(table.column(name)) for name in columns}

    def _read_columns(
        self, data: bytes, longest: int, rejected: dict[int, str]
    ) -> tuple[dict[str, Column], pa.Table]:
        table = self._read_table(data, longest, rejected)
        columns = {}
        for name, kind in self.reading.kinds.items():
            missing = self.reading.missing_texts(name)
            decimal = self.source.csv.decimal
            if name not in self.kinds:
                columns[name] = missing_column(kind, table.num_rows)
                continue
            array = _combine(table.column(name))
            if pa.types.is_string(array.type):
                columns[name] = parse_texts(kind, array, missing, decimal)
            else:
                columns[name] = _wrap(kind, array, missing_numbers(kind, missing, decimal))
        carried = [name for name in self.source.raw_columns if self.reading.carries(name)]
        return columns, table.select(carried)

    def _read_table(self, data: bytes, longest: int, rejected: dict[int, str]) -> pa.Table:
        """Parse to typed columns where that is safe, and to text where it is not."""
        as_text = self.as_text | self._trapped(data)
        for attempt in range(MAX_RETRIES + 2):
            if attempt > MAX_RETRIES:
                as_text = set(self.kinds)
            types = dict.fromkeys(self.source.columns, pa.string())
            types |= {n: ARROW_TYPES[k] for n, k in self.kinds.items() if n not in as_text}
            rejected.clear()
            try:
                table = self._parse(data, longest, types, self.null_texts, rejected)
            except pa.ArrowInvalid as error:
                place = re.search(r"In CSV column #(\d+)", str(error))
                if place is None or attempt > MAX_RETRIES:
                    raise InputError(
                        f"{self.source.name} cannot be read: {error}.",
                        fix="correct data.csv's delimiter and quote, or restore the file.",
                        file=self.source.name,
                    ) from error
                as_text = as_text | {self.source.columns[int(place[1])]}
                self.as_text = self.as_text | as_text
                continue
            unsound = self._find_unsound(table, as_text)
            if not unsound:
                return table
            as_text = as_text | unsound
        return table

    def _trapped(self, data: bytes) -> set[str]:
        """Return the columns in which Arrow might read what `cells` does not."""
        traps: set[Kind] = set()
        if b"(" in data:
            traps.add("float")  # nan(1)
        if (b"x" in data and b"0x" in data) or (b"X" in data and b"0X" in data):
            traps.add("int")  # hexadecimal
        return {name for name, kind in self.kinds.items() if kind in traps}

    def _find_unsound(self, table: pa.Table, as_text: set[str]) -> set[str]:
        """Return the typed columns of which Arrow read a cell as `cells` would not."""
        unsound = set()
        nulls = set(self.null_texts)
        for name in set(self.kinds) - as_text:
            array = table.column(name)
            if array.null_count and not nulls <= set(self.reading.missing_texts(name)):
                unsound.add(name)
            if self.kinds[name] == "timestamp" and len(array):
                values = _wrap("timestamp", _combine(array), ()).values
                if values.min() < FIRST_MICROSECOND or values.max() > LAST_MICROSECOND:
                    unsound.add(name)
        return unsound

    def _parse(
        self,
        data: bytes,
        longest: int,
        types: Mapping[str, pa.DataType],
        null_texts: list[str],
        rejected: dict[int, str],
    ) -> pa.Table:
        """Let Arrow parse well-formed records; those of another width go to `rejected`."""
        if not data:
            return pa.table({name: _empty(type_) for name, type_ in types.items()})
        settings = self.source.csv

        def reject(row: Any) -> str:
            plural = "" if row.actual_columns == 1 else "s"
            rejected[row.number - 1] = (
                f"{row.actual_columns} field{plural}, expected {row.expected_columns}"
            )
            return "skip"

        quoted = settings.quote.encode() in data
        return pc.read_csv(
            # Arrow drops the mark at the start of whatever it is given; here it is part of a cell.
            pa.BufferReader(BOM_UTF8 + data if data.startswith(BOM_UTF8) else data),
            read_options=pc.ReadOptions(
                use_threads=False,
                column_names=list(types),
                block_size=max(ARROW_BLOCK_BYTES, 2 * longest),  # a record must fit in
            ),
            parse_options=pc.ParseOptions(
                delimiter=settings.delimiter,
                quote_char=settings.quote,
                newlines_in_values=quoted,
                invalid_row_handler=reject,
            ),
            convert_options=pc.ConvertOptions(
                check_utf8=False,  # seen to already
                column_types=types,
                null_values=null_texts,
                strings_can_be_null=False,
                decimal_point=settings.decimal,
            ),
        )


@lru_cache
def _is_unsafe(kind: Kind, missing: tuple[str, ...], decimal: str) -> bool:
    """Tell whether Arrow would take a text that means missing for a value."""
    known = parse_texts(kind, strings(missing), [], decimal)
    if kind == "float":  # numbers are told apart by value, and Arrow strips " nan "
        return known.states is not None and bool((known.states == NAN).any())
    return kind in ("bool", "timestamp") and bool(known.is_ok().any())


def gather(data: bytes, records: Records, places: Offsets | None) -> bytes:
    """Return the text of some records, in ascending order; None for all of them."""
    if places is None:
        return data
    if not len(places):
        return b""
    # Neighbours are copied together: mostly a few records are left out of many.
    gaps = np.flatnonzero(np.diff(places) != 1) + 1
    firsts, lasts = places[np.append(0, gaps)], places[np.append(gaps, len(places)) - 1]
    spans = zip(records.starts[firsts].tolist(), records.stops[lasts].tolist(), strict=True)
    return b"".join([data[start:stop] for start, stop in spans])


def _cut(records: Records, begin: int, end: int) -> tuple[Records, slice]:
    """Return the records from `begin` to `end`, and the span of their text."""
    stops, lines = records.stops[begin:end], records.lines[begin:end]
    start = int(records.stops[begin - 1]) if begin else 0
    broken = {i - begin: detail for i, detail in records.broken.items() if begin <= i < end}
    after = int(records.lines[end]) if end < len(records) else records.num_lines
    part = Records(stops - start, lines - lines[0], after - int(lines[0]), broken)
    return part, slice(start, int(stops[-1]))


def _find_faults(data: bytes, records: Records) -> dict[int, str]:
    """Return what is wrong with records before they are parsed."""
    faults = dict(records.broken)
    if b"\0" in data:
        places = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
        hit = np.unique(np.searchsorted(records.stops, places, side="right"))
        faults |= dict.fromkeys(hit.tolist(), "NUL bytes")
    if not data.isascii() and not _is_utf8(data):
        spans = zip(records.starts.tolist(), records.stops.tolist(), strict=True)
        for index, (start, stop) in enumerate(spans):
            if not _is_utf8(data[start:stop]):
                faults[index] = "invalid UTF-8"
    return faults


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _kept(data: bytes, records: Records, faults: Mapping[int, str]) -> Offsets | None:
    """Return the records to parse: neither broken nor blank; None where all are."""
    lengths = np.diff(records.stops, prepend=0)
    view = np.frombuffer(data, np.uint8)
    last = view[records.stops - 1]
    blank = (lengths == 1) & ((last == 10) | (last == 13))
    blank |= (lengths == 2) & (last == 10) & (view[records.stops - 2] == 13)
    if not faults and not blank.any():
        return None
    kept = ~blank
    kept[list(faults)] = False
    return np.flatnonzero(kept)


def _places(records: Records, kept: Offsets | None, rejected: Mapping[int, str]) -> Offsets:
    """Return the records that became rows."""
    places = np.arange(len(records)) if kept is None else kept
    return np.delete(places, list(rejected)) if rejected else places


def _wrap(kind: Kind, array: pa.Array, missing: tuple[tuple[float, int], ...]) -> Column:
    """Return an Arrow array of the kind's own type as a column; null is missing."""
    values = to_numpy(array)
    valid = is_valid(array)
    states = None if valid is None else np.where(valid, OK, MISSING).astype(np.uint8)
    if kind == "float" and not np.isfinite(values).all():
        states = np.zeros(len(values), np.uint8) if states is None else states
        states[(states == OK) & np.isnan(values)] = NAN
        states[(states == OK) & np.isinf(values)] = INF
    if any((values == number).any() for number, _ in missing):
        states = np.zeros(len(values), np.uint8) if states is None else states
        values = values.copy()
        mark_missing_values(values, states, missing)
    if valid is not None:
        values = np.where(valid, values, np.nan if kind == "float" else 0)
        values = values.astype(VALUE_DTYPES[kind], copy=False)
    return Column(kind, values, states)


def _combine(chunked: pa.ChunkedArray) -> pa.Array:
    if chunked.num_chunks == 1:
        return chunked.chunk(0)
    return chunked.combine_chunks() if chunked.num_chunks else _empty(chunked.type)


def _empty(type_: pa.DataType) -> pa.Array:
    return pa.nulls(0, type_)
