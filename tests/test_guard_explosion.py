"""An explosion is seen while it is finite, and what is sound is not taken for one."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import GuardBudgetSpent
from pipeline.guard import guarded
from pipeline.guard.probe import _far_outside
from pipeline.guard.settings import GuardSettings
from pipeline.guard.usual import WINDOW, Usual

layers = keras.layers
COMPILED = [{}, {"jit_compile": True}]


def linear(width: int = 2, outputs: int = 1) -> Any:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((width,)), layers.Dense(outputs)])


def deep(outputs: int = 1) -> Any:
    keras.utils.set_random_seed(1)
    parts = [layers.Dense(16, activation="relu"), layers.Dense(16, activation="relu")]
    return keras.Sequential([keras.Input((8,)), *parts, layers.Dense(outputs)])


def data(num_rows: int = 256, width: int = 2) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(num_rows, width)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def state(model: Any) -> list[Any]:
    return [np.array(v.numpy()) for v in [*model.variables, *model.optimizer.variables]]


def test_the_usual_size_is_the_lower_median_of_the_last_good_steps() -> None:
    usual = Usual(GuardSettings(explosion_ratio=10.0, clip=2.0))
    random = np.random.default_rng(0)
    losses, norms, highest = [], [], np.zeros(2)
    for _ in range(2 * WINDOW):
        losses.append(random.normal() * 3)
        norms.append(np.exp(random.normal()))
        newest = (tf.constant(value, tf.float32) for value in (losses[-1], norms[-1]))
        usual.push(*newest, tf.constant(True))
        usual.push(tf.constant(np.nan), tf.constant(np.inf), tf.constant(False))  # not made
        last = np.sort(np.abs([losses[-WINDOW:], norms[-WINDOW:]]), axis=1)
        median = last[:, (last.shape[1] - 1) // 2]
        highest = np.maximum(highest, median)
        expected = [100 * highest[0], 10 * highest[1], 2 * median[1]]
        np.testing.assert_allclose(usual.limits.numpy(), expected, rtol=1e-5)


def test_of_nothing_but_zeros_there_is_no_multiple() -> None:
    usual = Usual(GuardSettings())
    for _ in range(3):
        usual.push(tf.zeros([]), tf.zeros([]), tf.constant(True))
    assert (usual.limits.numpy() > 1e38).all()


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_finite_step_far_outside_changes_nothing(compiled: Any) -> None:
    x, y = data(32)
    model = guarded(linear())
    model.compile("adam", "mse", **compiled)
    for _ in range(3):
        model.train_on_batch(x, y)
    before = state(model)
    model.train_on_batch(x, y + 1e6)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    (incident,) = model.guard.incidents
    assert (incident.step, incident.kind, incident.done) == (3, "explosion", "skipped step")
    assert (incident.first_seen, incident.rows, incident.place) == ("loss", (), "")
    assert len(incident.before) == 3
    model.train_on_batch(x, y)
    assert len(model.guard.incidents) == 1


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_row_far_outside_its_batch_is_named_and_left_out(compiled: Any) -> None:
    x, y = data(32)
    wild = y.copy()
    wild[5] = 1e7
    keep = np.arange(32) != 5
    found = []
    for labels, rows in ((y, keep), (wild, slice(None))):
        model = guarded(linear())
        model.compile(keras.optimizers.SGD(0.01), "mse", **compiled)
        for _ in range(3):
            model.train_on_batch(x, y)
        model.train_on_batch(x[rows], labels[rows])
        found.append(model.get_weights())
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    (incident,) = model.guard.incidents
    assert (incident.kind, incident.done) == ("explosion", "dropped rows")
    assert [row.position for row in incident.rows] == [5]


def test_losses_and_norms_before_an_incident_are_those_of_plain_training() -> None:
    x, y = data(88)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 88, 8)]
    model = linear()
    optimizer, expected = keras.optimizers.SGD(0.05), []
    for a, b in batches[:10]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(a) - b))
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        expected.append((float(loss), float(tf.linalg.global_norm(gradients))))
    model = guarded(linear())
    model.compile(keras.optimizers.SGD(0.05), "mse")
    for a, b in batches[:10]:
        model.train_on_batch(a, b)
    model.train_on_batch(batches[10][0] * np.nan, batches[10][1])
    np.testing.assert_allclose(model.guard.incidents[0].before, expected[-8:], rtol=1e-4)


class Warm(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.01 * keras.ops.minimum(1.0, (keras.ops.cast(step, "float32") + 1) / 50)


def negative(y_true: Any, y_pred: Any) -> Any:
    """Give a Gaussian's negative log likelihood, without a lower bound."""
    scale = y_pred[:, 1:]
    return 0.5 * keras.ops.exp(-2 * scale) * keras.ops.square(y_true - y_pred[:, :1]) + scale


