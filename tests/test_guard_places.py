"""Where an incident says that a fault was first seen, and what is refused or cannot be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import GuardBudgetSpent
from pipeline.guard import guarded

layers = keras.layers
COMPILED = [{}, {"jit_compile": True}, {"run_eagerly": True}]


def data(num_rows: int = 16) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(num_rows, 2)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


class Inverse(layers.Layer):
    """A layer that divides by zero."""

    def call(self, x: Any) -> Any:
        return x / keras.ops.sum(x - x, axis=-1, keepdims=True)


class Root(layers.Layer):
    """A layer whose value is 0 and whose gradient is not finite."""

    def call(self, x: Any) -> Any:
        return keras.ops.sqrt(keras.ops.abs(x - keras.ops.stop_gradient(x)))


@pytest.mark.parametrize("compiled", COMPILED)
def test_the_first_layer_that_is_not_finite_is_named(compiled: Any) -> None:
    x, y = data()
    parts = [layers.Dense(3, name="first"), Inverse(name="inverse"), layers.Dense(1, name="last")]
    model = guarded(keras.Sequential([keras.Input((2,)), *parts], name="net"))
    model.compile("sgd", "mse", **compiled)
    model.train_on_batch(x, y)
    (incident,) = model.guard.incidents
    assert (incident.place, incident.done) == ("net/inverse", "skipped step")
    assert not [part for part in parts if "call" in vars(part)]


def test_the_first_weight_whose_gradient_is_not_finite_is_named() -> None:
    x, y = data()
    parts = [layers.Dense(3, name="first"), Root(name="root"), layers.Dense(1, name="last")]
    model = guarded(keras.Sequential([keras.Input((2,)), *parts], name="net"))
    model.compile("sgd", "mse")
    model.train_on_batch(x, y)
    assert model.guard.incidents[0].place == "gradient of net/first/kernel"


class Inner(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="outer")
        self.fine = layers.Dense(3, name="fine")
        self.recurrent = layers.LSTM(3, name="recurrent")
        self.broken = Inverse(name="broken")

    def call(self, x: Any) -> Any:
        return self.broken(self.recurrent(self.fine(x)[:, None]))


def test_layers_of_a_subclassed_model_are_named_loops_within_them_or_not() -> None:
    x, y = data()
    model = guarded(Inner())
    model.compile("sgd", "mse")
    model.train_on_batch(x, np.tile(y, 3))
    assert model.guard.incidents[0].place.endswith("broken")


@pytest.mark.parametrize("compiled", COMPILED[:2])
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_value_that_only_float32_layers_take_costs_no_row(kind: str, compiled: Any) -> None:
    x, y = data()
    x[3, 0] = 1e6
    scale = layers.Rescaling(1e-6, dtype="float32")
    hidden = layers.Dense(3, dtype="mixed_float16")
    last = layers.Dense(1, dtype="float32")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        source = keras.Input((2,))
        model = keras.Model(source, last(hidden(scale(source))))
        if kind == "sequential":
            model = keras.Sequential([keras.Input((2,)), scale, hidden, last])
    finally:
        keras.config.set_dtype_policy("float32")
    guarded(model)
    model.compile(keras.optimizers.SGD(0.01), "mse", **compiled)
    model.train_on_batch(x, y)
    assert model.guard.incidents == []
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_value_that_the_first_layer_makes_infinite_is_a_bad_input(kind: str) -> None:
    x, y = data()
    x[3, 0] = 1e6
    parts = [layers.Dense(3, dtype="mixed_float16"), layers.Dense(1, dtype="float32")]
    source = keras.Input((2,))
    model = keras.Model(source, parts[1](parts[0](source)))
    if kind == "sequential":
        model = keras.Sequential([keras.Input((2,)), *parts])
    guarded(model).compile(keras.optimizers.SGD(0.01), "mse")
    model.train_on_batch(x, y)
    (incident,) = model.guard.incidents
    assert [(row.position, row.seen) for row in incident.rows] == [(3, "input")]
    assert (incident.kind, incident.first_seen, incident.done) == ("rows", "input", "dropped rows")


# What was left of a refused execution's batches is lost, which Keras may remark on.
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_that_tensorflow_refuses_is_an_incident_and_training_goes_on(steps: int) -> None:
    x, _ = data(48)
    y = (np.arange(48) % 3).astype("int32")
    y[13] = 3
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(3)]), max_skipped_ratio=0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], steps_per_execution=steps)
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["skipped_steps"] == [1, 1]
    assert [(i.step_in_epoch, i.first_seen) for i in model.guard.incidents] == [
        (1, "operation")
    ] * 2
    assert "label value of 3" in model.guard.incidents[0].note


class Below50(layers.Layer):
    """A layer with an assertion, whose result nothing needs."""

    def call(self, x: Any) -> Any:
        tf.debugging.assert_less(tf.reduce_max(x), 50.0)
        return x


def test_a_step_whose_assertion_fails_changes_nothing() -> None:
    x, y = data()
    model = guarded(
        keras.Sequential([keras.Input((2,)), Below50(), layers.Dense(1)]),
        max_skipped_ratio=1.0, max_skipped_in_a_row=100,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    model.train_on_batch(x, y)
    x[0] = 100.0
    for _ in range(20):
        model.train_on_batch(x, y)
    assert [i.done for i in model.guard.incidents] == ["skipped step"] * 20
    assert int(model.optimizer.iterations) == 1


class Faulty(layers.Layer):
    """A layer whose Python code has a bug."""

    def call(self, x: Any) -> Any:
        def work(values: Any) -> Any:
            raise TypeError("a bug of the model's")

        return tf.ensure_shape(tf.numpy_function(work, [x], tf.float32), x.shape)


def test_a_bug_in_python_is_no_incident() -> None:
    x, y = data()
    model = guarded(keras.Sequential([keras.Input((2,)), Faulty(), layers.Dense(1)]))
    model.compile("sgd", "mse")
    with pytest.raises(tf.errors.InvalidArgumentError, match="a bug of the model's"):
        model.fit(x, y, verbose=0)
    assert not model.guard.incidents


def test_a_bug_of_the_guard_itself_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("a bug of ours")

    x, y = data()
    x[3] = np.nan
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))
    model.compile("sgd", "mse")
    monkeypatch.setattr(model.guard, "hear", fail)
    with pytest.raises(KeyError, match="a bug of ours"):
        model.fit(x, y, verbose=0)


def test_an_error_of_the_feed_is_no_incident() -> None:
    x, y = data()
    feed = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    feed = feed.map(lambda a, b: (tf.debugging.check_numerics(a / 0.0, "the feed's own"), b))
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))
    model.compile("sgd", "mse")
    with pytest.raises(tf.errors.InvalidArgumentError, match="the feed's own"):
        model.fit(feed, shuffle=False, verbose=0)
    assert not model.guard.incidents


def test_refused_too_often_training_stops_and_says_why() -> None:
    x, _ = data(48)
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(3)]), max_rollbacks=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    with pytest.raises(GuardBudgetSpent, match=r"100\.0% of the rows") as caught:
        model.fit(x, np.full(48, 7), batch_size=8, epochs=2, verbose=0)
    assert caught.value.fields["causes"] == {"operation": 6}
    assert "label value of 7" in str(caught.value)
    assert "roll-back" not in str(caught.value)


def test_where_rows_cannot_be_told_apart_the_incident_says_so() -> None:
    x, y = data()
    x[3, 1] = np.nan
    source = keras.Input((2,), sparse=True)
    model = guarded(keras.Model(source, layers.Dense(1)(source)), max_skipped_ratio=1.0)
    model.compile("adam", "mse")
    batches = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(x), y)).batch(8)
    model.fit(batches, shuffle=False, verbose=0)
    (incident,) = model.guard.incidents
    assert incident.kind == "batch"
    assert "rows cannot be told apart" in incident.note


def test_an_incident_is_written_with_the_steps_before_it(tmp_path: Path) -> None:
    x, y = data(32)
    y[30] = np.nan
    path = tmp_path / "incidents.jsonl"
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(1)]), incidents_path=path)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64.0)
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    (line,) = [json.loads(text) for text in path.read_text().splitlines()]
    assert line["loss_scale"] == 64.0
    assert [sorted(step) for step in line["before"]] == [["gradient_norm", "loss"]] * 3


def test_the_table_has_one_line_for_like_incidents_in_a_row() -> None:
    x, y = data(32)
    y[4:] = np.nan
    model = guarded(
        keras.Sequential([keras.Input((2,)), layers.Dense(1)]),
        max_skipped_ratio=1.0,
    )
    assert model.guard.table() == ""
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    lines = model.guard.table().splitlines()
    assert [line.split() for line in lines] == [
        "step epoch kind first seen where steps done".split(),
        "0 0 rows label row 4 (label), row 5 (label), row 6 (label) and 1 more 1 dropped rows".split(),
        "1 0 rows label row 0 (label), row 1 (label), row 2 (label) and 21 more 3 skipped step".split(),
    ]


@pytest.mark.parametrize("verbose", [0, 2])
def test_fit_ends_with_the_table_of_its_own_incidents(
    verbose: int, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = data(16)
    y[5] = np.nan
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    guarded(model, max_skipped_ratio=1.0).compile("sgd", "mse")
    for fits in (1, 2):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=verbose)
        shown = capsys.readouterr().out
        assert shown.count("dropped rows") == (1 if verbose else 0), fits
        assert ("skipped_rows" in shown) == bool(verbose)
