"""The spilled rows of some buckets, in their final order, and what is known of their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import binaries, is_valid, positions_array, strings, to_arrow, to_numpy
from pipeline.batch import MISSING, NAN, OK, Column, Positions
from pipeline.schema import ColumnSchema
from pipeline.spill import Holds, name_spill, read_bins
from pipeline.split import order_rows

Cells = Mapping[str, Mapping[str, Positions]]
"""Column to rule to the positions of cells."""

_CELLS: tuple[Holds, ...] = ("broken", "changed", "unjudged")


@dataclass(frozen=True)
class Rows:
    """The spilled rows of a group in their final order, less those that `settled` names.

    Attributes:
        row_ids: `(rows,)`.
        lines: `(rows,)` the line or row number of each in its file.
        table: The spilled columns: `c:` and the schema's, `x:` and the carried ones.
        broken: The cells that are broken.
        changed: The cells that the schema's own parsers and defaults changed.
        unjudged: The cells of ignored columns that hold no valid value.
        texts: Column and position to the text of each of these as it was read.
    """

    row_ids: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    table: pa.Table
    broken: Cells
    changed: Cells
    unjudged: Cells
    texts: Mapping[tuple[str, int], str | None]

    def column(self, schema: ColumnSchema) -> Column:
        """Return a column as it was spilled: null is missing, a float's NaN is NaN."""
        array = self.table.column(f"c:{schema.name}").combine_chunks()
        valid = is_valid(array)
        if schema.kind == "string":
            states = None if valid is None else np.where(valid, OK, MISSING).astype(np.uint8)
            return Column("string", array, states)
        values = to_numpy(array)
        states = np.zeros(len(values), np.uint8) if valid is None else np.where(valid, OK, MISSING)
        if schema.kind == "float":
            states = np.where((states == OK) & np.isnan(values), NAN, states)
        any_blank = bool((states != OK).any())
        return Column(schema.kind, values, states.astype(np.uint8) if any_blank else None)


def read_rows(
    spills: Sequence[Path],
    bins: Sequence[int],
    seed: int,
    settled: Path | None,
    shapes: Mapping[str, str] | None = None,
) -> tuple[Rows | None, int]:
    """Return the rows of some bins in their final order, and how many there were in all.

    Args:
        spills: The stems of all spill files, in partition order.
        bins: The bins of one split.
        seed: Of the order.
        settled: The file of the row ids that break a rule of the whole dataset, or None.
        shapes: Tensor to the shape that a shard holds, such as "28x28x1". What has another is
            emptied at once: it may be a thousand times as large.
    """
    tables = [
        _empty_others(pa.Table.from_batches([batch]), shapes or {})
        for stem in spills
        for batch in read_bins(name_spill(stem, "rows"), bins)
    ]
    if not tables:
        return None, 0
    table = pa.concat_tables(tables, promote_options="permissive")
    row_ids = _numbers(table, "row_id")
    order = np.argsort(order_rows(row_ids, seed))
    if settled is not None:
        dropped = np.load(settled, mmap_mode="r")  # never empty
        places = np.searchsorted(dropped, row_ids[order]).clip(max=len(dropped) - 1)
        order = order[dropped[places] != row_ids[order]]
    num_read = len(row_ids)
    if not len(order):
        return None, num_read
    table = table.take(positions_array(order))
    row_ids = _numbers(table, "row_id")
    texts: dict[tuple[str, int], str | None] = {}
    broken, changed, unjudged = (
        _read_cells([name_spill(stem, holds) for stem in spills], bins, row_ids, texts)
        for holds in _CELLS
    )
    lines = _numbers(table, "row")
    return Rows(row_ids, lines, table, broken, changed, unjudged, texts), num_read


def _empty_others(table: pa.Table, shapes: Mapping[str, str]) -> pa.Table:
    for name, shape in shapes.items():
        told = table.column(spilled_name(table.column_names, f"{name}_shape"))
        other = pc.not_equal(told, strings([shape])[0])
        if to_numpy(other.combine_chunks()).any():
            place = table.column_names.index(f"x:{name}")
            cells = pc.if_else(other, binaries([b""])[0], table.column(place))
            table = table.set_column(place, f"x:{name}", cells)
    return table


def spilled_name(names: Sequence[str], column: str) -> str:
    """Return what a spilled column is called: by whether the schema names it."""
    return f"c:{column}" if f"c:{column}" in names else f"x:{column}"


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    return to_numpy(table.column(name).combine_chunks())


def _read_cells(
    paths: Sequence[Path],
    bins: Sequence[int],
    row_ids: npt.NDArray[np.int64],
    texts: dict[tuple[str, int], str | None],
) -> Cells:
    """Return the spilled cells by column and rule; put their texts to `texts`, by position."""
    batches = [batch for path in paths for batch in read_bins(path, bins)]
    if not batches:
        return {}
    table = pa.Table.from_batches(batches)
    by_id = np.argsort(row_ids)
    ids = _numbers(table, "row_id")
    places = np.searchsorted(row_ids[by_id], ids).clip(max=len(row_ids) - 1)
    positions = by_id[places]
    present = row_ids[positions] == ids  # a dropped row's cells went with it
    table, positions = table.filter(to_arrow(present)), positions[present]
    columns, rules = (_encode(table, name) for name in ("column", "rule"))
    cells: dict[str, dict[str, Positions]] = {}
    for code, column in enumerate(columns.words):
        mine = np.flatnonzero(columns.codes == code)
        values = table.column("value").take(positions_array(mine)).to_pylist()
        texts.update(zip(((column, place) for place in positions[mine].tolist()), values))
        cells[column] = {
            rule: np.sort(positions[mine[rules.codes[mine] == number]])
            for number, rule in enumerate(rules.words)
            if (rules.codes[mine] == number).any()
        }
    return cells


class _Encoded(NamedTuple):
    """A column of texts: the distinct ones, and which of them each row holds."""

    words: list[str]
    codes: npt.NDArray[np.int32]


def _encode(table: pa.Table, name: str) -> _Encoded:
    encoded = table.column(name).combine_chunks().dictionary_encode()
    return _Encoded(encoded.dictionary.to_pylist(), to_numpy(encoded.indices))
