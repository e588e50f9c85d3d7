"""After every step, whatever the fault, the state is finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

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


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("fault", FAULTS)
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


@pytest.mark.parametrize("fault", ["nan input", "nan label", "huge label", "all rows of a batch"])
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


def test_an_infinite_rate_changes_nothing_and_is_named() -> None:
    x, y, _ = data()
    model = guarded(net())
    model.compile(keras.optimizers.SGD(np.inf), "mse")
    model.train_on_batch(x, y)
    assert_state_is_finite_but_for_the_rate(model)
    (incident,) = model.guard.incidents
    assert (incident.kind, incident.first_seen, incident.rows) == ("batch", "rate", ())


def assert_state_is_finite_but_for_the_rate(model: Any) -> None:
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


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


def test_what_escapes_the_gate_is_seen_at_the_next_look_and_rolled_back() -> None:
    x, y, _ = data()
    model = guarded(net(), look_every_steps=1, max_rollbacks=2)
    model.compile(Dividing(0.1), "mse")
    with pytest.raises(GuardBudgetSpent, match="non-finite"):
        model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0)
    assert_state_is_finite(model)
    assert [i.done for i in model.guard.incidents if i.kind == "budget"] == [
        "rolled back",
        "rolled back",
        "stopped",
    ]
