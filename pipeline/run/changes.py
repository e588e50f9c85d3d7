"""Every changed cell: what it was, what it is, and by which rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrow import strings
from pipeline.batch import NAN, Column, Positions
from pipeline.ledger import RuleCounts
from pipeline.repair import Repaired
from pipeline.run.rows import Rows
from pipeline.schema import ColumnSchema, Schema

# Of a valid blank that is filled for training.
FILL = "fill"


@dataclass
class Changes:
    """The changed cells of some rows.

    Attributes:
        parts: Column, positions, rules, old texts and new texts, a column each.
        counts: How many by column and rule.
        repaired: How many were broken and mended.
        filled: How many valid blanks were filled.
        parsed: How many only the schema's own parsers and defaults changed.
    """

    parts: list[tuple[str, Positions, list[str], pa.Array, pa.Array]] = field(default_factory=list)
    counts: RuleCounts = field(default_factory=Counter)
    repaired: int = 0
    filled: int = 0
    parsed: int = 0


def list_changes(
    rows: Rows,
    columns: Mapping[str, Column],
    repaired: Mapping[str, Repaired],
    rejected: npt.NDArray[np.bool_],
    schema: Schema,
) -> Changes:
    """List the changed cells of the rows that stay.

    Args:
        rows: As they were spilled.
        columns: As they are written.
        repaired: What repair changed, by feature.
        rejected: `(rows,)` the rows that go.
        schema: The schema of the columns.
    """
    changes = Changes()
    for name, column in columns.items():
        broken, parsed = rows.broken.get(name, {}), rows.changed.get(name, {})
        mended = repaired[name].changed if name in repaired else np.zeros(0, np.int64)
        changed = np.union1d(mended, _any_of(parsed))
        changed = changed[~rejected[changed]]
        if not len(changed):
            continue
        is_broken = np.isin(changed, _any_of(broken))
        is_filled = np.isin(changed, mended) & ~is_broken
        by_rule = [*sorted(parsed.items()), *sorted(broken.items()), (FILL, changed[is_filled])]
        rules = _join_rules(changed, by_rule)
        olds = strings(list(_list_olds(rows, schema[name], changed)))
        news = render_cells(column.take(changed))
        changes.parts.append((name, changed, rules, olds, news))
        changes.counts.update((name, rule) for rule in rules)
        num_filled, num_repaired = int(is_filled.sum()), int(is_broken.sum())
        changes.filled += num_filled
        changes.repaired += num_repaired
        changes.parsed += len(changed) - num_filled - num_repaired
    return changes


def _list_olds(rows: Rows, schema: ColumnSchema, changed: Positions) -> Iterator[str | None]:
    """Yield the cells as they were read; null for a blank."""
    states = rows.column(schema).states
    for position in changed.tolist():
        is_nan = states is not None and states[position] == NAN
        yield rows.texts.get((schema.name, position), "nan" if is_nan else None)


def _any_of(by_rule: Mapping[str, Positions]) -> Positions:
    """Return the positions of any rule, ascending."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *by_rule.values()]))


def _join_rules(changed: Positions, by_rule: Sequence[tuple[str, Positions]]) -> list[str]:
    """Return the rules of each of the cells, in their order, with commas between them."""
    joined = np.full(len(changed), "", object)
    for rule, positions in by_rule:
        here = np.isin(changed, positions)
        joined[here] = np.where(joined[here] == "", rule, joined[here] + f",{rule}")
    return joined.tolist()


def render_cells(column: Column) -> pa.Array:
    """Return the cells as text: the shortest that reads back as the same value."""
    if column.kind == "string":
        return column.values
    if column.kind == "timestamp":
        return strings([str(v) + "Z" for v in column.values.view("datetime64[us]")])
    return strings([repr(value) for value in column.values.tolist()])
