"""The budget of skips, the cut of the rate, and the loss scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.errors import GuardBudgetSpent
from pipeline.guard import guarded

layers = keras.layers


def net() -> Any:
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, activation="relu"), layers.Dense(1)]
    )


def data(num_rows: int = 24) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(num_rows, 2)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def test_an_epoch_without_a_sound_row_stops_training_rather_than_show_a_loss_of_zero() -> None:
    x, y = data()
    model = guarded(net(), max_rollbacks=1)
    model.compile("sgd", "mse")
    with pytest.raises(GuardBudgetSpent, match=r"100\.0% of the rows") as caught:
        model.fit(x * np.nan, y, batch_size=8, epochs=9, verbose=0)
    assert np.isnan(model.history.history["loss"]).all()
    assert model.guard.rollbacks == 1
    assert caught.value.fields["causes"] == {"input": 3}


def test_too_many_skipped_in_a_row_stop_training_within_an_epoch() -> None:
    x, y = data(80)
    model = guarded(net(), max_skipped_in_a_row=4, max_rollbacks=1)
    model.compile("sgd", "mse")
    with pytest.raises(GuardBudgetSpent, match="4 steps in a row"):
        model.fit(x, y * np.nan, batch_size=4, verbose=0)
    assert model.guard.incidents[-1].step == 8


def fit_at(rate: Any) -> tuple[Any, dict[str, list[float]]]:
    """Fit a linear model; of the rates tried, 1000 and 10 diverge and 0.1 is sound."""
    keras.utils.set_random_seed(1)
    x, y = data(256)
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    guarded(model, max_skipped_in_a_row=3, rollback_rate_factor=0.01)
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model, model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history


def test_a_rate_that_explodes_is_cut_until_training_holds() -> None:
    model, history = fit_at(1e3)
    assert (model.guard.rate_cuts, model.guard.rollbacks) == (0, 2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < 1e-6
    assert history["skipped_steps"][-1] == 0.0


def test_a_schedule_is_cut_as_a_whole_and_survives_saving(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(1e3, 100, 0.9)
    model, history = fit_at(schedule)
    assert history["loss"][-1] < 1e-6
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = 1e-4 * float(schedule(model.optimizer.iterations))
    assert float(loaded.optimizer.learning_rate) == pytest.approx(expected)


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN after a step, and looks at it at the epoch's end."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._left = step
        self.sound: list[bool] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._left -= 1
        if not self._left:
            kernel = self.model.layers[-1].kernel
            kernel.assign(kernel * np.nan)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.sound.append(all(np.isfinite(w).all() for w in self.model.get_weights()))


@pytest.mark.filterwarnings("ignore:training ended with a roll-back")
def test_no_later_callback_meets_a_poisoned_state_at_a_spent_epoch_s_end() -> None:
    x = np.random.default_rng(0).normal(size=(80, 2)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    y[::3] = np.nan
    model = guarded(
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), max_skipped_ratio=0.3
    )
    model.compile("sgd", "mse")
    poison = Poison(10)
    model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0, callbacks=[poison])
    assert poison.sound == [True]
    last = model.guard.incidents[-1]
    assert (last.kind, last.first_seen, last.done) == ("state", "state", "rolled back")


def test_a_rate_that_turns_infinite_is_taken_back() -> None:
    def spoil(epoch: int, logs: Any) -> None:
        if epoch == 1:
            model.optimizer.learning_rate = np.inf

    x, y = data()
    model = guarded(net(), max_skipped_in_a_row=2, max_skipped_ratio=1.0)
    model.compile(keras.optimizers.SGD(0.5), "mse")
    spoiler = keras.callbacks.LambdaCallback(on_epoch_begin=spoil)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[spoiler])
    found = [(i.step, i.first_seen, i.done) for i in model.guard.incidents]
    assert found == [
        (6, "rate", "skipped step"),
        (7, "rate", "skipped step"),
        (8, "rate", "rolled back"),
    ]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}])
def test_the_loss_scale_does_not_sink_under_bad_rows(compiled: Any) -> None:
    keras.utils.set_random_seed(0)
    parts = [layers.Dense(4, activation="relu", dtype="mixed_float16")]
    model = keras.Sequential([keras.Input((2,)), *parts, layers.Dense(1, dtype="float32")])
    # Low enough that no sound row overflows float16.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=256.0)
    x, y = data()
    x[::2, 0] = np.nan
    model.compile(optimizer, "mse", **compiled)
    guarded(model, max_skipped_ratio=1.0).fit(x, y, batch_size=4, epochs=4, verbose=0)
    assert float(optimizer.dynamic_scale) == 256.0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_an_overflow_halves_the_loss_scale_and_is_no_incident() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, dtype="mixed_float16")])
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.01), initial_scale=2.0**30
    )
    model.compile(optimizer, "mse")
    x, y = data()
    guarded(model).fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert 1.0 < float(optimizer.dynamic_scale) < 2.0**30
    assert model.guard.incidents == []


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_rate_at_fault_is_cut_though_every_batch_has_a_bad_row(spoiled: bool) -> None:
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(1600, 4)).astype("float32")
    y = x.sum(axis=1)
    if spoiled:
        x[::32, 0] = np.nan
    parts = [layers.Dense(32, "relu"), layers.Dense(32, "relu"), layers.Dense(1)]
    model = guarded(keras.Sequential([keras.Input((4,)), *parts]))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    history = model.fit(x, y, batch_size=32, epochs=3, verbose=0, shuffle=False).history
    assert float(model.optimizer.learning_rate) < 1.0
    assert history["loss"][-1] < 0.1
    (budget,) = [i for i in model.guard.incidents if i.kind == "budget"]
    assert budget.learning_rate == 1.0
    assert "; rate 1 to 0.1" in budget.note
    skipped = [i for i in model.guard.incidents if i.done == "skipped step"]
    assert {(i.kind, i.first_seen, len(i.rows)) for i in skipped} == {
        ("explosion", "gradient", int(spoiled))
    }


def test_a_slow_explosion_is_seen_though_the_first_steps_were_skipped() -> None:
    keras.utils.set_random_seed(1)
    x, y = data(64)
    ones = np.concatenate([x, np.ones((64, 1))], axis=1)
    edge = 2 / (2 * np.linalg.eigvalsh(ones.T @ ones / 64)[-1])
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    guarded(model, look_every_steps=50, max_rate_cuts=0, max_skipped_in_a_row=100)
    model.compile(keras.optimizers.SGD(1.02 * edge), "mse")
    for _ in range(8):
        model.train_on_batch(x, y * np.nan)
    for _ in range(400):
        model.train_on_batch(x, y)
    assert "rolled back" in [i.done for i in model.guard.incidents]


def test_what_one_epoch_skipped_is_no_cause_in_the_next() -> None:
    x, y = data(160)
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    wild = y.copy()
    wild[125] = 1e7
    model.fit(x, wild, batch_size=8, shuffle=False, verbose=0)
    bad = y.copy()
    bad[::4] = np.nan
    model.fit(x, bad, batch_size=8, shuffle=False, verbose=0)
    assert model.guard.incidents[0].kind == "explosion"
    assert model.guard.incidents[-1].done == "went on"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_an_epoch_of_overflows_alone_shows_no_loss_of_zero() -> None:
    x, y = data()
    model = guarded(keras.Sequential([keras.Input((2,)), layers.Dense(1, dtype="mixed_float16")]))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=2.0**60)
    model.compile(optimizer, "mse")
    assert np.isnan(model.fit(x, y, batch_size=8, verbose=0).history["loss"]).all()
    assert not model.guard.incidents


def test_steps_are_counted_on_after_compiling_again() -> None:
    x, y = data()
    model = guarded(net(), max_skipped_ratio=1.0)
    for _ in range(2):
        model.compile("sgd", "mse")
        for _ in range(3):
            model.train_on_batch(x, y)
        model.train_on_batch(x * np.nan, y)
    assert [incident.step for incident in model.guard.incidents] == [3, 7]


def test_after_a_fit_that_failed_a_batch_gives_its_loss_alone() -> None:
    x, y = data()
    model = guarded(net(), max_rollbacks=0)
    model.compile("sgd", "mse")
    with pytest.raises(GuardBudgetSpent):
        model.fit(x * np.nan, y, batch_size=8, verbose=0)
    assert np.ndim(model.train_on_batch(x, y)) == 0


@pytest.mark.parametrize("fits", [1, 2])
def test_a_list_of_callbacks_as_keras_makes_it_is_taken(fits: int) -> None:
    x, y = data()
    x[3] = np.nan
    model = guarded(net(), max_skipped_ratio=1.0)
    model.compile("sgd", "mse")
    seen: list[float] = []
    last = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["skipped_rows"])
    )
    given = keras.callbacks.CallbackList([last], add_history=True, model=model)
    for _ in range(fits):
        model.fit(x, y, batch_size=8, verbose=0, callbacks=given)
    assert seen == [1.0] * fits
    assert len(given.callbacks) == 3
