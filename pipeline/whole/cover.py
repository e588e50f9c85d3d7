"""The rule that every listed value occurs somewhere in the whole dataset (`unique_values_eq`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.batch import Column, hold
from pipeline.errors import RuleBroken, list_some
from pipeline.schema import Check, Schema

Seen = dict[str, set[Any]]
"""Column to the listed values that occur."""


@dataclass(frozen=True)
class Uncovered:
    """A column in which listed values never occur."""

    column: str
    rule: str
    values: tuple[Any, ...]
    warns: bool = False


def list_seen(columns: Mapping[str, Column], schema: Schema) -> Seen:
    """Return which of the listed values occur in a batch."""
    seen: Seen = {}
    for name, check in _covering(schema):
        column = hold(columns[name], schema[name].dtype)
        if column.kind == "string":
            found = set(pc.unique(column.values).to_pylist())
        else:
            found = set(np.unique(column.values[column.is_ok()]).tolist())
        seen[name] = found.intersection(check.statistics["allowed_values"])
    return seen


def find_uncovered(
    schema: Schema, seen: Sequence[Seen], unjudged: Collection[str] = ()
) -> tuple[Uncovered, ...]:
    """Return the columns in which listed values occur in no part, in the schema's order.

    Args:
        schema: Says which values have to occur.
        seen: What `list_seen` found in each part.
        unjudged: Columns that are not asked.
    """
    found = []
    for name, check in _covering(schema):
        if name in unjudged:
            continue
        everywhere = set().union(*(part.get(name, set()) for part in seen))
        missing = [v for v in check.statistics["allowed_values"] if v not in everywhere]
        if missing:
            found.append(Uncovered(name, check.name, tuple(missing), check.warns))
    return tuple(found)


def not_covered(found: Sequence[Uncovered]) -> RuleBroken:
    """Say which listed values never occur."""
    first = found[0]
    return RuleBroken(
        f"column {first.column!r} breaks {first.rule}: no row holds {list_some(first.values)}.",
        expected="every listed value at least once in the whole dataset",
        fix="deliver the missing rows, or use isin, which does not ask for every value.",
        column=first.column,
        rule=first.rule,
        values=list(first.values),
    )


def _covering(schema: Schema) -> Iterator[tuple[str, Check]]:
    for column in schema.columns:
        for check in column.checks:
            if check.covers:
                yield column.name, check
