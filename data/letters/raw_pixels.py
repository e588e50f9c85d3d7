"""A loss that turns NaN on sound data: what the usual advice shows, and what it hides.

`python data/letters/raw_pixels.py` draws the letters of generate.py without their faults, leaves
the pixels as they are, 0 to 255, and fits one small network to them by SGD with momentum, each
time from the same weights. Every fit is judged by letters that it has not seen.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from generate import LETTERS, PER_LETTER, SEED, Random, draw_letter

from pipeline.errors import GuardBudgetSpent
from pipeline.tensorflow_import import silence_import

# TensorFlow logs as an error that it could not fuse a convolution with its activation.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
with silence_import():
    import keras
    import tensorflow as tf
    from keras import layers

    from pipeline.guard import guarded

RATE, LOWER_RATE, MOMENTUM = 0.01, 0.001, 0.9
ACTIVATION, BATCH_SIZE, EPOCHS = "leaky_relu", 32, 4
NUM_TEST_PER_LETTER = 50
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Drawn(NamedTuple):
    """Letters: pixels `(rows, 28, 28, 1)` float32 in [0, 255], labels `(rows,)` int64."""

    pixels: Any
    labels: Any


def draw(per_letter: int, seed: int) -> Drawn:
    """Draw every letter so many times, in an order that mixes them."""
    random = Random(seed)
    images = np.concatenate([draw_letter(letter, per_letter, random) for letter in LETTERS])
    order = random.permutation(len(images))
    labels = np.repeat(np.arange(len(LETTERS)), per_letter)
    return Drawn(images[order][..., None].astype(np.float32), labels[order])


def build_network(activation: str) -> Any:
    """Build a network of a first tutorial's size, without the layer that rescales."""
    keras.utils.set_random_seed(SEED)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, strides=2, activation=activation),
            layers.Conv2D(32, 3, strides=2, activation=activation),
            layers.Flatten(),
            layers.Dense(64, activation=activation),
            layers.Dense(len(LETTERS)),
        ]
    )


def loss_without_nan(truth: Any, logits: Any) -> Any:
    """Return the mean loss, 0 where it is NaN."""
    loss = tf.reduce_mean(CROSS_ENTROPY(truth, logits))
    return tf.where(tf.math.is_nan(loss), 0.0, loss)


def fit(
    train: Drawn,
    rate: float,
    *,
    loss: Any = CROSS_ENTROPY,
    guard: bool = False,
    activation: str = ACTIVATION,
) -> Any:
    """Fit the network; a guarded one whose budget is spent says so and is returned as it is."""
    model = build_network(activation)
    if guard:
        guarded(model)
    model.compile(keras.optimizers.SGD(rate, momentum=MOMENTUM), loss)
    try:
        model.fit(train.pixels, train.labels, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    except GuardBudgetSpent as spent:
        print(spent)
    return model


def tell_losses(model: Any) -> str:
    """Say what Keras shows of a fit."""
    return "loss by epoch " + ", ".join(f"{loss:.3g}" for loss in model.history.history["loss"])


def tell_truth(model: Any, test: Drawn) -> str:
    """Say what has become of the network."""
    weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
    bad = int((~np.isfinite(weights)).sum())
    right = (model.predict(test.pixels, verbose=0).argmax(axis=1) == test.labels).mean()
    constant = np.bincount(test.labels).max() / len(test.labels)
    return (
        f"{bad:,} of {weights.size:,} weights are NaN; "
        f"accuracy {right:.3f}, a constant has {constant:.3f}"
    )


def tell(what: str, **lines: str) -> None:
    """Print a fit: a title, and a name before each text."""
    print(f"\n{what}")
    for name, text in lines.items():
        print(f"   {name:8}" + text.replace("\n", "\n" + " " * 11))


def follow_the_advice(train: Drawn, test: Drawn) -> None:
    """Fit as it is, and as one is usually told to."""
    model = fit(train, RATE)
    truth = tell_truth(model, test)
    tell(
        f"1. as it is, rate {RATE}",
        shows=tell_losses(model),
        hides="the step, and whether data, rate or loss are to blame",
        truth=truth,
    )
    num_nan = int(np.isnan(train.pixels).sum())
    least, greatest = train.pixels.min(), train.pixels.max()
    tell(
        '2. "look for NaN in your data"',
        shows=f"{num_nan} of {train.pixels.size:,} pixels are NaN; all are in "
        f"[{least:.0f}, {greatest:.0f}]",
        hides="that numbers can be sound and too large for the rate",
        truth=f"still {truth}",
    )
    model = fit(train, RATE, loss=loss_without_nan)
    tell(
        '3. "replace a NaN loss by 0"',
        shows=tell_losses(model),
        hides="that the gradient of a loss replaced is NaN all the same",
        truth=tell_truth(model, test),
    )
    model = fit(train, LOWER_RATE)
    tell(
        f'4. "lower the learning rate", {LOWER_RATE}',
        shows=tell_losses(model),
        hides="how anybody knew which rate, and what made the first one too great",
        truth=tell_truth(model, test),
    )


def guard_it(train: Drawn, test: Drawn) -> None:
    """Fit behind the guard: as it is, on rescaled pixels, and where there is nothing to be seen."""
    tell_guarded(
        f"5. guarded(model), rate {RATE}",
        fit(train, RATE, guard=True),
        test,
        hides="that the pixels are to blame: the rate is now one that they allow",
    )
    scaled, scaled_test = (Drawn(d.pixels / 255, d.labels) for d in (train, test))
    tell_guarded(
        f"6. pixels / 255, guarded(model), rate {RATE}",
        fit(scaled, RATE, guard=True),
        scaled_test,
        hides="nothing: this is the cure",
    )
    tell_guarded(
        f"7. as 5, with relu for {ACTIVATION}",
        fit(train, RATE, guard=True, activation="relu"),
        test,
        hides="units that are always off: finite, so no incident, and they learn nothing",
    )


def tell_guarded(what: str, model: Any, test: Drawn, hides: str) -> None:
    """Print a guarded fit."""
    tell(
        what,
        shows=tell_losses(model),
        says=model.guard.table() or "no incident",
        hides=hides,
        truth=f"{tell_truth(model, test)}; rate {float(model.optimizer.learning_rate):.3g}",
    )


def main() -> None:
    """Print what becomes of the network each way."""
    train, test = draw(PER_LETTER, SEED), draw(NUM_TEST_PER_LETTER, SEED + 1)
    print(
        f"{len(train.labels):,} letters of 28 x 28 raw pixels, a small CNN, "
        f"SGD with momentum {MOMENTUM}"
    )
    follow_the_advice(train, test)
    guard_it(train, test)


if __name__ == "__main__":
    main()
