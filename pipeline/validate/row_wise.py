"""How functions of a schema's own are run, which take many rows and are to look at each alone.

A row that makes one raise costs no other: the rows are halved until it stands alone. And a sample
of every batch is asked of again, in other company; a difference ends the job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np
from pandera.config import ValidationDepth, config_context

from pipeline.batch import Positions
from pipeline.errors import NotRowWise, PipelineError, SchemaError

Output = TypeVar("Output")
# A Series or a DataFrame, its rows numbered from 0.
Data = Any
SAMPLE_ROWS = 256
ALONE_ROWS = 16
# A function that raises on each of so many rows, taken evenly from all, is broken; else the rows
# are.
MAX_RAISES = 32


def whole_validation() -> AbstractContextManager[None]:
    """Let a function that asks pandera about another schema have an answer in any environment."""
    return config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA)


def run_apart(
    run: Callable[[Data], Output], data: Data, what: str, fix: str
) -> list[tuple[Data, Output | None]]:
    """Run a function on some rows; return parts in their order, and what it gives for each.

    Args:
        run: The function.
        data: The rows.
        what: What errors call the function.
        fix: What they advise where it raises on everything.

    Returns:
        One part, or several where it raises; with None for a row on which it raises alone.

    Raises:
        SchemaError: It raises whatever it is given.
    """
    try:
        return [(data, run(data))]
    except PipelineError:
        raise
    except Exception as error:
        if _raises_always(run, data):
            raise SchemaError(
                f"{what} raises {type(error).__name__}: {error}.",
                expected="a verdict or a value for each row",
                fix=fix,
                what=what,
            ) from error
        return list(_halve(run, data))


def _halve(run: Callable[[Data], Output], data: Data) -> Iterator[tuple[Data, Output | None]]:
    if len(data) == 1:
        yield data, None
        return
    middle = len(data) // 2
    for half in (data.iloc[:middle], data.iloc[middle:]):
        part = half.reset_index(drop=True)
        try:
            yield part, run(part)
        except PipelineError:
            raise
        except Exception:
            yield from _halve(run, part)


def _raises_always(run: Callable[[Data], Output], data: Data) -> bool:
    if len(data) < MAX_RAISES:
        return False
    for row in spread(len(data), MAX_RAISES):
        try:
            run(data.iloc[[row]].reset_index(drop=True))
        except PipelineError:
            raise
        except Exception:
            continue
        return False
    return True


def ask_again(
    differs: Callable[[Data, Positions], bool], data: Data, what: str, *alone: Positions
) -> None:
    """Ask of a sample again, in halves, in another order, and of single rows.

    Args:
        differs: Tells whether these rows, in this company, come out otherwise than before.
        data: All rows.
        what: What errors call the function.
        alone: Some rows of each of these are asked of alone.

    Raises:
        NotRowWise: They do.
    """
    for rows in _list_companies(len(data), alone):
        if differs(data.iloc[rows].reset_index(drop=True), rows):
            raise other_company(what)


def other_company(what: str) -> NotRowWise:
    """Say that a function looks beyond its row."""
    return NotRowWise(
        f"{what} says of a row something else in other company.",
        expected="what depends on the row alone",
        fix="write it row by row, or do its work before or after the job.",
        what=what,
    )


def _list_companies(num_rows: int, alone: tuple[Positions, ...]) -> Iterator[Positions]:
    if num_rows < 2:
        return
    sample = spread(num_rows, SAMPLE_ROWS)
    yield sample
    yield from np.array_split(sample, 2)
    yield np.random.default_rng(len(sample)).permutation(sample)
    for rows in alone:
        yield from rows[spread(len(rows), ALONE_ROWS)][:, np.newaxis]


def spread(num_rows: int, num_chosen: int) -> Positions:
    """Return rows from the first to the last, evenly."""
    return np.linspace(0, num_rows - 1, min(num_rows, num_chosen)).astype(np.int64)
