"""What valid data is, as plain values that any worker can hold without pandera."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.batch import Kind


@dataclass(frozen=True)
class Check:
    """One check of a column.

    Attributes:
        name: Its name in reasons: the pandera check's own (`in_range`), or the custom one's.
        statistics: The arguments of a built-in check by pandera's names (`min_value`, …).
        kernel: The built-in kernel that decides it, or None where only pandera can.
        index: Its place among the column's pandera checks; pandera finds a custom check by it.
        judges_blanks: Whether it is asked of a nullable column's blanks, too (`ignore_na=False`).
        warns: Whether what breaks it is told of and stays valid (`raise_warning=True`).
        detail: What it asks for, in pandera's or the schema's own words; may be empty.
        covers: Whether each of the allowed values has to occur, too (`unique_values_eq`).
    """

    name: str
    statistics: dict[str, Any] = field(default_factory=dict)
    kernel: str | None = None
    index: int = 0
    judges_blanks: bool = False
    warns: bool = False
    covers: bool = False
    detail: str = ""


@dataclass(frozen=True)
class ColumnSchema:
    """One column.

    Attributes:
        name: The header, or a regular expression when `regex`.
        kind: How its text is read.
        dtype: The pandas dtype that Parquet and pandera see (`float64`, `int64`, `bool`, `str`,
            `category`, `datetime64[us]`, `datetime64[us, UTC]`).
        nullable: Whether missing and NaN cells are valid.
        required: Whether a file without it is an error.
        added: Whether it is there, blank or with its default, even where no file has it.
        pandera_name: What the pandera schema calls it; the pattern of a `regex` column.
        unique: Whether a value may occur once in the whole dataset.
        monotonic: Whether values have to grow ("increasing") or shrink ("decreasing") from row
            to row through the whole dataset.
        default: What a missing or NaN cell is read as, in the kind's plain value; None without.
        parses: Whether the pandera schema has parsers for it.
        categories: The legal values of a categorical or `isin` column, in the schema's order.
        checks: Its checks, in the schema's order.
    """

    name: str
    kind: Kind
    dtype: str
    nullable: bool = False
    required: bool = True
    added: bool = False
    regex: bool = False
    pandera_name: str = ""
    unique: bool = False
    monotonic: Literal["increasing", "decreasing"] | None = None
    default: Any | None = None
    parses: bool = False
    categories: tuple[Any, ...] | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Schema:
    """A compiled schema.

    Attributes:
        name: The pandera schema's name.
        columns: In the schema's order.
        strict: Whether a column that the schema does not name is an error of the file.
        filters: Whether such a column is left out and not carried (`strict="filter"`).
        ordered: Whether the file's columns must stand in the schema's order.
        unique: Sets of columns whose joint values may occur once in the whole dataset.
        report_duplicates: Which of several equal keys break `unique`: "all", "exclude_first",
            "exclude_last".
        row_checks: The checks on whole rows, in the schema's order.
        parses: Whether the pandera schema has parsers for whole rows.
    """

    name: str
    columns: tuple[ColumnSchema, ...]
    strict: bool = False
    filters: bool = False
    ordered: bool = False
    unique: tuple[tuple[str, ...], ...] = ()
    report_duplicates: str = "all"
    row_checks: tuple[Check, ...] = ()
    parses: bool = False

    def __getitem__(self, name: str) -> ColumnSchema:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def needs_pandera(self) -> bool:
        """Return whether some check is not decided by a kernel, or some cell is parsed."""
        return (
            bool(self.row_checks)
            or self.parses
            or any(
                column.parses or any(check.kernel is None for check in column.checks)
                for column in self.columns
            )
        )

    @property
    def changes_cells(self) -> bool:
        """Return whether parsers or defaults stand between a cell as read and as judged."""
        columns = any(c.parses or c.default is not None for c in self.columns)
        return self.parses or columns

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names, in the schema's order."""
        return tuple(column.name for column in self.columns)
