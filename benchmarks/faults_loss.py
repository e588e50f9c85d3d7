"""Faults of losses and operations, as cases: hand-written formulas met by a row at their edge.

Every feature and label of that row is finite; what the formula makes of it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from faults_case import (
    BAD,
    BATCH_SIZE,
    NUM_ROWS,
    Apply,
    Array,
    Setup,
    Table,
    adam,
    batches,
    dense,
    make_classes,
    make_rows,
    one_hot,
)

layers = keras.layers
LOSS = Table("loss")
Loss = Callable[[Any, Any], Any]


def linear(*parts: Any) -> keras.Model:
    """Make a net without a bias, so that a row of zeros comes out as zeros."""
    first = layers.Dense(4, activation="tanh", use_bias=False)
    return keras.Sequential([keras.Input((4,)), first, *parts])


def far_row(loss: Loss, y: Array, model: keras.Model) -> Setup:
    """Put a row far out, where exp overflows and sigmoid and softmax reach 0 and 1."""
    x, _ = make_rows()
    x[BAD] = [2000, -2000, 2000, -2000]
    return Setup(model, batches(x, y), adam(loss))


def zero_row(loss: Any, y: Array, model: keras.Model) -> Setup:
    """Put a row of zeros, where sqrt, log and norms have no derivative."""
    x, _ = make_rows()
    x[BAD] = 0
    return Setup(model, batches(x, y), adam(loss))


def binary_labels() -> Array:
    return make_classes()[1].astype("float32")[:, None]


def class_labels() -> Array:
    return one_hot(make_classes(3)[1])


def row_mean(values: Any) -> Any:
    return tf.reduce_mean(values, axis=-1)


@LOSS.case("hand-written BCE", bad_row=True)
def hand_written_bce() -> Setup:
    def bce(y: Any, p: Any) -> Any:
        return -row_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))

    return far_row(bce, binary_labels(), dense(out="sigmoid"))


@LOSS.case("hand-written CE", bad_row=True)
def hand_written_ce() -> Setup:
    def ce(y: Any, p: Any) -> Any:
        return -tf.reduce_sum(y * tf.math.log(p), axis=-1)

    return far_row(ce, class_labels(), dense(outputs=3, out="softmax"))


@LOSS.case("division by the batch's positives")
def division_by_positives() -> Setup:
    x, _ = make_rows()
    y = binary_labels()
    y[BATCH_SIZE : 2 * BATCH_SIZE] = 0

    def per_positive(y: Any, p: Any) -> Any:
        return tf.reduce_sum(tf.square(y - p)) / tf.reduce_sum(y)

    return Setup(dense(out="sigmoid"), batches(x, y), adam(per_positive))


@LOSS.case("dice on an empty mask", bad_row=True)
def dice_on_empty() -> Setup:
    def dice(y: Any, p: Any) -> Any:
        both = tf.reduce_sum(y * p, axis=-1)
        return 1 - 2 * both / (tf.reduce_sum(y, axis=-1) + tf.reduce_sum(p, axis=-1))

    y = np.ones((NUM_ROWS, 6), "float32")
    y[BAD] = 0
    return zero_row(dice, y, linear(layers.Dense(6, activation="relu", use_bias=False)))


@LOSS.case("RMSE at sqrt(0)", bad_row=True)
def rmse_at_zero() -> Setup:
    def rmse(y: Any, p: Any) -> Any:
        return tf.sqrt(row_mean(tf.square(y - p)))

    _, y = make_rows()
    y[BAD] = 0
    return zero_row(rmse, y, linear(layers.Dense(1, use_bias=False)))


@LOSS.case("single where(log)", "silent", bad_row=True)
def single_where() -> Setup:
    def log_where_positive(y: Any, p: Any) -> Any:
        return row_mean(tf.square(y - tf.where(p > 0, tf.math.log(p), tf.zeros_like(p))))

    return zero_row(log_where_positive, make_rows()[1], linear(layers.Dense(1, use_bias=False)))


@LOSS.case("relu output with categorical cross-entropy")
def relu_output() -> Setup:
    model = linear(layers.Dense(3, activation="relu", use_bias=False))
    return zero_row("categorical_crossentropy", class_labels(), model)


@LOSS.case("Gaussian NLL", bad_row=True)
def gaussian_nll() -> Setup:
    def nll(y: Any, p: Any) -> Any:
        mean, variance = p[:, :1], tf.exp(p[:, 1:])
        return row_mean(tf.math.log(variance) + tf.square(y - mean) / variance)

    return far_row(nll, make_rows()[1], dense(outputs=2))


@LOSS.case("hand-written softmax", bad_row=True)
def hand_written_softmax() -> Setup:
    def softmax(x: Any) -> Any:
        return tf.exp(x) / tf.reduce_sum(tf.exp(x), axis=-1, keepdims=True)

    model = keras.Sequential([*dense(outputs=3).layers, Apply(softmax)])
    return far_row(keras.losses.CategoricalCrossentropy(), class_labels(), model)


@LOSS.case("reduce_std of a constant", bad_row=True)
def std_of_constant() -> Setup:
    def scale(x: Any) -> Any:
        x = x + 1.0
        return x / (tf.math.reduce_std(x, axis=-1, keepdims=True) + 1e-3)

    return zero_row("mse", make_rows()[1], linear(Apply(scale), layers.Dense(1)))


@LOSS.case("power of a negative")
def power_of_negative() -> Setup:
    def power(y: Any, p: Any) -> Any:
        return row_mean(tf.pow(y - p, 1.5))

    return zero_row(power, 3 + make_rows()[1], dense())


@LOSS.case("acos at 1", bad_row=True)
def acos_at_one() -> Setup:
    def angle(y: Any, p: Any) -> Any:
        return row_mean(tf.acos(tf.cos(y - p)))

    _, y = make_rows()
    y[BAD] = 0
    return zero_row(angle, y, linear(layers.Dense(1, use_bias=False)))


@LOSS.case("KL with y = 0", bad_row=True)
def kl_at_zero() -> Setup:
    def kl(y: Any, p: Any) -> Any:
        return tf.reduce_sum(y * tf.math.log(y / p), axis=-1)

    x, _ = make_rows()
    y = 0.9 * class_labels() + np.float32(0.1 / 3)
    y[BAD] = [0, 1, 0]
    return Setup(dense(outputs=3, out="softmax"), batches(x, y), adam(kl))


@LOSS.case("log(cosh)", bad_row=True)
def log_cosh() -> Setup:
    def loss(y: Any, p: Any) -> Any:
        return row_mean(tf.math.log(tf.cosh(y - p)))

    x, y = make_rows()
    y[BAD] = 200
    return Setup(dense(), batches(x, y), adam(loss))


@LOSS.case("x/‖x‖ of a zero row", bad_row=True)
def norm_of_zero() -> Setup:
    def scale(x: Any) -> Any:
        return x / tf.norm(x, axis=-1, keepdims=True)

    return zero_row("mse", make_rows()[1], linear(Apply(scale), layers.Dense(1)))


@LOSS.case("softmax over an all-masked row", bad_row=True)
def all_masked_softmax() -> Setup:
    def attend(x: Any) -> Any:
        scores = tf.where(x == 0, tf.fill(tf.shape(x), -np.inf), x)
        return tf.nn.softmax(scores) * x

    parts = [Apply(attend), layers.Dense(8, activation="tanh"), layers.Dense(1)]
    return zero_row("mse", make_rows()[1], keras.Sequential([keras.Input((4,)), *parts]))


def covariance(x: Any) -> Any:
    """Give XᵀX of a row's four hidden values as 2 × 2, `(batch, 2, 2)`."""
    square = tf.reshape(x, (-1, 2, 2))
    return tf.matmul(square, square, transpose_a=True)


