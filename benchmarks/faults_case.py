"""What a fault case is made of: a model, a data set with the fault in its second batch, a compile.

Cases are small: 128 rows in 16 batches of 8, nets of a few units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

NUM_ROWS = 128
BATCH_SIZE = 8
# The bad row: the fourth of the second batch.
BAD = 11
EPOCHS = 3

Array = np.ndarray[Any, Any]


class Setup(NamedTuple):
    """One case, built.

    Attributes:
        model: Not yet compiled.
        data: What `fit` takes as its data: batches in order.
        compile: Arguments of `compile`.
        fit: Further arguments of `fit`.
    """

    model: keras.Model
    data: tf.data.Dataset
    compile: dict[str, Any]
    fit: dict[str, Any] = {}  # noqa: RUF012


class Case(NamedTuple):
    """One fault, or one control.

    Attributes:
        name: As the table of faults has it.
        group: "data", "rate", "loss" or "control".
        says: What the table says of it: "silent" (the loss stays finite while the model is dead),
            "raises" (an exception on a CPU), "unseen" (every value stays finite), "none" (a
            control: nothing is wrong), or "" where it says no more than that it is a fault.
        build: Makes the case anew.
        unseen: Why nothing need be reported, by mode ("graph", "xla").
        bad_row: Whether one row is to blame, so that an incident should name it
            (an exception names no row).
    """

    name: str
    group: str
    says: str
    build: Callable[[], Setup]
    unseen: dict[str, str]
    bad_row: bool


class Table:
    """The cases of one group, in the order in which their functions stand in a file."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.cases: list[Case] = []

    def case(
        self,
        name: str,
        says: str = "",
        *,
        unseen: str | dict[str, str] = "",
        bad_row: bool = False,
    ) -> Callable[[Callable[[], Setup]], Callable[[], Setup]]:
        """Enter a function into the table; `unseen` as text holds in both modes."""
        if isinstance(unseen, str):
            unseen = {"graph": unseen, "xla": unseen} if unseen else {}

        def enter(build: Callable[[], Setup]) -> Callable[[], Setup]:
            self.cases.append(Case(name, self.group, says, build, unseen, bad_row))
            return build

        return enter


def make_rows(num_features: int = 4) -> tuple[Array, Array]:
    """Give normal features `(128, num_features)` and their sum, `(128, 1)`, as float32."""
    x = np.random.default_rng(0).normal(size=(NUM_ROWS, num_features)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def make_classes(num_classes: int = 2) -> tuple[Array, Array]:
    """Give normal features `(128, 4)` and a class, `(128,)` int32, that follows from their sum."""
    x, total = make_rows()
    edges = np.quantile(total, np.arange(1, num_classes) / num_classes)
    return x, np.searchsorted(edges, total[:, 0]).astype("int32")


def one_hot(y: Array, num_classes: int = 3) -> Array:
    return np.eye(num_classes, dtype="float32")[y]


def batches(*parts: Any) -> tf.data.Dataset:
    """Cut features, labels and weights into batches, in order."""
    return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH_SIZE)


def dense(
    activation: str | None = "relu", outputs: int = 1, out: Any = None, **options: Any
) -> keras.Model:
    """Make a net of one hidden layer of 8 units; `options` go to both layers."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation=activation, **options),
            keras.layers.Dense(outputs, activation=out, **options),
        ]
    )


def sgd(loss: Any, rate: Any = 0.01, **options: Any) -> dict[str, Any]:
    """Give compile arguments: plain SGD."""
    return {"optimizer": keras.optimizers.SGD(rate, **options), "loss": loss}


def adam(loss: Any, rate: Any = 0.001, **options: Any) -> dict[str, Any]:
    """Give compile arguments: Adam."""
    return {"optimizer": keras.optimizers.Adam(rate, **options), "loss": loss}


class Apply(keras.layers.Layer):  # type: ignore[misc]
    """A layer that applies a function, as a hand-written part of a model does."""

    def __init__(self, function: Callable[[Any], Any], dtype: Any = None) -> None:
        super().__init__(dtype=dtype)
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)
