"""How raw files are read: what a job settles once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.batch import Kind
from pipeline.job import DEFAULT_MISSING, DataSettings
from pipeline.schema import Schema

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Reading:
    """The settings of reading.

    Attributes:
        schema: The columns that are read as their own types; no name is a regular expression.
        missing: Column to the texts that mean missing in it; `DEFAULT_MISSING` for the others.
        group: A column that is read as text where the schema does not name it, or None.
        filters: Whether a column that the schema does not name is left out.
        also_carried: Columns that are read as their own types and carried as they were, too.
        batch_rows: How many rows a batch holds at most.
        finds_unmended: Whether a row of a mended quarantine that is nothing but the bytes of a
            malformed record comes as that record again.
    """

    schema: Schema
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group: str | None = None
    batch_rows: int = BATCH_ROWS
    filters: bool = False
    also_carried: frozenset[str] = frozenset()
    finds_unmended: bool = True

    @classmethod
    def of(cls, schema: Schema, data: DataSettings, batch_rows: int = BATCH_ROWS) -> Reading:
        """Return what a job's [data] settles for a schema."""
        names = [*schema.names, *([data.group] if data.group else [])]
        missing = {name: data.missing_texts(name) for name in names}
        unnamed_group = {data.group} - {None, *schema.names}
        also_carried = frozenset(name for name in (*data.ignore, *unnamed_group) if name)
        return cls(schema, missing, data.group, batch_rows, schema.filters, also_carried)

    def carries(self, name: str) -> bool:
        """Tell whether a column of the file is carried as it is."""
        if name in self.also_carried:
            return True
        return not self.filters and name not in self.kinds

    def missing_texts(self, column: str) -> tuple[str, ...]:
        """Return the texts that mean missing in this column."""
        return self.missing.get(column, DEFAULT_MISSING)

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """Return the kinds of the columns that a batch always has, in their order."""
        kinds = {column.name: column.kind for column in self.schema.columns}
        if self.group is not None:
            kinds.setdefault(self.group, "string")
        return kinds
