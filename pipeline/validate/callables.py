"""What only pandera can decide: custom checks, regular expressions, checks on whole rows.

By contract they are row-wise: a row's verdict must not depend on its company. A sample of every
batch is judged again whole, in halves, in another order and row by row, and a difference ends the
job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from pipeline.arrow import to_numpy
from pipeline.batch import Column, Positions
from pipeline.errors import CheckNotRowWise, PipelineError, SchemaError
from pipeline.schema import Check, ColumnSchema, Schema
from pipeline.validate.compile import as_frame_schema, dtype_of
from pipeline.validate.series import to_frame, to_series

Mask = npt.NDArray[np.bool_]
SAMPLE_ROWS = 256
ALONE_ROWS = 16
# A check that raises on so many cells one by one is broken; on fewer, the cells are.
MAX_RAISES = 32


def judge_cells(column: Column, schema: ColumnSchema, index: int, pandera_schema: Any) -> Mask:
    """Return a mask `(rows,)` of the cells that pass one check of a column.

    Args:
        column: Cells that hold a value, or blanks where the check is asked of them.
        schema: The column.
        index: Which of its pandera checks.
        pandera_schema: The pandera schema.

    Raises:
        CheckNotRowWise: The check looks beyond its row.
        SchemaError: The check raises whatever it is given.
    """
    frame = as_frame_schema(pandera_schema)
    pandera_column = frame.columns[schema.pandera_name]
    dtype = dtype_of(frame, pandera_column)
    check = pandera_column.checks[index]
    where = f"column {schema.name!r}"
    row_wise = check.element_wise or type(check._check_fn).__name__ == "Dispatcher"
    if column.kind == "string" and row_wise and column.is_ok().all():  # each distinct text once
        encoded = pc.dictionary_encode(column.values)
        words = to_series(Column("string", encoded.dictionary), dtype)
        if check.element_wise:  # a categorical's `map` may give one, which has no `all`
            words = words.astype(object)
        return _ask(check, words, where)[to_numpy(encoded.indices)]
    cells = to_series(column, dtype)
    if column.kind == "string" and check.element_wise:
        cells = cells.astype(object)
    return _ask(check, cells, where) if row_wise else _ask_row_wise(check, cells, where)


def judge_rows(
    columns: Mapping[str, Column], schema: Schema, pandera_schema: Any
) -> Iterator[tuple[Check, Mask]]:
    """Yield every check on whole rows and a mask `(rows,)` of the rows that pass.

    Raises:
        As `judge_cells`.
    """
    frame_schema = as_frame_schema(pandera_schema)
    groups = _group_by_blanks(columns, schema)
    frames = [
        to_frame({name: columns[name].take(rows) for name in schema.names}, schema, frame_schema)
        for rows in groups
    ]
    for compiled in schema.row_checks:
        check = frame_schema.checks[compiled.index]
        passed = np.ones(sum(map(len, groups)), bool)
        for rows, frame in zip(groups, frames, strict=True):
            passed[rows] = _ask_row_wise(check, frame, "the schema")
        yield compiled, passed


def _group_by_blanks(columns: Mapping[str, Column], schema: Schema) -> list[Positions]:
    """Return the rows by which of their ints and bools are blank.

    A blank among numpy's ints or bools makes the whole column one of objects, in which `~`, say,
    means something else.
    """
    masks = [
        ~columns[name].is_ok()
        for name in schema.names
        if columns[name].kind in ("int", "bool") and columns[name].states is not None
    ]
    if not masks:
        return [np.arange(len(next(iter(columns.values()))))]
    _, which = np.unique(np.stack(masks, axis=1), axis=0, return_inverse=True)
    return [np.flatnonzero(which == group) for group in range(which.max() + 1)]


def _ask_row_wise(check: Any, data: Any, where: str) -> Mask:
    """As `_ask`; and ask of some rows again in other company, where the check sees any."""
    passed = _ask(check, data, where)
    if check.element_wise:
        return passed
    for rows in other_companies(len(data), np.flatnonzero(passed), np.flatnonzero(~passed)):
        again = _ask(check, data.iloc[rows].reset_index(drop=True), where)
        if (again != passed[rows]).any():
            raise CheckNotRowWise(
                f"{where}: the check {check.name!r} gives a row another verdict in other company.",
                expected="a check that looks at its own row alone",
                fix="write it row by row, or test what it says on the published shards.",
                check=check.name,
            )
    return passed


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
        listed = isinstance(output, pd.Series)
        got = f"{len(output)} of {output.dtype}" if listed else type(output).__name__
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
    if not isinstance(output, pd.Series) or len(output) != len(data):
        return False
    truths = pd.api.types.infer_dtype(output, skipna=True) in ("boolean", "empty")
    return truths and bool(data.index.isin(output.index).all())


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


def other_companies(num_rows: int, *alone: Positions) -> Iterator[Positions]:
    """Yield rows to ask of again: a sample, its halves, its rows in another order, single rows.

    Args:
        num_rows: How many rows there are.
        alone: Some rows of each of these are asked of alone.
    """
    if num_rows < 2:
        return
    sample = _spread(num_rows, SAMPLE_ROWS)
    yield sample
    yield from np.array_split(sample, 2)
    yield np.random.default_rng(len(sample)).permutation(sample)
    for rows in alone:
        yield from rows[_spread(len(rows), ALONE_ROWS)][:, np.newaxis]


def _spread(num_rows: int, num_chosen: int) -> Positions:
    """Return rows from the first to the last, evenly."""
    return np.linspace(0, num_rows - 1, min(num_rows, num_chosen)).astype(np.int64)
