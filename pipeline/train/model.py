"""A plain feed-forward network from a feature spec, normalisation included.

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

from pipeline.manifest import Feature, Spec
from pipeline.repair.plan import LabelPlan

# A larger vocabulary is embedded: one-hot, it would outweigh every other feature.
MAX_ONE_HOT = 32
MAX_EMBEDDING = 16
# A legal value far outside the train split must not drive a step: at ten deviations it says all.
MAX_DEVIATIONS = 10.0


def build_model(
    spec: Spec, label: LabelPlan, *, hidden: Sequence[int] = (64, 32), activation: str = "relu"
) -> keras.Model:
    """Build the network, uncompiled.

    Inputs are the spec's features by name, `(batch, 1)`; the output is `(batch, classes)` logits,
    or `(batch, 1)` in the label's units.

    Args:
        spec: The feature spec.
        label: What was learned of the label.
        hidden: Units of the hidden layers.
        activation: Their activation.
    """
    # Keras allows no slash in a name, and the data's authors know nothing of Keras.
    inputs = {
        f.name: keras.Input((1,), name=f.name.replace("/", "\N{DIVISION SLASH}"), dtype=f.dtype)
        for f in spec.features
    }
    encoded = [_encode(inputs[feature.name], feature) for feature in spec.features]
    x = layers.Concatenate()(encoded) if len(encoded) > 1 else encoded[0]
    policy = "mixed_float16" if spec.training_dtype == "float16" else "float32"
    for units in hidden:
        x = layers.Dense(units, activation=activation, dtype=policy)(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict")  # the slash again
        return keras.Model(inputs, _read_out(x, spec.label.classes, label))


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
    # A constant column has no spread to be measured by.
    variance = feature.variance or 1.0
    scaled = layers.Normalization(mean=np.array([mean]), variance=np.array([variance]))(x)
    return ops.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)


def _read_out(x: Any, classes: Sequence[Any] | None, plan: LabelPlan) -> Any:
    if classes is not None:
        return layers.Dense(len(classes), dtype="float32")(x)
    deviation = float(np.sqrt(plan.variance or 0.0)) or 1.0
    unit = layers.Dense(1, dtype="float32")(x)
    return layers.Rescaling(deviation, offset=plan.mean or 0.0)(unit)
