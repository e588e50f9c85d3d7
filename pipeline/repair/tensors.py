"""What is learned of tensors: the one shape that a model takes, and the scale of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import RepairError
from pipeline.repair.plan import TensorPlan
from pipeline.repair.statistics import Summary, merge

Floats = npt.NDArray[np.float64]
Summaries = Mapping[str, Summary]
"""Shape, such as "28x28x1", to what is known of the valid train tensors of that shape."""

# A folder of photographs may hold a shape each; the rarest are no candidates anyway.
MAX_SHAPES = 1024


def summarize_tensors(
    shapes: Sequence[str], low: Floats, high: Floats, mean: Floats, std: Floats
) -> dict[str, Summary]:
    """Summarize tensors by their shape.

    Args:
        shapes: `(rows,)`.
        low: `(rows,)` each tensor's smallest value.
        high: `(rows,)` its largest.
        mean: `(rows,)` the mean of its values.
        std: `(rows,)` their population standard deviation.

    Returns:
        Shape to a summary whose count is of tensors, and whose mean and variance are of all
        their values.
    """
    names, places = np.unique(np.array(shapes, object), return_inverse=True)
    found = {}
    for index, name in enumerate(names.tolist()):
        mine = places == index
        center = float(mean[mine].mean())
        spread = np.square(std[mine]) + np.square(mean[mine] - center)
        found[name] = Summary(
            count=int(mine.sum()),
            mean=center,
            m2=float(spread.sum()),
            minimum=float(low[mine].min()),
            maximum=float(high[mine].max()),
        )
    return _most_frequent(found)


def merge_tensors(left: Summaries, right: Summaries) -> dict[str, Summary]:
    """Merge what two stretches of rows told, in their order."""
    merged = dict(left)
    for shape, summary in right.items():
        merged[shape] = merge([merged.get(shape, Summary()), summary], 0)
    return _most_frequent(merged)


def plan_tensor(name: str, dtype: str, summaries: Summaries) -> TensorPlan:
    """Learn a tensor feature's plan: its shape is the most frequent one.

    Raises:
        RepairError: The train split has no valid tensor.
    """
    if not summaries:
        raise RepairError(
            f"tensor {name!r} has no valid row in the train split: nothing to learn from.",
            fix=f'add "{name}" to data.ignore, or correct the rules in the schema.',
            column=name,
        )
    shape, summary = next(iter(_most_frequent(summaries).items()))
    return TensorPlan(
        dtype=dtype,
        shape=parse_shape(shape),
        count=summary.count,
        mean=summary.mean,
        variance=summary.variance,
        minimum=summary.minimum,
        maximum=summary.maximum,
    )


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that "28x28x1" spells."""
    return tuple(int(size) for size in text.split("x"))


def _most_frequent(summaries: Summaries) -> dict[str, Summary]:
    ranked = sorted(summaries.items(), key=lambda item: (-item[1].count, item[0]))
    return dict(ranked[:MAX_SHAPES])
