"""Columns as the pandas objects that a schema's own functions take, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.batch import Column, Kind, Positions
from pipeline.load import convert_array
from pipeline.schema import Schema
from pipeline.validate.compile import dtype_of


def to_frame(columns: Mapping[str, Column], schema: Schema, frame_schema: Any) -> pd.DataFrame:
    """Return the schema's columns in its dtypes, blanks as pandas has them."""
    return pd.DataFrame(
        {
            column.name: to_series(
                columns[column.name],
                dtype_of(frame_schema, frame_schema.columns[column.pandera_name]),
            )
            for column in schema.columns
        }
    )


def group_by_blanks(columns: Sequence[Column]) -> list[Positions]:
    """Return the rows by which of their ints and bools are blank.

    A blank among numpy's ints or bools makes the whole column one of objects, in which `~`, say,
    means something else.
    """
    masks = [
        ~column.is_ok()
        for column in columns
        if column.kind in ("int", "bool") and column.states is not None
    ]
    if not masks:
        return [np.arange(len(columns[0]))]
    _, which = np.unique(np.stack(masks, axis=1), axis=0, return_inverse=True)
    return [np.flatnonzero(which == group) for group in range(which.max() + 1)]


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
        series = pd.Series(stamps)
        zone = getattr(native, "tz", None)
        return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if blank is None or column.kind == "float":  # a float's blanks are NaN already
        return pd.Series(column.values).astype(native)
    values = column.values.astype(object)
    has_na = isinstance(native, pd.api.extensions.ExtensionDtype)
    values[blank] = pd.NA if has_na else np.nan
    return pd.Series(values).astype(native if has_na else object)


def _concrete(native: Any) -> Any:
    return object if native == np.dtype(object) else native


def from_series(series: pd.Series[Any], kind: Kind, missing: Sequence[str] = ()) -> Column:
    """Return a series' cells as a column of the kind; what does not convert is TYPE."""
    floats = pd.api.types.is_float_dtype(series.dtype)
    try:
        array = pa.array(series, from_pandas=not floats)
    except (pa.ArrowException, OverflowError):  # several types, or one that Arrow has not
        array = pa.array([None if _is_null(cell) else str(cell) for cell in series])
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return convert_array(kind, array, missing)


def _is_null(cell: Any) -> bool:
    return cell is None or cell is pd.NaT or cell is pd.NA or (cell != cell) is True
