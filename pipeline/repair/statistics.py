"""Mergeable statistics of a column: what a scan sends, and a fit merges in partition order.

Quantiles come from a summary of equidistant ranks (the mergeable summaries of Agarwal et al.,
"Mergeable summaries", PODS 2012, in their simplest form): exact while it holds every value;
each compression to p points moves a rank by at most n / 2p. Mean and variance merge by Chan,
Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.arrow import positions_array, to_numpy
from pipeline.batch import Column

# All columns of a partition together hold about this many points, so wide tables stay small.
POINTS_BUDGET = 1 << 18
MIN_POINTS = 1024
# Exact counts up to here; then the rarest values are dropped, and the loss is stated.
MAX_COUNTED = 1 << 18


@dataclass(frozen=True)
class Summary:
    """What is known of the valid train cells of one column.

    Attributes:
        count: How many there are.
        mean: Of numbers, booleans as 0 and 1, timestamps in microseconds.
        m2: The sum of squared deviations from the mean.
        minimum: The smallest value, None of none.
        maximum: The largest.
        points: `(points,)` ascending observed values.
        weights: `(points,)` how many cells each stands for.
        rank_error: By how many ranks a quantile may be off.
        counts: Value to number of cells, of strings, booleans and columns of listed values.
        dropped: The largest count that was dropped from `counts`.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    minimum: Any = None
    maximum: Any = None
    points: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    weights: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rank_error: int = 0
    counts: dict[Any, int] = field(default_factory=dict)
    dropped: int = 0

    def lower_median(self) -> Any:
        """Return the observed value at rank ⌈n/2⌉ (within `rank_error`)."""
        ranks = np.cumsum(self.weights)
        return self.points[np.searchsorted(ranks, (self.count + 1) // 2)].item()

    def most_frequent(self) -> Any:
        """Return the value with the largest count; of several, the first as text."""
        return min(self.counts, key=lambda value: (-self.counts[value], str(value)))

    @property
    def variance(self) -> float:
        """Return the population variance."""
        return self.m2 / self.count if self.count else 0.0


def points_per_column(num_columns: int) -> int:
    """Return how many quantile points each column may hold."""
    return max(MIN_POINTS, POINTS_BUDGET // max(1, num_columns))


def summarize(
    column: Column, positions: npt.NDArray[np.int64], counted: bool, points: int
) -> Summary:
    """Summarize the cells at these positions, all of which hold valid values.

    Args:
        column: The column.
        positions: Which rows.
        counted: Whether to count values (strings and booleans always are).
        points: How many quantile points to keep.
    """
    if not len(positions):
        return Summary()
    if column.kind == "string":
        return Summary(count=len(positions), **_count_strings(column, positions))
    values = column.values[positions]
    if column.kind == "bool":
        values = values.astype(np.int64)
    mean = float(values.mean())
    deviations = values - mean
    ordered = np.sort(values)
    kept, weights, error = _thin(ordered, np.ones(len(ordered), np.int64), points)
    counts = _count_numbers(ordered, column.kind) if counted or column.kind == "bool" else {}
    return Summary(
        count=len(values),
        mean=mean,
        m2=float(np.square(deviations).sum()),  # not np.dot: its threads cost more than they save
        minimum=ordered[0].item(),
        maximum=ordered[-1].item(),
        points=kept,
        weights=weights,
        rank_error=error,
        counts=counts,
    )


def merge(summaries: Sequence[Summary], points: int) -> Summary:
    """Merge summaries in the order given; bounded whatever their number."""
    merged = Summary()
    for summary in summaries:
        merged = _merge_two(merged, summary, points)
    return merged


def _merge_two(left: Summary, right: Summary, points: int) -> Summary:
    if not left.count or not right.count:
        return left if left.count else right
    count = left.count + right.count
    delta = right.mean - left.mean
    all_points = np.concatenate([left.points, right.points])
    order = np.argsort(all_points, kind="stable")
    all_weights = np.concatenate([left.weights, right.weights])[order]
    # Room for several partitions before a thinning keeps the thinnings, and so the error, few.
    kept, weights, error = _thin(all_points[order], all_weights, 4 * points)
    counts, dropped = _bounded(_add_counts(left.counts, right.counts))
    ends = [s for s in (left, right) if s.minimum is not None]
    return Summary(
        count=count,
        mean=left.mean + delta * right.count / count,
        m2=left.m2 + right.m2 + delta * delta * left.count * right.count / count,
        minimum=min((s.minimum for s in ends), default=None),
        maximum=max((s.maximum for s in ends), default=None),
        points=kept,
        weights=weights,
        rank_error=left.rank_error + right.rank_error + error,
        counts=counts,
        dropped=max(left.dropped, right.dropped, dropped),
    )


def _thin(
    values: npt.NDArray[Any], weights: npt.NDArray[np.int64], limit: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], int]:
    """Reduce ascending weighted points to at most `limit`, each of about equal weight."""
    if len(values) <= limit:
        return values, weights, 0
    num_points = max(1, limit // 2)
    ranks = np.cumsum(weights)
    total = int(ranks[-1])
    edges = total * np.arange(num_points + 1, dtype=np.int64) // num_points
    middles = (edges[:-1] + edges[1:] + 1) // 2
    kept = values[np.searchsorted(ranks, middles)]
    return kept, np.diff(edges), -(-total // (2 * num_points)) + int(weights.max()) // 2


def _count_strings(column: Column, positions: npt.NDArray[np.int64]) -> dict[str, Any]:
    counted = pc.value_counts(column.values.take(positions_array(positions)))
    words = counted.field("values").to_pylist()
    numbers = to_numpy(counted.field("counts")).tolist()
    counts, dropped = _bounded(dict(zip(words, numbers, strict=True)))
    return {"counts": counts, "dropped": dropped}


def _count_numbers(ordered: npt.NDArray[Any], kind: str) -> dict[Any, int]:
    values, numbers = np.unique(ordered, return_counts=True)
    if kind == "bool":
        values = values.astype(bool)
    return _bounded(dict(zip(values.tolist(), numbers.tolist(), strict=True)))[0]


def _add_counts(left: dict[Any, int], right: dict[Any, int]) -> dict[Any, int]:
    total = dict(left)
    for value, number in right.items():
        total[value] = total.get(value, 0) + number
    return total


def _bounded(counts: dict[Any, int]) -> tuple[dict[Any, int], int]:
    if len(counts) <= MAX_COUNTED:
        return counts, 0
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return dict(ranked[: MAX_COUNTED // 2]), ranked[MAX_COUNTED // 2][1]
