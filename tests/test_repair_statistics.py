"""Summaries of parts add up to that of the whole; numpy is the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import MISSING, OK
from pipeline.repair import Summary, merge, points_per_column, summarize
from tests.judging import column
from tests.repairing import summary_of

FINITE = st.floats(-1e6, 1e6)


def merged(
    parts: Sequence[Sequence[Any]], kind: Any, points: int, counted: bool = False
) -> Summary:
    made = [summarize(column(kind, p), np.arange(len(p)), counted, points) for p in parts]
    return merge(made, points)


@settings(deadline=None)
@given(st.lists(st.lists(FINITE, max_size=30), min_size=1, max_size=6))
def test_merged_summaries_equal_numpy_on_all_values(parts: list[list[float]]) -> None:
    everything = np.array([value for part in parts for value in part])
    found = merged(parts, "float", 1000)
    assert found.count == len(everything)
    if len(everything):
        scale = np.abs(everything).max()
        assert found.mean == pytest.approx(everything.mean(), rel=1e-9, abs=1e-12 * scale)
        assert found.variance == pytest.approx(everything.var(), rel=1e-6, abs=1e-12 * scale**2)
        assert (found.minimum, found.maximum) == (everything.min(), everything.max())
        assert found.rank_error == 0
        assert found.lower_median() == np.sort(everything)[(len(everything) - 1) // 2]


@settings(deadline=None, max_examples=200)
@given(
    parts=st.lists(st.lists(st.integers(-50, 50), max_size=60), min_size=1, max_size=12),
    points=st.integers(2, 20),
)
def test_a_thinned_median_is_off_by_no_more_ranks_than_it_says(
    parts: list[list[int]], points: int
) -> None:
    ordered = np.sort(np.array([value for part in parts for value in part], np.int64))
    if not len(ordered):
        return
    found = merged(parts, "int", points)
    assert found.weights.sum() == len(ordered)
    assert len(found.points) <= 4 * points
    rank = (len(ordered) + 1) // 2
    first = np.searchsorted(ordered, found.lower_median()) + 1
    last = np.searchsorted(ordered, found.lower_median(), side="right")
    assert last >= first, "the median is an observed value"
    assert first - found.rank_error <= rank <= last + found.rank_error


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcü"), max_size=20), min_size=1, max_size=5))
def test_counts_of_strings_add_up(parts: list[list[str]]) -> None:
    found = merged(parts, "string", 10)
    assert found.counts == Counter(word for part in parts for word in part)


def test_only_the_given_positions_are_summarized() -> None:
    cells = column("float", [1.0, np.nan, 100.0, 3.0], [OK, MISSING, OK, OK])
    found = summarize(cells, np.array([0, 3]), False, 10)
    assert (found.count, found.mean, found.maximum) == (2, 2.0, 3.0)
    assert summarize(cells, np.zeros(0, np.int64), False, 10).count == 0


def test_booleans_are_counted_and_averaged_as_0_and_1() -> None:
    found = summary_of("bool", [True, True, False, True])
    assert (found.mean, found.variance) == (0.75, 0.1875)
    assert found.counts == {True: 3, False: 1}


def test_wide_tables_keep_fewer_points_a_column() -> None:
    assert points_per_column(1) > points_per_column(20) > points_per_column(10_000) == 1024
