"""Columns as the pandas objects that a schema's own functions take, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pipeline.arrow import binaries, to_arrow
from pipeline.batch import TYPE, Column, Kind, Positions
from pipeline.load import convert_array
from pipeline.schema import Schema
from pipeline.validate.compile import dtype_of
from pipeline.validate.dtypes import read_zone

_PLAIN = (str, bytes, Real, Decimal, date, np.bool_, np.datetime64, UUID)


def list_dtypes(schema: Schema, frame_schema: Any) -> dict[str, Any]:
    """Return the pandera dtypes of the schema's columns, by name."""
    return {
        column.name: dtype_of(frame_schema, frame_schema.columns[column.pandera_name])
        for column in schema.columns
    }


def to_frame(columns: Mapping[str, Column], dtypes: Mapping[str, Any]) -> pd.DataFrame:
    """Return the columns that have a dtype in it, blanks as pandas has them."""
    return pd.DataFrame({name: to_series(columns[name], dtype) for name, dtype in dtypes.items()})


def mixes_with_blanks(kind: Kind, dtype: Any) -> bool:
    """Tell whether a blank makes a whole column one of objects, in which `~` means another thing.

    It does among numpy's ints and bools; the nullable dtypes of pandas and Arrow hold it as NA.
    """
    has_na = isinstance(dtype.type, pd.api.extensions.ExtensionDtype)
    return kind in ("int", "bool") and not has_na


def group_by_blanks(columns: Mapping[str, Column], dtypes: Mapping[str, Any]) -> list[Positions]:
    """Return the rows by which of their cells are blanks that mix with no value."""
    masks = [
        ~columns[name].is_ok()
        for name, dtype in dtypes.items()
        if columns[name].states is not None and mixes_with_blanks(columns[name].kind, dtype)
    ]
    return group_equal(masks, len(columns[next(iter(dtypes))]))


def group_equal(marks: Sequence[npt.NDArray[Any]], num_rows: int) -> list[Positions]:
    """Return the rows by what all the marks, each `(rows,)`, say of them."""
    marks = [mark for mark in marks if mark.any()]
    if not marks:
        return [np.arange(num_rows)]
    _, which = np.unique(np.stack(marks, axis=1), axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(which[order])) + 1)


def list_asked(column: Column) -> list[tuple[Positions, Positions]]:
    """Return parts of the rows, and the rows to ask of for each.

    An int's and a bool's blanks stand apart from its values, as in `group_by_blanks`; they are all
    alike, and one speaks for all.
    """
    ok = column.is_ok()
    if column.kind not in ("int", "bool") or ok.all():
        return [(np.arange(len(column)), np.arange(len(column)))]
    values, blanks = np.flatnonzero(ok), np.flatnonzero(~ok)
    return [(values, values), (blanks, blanks[:1])]


def to_series(column: Column, dtype: Any) -> pd.Series[Any]:
    """Return cells in the schema's dtype; blanks as pandas has them."""
    with np.errstate(over="ignore"):  # what a narrow float cannot hold is infinite there
        return _to_series(column, dtype)


def _to_series(column: Column, dtype: Any) -> pd.Series[Any]:
    native = dtype.type
    blank = None if column.is_ok().all() else ~column.is_ok()  # all of them: no object dtype
    if column.kind == "string":
        words = column.values.to_pylist()
        if isinstance(native, pd.CategoricalDtype):  # what is no category breaks isin, and is seen
            listed = () if native.categories is None else native.categories
            found = (word for word in words if word is not None)
            every = list(dict.fromkeys([*listed, *found]))
            native = pd.CategoricalDtype(every, ordered=native.ordered)
        return pd.Series(words, dtype=_concrete(native))
    if column.kind == "timestamp":  # in microseconds: nanoseconds end in the year 2262
        stamps = column.values.view("datetime64[us]")
        stamps = stamps if blank is None else np.where(blank, np.datetime64("NaT", "us"), stamps)
        zone = read_zone(native)
        if _is_arrow_time(native):
            array = to_arrow(column.values, column.is_ok(), pa.timestamp("us", zone))
            return pd.Series(array, dtype=pd.ArrowDtype(array.type))
        series = pd.Series(stamps)
        return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if blank is None or column.kind == "float":  # a float's blanks are NaN already
        return pd.Series(column.values).astype(native)
    values = column.values.astype(object)
    has_na = isinstance(native, pd.api.extensions.ExtensionDtype)
    values[blank] = pd.NA if has_na else np.nan
    return pd.Series(values).astype(native if has_na else object)


def _is_arrow_time(native: Any) -> bool:
    return isinstance(native, pd.ArrowDtype) and pa.types.is_timestamp(native.pyarrow_dtype)


def _concrete(native: Any) -> Any:
    return object if native == np.dtype(object) else native


def read_series(series: pd.Series[Any], kind: Kind) -> Column:
    """Return what a parser gave; NaN is NaN among numbers, and missing among all else.

    Where nothing but NaN is left of a column of texts, say, pandas makes floats of it.
    """
    if kind not in ("float", "int") and pd.api.types.is_float_dtype(series.dtype):
        series = series.astype(object)
    return from_series(series, kind)


def from_series(series: pd.Series[Any], kind: Kind, missing: Sequence[str] = ()) -> Column:
    """Return a series' cells as a column of the kind; what does not convert is TYPE."""
    floats = pd.api.types.is_float_dtype(series.dtype)
    try:
        array = pa.array(series, from_pandas=not floats)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return _from_objects(series, kind, missing)  # several types, or what Arrow has not
    if isinstance(array.type, pa.BaseExtensionType):  # to Arrow a period is a number
        return _from_objects(series, kind, missing)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return convert_array(kind, array, missing)


def _from_objects(series: pd.Series[Any], kind: Kind, missing: Sequence[str]) -> Column:
    """As `from_series`, one by one: the text of what is text, a number or a time, else TYPE."""
    cells = [None if _is_null(cell) else cell for cell in series]
    plain = [cell if isinstance(cell, _PLAIN) else None for cell in cells]
    # Bytes, for a text may hold half a surrogate pair, which is no character.
    column = convert_array(kind, binaries([_encode(cell) for cell in plain]), missing)
    strange = np.fromiter((p is not c for p, c in zip(plain, cells, strict=True)), bool, len(cells))
    if not strange.any():
        return column
    states = column.all_states().copy()
    states[strange] = TYPE
    return replace(column, states=states)


def _encode(cell: Any) -> bytes | None:
    if cell is None or isinstance(cell, bytes):
        return cell
    return str(cell).encode("utf-8", "surrogatepass")


def _is_null(cell: Any) -> bool:
    return cell is None or cell is pd.NaT or cell is pd.NA or (cell != cell) is True
