"""What only pandera can decide: custom checks, some regular expressions, checks on whole rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc
from pandera.backends.pandas.checks import PandasCheckBackend

from pipeline.arrow import to_numpy
from pipeline.batch import Column, Positions
from pipeline.errors import NotRowWise
from pipeline.schema import Check, ColumnSchema, Schema
from pipeline.validate.checks import is_builtin
from pipeline.validate.compile import as_frame_schema, dtype_of
from pipeline.validate.row_wise import ask_again, run_apart, whole_validation
from pipeline.validate.series import (
    group_by_blanks,
    list_asked,
    list_dtypes,
    to_frame,
    to_series,
)

Mask = npt.NDArray[np.bool_]


def judge_cells(column: Column, schema: ColumnSchema, index: int, pandera_schema: Any) -> Mask:
    """Return a mask `(rows,)` of the cells that pass one check of a column.

    Args:
        column: Cells that hold a value, or blanks where the check is asked of them.
        schema: The column.
        index: Which of its pandera checks.
        pandera_schema: The pandera schema.

    Raises:
        NotRowWise: The check looks beyond its row.
        SchemaError: The check raises whatever it is given.
    """
    frame = as_frame_schema(pandera_schema)
    pandera_column = frame.columns[schema.pandera_name]
    dtype = dtype_of(frame, pandera_column)
    check = pandera_column.checks[index]
    where = f"column {schema.name!r}"
    row_wise = check.element_wise or is_builtin(check)
    if column.kind == "string" and row_wise and column.is_ok().all():  # each distinct text once
        encoded = pc.dictionary_encode(column.values)
        words = to_series(Column("string", encoded.dictionary), dtype)
        if check.element_wise:  # a categorical's `map` may give one, which has no `all`
            words = words.astype(object)
        return _ask(check, words, where)[to_numpy(encoded.indices)]
    passed = np.ones(len(column), bool)
    for rows, asked in list_asked(column):
        cells = to_series(column.take(asked), dtype)
        if column.kind == "string" and check.element_wise:
            cells = cells.astype(object)
        ask = _ask if row_wise else _ask_row_wise
        passed[rows] = ask(check, cells, where)
    return passed


def judge_rows(
    columns: Mapping[str, Column], schema: Schema, pandera_schema: Any
) -> Iterator[tuple[Check, Mask]]:
    """Yield every check on whole rows and a mask `(rows,)` of the rows that pass.

    Raises:
        As `judge_cells`.
    """
    frame_schema = as_frame_schema(pandera_schema)
    dtypes = list_dtypes(schema, frame_schema)
    groups = group_by_blanks(columns, dtypes)
    frames = [
        to_frame({name: columns[name].take(rows) for name in dtypes}, dtypes) for rows in groups
    ]
    for compiled in schema.row_checks:
        check = frame_schema.checks[compiled.index]
        passed = np.ones(sum(map(len, groups)), bool)
        for rows, frame in zip(groups, frames, strict=True):
            passed[rows] = _ask_row_wise(check, frame, "the schema")
        yield compiled, passed


def _ask_row_wise(check: Any, data: Any, where: str) -> Mask:
    """As `_ask`; and ask of some rows again in other company, where the check sees any."""

    def comes_out_otherwise(part: Any, rows: Positions) -> bool:
        return bool((_ask(check, part, where) != passed[rows]).any())

    passed = _ask(check, data, where)
    if not check.element_wise:
        alone = np.flatnonzero(passed), np.flatnonzero(~passed)
        ask_again(comes_out_otherwise, data, _name(check, where), *alone)
    return passed


def _name(check: Any, where: str) -> str:
    return f"{where}: the check {check.name!r}"


def _ask(check: Any, data: Any, where: str) -> Mask:
    """Return which cells or rows pass; one that makes the check raise does not."""
    what = _name(check, where)
    fix = "correct it; it raised on every row that was tried."
    parts = run_apart(lambda part: _run(check, part, what), data, what, fix)
    return np.concatenate(
        [np.zeros(len(part), bool) if passed is None else passed for part, passed in parts]
    )


def _run(check: Any, data: Any, what: str) -> Mask:
    if not len(data):
        return np.zeros(0, bool)
    with warnings.catch_warnings(), whole_validation():
        warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression")
        try:
            # Not `check(data)`: there an environment variable chooses among backends.
            output = PandasCheckBackend(check)(data).check_output
        except NotImplementedError:  # pandera takes no array and no list
            output = None
    if isinstance(output, pd.DataFrame):
        output = output.all(axis=1)
    if not _is_verdict(output, data):
        listed = isinstance(output, pd.Series)
        got = f"{len(output)} of {output.dtype}" if listed else type(output).__name__
        raise NotRowWise(
            f"{what} gives no verdict for each row.",
            expected=f"{len(data)} booleans for {len(data)} rows",
            got=got,
            fix="let it return a boolean Series, or make it element-wise.",
            check=check.name,
        )
    in_order = output if output.index.equals(data.index) else output.reindex(data.index)
    spoken = in_order.notna()  # no verdict is no objection, as in pandera
    return np.asarray(in_order.astype(object).where(spoken, True), bool)


def _is_verdict(output: Any, data: Any) -> bool:
    """Tell whether there is one value for each row, in whatever order."""
    if not isinstance(output, pd.Series) or len(output) != len(data):
        return False
    known = output.dropna()  # a column of nothing but NA says nothing of its dtype
    truths = pd.api.types.infer_dtype(known, skipna=True) in ("boolean", "empty") or known.empty
    return truths and bool(data.index.isin(output.index).all())
