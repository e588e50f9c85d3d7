"""Parquet shards as what their TFRecord twins have to hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.arrow import to_numpy
from pipeline.batch import Column, Kind
from pipeline.errors import ShardError, broken_shard
from pipeline.features import cast_feature, cast_label
from pipeline.manifest import Feature, Label, Spec
from pipeline.verify.examples import Columns, bytes_to_rows

BATCH_ROWS = 8192
BEYOND = "lie outside the schema's bounds"
Faults = dict[tuple[str, str], int]
"""How many values, by column and by what is wrong with them."""

BOUNDED = ("float", "int", "timestamp")
_FITS = {
    "float": pa.types.is_floating,
    "int": pa.types.is_integer,
    "bool": pa.types.is_boolean,
    "string": lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_),
    "timestamp": lambda type_: pa.types.is_timestamp(type_) and type_.unit == "us",
    "tensor": lambda type_: pa.types.is_binary(type_) or pa.types.is_large_binary(type_),
}


class TableReader:
    """A Parquet shard, as many rows at a time as are asked for.

    Raises:
        ShardError: It is no Parquet, or its columns are not the manifest's.
    """

    def __init__(self, path: Path, spec: Spec) -> None:
        self._path = path
        kinds: dict[str, str] = {f.name: f.kind for f in spec.features if f.indicates is None}
        kinds |= {spec.label.name: spec.label.kind, "row_id": "int"}
        names = [*kinds, *([spec.weight] if spec.weight is not None else [])]
        try:
            file = pq.ParquetFile(path)
            schema = file.schema_arrow
            for name in names:
                if schema.names.count(name) != 1:
                    raise self._broken(f"it has {schema.names.count(name)} columns {name!r}")
                type_ = schema.field(name).type
                fits = _FITS[kinds[name]](type_) if name in kinds else _is_number(type_)
                if not fits:
                    raise self._broken(f"column {name!r} is {type_}, not as in the manifest")
            self._batches = file.iter_batches(BATCH_ROWS, columns=names)
            self._rest = schema.empty_table().select(names)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._broken(_first_line(error)) from None

    def take(self, count: int) -> pa.Table:
        """Return the next rows; fewer, or none, at the end.

        Raises:
            ShardError: They cannot be read.
        """
        parts = [self._rest]
        try:
            while sum(map(len, parts)) < count:
                batch = next(self._batches, None)
                if batch is None:
                    break
                parts.append(pa.Table.from_batches([batch]).select(self._rest.column_names))
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._broken(_first_line(error)) from None
        table = pa.concat_tables(parts)
        self._rest = table.slice(count)
        return table.slice(0, count)

    def _broken(self, what: str) -> ShardError:
        return broken_shard(self._path, what)


def cast_table(table: pa.Table, spec: Spec) -> Columns:
    """Return what a TFRecord shard holds of these rows; columns with missing cells are left out.

    Raises:
        ValueError: A tensor has more or fewer bytes than the spec says.
    """
    whole = {
        name: table.column(name).combine_chunks()
        for name in table.column_names
        if not table.column(name).null_count
    }
    columns = {
        feature.name: _cast(whole[feature.name], feature)
        for feature in spec.features
        if feature.name in whole
    }
    if spec.label.name in whole:
        label = _column(whole[spec.label.name], spec.label.kind)
        columns[spec.label.name] = cast_label(label, spec.label)
    for name, (dtype, _) in spec.list_columns().items():
        if name in whole and name in (spec.weight, "row_id"):
            columns[name] = to_numpy(whole[name]).astype(dtype)
    return columns


def find_table_faults(table: pa.Table, spec: Spec) -> Faults:
    """Return what is wrong with values as the schema's types have them, before the cast."""
    faults = {(name, "are missing"): table.column(name).null_count for name in table.column_names}
    bounded: list[Feature | Label] = [f for f in spec.features if f.name in table.column_names]
    for part in [*bounded, spec.label]:
        if part.kind in BOUNDED:
            values = to_numpy(table.column(part.name).combine_chunks())
            faults[part.name, BEYOND] = count_beyond(values, part.lower, part.upper)
    return faults


def count_beyond(
    values: npt.NDArray[Any],
    lower: int | float | None,
    upper: int | float | None,
    shift: float = 0.0,
) -> int:
    """Count the values outside a closed interval, whose ends are cast as the values were."""
    beyond = np.zeros(values.shape, bool)
    if lower is not None:
        beyond |= values < _round(lower, values.dtype, shift)
    if upper is not None:
        beyond |= values > _round(upper, values.dtype, shift)
    return int(beyond.sum())


def _round(bound: int | float, dtype: np.dtype[Any], shift: float) -> Any:
    if dtype.kind != "f":
        return bound
    try:
        given = float(bound)
    except OverflowError:  # an int that no float holds
        given = np.inf if bound > 0 else -np.inf
    with np.errstate(over="ignore"):  # of a float's range, nothing is beyond infinity
        return np.float64(given - shift).astype(dtype)


def _cast(array: pa.Array, feature: Feature) -> npt.NDArray[Any]:
    if feature.kind == "tensor":
        return bytes_to_rows(array, feature.stored or feature.dtype, feature.shape)
    return cast_feature(_column(array, feature.kind), feature)


def _column(array: pa.Array, kind: Kind) -> Column:
    if kind == "string":
        return Column(kind, array.cast(pa.string()))
    values = to_numpy(array)
    return Column(kind, values.astype(np.float64) if kind == "float" else values)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_floating(type_) or pa.types.is_integer(type_)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
