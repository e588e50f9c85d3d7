"""pandera's built-in checks on whole columns, without pandera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.arrow import is_valid, strings, to_numpy
from pipeline.batch import Column
from pipeline.schema import Check

Mask = npt.NDArray[np.bool_]
Statistics = Mapping[str, Any]


def passes(check: Check, column: Column) -> Mask:
    """Return a mask `(rows,)` of the values that pass; of cells without a value it says nothing."""
    kernels = STRING_KERNELS if column.kind == "string" else NUMBER_KERNELS
    return kernels[check.kernel or ""](column.values, check.statistics)


def _in_range(values: Any, given: Statistics) -> Mask:
    low, high = given["min_value"], given["max_value"]
    above = values >= low if given.get("include_min", True) else values > low
    below = values <= high if given.get("include_max", True) else values < high
    above &= below
    return above


NUMBER_KERNELS: Mapping[str, Callable[[Any, Statistics], Mask]] = {
    "eq": lambda values, given: values == given["value"],
    "ne": lambda values, given: values != given["value"],
    "gt": lambda values, given: values > given["min_value"],
    "ge": lambda values, given: values >= given["min_value"],
    "lt": lambda values, given: values < given["max_value"],
    "le": lambda values, given: values <= given["max_value"],
    "in_range": _in_range,
    "isin": lambda values, given: np.isin(values, given["allowed_values"]),
    "notin": lambda values, given: ~np.isin(values, given["forbidden_values"]),
}


def _truth(array: Any) -> Mask:
    mask = to_numpy(array)
    valid = is_valid(array)
    return mask if valid is None else mask & valid


def _is_among(values: Any, words: Any) -> Mask:
    return _truth(pc.is_in(values, value_set=strings(list(words))))


def _has_length(values: Any, given: Statistics) -> Mask:
    lengths = to_numpy(pc.utf8_length(values))
    exact = given.get("exact_value")
    if exact is not None:
        return lengths == exact
    least, most = given.get("min_value"), given.get("max_value")
    mask = np.ones(len(lengths), bool) if least is None else lengths >= least
    return mask if most is None else mask & (lengths <= most)


STRING_KERNELS: Mapping[str, Callable[[Any, Statistics], Mask]] = {
    "eq": lambda values, given: _is_among(values, [given["value"]]),
    "ne": lambda values, given: ~_is_among(values, [given["value"]]),
    "isin": lambda values, given: _is_among(values, given["allowed_values"]),
    "notin": lambda values, given: ~_is_among(values, given["forbidden_values"]),
    "str_startswith": lambda values, given: _truth(pc.starts_with(values, given["string"])),
    "str_endswith": lambda values, given: _truth(pc.ends_with(values, given["string"])),
    "str_length": _has_length,
}
