"""A plain network from a feature spec, normalisation included; images go through convolutions.

What the plan learned on the train split stands in the model as constants, so that a saved model
takes shards as they are, and loads with nothing but Keras.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pipeline.manifest import Feature, Label, Spec

# A larger vocabulary is embedded: one-hot, it would outweigh every other feature.
MAX_ONE_HOT = 32
MAX_EMBEDDING = 16
# A legal value far outside the train split must not drive a step: at ten deviations it says all.
MAX_DEVIATIONS = 10.0
# An image is halved until neither side of its map is longer: 28 pixels take three blocks.
MAX_MAP_SIDE = 4
FIRST_FILTERS = 16
MAX_FILTERS = 128


def build_model(
    spec: Spec, *, hidden: Sequence[int] = (64, 32), activation: str = "relu"
) -> keras.Model:
    """Build the network, uncompiled.

    Inputs are the spec's features by name, `(batch, 1)`, or `(batch, *shape)` for a tensor; the
    output is `(batch, classes)` logits, or `(batch, 1)` in the label's units. No layer mixes the
    rows of a batch, so one row's faults stay its own.

    Args:
        spec: The feature spec.
        hidden: Units of the hidden dense layers.
        activation: Their activation, and the convolutions'.
    """
    # Keras allows no slash in a name, and the data's authors know nothing of Keras.
    inputs = {
        f.name: keras.Input(
            f.shape if f.kind == "tensor" else (1,),
            name=f.name.replace("/", "\N{DIVISION SLASH}"),
            dtype=f.dtype,
        )
        for f in spec.features
    }
    policy = "mixed_float16" if spec.training_dtype == "float16" else "float32"
    encoded = [
        _encode_tensor(inputs[f.name], f, activation, policy)
        if f.kind == "tensor"
        else _encode(inputs[f.name], f)
        for f in spec.features
    ]
    x = layers.Concatenate()(encoded) if len(encoded) > 1 else encoded[0]
    for units in hidden:
        x = layers.Dense(units, activation=activation, dtype=policy)(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict")  # the slash again
        return keras.Model(inputs, _read_out(x, spec.label))


def _encode(x: Any, feature: Feature) -> Any:
    """Return one feature as `(batch, size)` float32 of about unit scale."""
    if feature.vocabulary is not None:
        num_tokens = len(feature.vocabulary) + 1
        if num_tokens <= MAX_ONE_HOT:
            return layers.CategoryEncoding(num_tokens, output_mode="one_hot")(x)
        size = min(MAX_EMBEDDING, round(num_tokens**0.5))
        return layers.Flatten()(layers.Embedding(num_tokens, size)(x))
    if feature.mean is None or feature.variance is None:  # an indicator
        return x
    mean = feature.mean - feature.shift
    if feature.dtype == "int64":
        # Taken off as an integer: microseconds since 1970 have no place in a float32.
        whole = round(mean)
        x = ops.cast(ops.subtract(x, whole), "float32")
        mean -= whole
    return _normalise(x, mean, feature.variance)


def _encode_tensor(x: Any, feature: Feature, activation: str, policy: str) -> Any:
    """Return a tensor as `(batch, size)`; `(height, width, channels)` by convolutions."""
    if feature.mean is not None:
        x = _normalise(x, feature.mean, feature.variance)
    if len(feature.shape) == 3:
        x = _convolve(x, feature.shape, activation, policy)
    return layers.Flatten()(x)


def _convolve(x: Any, shape: Sequence[int], activation: str, policy: str) -> Any:
    """Halve an image, by at least one block, until its map is small; twice the filters each."""
    side, filters = max(shape[:2]), FIRST_FILTERS
    while True:
        x = layers.Conv2D(filters, 3, padding="same", activation=activation, dtype=policy)(x)
        x = layers.MaxPooling2D(padding="same", dtype=policy)(x)
        side, filters = (side + 1) // 2, min(2 * filters, MAX_FILTERS)
        if side <= MAX_MAP_SIDE:
            return x


def _normalise(x: Any, mean: float, variance: float | None) -> Any:
    """Return numbers in deviations from their mean, both over all axes."""
    # A constant column has no spread to be measured by.
    variance = variance or 1.0
    scaled = layers.Normalization(mean=np.array([mean]), variance=np.array([variance]))(x)
    return ops.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)


def _read_out(x: Any, label: Label) -> Any:
    if label.classes is not None:
        return layers.Dense(len(label.classes), dtype="float32")(x)
    deviation = float(np.sqrt(label.variance or 0.0)) or 1.0
    unit = layers.Dense(1, dtype="float32")(x)
    return layers.Rescaling(deviation, offset=label.mean or 0.0)(unit)
