"""What flows between the stages: rows by column, what each cell is, and what it breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import positions_array

Kind = Literal["float", "int", "bool", "string", "timestamp"]
Positions = npt.NDArray[np.int64]
"""Ascending row positions within one batch."""

# `row_id >> SOURCE_SHIFT` is the number of the row's raw file, and the bits below the record's.
SOURCE_SHIFT = 40

# What a cell is, beside its value. One byte a cell, and only for columns that need it.
OK, MISSING, NAN, INF, TYPE = 0, 1, 2, 3, 4
STATE_RULES: Mapping[int, str] = {MISSING: "missing", NAN: "nan", INF: "inf", TYPE: "type"}

# Rules that are no check of a schema's own, and whose names none may bear.
OWN_RULES = frozenset(
    {*STATE_RULES.values(), "overflow", "malformed", "unique", "is_monotonic", "class_unseen"}
    | {"too_many_repairs", "unreadable", "default", "parser", "fill"}
)

VALUE_DTYPES: Mapping[Kind, str] = {
    "float": "float64",
    "int": "int64",
    "bool": "bool",
    "timestamp": "int64",  # microseconds since 1970-01-01, UTC
}

# Ours beside the raw file's own columns in `quarantine/`. A raw file that has the first three is
# a quarantine that was mended; it comes back without any, and its rows replace what they were.
PLACE_COLUMNS = ("_source", "_row", "_row_id")
QUARANTINE_COLUMNS = (*PLACE_COLUMNS, "_reasons", "_malformed")


@dataclass(frozen=True)
class Column:
    """The cells of one column in one batch.

    Attributes:
        kind: How the schema reads the column.
        values: `(rows,)`; a numpy array of `VALUE_DTYPES[kind]`, or for `string` an Arrow
            `string` array, null where the state is not OK. In the other kinds a cell that is not
            OK holds a placeholder: NaN in `float`, 0 in the rest; an INF cell holds the infinity
            in `float`, and the dtype's largest or smallest value in `int` and `timestamp`.
        states: `(rows,)` uint8 of OK, MISSING, NAN, INF, TYPE; None when every cell is OK.
    """

    kind: Kind
    values: Any
    states: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def is_ok(self) -> npt.NDArray[np.bool_]:
        """Return a mask `(rows,)` of the cells that hold a value."""
        if self.states is None:
            return np.ones(len(self.values), bool)
        return self.states == OK

    def all_states(self) -> npt.NDArray[np.uint8]:
        """Return `(rows,)` the state of each cell, also where all are OK; not to be written to."""
        return np.zeros(len(self), np.uint8) if self.states is None else self.states

    def take(self, positions: Positions) -> Column:
        """Return the cells at these positions, in their order."""
        if isinstance(self.values, np.ndarray):
            values: Any = self.values[positions]
        else:
            values = self.values.take(positions_array(positions))
        return Column(self.kind, values, None if self.states is None else self.states[positions])


def hold(column: Column, dtype: str) -> Column:
    """Return the column as its schema's dtype holds it.

    An integer beyond the dtype becomes TYPE, and a float is rounded to it.
    """
    if column.kind == "float" and dtype != "float64":
        with np.errstate(over="ignore"):
            rounded = column.values.astype(dtype).astype(np.float64)
        return replace(column, values=rounded)
    if column.kind != "int" or dtype == "int64":
        return column
    info = np.iinfo(dtype)
    beyond = (column.values < info.min) | (column.values > info.max)
    beyond &= column.is_ok()
    if not beyond.any():
        return column
    states = column.all_states().copy()
    states[beyond] = TYPE
    return replace(column, states=states)


@dataclass(frozen=True)
class Malformed:
    """A record that could be told apart but not read as a row.

    Attributes:
        row_id: As for a row.
        row: The line the record starts on.
        data: Its bytes, without the line end.
        detail: What is wrong with it, such as "3 fields, expected 20".
        file: Of a folder's record, the file below the source; else empty.
    """

    row_id: int
    row: int
    data: bytes
    detail: str
    file: str = ""


@dataclass(frozen=True)
class Batch:
    """Rows of one partition, read but not judged.

    Attributes:
        source: The file, as a path relative to the job file, or its URL.
        row_ids: `(rows,)` int64; file number << SOURCE_SHIFT | record number from 0.
        rows: `(rows,)` int64; the line a record starts on in text (the header is 1), else the row
            number from 1.
        columns: The schema's columns (and the group, if the schema does not name it) by name.
        carried: The columns that the schema does not name, `(rows, …)`.
        read_texts: Positions to the cells of these rows as they were read: one Arrow string
            array a column of the file, in the file's order; null only where the file holds no
            cell.
        malformed: The records of this stretch that are no rows.
    """

    source: str
    row_ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: Mapping[str, Column]
    carried: pa.Table
    read_texts: Callable[[Positions], Mapping[str, pa.Array]]
    malformed: tuple[Malformed, ...] = ()

    def __len__(self) -> int:
        return len(self.row_ids)

    def take(self, positions: Positions, malformed: tuple[Malformed, ...]) -> Batch:
        """Return the rows at these positions, and these records that are no rows."""
        return replace(
            self,
            row_ids=self.row_ids[positions],
            rows=self.rows[positions],
            columns={name: column.take(positions) for name, column in self.columns.items()},
            carried=self.carried.take(positions_array(positions)),
            read_texts=lambda chosen: self.read_texts(positions[chosen]),
            malformed=malformed,
        )


@dataclass(frozen=True)
class Finding:
    """The cells of one column that break one rule; column None for a rule on whole rows.

    Where it `warns`, the cells are valid all the same.
    """

    column: str | None
    rule: str
    positions: Positions
    warns: bool = False
