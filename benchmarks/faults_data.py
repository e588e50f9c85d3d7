"""Faults of the data, as cases: what sits in the second batch, and the controls without a fault."""

from __future__ import annotations

from collections.abc import Iterator
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
    sgd,
)

layers = keras.layers
DATA = Table("data")
CONTROLS = Table("control")


def spoilt_feature(value: float, activation: str) -> Setup:
    x, y = make_rows()
    x[BAD, 2] = value
    return Setup(dense(activation), batches(x, y), adam("mse") | {"metrics": ["mae"]})


def spoilt_label(value: float) -> Setup:
    x, y = make_rows()
    y[BAD] = value
    return Setup(dense("tanh"), batches(x, y), adam("mse") | {"metrics": ["mae"]})


@DATA.case("NaN cell + relu", "silent", bad_row=True)
def nan_cell_relu() -> Setup:
    return spoilt_feature(np.nan, "relu")


@DATA.case("NaN cell + tanh", bad_row=True)
def nan_cell_tanh() -> Setup:
    return spoilt_feature(np.nan, "tanh")


@DATA.case("Inf cell + relu", "silent", bad_row=True)
def inf_cell_relu() -> Setup:
    return spoilt_feature(np.inf, "relu")


@DATA.case("finite 1e30 feature", bad_row=True)
def huge_feature() -> Setup:
    return spoilt_feature(1e30, "relu")


@DATA.case("sentinel -999999")
def sentinel() -> Setup:
    x, y = make_rows()
    x[BAD, 2] = -999999
    return Setup(dense("relu"), batches(x, y), sgd("mse"))


@DATA.case("NaN label", bad_row=True)
def nan_label() -> Setup:
    return spoilt_label(np.nan)


@DATA.case("Inf label", bad_row=True)
def inf_label() -> Setup:
    return spoilt_label(np.inf)


@DATA.case("label = num_classes", "raises")
def label_out_of_range() -> Setup:
    x, y = make_classes(3)
    y[BAD] = 3
    return Setup(
        dense(outputs=3, out="softmax"), batches(x, y), adam("sparse_categorical_crossentropy")
    )


@DATA.case("BCE labels 0/255", "unseen", unseen="the loss is negative and finite, so is all else")
def bce_labels_255() -> Setup:
    x, y = make_classes()
    y = (y * 255).astype("float32")
    return Setup(dense(out="sigmoid"), batches(x, y[:, None]), adam("binary_crossentropy"))


@DATA.case("negative Poisson targets")
def negative_poisson() -> Setup:
    x, _ = make_rows()
    y = np.random.default_rng(1).poisson(5, (NUM_ROWS, 1)).astype("float32")
    y[BATCH_SIZE : 2 * BATCH_SIZE] *= -10
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, bias_initializer="ones")])
    return Setup(model, batches(x, y), sgd("poisson"))


@DATA.case("log of a negative target", bad_row=True)
def log_of_negative_target() -> Setup:
    x, y = make_rows()
    y = np.exp(y)
    y[BAD] = -1

    def log_error(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(tf.square(tf.math.log(y_true) - y_pred), axis=-1)

    return Setup(dense("tanh"), batches(x, y), adam(log_error))


def normalized(adapted_on: Array, x: Array, y: Array) -> Setup:
    scale = layers.Normalization()
    scale.adapt(adapted_on)
    hidden = layers.Dense(8, activation="relu")
    model = keras.Sequential([keras.Input((4,)), scale, hidden, layers.Dense(1)])
    return Setup(model, batches(x, y), sgd("mse"))


@DATA.case("Normalization adapted on a constant column that later varies")
def normalization_of_a_constant() -> Setup:
    x, y = make_rows()
    x[:BATCH_SIZE, 1] = 3
    x[BATCH_SIZE:, 1] += 3
    return normalized(x[:BATCH_SIZE], x, y)


@DATA.case("Normalization adapted on NaN", "silent")
def normalization_of_nan() -> Setup:
    x, y = make_rows()
    spoilt = x.copy()
    spoilt[BAD, 1] = np.nan
    return normalized(spoilt, x, y)


@DATA.case("fully padded row with a mask before GlobalAveragePooling1D", bad_row=True)
def padded_row() -> Setup:
    ids = np.random.default_rng(0).integers(1, 20, (NUM_ROWS, 6)).astype("int32")
    y = ids.mean(axis=1, keepdims=True).astype("float32") / 10
    ids[BAD] = 0
    parts = [layers.Embedding(20, 4, mask_zero=True), layers.GlobalAveragePooling1D()]
    model = keras.Sequential([keras.Input((6,), dtype="int32"), *parts, layers.Dense(1)])
    return Setup(model, batches(ids, y), adam("mse"))


@DATA.case("NaN sample_weight", bad_row=True)
def nan_weight() -> Setup:
    x, y = make_rows()
    weight = np.ones(NUM_ROWS, "float32")
    weight[BAD] = np.nan
    return Setup(dense(), batches(x, y, weight), adam("mse"))


@DATA.case("negative weights")
def negative_weights() -> Setup:
    x, y = make_rows()
    weight = np.ones(NUM_ROWS, "float32")
    weight[BATCH_SIZE::2] = -100
    return Setup(dense(), batches(x, y, weight), sgd("mse", 0.1))


def images() -> tuple[Array, Array]:
    y = np.arange(NUM_ROWS) % 2
    x = np.random.default_rng(0).uniform(0, 255, (NUM_ROWS, 8, 8, 1))
    x[:, :4] += 100 * y[:, None, None, None]
    x[BAD] = 0
    return x.astype("float32"), y.astype("float32")[:, None]


def convolution(*first: Any) -> keras.Model:
    conv = layers.Conv2D(4, 3, activation="relu")
    parts = [*first, conv, layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((8, 8, 1)), *parts])


