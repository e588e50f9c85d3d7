"""pandera's built-in checks on whole columns, without pandera."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import is_valid, positions_array, strings, to_numpy
from pipeline.batch import Column, Kind, Positions
from pipeline.schema import Check

Mask = npt.NDArray[np.bool_]
Statistics = Mapping[str, Any]
# What lies between two values that pass passes, too.
RANGES = frozenset({"eq", "gt", "ge", "lt", "le", "in_range"})
# Up to so many integers, all between the extremes are judged in the place of the rows.
MAX_STAND_INS = 256


def passes(check: Check, column: Column) -> Mask:
    """Return a mask `(rows,)` of the values that pass; of cells without a value it says nothing."""
    kernels = STRING_KERNELS if column.kind == "string" else NUMBER_KERNELS
    return kernels[check.kernel or ""](column.values, check.statistics)


def list_suspects(
    column: Column, checks: Sequence[Check], limit: float = float("inf")
) -> Positions:
    """Return the positions of all cells that may be broken, and of few others.

    Every other cell holds a value that passes every check and, if a float, does not overflow.
    Where the least and the greatest value settle that, single cells are not looked at.

    Args:
        column: The cells, `(rows,)`; floats in the schema's type.
        checks: Checks that a kernel decides.
        limit: The smallest magnitude of a float that overflows.
    """
    masks: list[Mask] = []
    is_bounded = column.kind != "float"
    if column.states is not None:
        masks.append(column.is_ok())
        is_bounded = is_bounded or _keep_within(limit, checks, column.values.dtype)
    elif column.kind != "string" and len(column):
        least, greatest = column.values.min(), column.values.max()  # NaN where there is one
        is_bounded = is_bounded or bool(-limit < float(least) and float(greatest) < limit)
        checks = [c for c in checks if not _passes_between(c, column.kind, least, greatest)]
    masks += (passes(check, column) for check in checks)
    if not is_bounded:
        masks += (column.values > -limit, column.values < limit)
    if not masks:
        return np.zeros(0, np.int64)
    good = masks[0]
    for mask in masks[1:]:
        good &= mask
    return np.flatnonzero(~good)


def _passes_between(check: Check, kind: Kind, least: Any, greatest: Any) -> bool:
    """Tell whether all values from the least to the greatest pass, as far as few can tell."""
    if kind == "int" and int(greatest) - int(least) < MAX_STAND_INS:
        values = least + np.arange(int(greatest) - int(least) + 1)
    elif kind == "bool" or check.kernel in RANGES:
        values = np.array([least, greatest])
    else:
        return False
    return bool(passes(check, Column(kind, values)).all())


def _keep_within(limit: float, checks: Sequence[Check], dtype: Any) -> bool:
    """Tell whether no float that passes the checks overflows, as far as their bounds can tell."""
    if dtype != np.float64:  # a narrow type may round a bound to the limit
        return False
    ranges = [check.statistics for check in checks if check.kernel in RANGES]
    lows = [float(given["min_value"]) for given in ranges if "min_value" in given]
    highs = [float(given["max_value"]) for given in ranges if "max_value" in given]
    return max(lows, default=-np.inf) > -limit and min(highs, default=np.inf) < limit


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


# Regular expressions that mean the same to RE2, which pandas asks about texts that Arrow holds,
# and to Python's re, which it asks about all others: https://github.com/google/re2/wiki/Syntax
_PUNCTUATION = r"[ -/:-@\[-^`{-~]"
_MEMBER = rf"(?:[^\\\[\]^&~|\n-]|\\[dDwWtnr]|\\{_PUNCTUATION}|-(?!-))"
_COMMON_PATTERN = re.compile(
    rf"""(?: \^ | \$ | \\b | \| | \( (?:\?:)? (?![?*+{{])
      | (?: [^\\\[\]{{}}()|*+?^$\n] | \\[dDwWtnr] | \\{_PUNCTUATION} | \[ \^? {_MEMBER}+ \] | \) )
        (?: (?: [*+?] | \{{\d+(?:,\d*)?\}} ) \?? (?![*+?{{]) )?
    )*""",
    re.VERBOSE,
)


def is_common_pattern(pattern: Any) -> bool:
    """Tell whether a kernel decides a regular expression exactly as pandas does."""
    if not isinstance(pattern, str) or not _COMMON_PATTERN.fullmatch(pattern):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
        pc.match_substring_regex(strings([""]), f"^(?:{pattern})")
    except (re.error, Warning, pa.ArrowInvalid):
        return False
    return True


def _matches(values: Any, pattern: str) -> Mask:
    return _finds(values, f"^(?:{pattern})")


def _finds(values: Any, pattern: str) -> Mask:
    r"""Return where RE2 finds the pattern, and where Python does in what the two see differently.

    That is `\d`, `\w` and `\b` beyond ASCII, and `$` before a last line feed.
    """
    found = _truth(pc.match_substring_regex(values, pattern))
    is_special = np.zeros(len(values), bool)
    if "\\" in pattern:
        is_special |= ~to_numpy(pc.string_is_ascii(values))
    if "$" in pattern:
        is_special |= to_numpy(pc.ends_with(values, "\n"))
    special = np.flatnonzero(is_special)
    if len(special):
        search = re.compile(pattern).search
        texts = values.take(positions_array(special)).to_pylist()
        found[special] = [text is not None and search(text) is not None for text in texts]
    return found


STRING_KERNELS: Mapping[str, Callable[[Any, Statistics], Mask]] = {
    "eq": lambda values, given: _is_among(values, [given["value"]]),
    "ne": lambda values, given: ~_is_among(values, [given["value"]]),
    "isin": lambda values, given: _is_among(values, given["allowed_values"]),
    "notin": lambda values, given: ~_is_among(values, given["forbidden_values"]),
    "str_startswith": lambda values, given: _truth(pc.starts_with(values, given["string"])),
    "str_endswith": lambda values, given: _truth(pc.ends_with(values, given["string"])),
    "str_length": _has_length,
    "str_matches": lambda values, given: _matches(values, given["pattern"]),
    "str_contains": lambda values, given: _finds(values, given["pattern"]),
}
