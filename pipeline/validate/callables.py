"""What only pandera can decide: custom checks, regular expressions, checks on whole rows.

By contract they are row-wise: a row's verdict must not depend on its company. A sample of every
batch is judged whole, in halves and in another order, and a difference ends the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from pipeline.arrow import to_numpy
from pipeline.batch import Column
from pipeline.errors import CheckNotRowWise, PipelineError, SchemaError
from pipeline.schema import ColumnSchema, Schema
from pipeline.validate.compile import as_frame_schema

Mask = npt.NDArray[np.bool_]
SAMPLE_ROWS = 256
# A check that raises on so many cells one by one is broken; on fewer, the cells are.
MAX_RAISES = 32


def judge_cells(column: Column, schema: ColumnSchema, index: int, pandera_schema: Any) -> Mask:
    """Return a mask `(rows,)` of the cells that pass one check of a column.

    Args:
        column: Cells that all hold a value.
        schema: The column.
        index: Which of its pandera checks.
        pandera_schema: The pandera schema.

    Raises:
        CheckNotRowWise: The check looks beyond its row.
        SchemaError: The check raises whatever it is given.
    """
    pandera_column = as_frame_schema(pandera_schema).columns[schema.pandera_name]
    check = pandera_column.checks[index]
    where = f"column {schema.name!r}"
    row_wise = check.element_wise or type(check._check_fn).__name__ == "Dispatcher"
    if column.kind == "string" and row_wise:  # each distinct text once
        encoded = pc.dictionary_encode(column.values)
        words = _to_series(Column("string", encoded.dictionary), pandera_column.dtype)
        return _ask(check, words, where)[to_numpy(encoded.indices)]
    cells = _to_series(column, pandera_column.dtype)
    if not row_wise:
        _test_row_wise(check, cells, where)
    return _ask(check, cells, where)


def judge_rows(
    columns: Mapping[str, Column], schema: Schema, pandera_schema: Any
) -> Iterator[tuple[str, Mask]]:
    """Yield the name of every check on whole rows and a mask `(rows,)` of the rows that pass.

    Raises:
        As `judge_cells`.
    """
    frame_schema = as_frame_schema(pandera_schema)
    frame = pd.DataFrame(
        {
            column.name: _to_series(
                columns[column.name], frame_schema.columns[column.pandera_name].dtype
            )
            for column in schema.columns
        }
    )
    for name, check in zip(schema.row_checks, frame_schema.checks, strict=True):
        _test_row_wise(check, frame, "the schema")
        yield name, _ask(check, frame, "the schema")


def _to_series(column: Column, dtype: Any) -> pd.Series[Any]:
    """Return cells in the schema's dtype; blanks as pandas has them."""
    native = dtype.type
    blank = None if column.states is None else ~column.is_ok()
    if column.kind == "string":
        words = column.values.to_pylist()
        if isinstance(native, pd.CategoricalDtype):  # what is no category breaks isin, and is seen
            listed = () if native.categories is None else native.categories
            found = (word for word in words if word is not None)
            native = pd.CategoricalDtype(list(dict.fromkeys([*listed, *found])))
        return pd.Series(words, dtype=_concrete(native))
    if column.kind == "timestamp":  # in microseconds: nanoseconds end in the year 2262
        stamps = column.values.view("datetime64[us]")
        stamps = stamps if blank is None else np.where(blank, np.datetime64("NaT", "us"), stamps)
        series = pd.Series(stamps)
        zone = getattr(native, "tz", None)
        return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if blank is None:
        return pd.Series(column.values).astype(native)
    values = column.values.astype(object)
    has_na = isinstance(native, pd.api.extensions.ExtensionDtype)
    values[blank] = pd.NA if has_na else np.nan
    return pd.Series(values).astype(native if has_na or column.kind == "float" else object)


def _concrete(native: Any) -> Any:
    return object if native == np.dtype(object) else native


def _ask(check: Any, data: Any, where: str) -> Mask:
    """Return which cells or rows pass; one that makes the check raise does not."""
    try:
        return _run(check, data, where)
    except PipelineError:
        raise
    except Exception as error:
        _refuse_if_broken(check, data, where, error)
        return _bisect(check, data, where)


def _run(check: Any, data: Any, where: str) -> Mask:
    if not len(data):
        return np.zeros(0, bool)
    try:
        output = check(data).check_output
    except NotImplementedError:  # pandera takes no array and no list
        output = None
    if isinstance(output, pd.DataFrame):
        output = output.all(axis=1)
    if not _is_verdict(output, data):
        got = f"{len(output)} values" if isinstance(output, pd.Series) else type(output).__name__
        raise CheckNotRowWise(
            f"{where}: the check {check.name!r} gives no verdict for each row.",
            expected=f"{len(data)} booleans for {len(data)} rows",
            got=got,
            fix="let it return a boolean Series, or make it element-wise.",
            check=check.name,
        )
    in_order = output if output.index.equals(data.index) else output.reindex(data.index)
    return np.asarray(in_order.fillna(True), bool)  # no verdict is no objection, as in pandera


def _is_verdict(output: Any, data: Any) -> bool:
    """Tell whether there is one value for each row, in whatever order."""
    same_length = isinstance(output, pd.Series) and len(output) == len(data)
    return same_length and bool(data.index.isin(output.index).all())


def _bisect(check: Any, data: Any, where: str) -> Mask:
    if len(data) == 1:
        return np.zeros(1, bool)
    halves = []
    middle = len(data) // 2
    for half in (data.iloc[:middle], data.iloc[middle:]):
        half = half.reset_index(drop=True)
        try:
            halves.append(_run(check, half, where))
        except PipelineError:
            raise
        except Exception:
            halves.append(_bisect(check, half, where))
    return np.concatenate(halves)


def _refuse_if_broken(check: Any, data: Any, where: str, error: Exception) -> None:
    for position in range(min(len(data), MAX_RAISES)):
        try:
            _run(check, data.iloc[[position]].reset_index(drop=True), where)
        except PipelineError:
            raise
        except Exception:
            continue
        return
    if len(data) >= MAX_RAISES:
        raise SchemaError(
            f"{where}: the check {check.name!r} raises {type(error).__name__}: {error}.",
            fix="correct the check; it raised on every cell that was tried.",
            check=check.name,
        ) from error


def _test_row_wise(check: Any, data: Any, where: str) -> None:
    """Judge a sample whole, in halves and in another order."""
    sample = data.iloc[:SAMPLE_ROWS].reset_index(drop=True)
    if check.element_wise or len(sample) < 2:
        return
    middle = len(sample) // 2
    order = np.random.default_rng(len(sample)).permutation(len(sample))
    whole = _ask(check, sample, where)
    halves = [
        _ask(check, part.reset_index(drop=True), where)
        for part in (sample.iloc[:middle], sample.iloc[middle:])
    ]
    mixed = _ask(check, sample.iloc[order].reset_index(drop=True), where)
    if (whole == np.concatenate(halves)).all() and (whole[order] == mixed).all():
        return
    raise CheckNotRowWise(
        f"{where}: the check {check.name!r} gives a row another verdict in other company.",
        expected="a check that looks at its own row alone",
        fix="write it row by row, or test what it says on the published shards.",
        check=check.name,
    )