@DATA.case("blank image divided by its own std, in the data", "silent", bad_row=True)
def blank_image_in_the_data() -> Setup:
    x, y = images()
    with np.errstate(invalid="ignore"):
        x = (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)
    return Setup(convolution(), batches(x, y), adam("binary_crossentropy"))


@DATA.case("blank image divided by its own std, in the model", "silent", bad_row=True)
def blank_image_in_the_model() -> Setup:
    def divide(x: Any) -> Any:
        mean = tf.reduce_mean(x, axis=(1, 2, 3), keepdims=True)
        return (x - mean) / tf.math.reduce_std(x, axis=(1, 2, 3), keepdims=True)

    return Setup(convolution(Apply(divide)), batches(*images()), adam("binary_crossentropy"))


@DATA.case("target around 1e6")
def large_target() -> Setup:
    x, y = make_rows()
    y[BATCH_SIZE:] = 1e6 * (1 + 0.1 * y[BATCH_SIZE:])
    return Setup(dense(), batches(x, y), sgd("mse"))


@DATA.case(
    "embedding id out of range",
    "raises",
    unseen={"xla": "XLA clamps the id: another row's vector, and every value finite"},
)
def embedding_id_out_of_range() -> Setup:
    ids = np.random.default_rng(0).integers(0, 20, (NUM_ROWS, 6)).astype("int32")
    y = ids.mean(axis=1, keepdims=True).astype("float32") / 10
    ids[BAD, 2] = 20
    parts = [layers.Embedding(20, 4), layers.Flatten(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((6,), dtype="int32"), *parts])
    return Setup(model, batches(ids, y), adam("mse"))


@DATA.case("epoch-nanosecond timestamp as float32")
def nanoseconds() -> Setup:
    x, y = make_rows()
    x[BATCH_SIZE:, 2] = 1.7e18
    return Setup(dense("relu"), batches(x, y), sgd("mse"))


@DATA.case("infinite class weight", bad_row=True)
def infinite_class_weight() -> Setup:
    x, y = make_classes(2)
    y[BAD] = 2
    compiled = adam("sparse_categorical_crossentropy")
    weights = {0: 1.0, 1: 1.0, 2: float("inf")}
    return Setup(
        dense(outputs=3, out="softmax"), batches(x, y), compiled, {"class_weight": weights}
    )


@DATA.case("empty batch with BatchNorm")
def empty_batch() -> Setup:
    x, y = make_rows()

    def feed() -> Iterator[tuple[Array, Array]]:
        for start in range(0, NUM_ROWS, BATCH_SIZE):
            # A filter that left nothing of the second batch.
            end = start if start == BATCH_SIZE else start + BATCH_SIZE
            yield x[start:end], y[start:end]

    kinds = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))
    parts = [layers.Dense(8), layers.BatchNormalization(), layers.Dense(1)]
    data = tf.data.Dataset.from_generator(feed, output_signature=kinds)
    data = data.apply(tf.data.experimental.assert_cardinality(NUM_ROWS // BATCH_SIZE))
    return Setup(keras.Sequential([keras.Input((4,)), *parts]), data, adam("mse"))


@CONTROLS.case("clean tanh net", "none")
def clean_tanh() -> Setup:
    return Setup(dense("tanh"), batches(*make_rows()), adam("mse") | {"metrics": ["mae"]})


@CONTROLS.case("clean relu net", "none")
def clean_relu() -> Setup:
    return Setup(dense("relu"), batches(*make_rows()), adam("mse") | {"metrics": ["mae"]})


@CONTROLS.case("clean BatchNorm net", "none")
def clean_batch_norm() -> Setup:
    parts = [layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(1)]
    return Setup(keras.Sequential([keras.Input((4,)), *parts]), batches(*make_rows()), adam("mse"))


@CONTROLS.case("clean float16 net", "none")
def clean_float16() -> Setup:
    return Setup(dense(dtype="mixed_float16"), batches(*make_rows()), adam("mse"))


@CONTROLS.case("loss of 1e5", "none")
def large_loss() -> Setup:
    x, y = make_rows()
    return Setup(dense("tanh"), batches(x, 300 + y), adam("mse"))


@CONTROLS.case("Student-t noise", "none")
def heavy_tails() -> Setup:
    x, y = make_rows()
    noise = np.random.default_rng(1).standard_t(2, y.shape)
    return Setup(dense("tanh"), batches(x, (y + noise).astype("float32")), sgd("mse"))


@CONTROLS.case("-1 as an honest indicator", "none")
def indicator() -> Setup:
    x, y = make_rows()
    x[::5, 3] = -1
    return Setup(dense(), batches(x, y), adam("mse"))


@CONTROLS.case("imputed NaN", "none")
def imputed() -> Setup:
    x, y = make_rows()
    x[BAD, 2] = np.nan
    x[np.isnan(x)] = np.nanmedian(x)
    return Setup(dense(), batches(x, y), adam("mse"))


@CONTROLS.case("SGD 0.3", "none")
def brisk_rate() -> Setup:
    x, y = make_classes()
    return Setup(
        dense("tanh", out="sigmoid"), batches(x, y[:, None]), sgd("binary_crossentropy", 0.3)
    )


@CONTROLS.case("a loss that is rightly negative", "none")
def negative_loss() -> Setup:
    x, y = make_rows()
    return Setup(dense("tanh"), batches(x, y), adam("cosine_similarity"))
