"""How far a sound run strays from its usual loss and gradient norm, and an exploding one.

    python benchmarks/guard_limits.py

Plain Keras, unguarded. The defaults of `explosion_ratio` (1,000 times the usual norm, the square
of it for the loss) and of `clip` in `nanproof train` (10 times the recent median) rest on this.
Usual is the greatest running median of the last 64 steps, as in pipeline/guard/usual.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.optimizers import SGD, Adam

WINDOW, EXPLOSION, CLIP = 64, 1000.0, 10.0
random = np.random.default_rng(0)
X = random.normal(size=(4096, 8)).astype("float32")
Y = (X @ random.normal(size=(8, 1))).astype("float32")
SIGN = (Y[:, 0] > 0).astype("int32")
CLASSES = random.integers(0, 10, 4096)
NOISE = random.normal(0, 40, (4096, 28, 28, 1))
PIXELS = 0.5 * random.integers(0, 255, (10, 28, 28, 1))[CLASSES] + NOISE + 30
PIXELS = np.clip(PIXELS, 0, 255).astype("float32")
SERIES = random.normal(size=(1024, 30, 4)).astype("float32")
TOTALS = SERIES.sum((1, 2))[:, None]
IDS = (random.zipf(1.3, (4096, 4)) % 1000).astype("int32")
RARE = SIGN.copy()
RARE[:3] = 1 - RARE[:3]

Case = tuple[str, Callable[[], keras.Model], Any, Any, Any, Any, int, int]
"""Name, model, inputs, labels, optimizer, loss, rows a batch, steps."""


def mlp(
    *, activation: str = "relu", norm: bool = False, out: int = 1, init: Any = "glorot_uniform"
) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        hidden = [layers.Dense(32, activation, kernel_initializer=init) for _ in range(2)]
        middle = [layers.BatchNormalization()] if norm else []
        last = layers.Dense(out, kernel_initializer=init)
        return keras.Sequential([keras.Input((8,)), hidden[0], *middle, hidden[1], last])

    return build


def deep() -> keras.Model:
    init = keras.initializers.RandomNormal(stddev=0.03)
    hidden = [layers.Dense(16, kernel_initializer=init) for _ in range(4)]
    return keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(1)])


def penalised() -> keras.Model:
    dense = layers.Dense(32, kernel_regularizer=keras.regularizers.L2(1e4))
    return keras.Sequential([keras.Input((8,)), dense, layers.Dense(1)])


def cnn() -> keras.Model:
    blocks = [
        layer
        for filters in (16, 32)
        for layer in (layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D())
    ]
    return keras.Sequential([keras.Input((28, 28, 1)), *blocks, layers.Flatten(), layers.Dense(10)])


def recurrent(layer: Callable[[], Any]) -> Callable[[], keras.Model]:
    return lambda: keras.Sequential([keras.Input((30, 4)), layer(), layers.Dense(1)])


def embedding() -> keras.Model:
    inner = [layers.Embedding(1000, 8), layers.Flatten(), layers.Dense(1)]
    return keras.Sequential([keras.Input((4,), dtype="int32"), *inner])


def entropy(truth: Any, logits: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(truth, tf.int32), logits)


def likelihood(truth: Any, found: Any) -> Any:
    spread = found[:, 1:]
    return 0.5 * tf.math.exp(-2 * spread) * (truth - found[:, :1]) ** 2 + spread


def heavy(truth: Any, found: Any) -> Any:
    return 1e6 * keras.losses.mean_squared_error(truth, found)


class Rate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate as a function of the step."""

    def __init__(self, rate: Callable[[Any], Any]) -> None:
        self._rate = rate

    def __call__(self, step: Any) -> Any:
        return self._rate(tf.cast(step, tf.float32))


