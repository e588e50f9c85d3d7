"""After every step, whatever the fault, the state is finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import GuardBudgetSpent
from pipeline.guard import guarded

layers = keras.layers
NUM_ROWS, BATCH = 32, 8


def assert_state_is_finite(model: Any) -> None:
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    bad = [v.path for v in variables if not np.isfinite(np.asarray(v, "float64")).all()]
    assert not bad


def net(activation: str = "relu", *, normalised: bool = False) -> Any:
    parts = [layers.Dense(6, activation=activation), layers.Dropout(0.1, seed=1), layers.Dense(1)]
    if normalised:
        parts.insert(1, layers.BatchNormalization())
    return keras.Sequential([keras.Input((4,)), *parts])


def data() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(3)
    x = random.normal(size=(NUM_ROWS, 4)).astype("float32")
    return x, x[:, :1] * 2, np.ones(NUM_ROWS, "float32")


# The bad row is the third of the second batch.
BAD = BATCH + 2


def put(array: int, value: float) -> Callable[[list[Any]], None]:
    def spoil(arrays: list[Any]) -> None:
        arrays[array][BAD, ...] = value

    return spoil


def spoil_a_batch(arrays: list[Any]) -> None:
    arrays[0][BATCH : 2 * BATCH, 0] = np.nan


FAULTS = {
    "nan input": put(0, np.nan),
    "inf input": put(0, np.inf),
    "huge input": put(0, 1e30),
    "nan label": put(1, np.nan),
    "inf label": put(1, np.inf),
    "huge label": put(1, 1e25),
    "nan weight": put(2, np.nan),
    "inf weight": put(2, np.inf),
    "all rows of a batch": spoil_a_batch,
}


@pytest.mark.parametrize(
    ("fault", "activation"),
    [*((fault, "relu") for fault in FAULTS), ("nan input", "tanh"), ("huge label", "tanh")],
)
def test_a_fault_in_the_data_leaves_the_state_finite_and_is_named(
    fault: str, activation: str
) -> None:
    arrays = list(data())
    FAULTS[fault](arrays)
    x, y, weights = arrays
    model = guarded(net(activation, normalised=activation == "tanh"), max_skipped_ratio=1.0)
    model.compile("adam", "mse", weighted_metrics=["mae"])
    history = model.fit(
        x, y, sample_weight=weights, batch_size=BATCH, epochs=2, shuffle=False, verbose=0
    )
    assert_state_is_finite(model)
    assert np.isfinite(history.history["loss"]).all()
    if fault == "huge input" and activation == "tanh":  # which saturates: nothing overflows
        assert model.guard.incidents == []
        return
    assert [incident.step for incident in model.guard.incidents] == [1, 5]
    if fault != "huge input" and fault != "all rows of a batch":
        assert [row.position for row in model.guard.incidents[0].rows] == [2]


@pytest.mark.parametrize("fault", ["huge label", "all rows of a batch"])
@pytest.mark.parametrize("compiled", [{"jit_compile": True}, {"steps_per_execution": 3}])
def test_a_fault_leaves_the_state_finite_however_the_step_is_compiled(
    fault: str, compiled: Any
) -> None:
    arrays = list(data())
    FAULTS[fault](arrays)
    model = guarded(net(), max_skipped_ratio=1.0)
    model.compile("adam", "mse", **compiled)
    history = model.fit(*arrays[:2], batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    assert_state_is_finite(model)
    assert [incident.step for incident in model.guard.incidents] == [1, 5]
    assert history.history["skipped_steps"] == [float(fault.startswith("all"))] * 2


def test_a_fault_among_rows_that_cannot_be_taken_apart_skips_the_batch() -> None:
    x, y, _ = data()
    x[BAD, 1] = np.nan
    source = keras.Input((4,), sparse=True)
    model = guarded(keras.Model(source, layers.Dense(1)(source)), max_skipped_ratio=1.0)
    model.compile("adam", "mse")
    batches = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(x), y)).batch(BATCH)
    model.fit(batches, shuffle=False, verbose=0)
    assert_state_is_finite(model)
    found = [(i.step, i.kind, i.first_seen, i.done) for i in model.guard.incidents]
    assert found == [(1, "batch", "input", "skipped step")]


def test_finite_numbers_whose_sum_overflows_cost_no_row() -> None:
    x, y, _ = data()
    x[:, 0] = 3e38
    model = guarded(net("tanh"))
    model.compile("sgd", "mse")
    logs = model.fit(x, y, batch_size=NUM_ROWS, verbose=0).history
    assert (logs["skipped_rows"], logs["skipped_steps"]) == ([0.0], [0.0])
    assert [(i.kind, i.done) for i in model.guard.incidents] == [("batch", "tried again")]


def test_a_step_that_is_skipped_changes_nothing_at_all() -> None:
    x, y, _ = data()
    model = guarded(net(normalised=True))
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(x, y)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(v.numpy()) for v in variables]
    x[:, 1] = np.nan
    model.train_on_batch(x, y)
    for old, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.parametrize("scaled", [False, True])
def test_an_infinite_rate_changes_nothing_and_is_named(scaled: bool) -> None:
    x, y, _ = data()
    model = guarded(net())
    optimizer = keras.optimizers.SGD(np.inf)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    before = [np.array(weight) for weight in model.get_weights()]
    model.train_on_batch(x, y)
    for old, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, weight)
    (incident,) = model.guard.incidents
    assert (incident.kind, incident.first_seen, incident.rows) == ("batch", "rate", ())


class Dividing(keras.optimizers.SGD):
    """An optimizer that makes NaN of a modest gradient."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign(variable, keras.ops.divide(gradient, gradient - gradient))


