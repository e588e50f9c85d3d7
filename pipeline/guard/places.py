"""Which layer, or which weight's gradient, is the first to be non-finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from pipeline.guard.batch import Tensor
from pipeline.guard.finite import all_finite


class Places:
    """Where an attempt looked, in the order in which the step passes them.

    Attributes:
        names: Layers by their path, then gradients by the path of their weight; filled in as the
            step is traced.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def check(self, outputs: list[tuple[str, Any]], model: Any, gradients: list[Any]) -> Tensor:
        """Tell which places are finite: bool `(len(names),)`."""
        weights = zip(model.trainable_weights, gradients, strict=True)
        found = [*outputs, *((f"gradient of {w.path}", g) for w, g in weights if g is not None)]
        self.names = [name for name, _ in found]
        flags = [all_finite(_plain(value), tf.float32, exact=True) for _, value in found]
        return tf.stack(flags) if flags else tf.zeros([0], tf.bool)


def _plain(value: Any) -> Any:
    return value.values if isinstance(value, tf.IndexedSlices) else value


@contextmanager
def watch_layers(model: Any) -> Iterator[list[tuple[str, Any]]]:
    """Collect what each layer gives, innermost first, within the block."""
    outputs: list[tuple[str, Any]] = []
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    layers = {id(layer): layer for layer in model._flatten_layers(include_self=False)}.values()
    own = {id(layer): vars(layer)["call"] for layer in layers if "call" in vars(layer)}
    for layer in layers:
        # An instance's own attribute, put past Keras' bookkeeping, goes before the class's.
        vars(layer)["call"] = _watched(layer, graph, outputs)
    try:
        yield outputs
    finally:
        for layer in layers:
            if id(layer) in own:
                vars(layer)["call"] = own[id(layer)]
            else:
                del vars(layer)["call"]


def _watched(layer: Any, graph: Any, outputs: list[tuple[str, Any]]) -> Callable[..., Any]:
    call = layer.call

    def watched(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        # Within a loop, as a recurrent cell is, the values are out of reach.
        now = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        if now is graph:
            outputs.append((layer.path, output))
        return output

    return watched
