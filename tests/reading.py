"""What the tests read raw files and published tables with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.arrow import strings
from pipeline.batch import OK, STATE_RULES, Column, Kind, Malformed
from pipeline.job import DEFAULT_MISSING, CsvSettings
from pipeline.load import (
    Reading,
    Source,
    list_sources,
    parse_texts,
    plan_partitions,
    read_partition,
)
from pipeline.schema import ColumnSchema, Schema

INT_MAX, INT_MIN = 2**63 - 1, -(2**63)
KINDS: tuple[Kind, ...] = ("float", "int", "bool", "timestamp", "string")
WHOLE = 1 << 40
COMMA = CsvSettings()


@dataclass
class Rows:
    """All that was read of one file, one entry a row."""

    ids: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    carried: dict[str, list[Any]] = field(default_factory=dict)
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    malformed: list[Malformed] = field(default_factory=list)


def list_cells(column: Column) -> list[Any]:
    """Return each cell's value, or what it is in brackets."""
    states = [OK] * len(column) if column.states is None else column.states.tolist()
    values = column.values.tolist()
    return [
        value if state == OK else f"<{STATE_RULES[state]}>"
        for value, state in zip(values, states, strict=True)
    ]


def parse(
    kind: Kind, *texts: str | None, missing: Sequence[str] = DEFAULT_MISSING, decimal: str = "."
) -> list[Any]:
    return list_cells(parse_texts(kind, strings(texts), missing, decimal))


def make_reading(kinds: Mapping[str, Kind], **options: Any) -> Reading:
    columns = tuple(ColumnSchema(name, kind, "") for name, kind in kinds.items())
    return Reading(Schema("test", columns), **options)


def find_source(path: Path, csv_settings: CsvSettings = COMMA) -> Source:
    (source,) = list_sources([path.name], path.parent, csv_settings)
    return source


def read_source(source: Source, reading: Reading, partition_bytes: int = WHOLE) -> Rows:
    read = Rows()
    for partition in plan_partitions([source], partition_bytes):
        for batch in read_partition(partition, reading):
            assert len(batch) <= reading.batch_rows
            assert {len(batch)} >= {len(column) for column in batch.columns.values()}
            texts = batch.read_texts(np.arange(len(batch)))
            read.ids += batch.row_ids.tolist()
            read.lines += batch.rows.tolist()
            read.malformed += batch.malformed
            for name, column in batch.columns.items():
                read.columns.setdefault(name, []).extend(list_cells(column))
            for name in batch.carried.column_names:
                read.carried.setdefault(name, []).extend(batch.carried[name].to_pylist())
            for name, array in texts.items():
                read.texts.setdefault(name, []).extend(array.to_pylist())
    return read


def read_file(
    path: Path,
    data: bytes | str,
    csv_settings: CsvSettings = COMMA,
    /,
    **kinds: Kind,
) -> Rows:
    """Write a file and read all of it."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_source(find_source(path, csv_settings), make_reading(kinds))


def read_split(out: Path, *splits: str) -> pd.DataFrame:
    files = [
        f for s in splits or ("train", "validation", "test") for f in (out / s).glob("*.parquet")
    ]
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def read_all(out: Path, folder: str) -> pd.DataFrame:
    parts = [pd.read_parquet(file) for file in sorted((out / folder).glob("*.parquet"))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
