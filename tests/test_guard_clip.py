"""Gradients are shortened to a multiple of what is usual, which no bad value can move."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.guard import guarded

layers = keras.layers


def linear() -> Any:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((2,)), layers.Dense(1)])


def data(num_rows: int) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(num_rows, 2)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def test_clipping_shortens_to_a_multiple_of_the_recent_norm() -> None:
    x, y = data(32)
    found = []
    for clip in (0.0, 10.0):
        model = guarded(linear(), clip=clip)
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        for _ in range(3):
            model.train_on_batch(x, y)
        before = model.get_weights()
        model.train_on_batch(x, y + 100)
        step = np.concatenate(
            [(a - b).ravel() for a, b in zip(model.get_weights(), before, strict=True)]
        )
        found.append(step)
        usual = float(np.median(model.train_function._usual.recent().numpy()[1][1:]))
    plain, clipped = found
    assert np.linalg.norm(clipped) == pytest.approx(1e-3 * 10 * usual, rel=1e-3)
    assert np.linalg.norm(plain) > 2 * np.linalg.norm(clipped)
    cosine = plain @ clipped / np.linalg.norm(plain) / np.linalg.norm(clipped)
    assert cosine == pytest.approx(1.0, abs=1e-4)


def test_a_bad_value_does_not_poison_what_is_clipped_to() -> None:
    x, y = data(32)
    model = guarded(linear(), clip=10.0)
    model.compile("sgd", "mse")
    model.train_on_batch(x, y)
    limits = model.train_function._usual.limits.numpy()
    for labels in (y * np.nan, y * np.inf, y + 1e12):
        model.train_on_batch(x, labels)
    np.testing.assert_array_equal(model.train_function._usual.limits.numpy(), limits)


@pytest.mark.parametrize("kind", ["dense", "sparse gradients"])
def test_with_no_clipping_to_do_a_run_is_the_same_to_the_bit(kind: str) -> None:
    found = []
    for clip in (0.0, 100.0):
        keras.utils.set_random_seed(1)
        x, y = data(64)
        model = linear()
        if kind != "dense":
            x = np.abs(x * 10).astype("int32") % 9
            parts = [layers.Embedding(9, 3), layers.Flatten(), layers.Dense(1)]
            model = keras.Sequential([keras.Input((2,), dtype="int32"), *parts])
        guarded(model, clip=clip).compile("adam", "mse")
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
