"""Faults of the learning rate and the optimisation, as cases."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from faults_case import (
    BAD,
    NUM_ROWS,
    Setup,
    Table,
    adam,
    batches,
    dense,
    make_rows,
    sgd,
)

layers = keras.layers
RATE = Table("rate")


@RATE.case("SGD at rate 10")
def sgd_at_10() -> Setup:
    return Setup(dense(), batches(*make_rows()), sgd("mse", 10.0))


@RATE.case("Adam at 1e6")
def adam_at_1e6() -> Setup:
    return Setup(dense(), batches(*make_rows()), adam("mse", 1e6))


@RATE.case("a schedule that grows")
def growing_schedule() -> Setup:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 1, 3.0)
    return Setup(dense(), batches(*make_rows()), sgd("mse", schedule))


@RATE.case("initial weights with std 10")
def large_weights() -> Setup:
    wide = keras.initializers.RandomNormal(stddev=10.0, seed=1)
    parts = [layers.Dense(32, activation="relu", kernel_initializer=wide) for _ in range(4)]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(1)])
    return Setup(model, batches(*make_rows()), sgd("mse"))


def recurrent(kernel: Any, steps: int) -> Setup:
    x = np.random.default_rng(0).normal(size=(NUM_ROWS, steps, 2)).astype("float32")
    y = x.mean(axis=(1, 2))[:, None]
    rnn = layers.SimpleRNN(8, activation="relu", recurrent_initializer=kernel)
    model = keras.Sequential([keras.Input((steps, 2)), rnn, layers.Dense(1)])
    return Setup(model, batches(x, y), sgd("mse", 0.1))


@RATE.case("relu RNN")
def relu_rnn() -> Setup:
    return recurrent(keras.initializers.RandomNormal(stddev=0.8, seed=1), 20)


@RATE.case("loss weight 1e6")
def loss_weight() -> Setup:
    return Setup(dense(), batches(*make_rows()), sgd("mse") | {"loss_weights": [1e6]})


@RATE.case("beta_1 = 1")
def beta_1_of_1() -> Setup:
    return Setup(dense(), batches(*make_rows()), adam("mse", beta_1=1.0))


class InverseRoot(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The rate of the Transformer without its warm-up: infinite at step 0."""

    def __call__(self, step: Any) -> Any:
        return 0.01 * tf.math.rsqrt(tf.cast(step, tf.float32))


@RATE.case("infinite rate at step 0")
def infinite_rate() -> Setup:
    return Setup(dense(), batches(*make_rows()), sgd("mse", InverseRoot()))


@RATE.case("float16 without loss scaling")
def float16_unscaled() -> Setup:
    x, y = make_rows()
    # 300 squared is beyond float16.
    compiled = sgd("mse") | {"auto_scale_loss": False}
    return Setup(dense(dtype="mixed_float16"), batches(x, 300 + y), compiled)


@RATE.case("global_clipnorm with one finite 1e20 label", bad_row=True)
def clipnorm_of_a_huge_label() -> Setup:
    x, y = make_rows()
    y[BAD] = 1e20
    return Setup(dense("tanh"), batches(x, y), sgd("mse", global_clipnorm=1.0))


@RATE.case("the CNN on raw pixels at 0.01 with momentum 0.9")
def raw_pixels() -> Setup:
    y = np.arange(NUM_ROWS) % 4
    x = np.random.default_rng(0).normal(0, 20, (NUM_ROWS, 16, 16, 1))
    for i, column in enumerate(4 * y):
        x[i, 2:-2, column : column + 7] += 255
    parts = [
        layers.Conv2D(8, 3, activation="leaky_relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="leaky_relu"),
        layers.Flatten(),
        layers.Dense(64, activation="leaky_relu"),
        layers.Dense(4),
    ]
    model = keras.Sequential([keras.Input((16, 16, 1)), *parts])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pixels = x.clip(0, 255).astype("float32")
    return Setup(model, batches(pixels, y), sgd(loss, 0.01, momentum=0.9))


@RATE.case("L2 of 1e4")
def l2_of_1e4() -> Setup:
    model = dense(kernel_regularizer=keras.regularizers.L2(1e4))
    return Setup(model, batches(*make_rows()), sgd("mse"))


@RATE.case("residual stack without normalisation")
def residual_stack() -> Setup:
    source = keras.Input((4,))
    x = layers.Dense(16)(source)
    for _ in range(12):
        branch = layers.Dense(16, activation="relu", kernel_initializer="he_normal")(x)
        x = layers.Add()([x, branch])
    model = keras.Model(source, layers.Dense(1)(x))
    return Setup(model, batches(*make_rows()), sgd("mse"))


@RATE.case("exploding identity initialiser")
def exploding_identity() -> Setup:
    return recurrent(keras.initializers.Identity(gain=3.0), 40)
