"""A pandera dtype to how its text is read, and to the pandas dtype that Parquet sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.batch import Kind
from pipeline.errors import SchemaError

_TEXT_OBJECTS = frozenset({"Object", "NpString"})


def read_dtype(name: str, dtype: Any) -> tuple[Kind, str]:
    """Return kind and pandas dtype of a column.

    Raises:
        SchemaError: It has no dtype, or one that no feature or label can have.
    """
    if dtype is None:
        raise SchemaError(
            f"column {name!r} has no dtype, so its text cannot be read.",
            fix="give it one: float, int, bool, str or pd.Timestamp.",
            column=name,
        )
    native = getattr(dtype, "type", None)
    types = pd.api.types
    if isinstance(native, pd.CategoricalDtype) or native == "category":
        return "string", "category"
    if isinstance(native, (np.dtype, pd.api.extensions.ExtensionDtype)):
        if types.is_bool_dtype(native):
            return "bool", "bool"
        if types.is_integer_dtype(native) or (types.is_float_dtype(native) and _is_narrow(native)):
            kind: Kind = "int" if types.is_integer_dtype(native) else "float"
            return kind, _plain_number(native)
        if types.is_datetime64_any_dtype(native):
            zone = read_zone(native)
            # As Arrow spells it: it reads no zone that is called UTC+02:00, as Python's is.
            named = pa.timestamp("us", zone).tz if zone else None
            return "timestamp", f"datetime64[us, {named}]" if named else "datetime64[us]"
        # Of what pandas holds as objects, text alone: a date or a Decimal would go unjudged.
        if types.is_string_dtype(native) and not (
            native == np.dtype(object) and type(dtype).__name__ not in _TEXT_OBJECTS
        ):
            return "string", "str"
    raise SchemaError(
        f"column {name!r} is of dtype {dtype}, which no feature or label can be.",
        expected="a float, int, bool, string, category or datetime dtype",
        got=str(dtype),
        fix="give it one of these, or leave it out of the schema: it is carried all the same.",
        column=name,
    )


def read_zone(native: Any) -> Any:
    """Return the zone of a type of times, whoever's it is, or None."""
    return getattr(getattr(native, "pyarrow_dtype", native), "tz", None)


def _is_narrow(native: Any) -> bool:
    """Tell whether float64 holds every value of a float type."""
    return np.dtype(_plain_number(native)).itemsize <= np.dtype("float64").itemsize


def _plain_number(native: Any) -> str:
    """Return numpy's name of a number type, whoever's it is (`Int64`, `double[pyarrow]`)."""
    dtype = getattr(native, "numpy_dtype", native)
    return np.dtype(dtype).name