@LOSS.case("logdet of a singular matrix", bad_row=True)
def logdet_of_singular() -> Setup:
    def logdet(x: Any) -> Any:
        return tf.linalg.logdet(covariance(x))[:, None]

    return zero_row("mse", make_rows()[1], linear(Apply(logdet), layers.Dense(1)))


@LOSS.case("log of the determinant of a singular matrix", bad_row=True)
def log_of_determinant() -> Setup:
    def log_of_det(x: Any) -> Any:
        m = covariance(x)
        return tf.math.log(m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0])[:, None]

    return zero_row("mse", make_rows()[1], linear(Apply(log_of_det), layers.Dense(1)))


@LOSS.case("temperature 0", bad_row=True)
def zero_temperature() -> Setup:
    x, _ = make_rows()
    temperature = np.ones((NUM_ROWS, 1), "float32")
    temperature[BAD] = 0
    source, heat = keras.Input((4,)), keras.Input((1,))
    logits = layers.Dense(3)(source)
    out = layers.Softmax()(Apply(lambda pair: pair[0] / pair[1])([logits, heat]))
    model = keras.Model([source, heat], out)
    return Setup(model, batches((x, temperature), class_labels()), adam("categorical_crossentropy"))


@LOSS.case("clip after log", "silent", bad_row=True)
def clip_after_log() -> Setup:
    def clipped(y: Any, p: Any) -> Any:
        return -row_mean(y * tf.clip_by_value(tf.math.log(p), -10.0, 0.0))

    return far_row(clipped, class_labels(), dense(outputs=3, out="softmax"))


@LOSS.case("float16 epsilon underflow", bad_row=True)
def float16_epsilon() -> Setup:
    def ce(y: Any, log_p: Any) -> Any:
        return -tf.reduce_sum(y * log_p, axis=-1)

    half = keras.DTypePolicy("mixed_float16")
    net = dense(outputs=3, out="softmax", dtype=half)
    # In float16 1e-8 is 0.
    model = keras.Sequential([*net.layers, Apply(lambda p: tf.math.log(p + 1e-8), dtype=half)])
    return far_row(ce, class_labels(), model)


@LOSS.case("hand-written focal loss", bad_row=True)
def hand_written_focal() -> Setup:
    def focal(y: Any, p: Any) -> Any:
        return -tf.reduce_sum(y * (1 - p) ** 0.5 * tf.math.log(p), axis=-1)

    return far_row(focal, class_labels(), dense(outputs=3, out="softmax"))


@LOSS.case("sqrt of a negative variance", bad_row=True)
def negative_variance() -> Setup:
    def scale(x: Any) -> Any:
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) - tf.square(mean)
        return (x - mean) / (tf.sqrt(variance) + 1e-3)

    x, y = make_rows()
    # The variance is 1; the mean of the squares, 2.5e11, is held to no better than 1e4.
    x[BAD] += 5e5
    parts = [Apply(scale), layers.Dense(8, activation="tanh"), layers.Dense(1)]
    return Setup(keras.Sequential([keras.Input((4,)), *parts]), batches(x, y), adam("mse"))