def list_sound() -> Iterator[Case]:
    """Yield runs that a guard should let pass."""

    def noisy(degrees: float) -> Any:
        return (Y + random.standard_t(degrees, Y.shape)).astype("float32")

    for degrees in (1.5, 2, 3):
        name = f"noise of {degrees} degrees"
        yield f"{name}, SGD", mlp(), X, noisy(degrees), SGD(0.001), "mse", 32, 3000
        yield f"{name}, Adam", mlp(), X, noisy(degrees), Adam(0.001), "mse", 32, 3000
    wild = random.standard_t(2, X.shape).astype("float32")
    tiny = keras.initializers.RandomNormal(stddev=1e-3)
    two, warm = mlp(out=2), Rate(lambda step: 0.01 * tf.minimum(1.0, (step + 1) / 50))
    yield "inputs of 2 degrees", mlp(), wild, Y, Adam(0.001), "mse", 32, 3000
    yield "tanh", mlp(activation="tanh"), X, Y, Adam(0.01), "mse", 32, 600
    yield "gelu, MAE", mlp(activation="gelu"), X, Y, Adam(0.003), "mae", 32, 600
    yield "SGD 0.3, small data", mlp(), X / 8, Y / 8, SGD(0.3), "mse", 32, 600
    yield "SGD 0.3", mlp(), X, Y / 3, SGD(0.3), "mse", 32, 600
    yield "BatchNorm", mlp(norm=True), X, Y, Adam(0.01), "mse", 32, 600
    yield "labels of 100", mlp(), X, Y * 100, Adam(0.001), "mse", 32, 600
    yield "labels off by 400", mlp(), X, Y + 400, Adam(0.01), "mse", 32, 3000
    yield "likelihood", two, X, Y, Adam(0.01), likelihood, 32, 3000
    yield "likelihood of a constant", two, X, Y * 0 + 1, Adam(0.01), likelihood, 32, 3000
    yield "warm-up", mlp(), X, Y, Adam(warm), "mse", 32, 600
    yield "batches of one", mlp(), X, Y, SGD(0.003), "mse", 1, 3000
    yield "separable", two, X, SIGN, Adam(0.01), entropy, 16, 3000
    yield "separable but for three", two, X, RARE, Adam(0.003), entropy, 16, 3000
    yield "CNN 0.001", cnn, PIXELS, CLASSES, SGD(0.001, momentum=0.9), entropy, 64, 150
    yield "CNN, scaled", cnn, PIXELS / 255, CLASSES, Adam(0.001), entropy, 64, 150
    yield "LSTM", recurrent(lambda: layers.LSTM(16)), SERIES, TOTALS, Adam(0.01), "mse", 32, 300
    yield "embedding", embedding, IDS, (IDS[:, :1] % 7) * 1.0, Adam(0.01), "mse", 32, 600
    yield "weights of 0", mlp(init="zeros"), X, Y, Adam(0.01), "mse", 32, 600
    yield "tiny weights", mlp(init=tiny), X, Y, SGD(0.1), "mse", 32, 3000


def list_unstable() -> Iterator[Case]:
    """Yield runs whose rate, weights or loss are too large."""
    two, wide = mlp(out=2), keras.initializers.RandomNormal(stddev=10)
    grow = Rate(lambda step: 0.001 * 1.05**step)
    relu_rnn = recurrent(lambda: layers.SimpleRNN(32, activation="relu"))
    yield "tiny weights, deep", deep, X, Y, SGD(0.1), "mse", 32, 3000
    yield "SGD 10", mlp(), X, Y, SGD(10.0), "mse", 32, 600
    yield "SGD 1", mlp(), X, Y, SGD(1.0), "mse", 32, 600
    yield "SGD 0.3, large labels", mlp(), X, Y * 3, SGD(0.3), "mse", 32, 600
    yield "Adam 1e6", mlp(), X, Y, Adam(1e6), "mse", 32, 600
    yield "Adam 1e6, entropy", two, X, SIGN, Adam(1e6), entropy, 32, 600
    yield "Adam 10, entropy", two, X, SIGN, Adam(10.0), entropy, 32, 600
    yield "CNN 0.1", cnn, PIXELS, CLASSES, SGD(0.1, momentum=0.9), entropy, 64, 100
    yield "weights of 10", mlp(init=wide), X, Y, SGD(0.01), "mse", 32, 600
    yield "growing rate", mlp(), X, Y, SGD(grow), "mse", 32, 600
    yield "relu RNN", relu_rnn, SERIES, TOTALS, SGD(0.01), "mse", 32, 300
    yield "loss of a million", mlp(), X, Y, SGD(0.01), heavy, 32, 600
    yield "L2 of 1e4", penalised, X, Y, SGD(0.01), "mse", 32, 600