@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_strict_puts_the_state_back_whatever_the_optimizer_does(compiled: Any) -> None:
    x, y, _ = data()
    model = guarded(net(normalised=True), strict=True)
    model.compile(Dividing(0.1), "mse", **compiled)
    before = [np.array(weight) for weight in model.get_weights()]
    model.train_on_batch(x, y)
    for old, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, weight)
    assert model.guard.incidents[0].done == "skipped step"


@pytest.mark.parametrize(
    ("inner", "settings", "seen"),
    [
        (Dividing(0.1), {"strict": True}, "state"),
        (keras.optimizers.SGD(0.1), {"max_gradient_norm": 1e-6}, "gradient"),
    ],
    ids=["what strict puts back", "a gradient beyond its limit"],
)
def test_a_fault_that_no_loss_scale_mends_is_an_incident(
    inner: Any, settings: dict[str, Any], seen: str
) -> None:
    x, y, _ = data()
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0)
    model = guarded(net(), **settings)
    model.compile(optimizer, "mse")
    model.train_on_batch(x, y)
    assert float(optimizer.dynamic_scale) == 256.0
    assert [(i.first_seen, i.done) for i in model.guard.incidents] == [(seen, "skipped step")]


def test_what_escapes_the_gate_is_seen_at_the_next_look_and_rolled_back() -> None:
    x, y, _ = data()
    model = guarded(net(), look_every_steps=1, max_rollbacks=2)
    model.compile(Dividing(0.1), "mse")
    with pytest.raises(GuardBudgetSpent, match="non-finite"):
        model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0)
    assert_state_is_finite(model)
    assert [i.done for i in model.guard.incidents if i.kind == "state"] == [
        "rolled back",
        "rolled back",
        "stopped",
    ]


def test_what_escapes_the_gate_at_once_is_taken_back_at_once() -> None:
    x, y, _ = data()
    model = guarded(net(), max_rollbacks=2)
    model.compile(keras.optimizers.Adam(0.001, beta_1=1.0), "mse")
    for _ in range(2):
        model.train_on_batch(x, y)
        assert_state_is_finite(model)
    with pytest.raises(GuardBudgetSpent, match="non-finite"):
        model.train_on_batch(x, y)
    assert_state_is_finite(model)


@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}])
def test_a_model_of_one_batch_size_skips_the_batch_and_names_the_row(compiled: Any) -> None:
    parts = [layers.LSTM(4, stateful=True), layers.Dense(1)]
    model = keras.Sequential([keras.Input(batch_shape=(8, 5, 2)), *parts])
    guarded(model, max_skipped_ratio=1.0).compile("adam", "mse", **compiled)
    x = np.random.default_rng(0).normal(size=(24, 5, 2)).astype("float32")
    x[11, 2, 1] = np.nan
    model.fit(x, x[:, 0, :1], batch_size=8, shuffle=False, verbose=0)
    (incident,) = model.guard.incidents
    assert (incident.kind, incident.first_seen, incident.done) == ("batch", "input", "skipped step")
    assert [(row.position, row.columns) for row in incident.rows] == [(3, ("input[2, 1]",))]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_averages_that_were_never_moved_do_not_wipe_the_weights() -> None:
    x = np.full((16, 3), np.nan, "float32")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    guarded(model).compile(keras.optimizers.Adam(0.01, use_ema=True), "mse")
    before = model.get_weights()
    model.fit(x, np.ones(16), batch_size=8, verbose=0)
    for old, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, weight)


def test_training_that_ends_with_a_roll_back_warns() -> None:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    x[40:, 0] = 0
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    # A feature that is always 0 has a gradient of 0, and 0 / 0 is what RMSprop makes of it.
    guarded(model).compile(keras.optimizers.RMSprop(0.01, epsilon=0.0, rho=0.0), "mse")
    with pytest.warns(UserWarning, match="ended with a roll-back"):
        model.fit(x, np.ones(64), batch_size=8, shuffle=False, verbose=0)
