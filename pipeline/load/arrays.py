"""Files of arrays to batches: .npy, .npz, and images with labels in IDX."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa

from pipeline.batch import Batch
from pipeline.errors import InputError
from pipeline.load import npz
from pipeline.load.array import MAX_DEFLATE_RATIO, Array, read_exactly, read_some, refuse
from pipeline.load.idx import read_idx_header
from pipeline.load.npy import read_npy_header
from pipeline.load.opening import Location, open_raw
from pipeline.load.reading import Reading
from pipeline.load.source import Source
from pipeline.load.tensors import MAX_ROW_BYTES, TENSOR
from pipeline.load.typed_batch import make_batch

# Small beside what a worker holds anyway, and large enough that a batch costs little.
BATCH_BYTES = 4 << 20
# The rows of a Fortran-ordered array are strewn over all of it, which has to be held at once.
MAX_FORTRAN_BYTES = 256 << 20
# An .npy file names its array nowhere; its own name would give each of many files other columns.
NPY_COLUMN = "array"


@dataclass(frozen=True)
class Opened:
    """An array whose file is open.

    Attributes:
        array: What it is.
        file: Its file, at its first value or, where it `can_seek`, anywhere.
        can_seek: Whether it can be read from anywhere.
    """

    array: Array
    file: IO[bytes]
    can_seek: bool


@contextmanager
def open_arrays(source: Source, *, check_sums: bool = False) -> Iterator[list[Opened]]:
    """Open a file of arrays, and its companion if it has one.

    Args:
        source: The file.
        check_sums: Whether an archive that is not packed is compared with its checksums, which
            takes reading all of it; one that is packed is compared whenever its rows are read.

    Raises:
        InputError: It cannot be read, or its arrays are no rows of one table.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(open_raw(source.location))
        archive = None
        if source.format == "npz":
            archive = stack.enter_context(npz.open_archive(raw, source.name))
            opened = _open_members(stack, archive, raw, source.name)
        elif source.format == "npy":
            opened = [Opened(read_npy_header(raw, NPY_COLUMN, source.name), raw, can_seek=True)]
        else:
            opened = _open_idx(stack, source, raw)
        _check(source, opened)
        if check_sums and archive is not None and npz.is_stored(archive):
            npz.check_sums(archive, source.name)
        yield opened


def _open_idx(stack: ExitStack, source: Source, raw: IO[bytes]) -> list[Opened]:
    opened = [_read_idx(raw, source.location, "image")]
    if source.companion is not None:
        labels = stack.enter_context(open_raw(source.companion))
        opened.append(_read_idx(labels, source.companion, "label"))
    return opened


def _read_idx(file: IO[bytes], location: Location, name: str) -> Opened:
    array = read_idx_header(file, name, location.name)
    return Opened(array, file, can_seek=not location.gzip)


def _open_members(
    stack: ExitStack, archive: zipfile.ZipFile, raw: IO[bytes], what: str
) -> list[Opened]:
    arrays = npz.read_headers(archive, what)
    members = npz.list_members(archive, what)
    if npz.is_stored(archive):
        starts = [npz.find_start(raw, members[array.name], what) for array in arrays]
        moved = [replace(a, start=a.start + s) for a, s in zip(arrays, starts, strict=True)]
        return [Opened(array, raw, can_seek=True) for array in moved]
    opened = []
    for array in arrays:
        file = stack.enter_context(npz.open_member(archive, members[array.name], what))
        read_exactly(file, array.start, array.what)
        opened.append(Opened(array, file, can_seek=False))
    return opened


def _check(source: Source, opened: Sequence[Opened]) -> None:
    """Refuse arrays that together are no table."""
    for part in opened:
        part.array.check()
    _check_memory(source, opened)
    for part in opened:
        if source.format != "npz":  # whose own index says how long each array is
            _check_length(part)
    lengths = {part.array.name: part.array.shape[0] for part in opened}
    if len({*lengths.values()}) > 1:
        told = ", ".join(f"{name!r} has {length:,}" for name, length in lengths.items())
        raise InputError(
            f"{source.name}: arrays of different length: {told}.",
            expected="as many rows in each",
            fix="save only arrays of which every row belongs together.",
            file=source.name,
        )
    columns = [name for part in opened for name, _ in part.array.list_columns()]
    if len({*columns}) < len(columns):
        twice = sorted({name for name in columns if columns.count(name) > 1})
        raise InputError(
            f"{source.name}: the column {twice[0]!r} is both read and worked out.",
            fix="rename that array.",
            file=source.name,
            columns=twice,
        )


