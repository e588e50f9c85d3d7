"""Checks and parsers as users write them; each looks at its own cell or row alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pandera.extensions

Functions = dict[str, Callable[[Any], Any]]


@pandera.extensions.register_check_method(statistics=["least"])  # type: ignore[untyped-decorator]
def oracle_at_least(cells: Any, *, least: float) -> Any:
    return cells >= least


@pandera.extensions.register_check_method(  # type: ignore[untyped-decorator]
    statistics=["unwanted"], check_type="element_wise"
)
def oracle_is_not(cell: Any, *, unwanted: Any) -> bool:
    return bool(cell != unwanted)


def vectorised(kind: str) -> Functions:
    """Return checks of whole columns that look at each cell alone."""
    own: Functions = {
        "float": {
            "v_small": lambda s: s.abs() < 3,
            "v_inverse": lambda s: s.map(lambda v: 1 / float(v)) > 0,  # raises on 0
            "v_finite": lambda s: np.isfinite(s.astype("float64")),
        },
        "int": {
            "v_even": lambda s: s % 2 == 0,
            "v_inverse": lambda s: s.map(lambda v: 1 // int(v)) >= 0,
        },
        "bool": {"v_true": lambda s: s, "v_not": lambda s: ~s},
        "string": {
            "v_short": lambda s: s.str.len() < 3,
            "v_digit": lambda s: s.astype(object).map(lambda w: int(w) < 5),  # raises on words
        },
        "timestamp": {"v_year": lambda s: s.dt.year >= 2000, "v_day": lambda s: s.dt.day < 20},
    }[kind]
    return {**own, "v_there": lambda s: s.notna(), "v_blank": lambda s: s.isna()}


def element_wise(kind: str) -> Functions:
    """Return checks of one cell."""
    own: Functions = {
        "float": {"e_third": lambda v: 1 / v < 3, "e_not_one": lambda v: v != 1},
        "int": {"e_third": lambda v: 1 / v < 3, "e_not_one": lambda v: v != 1},
        "bool": {"e_true": lambda v: v},
        "string": {"e_word": lambda w: w.isalpha(), "e_first": lambda w: w[0] != "a"},
        "timestamp": {"e_noon": lambda t: t.hour < 12, "e_leap": lambda t: not t.is_leap_year},
    }[kind]
    return {**own, "e_there": lambda v: not pd.isna(v), "e_no_none": lambda v: v is not None}


FRAME_CHECKS: Functions = {
    "f_label": lambda df: df["label"] == 0,
    "f_first": lambda df: df.iloc[:, 0].notna(),
    "f_blanks": lambda df: df.isna().sum(axis=1) < 1,
    "f_not": lambda df: ~df["a"] if df["a"].dtype in (bool, object) else df["label"] > 0,
    "f_wide": lambda df: df.assign(label=df["label"] < 1) == df,
}


def refuse(is_refused: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a parser that raises where a cell or a row is refused, and changes nothing."""

    def parse(data: Any) -> Any:
        if is_refused(data).fillna(False).any(axis=None):
            raise ValueError("refused")
        return data

    return parse


def _logarithm(cells: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.log(cells.astype("float64"))


def column_parsers(kind: str) -> Functions:
    """Return parsers of a column; those of one cell are called `c_…`."""
    own: Functions = {
        "float": {
            "p_fill": lambda s: s.fillna(0),
            "p_half": lambda s: s / 2,
            "p_clip": lambda s: s.clip(-1, 1),  # believed of an infinity, too
            "p_log": _logarithm,
            "p_positive": lambda s: s.where(s > 0),
            "p_no_one": refuse(lambda s: s == 1),
            "c_inverse": lambda v: 1 / int(v),  # raises on 0, NaN and infinity
        },
        "int": {
            "p_fill": lambda s: s.fillna(0),
            "p_even": lambda s: s // 2 * 2,
            "p_half": lambda s: s / 2,  # what is odd is an int no more
            # Of ints where() alone makes floats, and 2**53 + 1 is none.
            "p_positive": lambda s: s.astype(object).where(s > 0),
            "p_no_one": refuse(lambda s: s == 1),
            "c_third": lambda v: 6 // int(v),
        },
        "bool": {
            "p_fill": lambda s: s.fillna(False),
            "p_not": lambda s: ~s,
            "p_no_true": refuse(lambda s: s == True),  # noqa: E712 - a Series
            "c_not": lambda v: not v,
        },
        "string": {
            "p_fill": lambda s: s.astype(object).fillna("a"),
            "p_upper": lambda s: s.str.upper(),
            "p_first": lambda s: s.str[:1],
            "p_no_a": lambda s: s.astype(object).where(s != "a"),
            "p_no_b": refuse(lambda s: s == "b"),
            "c_louder": lambda w: w + "!",
        },
        "timestamp": {
            "p_fill": lambda s: s.fillna(pd.Timestamp("2024-01-01", tz=s.dt.tz)),
            "p_day": lambda s: s.dt.floor("D"),
            "p_late": lambda s: s.where(s.dt.year > 2000),
            "p_no_leap": refuse(lambda s: s.dt.is_leap_year),
            "p_nano": lambda s: s.dt.as_unit("ns") + pd.Timedelta(1, "ns"),
            "c_noon": lambda t: t.replace(hour=12),
        },
    }[kind]
    return {**own, "p_same": lambda s: s, "c_same": lambda v: v}


def frame_parsers(kind: str) -> Functions:
    """Return parsers of whole rows, `a` being of the kind; those of one cell are called `c_…`."""
    numbers: Functions = {
        "r_label": lambda df: df.assign(a=df["label"] + 1),
        "r_sum": lambda df: df.assign(a=df["a"] + df["label"]),
        "r_filled": lambda df: df.assign(a=df["a"].fillna(3)),
    }
    own: dict[str, Functions] = {
        "float": {**numbers, "r_half": lambda df: df.assign(a=df["label"] / 2)},
        "int": numbers,
        "bool": {"r_label": lambda df: df.assign(a=df["label"] == 1)},
        "string": {"r_word": lambda df: df.assign(a=df["a"].astype(object).fillna("b"))},
        "timestamp": {"r_hour": lambda df: df.assign(a=df["a"] + pd.Timedelta(1, "h"))},
    }
    return {
        **own[kind],
        "r_no_one": refuse(lambda df: df["label"] == 1),
        "r_no_blank": refuse(lambda df: df.isna()),
        "r_turned": lambda df: df.iloc[::-1],
        "c_same": lambda v: v,
    }
