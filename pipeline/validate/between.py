"""What one parser left, as the next one is given it: in the schema's dtypes, where nothing is lost.

Which dtype pandas gives an output depends on all of it: a blank turns ints to floats. What the next
parser says of a row would then depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.arrow import strings
from pipeline.batch import INF, MISSING, Column, Kind, Positions, hold
from pipeline.schema import ColumnSchema
from pipeline.validate.series import group_equal, mixes_with_blanks, read_series, to_series

# Of an output's cells: in the dtype together, blanks that stand apart, what the dtype cannot hold.
_FITS, _BLANK, _OTHER = 0, 1, 2
_TYPES: Mapping[Kind, Any] = {
    "float": Real,
    "int": Real,
    "bool": (bool, np.bool_),
    "string": str,
}


def return_to_dtypes(
    data: Any, columns: Mapping[str, ColumnSchema], dtypes: Mapping[str, Any]
) -> list[tuple[Positions, Any]]:
    """Return parts of an output, and the rows of each.

    Args:
        data: A Series of the one column, or a DataFrame.
        columns: The schema's columns by name.
        dtypes: Their pandera dtypes.
    """
    single = isinstance(data, pd.Series)
    parts = {name: data if single else data[name] for name in columns}
    sorts = {name: _sort_cells(parts[name], columns[name], dtypes[name]) for name in columns}
    found: list[tuple[Positions, Any]] = []
    for rows in group_equal(list(sorts.values()), len(data)):
        part = data.iloc[rows].reset_index(drop=True)
        for name, column in columns.items():
            cells = part if single else part[name]
            sort = sorts[name][rows[0]] if len(rows) else _FITS
            back = _convert(cells, column, dtypes[name], sort)
            part = back if single else part.assign(**{name: back})
        found.append((rows, part))
    return found


def _sort_cells(cells: pd.Series[Any], column: ColumnSchema, dtype: Any) -> npt.NDArray[np.uint8]:
    """Tell `(rows,)` of which sort each cell is."""
    blank = cells.isna().to_numpy()
    sorts = np.where(blank, _BLANK if mixes_with_blanks(column.kind, dtype) else _FITS, _OTHER)
    sorts = sorts.astype(np.uint8)
    rows = np.flatnonzero(~blank)
    if column.kind == "timestamp":  # no blank changes the dtype of times
        sorts[rows] = _FITS
        return sorts
    rows = rows[_is_of_kind(cells.iloc[rows], column.kind)]
    if column.kind in ("float", "int") and len(rows):
        read = read_series(cells.iloc[rows], column.kind)
        with np.errstate(over="ignore"):
            held = hold(read, column.dtype)
        fits = held.is_ok() if column.kind == "int" else held.is_ok() | (held.all_states() == INF)
        rows = rows[fits & (held.values == read.values)]
    sorts[rows] = _FITS
    return sorts


def _is_of_kind(cells: pd.Series[Any], kind: Kind) -> npt.NDArray[np.bool_]:
    """Tell `(rows,)` which values are of the kind's own type: True is no number, nor is "1"."""
    types = pd.api.types
    if types.is_bool_dtype(cells.dtype):
        return np.full(len(cells), kind == "bool")
    if types.is_numeric_dtype(cells.dtype):
        return np.full(len(cells), kind in ("float", "int"))
    found = (isinstance(cell, _TYPES[kind]) for cell in cells)
    numbers = kind in ("float", "int")
    return np.fromiter(
        (ok and not (numbers and isinstance(cell, bool)) for ok, cell in zip(found, cells)), bool
    )


def _convert(cells: pd.Series[Any], column: ColumnSchema, dtype: Any, sort: int) -> pd.Series[Any]:
    if sort == _OTHER:
        return cells.infer_objects()
    if column.kind == "timestamp":
        return cells
    if column.kind != "string":
        return to_series(read_series(cells, column.kind), dtype)
    words = strings([None if blank else word for word, blank in zip(cells, cells.isna())])
    states = np.where(cells.isna(), MISSING, 0).astype(np.uint8)
    return to_series(Column("string", words, states), dtype)