def control(name: str) -> tuple[Any, Any, Any, Any, Any]:
    x, y = data(512, 8)
    noise = np.random.default_rng(1).standard_t(2, y.shape).astype("float32")
    adam = keras.optimizers.Adam(0.01)
    return {
        "first steps": (deep(), x, y, adam, "mse"),
        "Student-t noise": (deep(), x, y + noise, adam, "mse"),
        "Student-t features": (deep(), x * (1 + np.abs(noise)), y, adam, "mse"),
        "a loss of 1e5": (deep(), x, 100 * y + 300, adam, "mse"),
        "a loss rightly negative": (deep(2), x, 0 * y + 1, adam, negative),
        "a warm-up": (deep(), x, y, keras.optimizers.Adam(Warm()), "mse"),
        "SGD at 0.3": (linear(8), x / 3, y / 3, keras.optimizers.SGD(0.3), "mse"),
        "a loss that goes to 0": (linear(8), x, y, keras.optimizers.SGD(0.05), "mse"),
    }[name]


CONTROLS = [
    "first steps",
    "Student-t noise",
    "Student-t features",
    "a loss of 1e5",
    "a loss rightly negative",
    "a warm-up",
    "SGD at 0.3",
    "a loss that goes to 0",
]


@pytest.mark.parametrize("name", CONTROLS)
def test_what_is_sound_is_no_incident(name: str) -> None:
    model, x, y, optimizer, loss = control(name)
    guarded(model, look_every_steps=20).compile(optimizer, loss)
    model.fit(x, y, batch_size=16, epochs=8, verbose=0)
    assert model.guard.incidents == []


@pytest.mark.parametrize(
    ("rate", "compiled"),
    [(10.0, {}), *((1.0, compiled) for compiled in (*COMPILED, {"steps_per_execution": 3}))],
)
def test_a_rate_that_is_too_great_is_seen_before_it_is_nan_and_mended(
    rate: float, compiled: Any
) -> None:
    x, y = data(512, 8)
    model = guarded(deep(), max_skipped_in_a_row=3, max_skipped_ratio=1.0)
    model.compile(keras.optimizers.SGD(rate), "mse", **compiled)
    losses = model.fit(x, y, batch_size=16, epochs=6, verbose=0).history["loss"]
    first = model.guard.incidents[0]
    assert (first.kind, first.done) == ("explosion", "skipped step")
    assert np.isfinite([first.loss, first.gradient_norm]).all()
    assert model.guard.rollbacks > 0
    # A dead network would give the variance of the labels, 8.
    assert losses[-1] < 1.0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_an_explosion_too_slow_to_be_one_from_step_to_step_is_rolled_back() -> None:
    x, y = data(64)
    ones = np.concatenate([x, np.ones((64, 1))], axis=1)
    steepest = 2 * np.linalg.eigvalsh(ones.T @ ones / 64)[-1]
    model = guarded(linear(), look_every_steps=50, max_rate_cuts=0)
    # The error grows by 4% a step.
    model.compile(keras.optimizers.SGD(2.04 / steepest), "mse")
    batches = tf.data.Dataset.from_tensors((x, y)).repeat(600)
    model.fit(batches, epochs=1, shuffle=False, verbose=0)
    assert [(i.kind, i.done) for i in model.guard.incidents] == [("explosion", "rolled back")]
    assert model.evaluate(x, y, verbose=0) < 1e-3


def test_a_budget_spent_between_good_steps_lowers_the_rate_and_keeps_the_state() -> None:
    x, y = data(80)
    y[8::16] += 1e6
    model = guarded(linear(), max_skipped_ratio=0.3)
    model.compile(keras.optimizers.SGD(0.1), negative_of_large)
    model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    assert [i.done for i in model.guard.incidents][-1] == "cut rate"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)
    assert (model.guard.rate_cuts, model.guard.rollbacks) == (1, 0)
    assert int(model.optimizer.iterations) == 5


def negative_of_large(y_true: Any, y_pred: Any) -> Any:
    """Give a loss in which one large label spoils the whole batch."""
    largest = keras.ops.max(y_true)
    return keras.ops.square(y_pred - y_true) * keras.ops.sqrt(10.0 - largest)


def nowhere(y_true: Any, y_pred: Any) -> Any:
    """Give a loss that is NaN for every prediction."""
    return keras.ops.log(-keras.ops.square(y_pred - y_true) - 1.0)[:, 0]


def test_the_ladder_ends_with_the_last_good_state() -> None:
    x, y = data(80)
    model = guarded(linear(), max_skipped_in_a_row=2, max_rollbacks=2)
    model.compile(keras.optimizers.SGD(0.8), nowhere)
    start = model.get_weights()
    with pytest.raises(GuardBudgetSpent, match=", after 2 roll-backs"):
        model.fit(x, y, batch_size=4, verbose=0)
    done = [i.done for i in model.guard.incidents if i.kind == "budget"]
    assert done == ["rolled back", "rolled back", "stopped"]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.8 * 0.1 * 0.1)
    for a, b in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_xla_compiles_the_step_once_and_not_for_every_count_of_steps() -> None:
    x, y = data(32)
    model = guarded(linear())
    model.compile("adam", "mse", jit_compile=True)
    for _ in range(3):
        model.train_on_batch(x, y)
    start = time.perf_counter()
    for _ in range(20):
        model.train_on_batch(x, y)
    # Compiled anew each took a quarter of a second; as compiled they take a few milliseconds.
    assert time.perf_counter() - start < 1.5


def test_of_a_median_of_nothing_no_row_is_far_outside() -> None:
    shares = tf.constant([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1e9])
    assert not _far_outside(shares, 1000.0).numpy().any()
    assert _far_outside(shares[3:] + 1.0, 1000.0).numpy().tolist() == [False, False, False, True]
