"""JSON Lines to batches: one object a line, each key a column.

Numbers are taken by their digits, so that nothing is lost on the way through floating point, and
everything is then parsed like text. A key that no line held so far is carried from its first
batch on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrow import strings
from pipeline.batch import (
    INF,
    NAN,
    QUARANTINE_COLUMNS,
    TYPE,
    Batch,
    Column,
    Kind,
    Malformed,
    Positions,
)
from pipeline.errors import InputError
from pipeline.load.blocks import read_blocks
from pipeline.load.cells import missing_column, parse_texts
from pipeline.load.opening import Location
from pipeline.load.reading import Reading
from pipeline.load.records import Records
from pipeline.load.source import Source
from pipeline.load.unmended import MALFORMED, may_be_unmended, read_spelled, set_unmended_apart

# So many lines are asked for their keys before the first row is judged.
SAMPLE_LINES = 1_000
# Far from Python's own limit, which depends on who calls.
MAX_DEPTH = 100
Cells = dict[str, str | bool | None]


class _Number(str):
    """A number by its digits."""

    __slots__ = ()


class _Constant(_Number):
    """NaN, Infinity or -Infinity without quotes: a number, and no text."""

    __slots__ = ()


class _Nested(str):
    """A list or an object, as JSON."""

    __slots__ = ()


class _KeyTwice(Exception):
    """A key occurs twice in one object; Python would keep the last value alone."""


def _collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) < len(pairs):
        raise _KeyTwice
    return cells


_DECODER = json.JSONDecoder(
    object_pairs_hook=_collect, parse_int=_Number, parse_float=_Number, parse_constant=_Constant
)


def _parse(line: bytes) -> Cells | str:
    """Return the cells of one line, or what is wrong with it."""
    try:
        value = _DECODER.decode(line.decode("utf-8"))
        if not isinstance(value, dict):
            return "no JSON object"
        cells = _collect(
            [
                (key.strip(), _Nested(_write(cell)) if isinstance(cell, (list, dict)) else cell)
                for key, cell in value.items()
            ]
        )
        if b"\\u" in line:
            _write(value).encode("utf-8")
        return cells
    except UnicodeDecodeError:
        return "invalid UTF-8"
    except UnicodeEncodeError:
        return "half a surrogate pair"
    except _KeyTwice:
        return "a key that occurs twice"
    except RecursionError:
        return "nested too deeply"
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at character {error.pos + 1}"


def _write(value: Any, depth: int = 1) -> str:
    """Write a value as JSON, its numbers as they were."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, _Number):
        return value
    if isinstance(value, list):
        return "[" + ", ".join(_write(item, depth + 1) for item in value) + "]"
    if isinstance(value, dict):
        items = (f"{_write(key)}: {_write(item, depth + 1)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    return json.dumps(value, ensure_ascii=False)


def read_keys(location: Location) -> tuple[str, ...]:
    """Return the keys of the first lines, in order of appearance.

    Raises:
        InputError: The file holds nothing, or none of its first lines is an object.
    """
    keys: dict[str, None] = {}
    faults: list[str] = []
    lines = (line for block in read_blocks(location, None) for _, line in _lines(*block))
    sample = [_parse(line) for line in islice(lines, SAMPLE_LINES)]
    for cells in sample:
        if isinstance(cells, dict):
            keys |= dict.fromkeys(cells)
        else:
            faults.append(cells)
    if not sample:
        raise InputError(
            f"{location.name} is empty.", fix="remove it from data.raw.", file=location.name
        )
    if len(faults) == len(sample):
        raise InputError(
            f"{location.name} is not JSON Lines: {faults[0]}.",
            expected="an object on each line",
            got=f"none on the first {len(sample):,}",
            fix="write one object a line, without brackets around them all or commas between.",
            file=location.name,
        )
    return tuple(keys)


def _lines(data: bytes, records: Records) -> Iterator[tuple[int, bytes]]:
    """Yield number and text of the lines that are not blank."""
    start = 0
    for index, stop in enumerate(records.stops.tolist()):
        line = data[start:stop].rstrip(b"\r\n")
        if line.strip(b" \t"):
            yield index, line
        start = stop


def read_batches(
    source: Source, data: bytes, records: Records, first: int, row: int, reading: Reading
) -> Iterator[Batch]:
    """Yield the lines of a block, at most `batch_rows` at a time."""
    lines = _lines(data, records)
    while part := list(islice(lines, reading.batch_rows)):
        places, objects, malformed = [], [], []
        for place, line in part:
            cells = _parse(line)
            if isinstance(cells, str):
                row_id = source.first_id + first + place
                malformed.append(Malformed(row_id, row + place, line, cells))
            else:
                places.append(place)
                objects.append(cells)
        numbers = np.array(places, np.int64)
        batch = Batch(
            source=source.name,
            row_ids=numbers + (source.first_id + first),
            rows=numbers + row,
            columns=_read_columns(objects, source, reading),
            carried=_carry(objects, source, reading),
            read_texts=partial(_read_texts, objects, source),
            malformed=tuple(malformed),
        )
        if may_be_unmended(source, reading):
            texts = strings([_to_text(cells.get(MALFORMED)) for cells in objects])
            batch = set_unmended_apart(batch, read_spelled(texts))
        yield batch


def _read_columns(objects: list[Cells], source: Source, reading: Reading) -> dict[str, Column]:
    return {
        name: _read_column(kind, [cells.get(name) for cells in objects], reading, name)
        for name, kind in reading.kinds.items()
    }


def _read_column(kind: Kind, cells: list[str | bool | None], reading: Reading, name: str) -> Column:
    if all(cell is None for cell in cells):
        return missing_column(kind, len(cells))
    numeric = kind in ("float", "int")
    texts = [str(int(c)) if numeric and isinstance(c, bool) else _to_text(c) for c in cells]
    column = parse_texts(kind, strings(texts), reading.missing_texts(name))
    odd = {i: c for i, c in enumerate(cells) if isinstance(c, (_Constant, _Nested))}
    if kind != "string" or not odd:
        return column
    states = column.all_states().copy()
    for place, cell in odd.items():
        number = isinstance(cell, _Constant)
        states[place] = (NAN if cell == "NaN" else INF) if number else TYPE
    values = column.values.to_pylist()
    return Column(kind, strings([None if i in odd else v for i, v in enumerate(values)]), states)


def _to_text(cell: str | bool | None) -> str | None:
    return json.dumps(cell) if isinstance(cell, bool) else cell


def _list_keys(objects: Sequence[Cells], source: Source) -> list[str]:
    names = dict.fromkeys([*source.columns, *(key for cells in objects for key in cells)])
    ours = QUARANTINE_COLUMNS if source.is_mended_quarantine else ()
    return [name for name in names if name not in ours]


def _carry(objects: list[Cells], source: Source, reading: Reading) -> pa.Table:
    names = [name for name in _list_keys(objects, source) if reading.carries(name)]
    return pa.table({n: strings([_to_text(cells.get(n)) for cells in objects]) for n in names})


def _read_texts(objects: list[Cells], source: Source, positions: Positions) -> dict[str, pa.Array]:
    chosen = [objects[position] for position in positions.tolist()]
    names = _list_keys(objects, source)
    return {n: strings([_to_text(cells.get(n)) for cells in chosen]) for n in names}
