"""Which cells of a batch are not finite, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.guard.batch import Nested, Parts, Tensor
from pipeline.guard.finite import as_trained, bad_rows

_MAX_NAMES = 8


class Cells:
    """What the float columns of a batch are called, filled in as the step is traced.

    Attributes:
        names: Of a dict its keys; of what has no name "input", "label" or "weight", with its
            place in a tuple.
        unnamed: Which of them are the whole label or weight, and have no name of their own.
        shapes: What a row of each holds; None where rows differ.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.unnamed: list[bool] = []
        self.shapes: list[tuple[int, ...] | None] = []

    def find(self, parts: Parts, rows: Tensor, dtype: str) -> Tensor:
        """Find each row's first non-finite cell of each column.

        Args:
            parts: A batch that can be taken apart by row.
            rows: How many rows it has, int32 scalar.
            dtype: What the model casts its inputs to.

        Returns:
            int32 `(columns, rows)`: the cell's place in its row, flattened; -1 if all are finite.
        """
        self.names, self.unnamed, self.shapes = [], [], []
        found = []
        casts = ((parts.x, dtype), (parts.y, keras.config.floatx()))
        named = zip(("input", "label", "weight"), (*casts, (parts.sample_weight, casts[1][1])))
        for part, (nested, cast) in named:
            for name, leaf in _list_floats(nested, part):
                self.names.append(name)
                self.unnamed.append(leaf is nested)
                self.shapes.append(_row_shape(leaf))
                found.append(_first_bad(leaf, cast, rows))
        return tf.stack(found) if found else tf.zeros([0, rows], tf.int32)

    def name(self, firsts: Any, known: dict[str, str]) -> tuple[str, ...]:
        """Name a row's non-finite cells, at most 8: `(columns,)` as `find` gives them.

        `known` gives the name of what has none.
        """
        return tuple(
            (known.get(self.names[i], self.names[i]) if self.unnamed[i] else self.names[i])
            + _spell_place(self.shapes[i], int(firsts[i]))
            for i in np.flatnonzero(firsts >= 0)[:_MAX_NAMES]
        )


def _list_floats(nested: Nested, part: str) -> Iterator[tuple[str, Tensor]]:
    for path, leaf in keras.tree.flatten_with_path(nested):
        if leaf is not None and leaf.dtype.is_floating:
            name = "/".join(map(str, path))
            yield name if isinstance(nested, dict) else f"{part} {name}".rstrip(), leaf


def _row_shape(leaf: Tensor) -> tuple[int, ...] | None:
    shape = leaf.shape[1:]
    fixed = isinstance(leaf, tf.Tensor) and shape.is_fully_defined()
    return tuple(shape.as_list()) if fixed else None


def _first_bad(leaf: Tensor, dtype: str, rows: Tensor) -> Tensor:
    if not isinstance(leaf, tf.Tensor):
        return tf.where(bad_rows(leaf, dtype, rows), 0, -1)
    bad = ~tf.math.is_finite(tf.reshape(as_trained(leaf, dtype), [rows, -1]))
    first = tf.argmax(bad, axis=1, output_type=tf.int32)
    return tf.where(tf.reduce_any(bad, axis=1), first, -1)


def _spell_place(shape: tuple[int, ...] | None, place: int) -> str:
    if shape is None or np.prod(shape) <= 1:
        return ""
    return str([int(index) for index in np.unravel_index(place, shape)])