def _check_memory(source: Source, opened: Sequence[Opened]) -> None:
    """Refuse what is too large to be held at once: a row, or arrays that have to be turned."""
    if _row_bytes(opened) > MAX_ROW_BYTES:
        raise refuse(source.name, f"has rows of more than {MAX_ROW_BYTES >> 20} MiB")
    num_bytes = sum(part.array.num_bytes for part in opened if part.array.is_scattered)
    if num_bytes > MAX_FORTRAN_BYTES:
        raise InputError(
            f"{source.name} is Fortran-ordered, and too large to be turned: {num_bytes:,} bytes.",
            fix="save it in C order: numpy.ascontiguousarray(array).",
            file=source.name,
        )


def _check_length(part: Opened) -> None:
    """Compare what a header claims with what is there, before so much is asked for."""
    wanted = part.array.num_bytes
    raw: IO[bytes] = part.file if part.can_seek else cast(Any, part.file).fileobj
    place = raw.tell()
    there = raw.seek(0, 2) - (part.array.start if part.can_seek else 0)
    raw.seek(place)
    if not (there == wanted if part.can_seek else wanted <= there * MAX_DEFLATE_RATIO):
        raise InputError(
            f"{part.array.what} is not as long as its header says.",
            expected=f"{wanted:,} bytes of values",
            got=f"{there:,}" + ("" if part.can_seek else ", packed"),
            fix="restore the file, or take it out of data.raw.",
            file=part.array.what,
        )


def add_arrays(source: Source) -> Source:
    """Add what the headers say.

    Raises:
        InputError: As `open_arrays`.
    """
    with open_arrays(source, check_sums=True) as opened:
        plain_bytes = sum(part.array.num_bytes for part in opened)
        types = {name: type_ for part in opened for name, type_ in part.array.types().items()}
        fields = {name: of for part in opened for name, of in part.array.fields().items()}
    tensors = [name for name, type_ in types.items() if type_.startswith(TENSOR)]
    return replace(
        source,
        columns=tuple(types),
        types=tuple(types.items()),
        tensors=tuple((name, types[name][len(TENSOR) + 1 : -1]) for name in tensors),
        shapes=tuple((name, fields[name][1]) for name in tensors),
        plain_bytes=plain_bytes,
    )


def cut_rows(source: Source, partition_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (first row, after the last row) of partitions.

    Raises:
        InputError: As `open_arrays`.
    """
    with open_arrays(source) as opened:
        rows = opened[0].array.shape[0]
        step = max(1, partition_bytes // _row_bytes(opened))
        if any(not part.can_seek or part.array.is_scattered for part in opened):
            step = max(1, rows)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _row_bytes(opened: Sequence[Opened]) -> int:
    return sum(part.array.row_bytes for part in opened)


def read_batches(source: Source, start: int, stop: int, reading: Reading) -> Iterator[Batch]:
    """Yield the rows from `start` to `stop`.

    Raises:
        InputError: The file cannot be read.
    """
    with open_arrays(source) as opened:
        step = min(reading.batch_rows, max(1, BATCH_BYTES // _row_bytes(opened)))
        parts = [
            part.array.read_rows(part.file, start, stop, step, can_seek=part.can_seek)
            for part in opened
        ]
        for place, rows in zip(range(start, stop, step), zip(*parts, strict=True), strict=True):
            arrays: dict[str, pa.Array] = {}
            for part, values in zip(opened, rows, strict=True):
                arrays |= part.array.columns(values)
            records = np.arange(place, place + len(rows[0]))
            yield make_batch(source, arrays, records, reading)
        for part in opened:
            # What is packed is compared with its checksum at its end.
            if not part.can_seek and read_some(part.file, 1, part.array.what):
                raise refuse(part.array.what, "holds more than its header says")