def follow(case: Case) -> Any:
    """Return `(steps, 2)` losses and gradient norms, up to the first that is not finite."""
    _, build, x, y, optimizer, loss, batch_size, num_steps = case
    keras.utils.set_random_seed(2)
    model, compute = build(), keras.losses.get(loss)

    @tf.function
    def step(rows: Any, truth: Any) -> Any:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(compute(truth, model(rows, training=True)))
            value += tf.add_n([tf.zeros([]), *model.losses])
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value, tf.linalg.global_norm(gradients)

    found = []
    for number in range(num_steps):
        rows = np.random.default_rng(number).integers(0, len(y), batch_size)
        value, norm = step(tf.constant(x[rows]), tf.constant(y[rows], dtype=None))
        found.append((float(value), float(norm)))
        if not np.isfinite(found[-1]).all():
            break
    return np.array(found)


class Seen(NamedTuple):
    """What a run came to.

    Attributes:
        loss: The greatest, in multiples of the usual one.
        norm: Likewise.
        clipped: The share of steps whose norm is beyond `CLIP` recent medians.
        beyond: The first step that is an explosion, or None.
        broken: The first that is not finite, or None.
    """

    loss: float
    norm: float
    clipped: float
    beyond: int | None
    broken: int | None


def judge(steps: Any) -> Seen:
    """Hold each step against those before it."""
    highest, greatest, clipped, beyond = np.zeros(2), np.zeros(2), 0, None
    for number in range(1, len(steps)):
        if not np.isfinite(steps[number]).all():
            break
        recent = np.sort(np.abs(steps[max(0, number - WINDOW) : number]), axis=0)
        median = recent[(len(recent) - 1) // 2]
        highest = np.maximum(highest, median)
        ratios = steps[number] / highest
        greatest = np.maximum(greatest, ratios)
        clipped += steps[number][1] > CLIP * median[1]
        if beyond is None and (ratios[1] > EXPLOSION or ratios[0] > EXPLOSION**2):
            beyond = number
    finite = np.isfinite(steps).all(axis=1)
    broken = None if finite.all() else int(np.argmin(finite))
    return Seen(*map(float, greatest), clipped / len(steps), beyond, broken)


def measure(cases: Iterator[Case]) -> list[Seen]:
    """Print a line a run."""
    found = []
    for case in cases:
        seen = judge(follow(case))
        places = (f"{'-' if place is None else place!s:>9}" for place in seen[3:])
        numbers = f"{seen.loss:12.3g} {seen.norm:10.3g} {seen.clipped:8.1%}"
        print(f"{case[0]:28} {numbers}  {'  '.join(places)}", flush=True)
        found.append(seen)
    return found


def main() -> None:
    """Print all runs, and what they say of the limits."""
    print(f"{'':28} {'x usual loss':>12} {'x norm':>10} {'clipped':>8}  beyond at  NaN at")
    sound, unstable = measure(list_sound()), measure(list_unstable())
    norm, loss = max(s.norm for s in sound), max(s.loss for s in sound)
    never = sum(s.clipped == 0 for s in sound)
    print(
        f"{len(sound)} sound runs: the norm at most {norm:.0f} times the usual one, the loss",
        end="",
    )
    print(f" {loss:.0f}; {never} never clipped, no other in more than", end="")
    print(f" {max(s.clipped for s in sound):.0%} of its steps")
    beyond = sum(s.beyond is not None for s in unstable)
    first = sum(s.beyond is None and s.broken is not None for s in unstable)
    print(f"{len(unstable)} unstable ones: {beyond} seen while finite, {first} NaN at once")


if __name__ == "__main__":
    main()
