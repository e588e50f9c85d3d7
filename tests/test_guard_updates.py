"""The update of a batch with bad rows is that of the batch without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.guard import guarded

layers = keras.layers
NUM_ROWS = 12
BAD = (2, 7)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(5, activation="relu")
        self.out = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))


class Centred(layers.Layer):
    """A layer whose loss depends on the whole batch."""

    def call(self, x: Any) -> Any:
        self.add_loss(keras.ops.square(keras.ops.mean(x)))
        return x


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def stack(*parts: Any, shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts, layers.Dense(2)])


def dense() -> Any:
    return stack(layers.Dense(5, activation="relu"), shape=(4,)), numbers(NUM_ROWS, 4)


def dense_with_batch_statistics() -> Any:
    parts = (layers.Dense(5), layers.BatchNormalization(), layers.ReLU())
    return stack(*parts, shape=(4,)), numbers(NUM_ROWS, 4)


def convolution() -> Any:
    parts = (layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten())
    return stack(*parts, shape=(8, 8, 1)), numbers(NUM_ROWS, 8, 8, 1)


def recurrent_under_a_mask() -> Any:
    x = numbers(NUM_ROWS, 5, 3)
    x[::3, 3:] = 0.0
    return stack(layers.Masking(), layers.LSTM(4), shape=(5, 3)), x


def attention() -> Any:
    source = keras.Input((5, 4))
    mixed = layers.MultiHeadAttention(num_heads=2, key_dim=3)(source, source)
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(mixed))
    return keras.Model(source, layers.Dense(2)(pooled)), numbers(NUM_ROWS, 5, 4)


def loss_over_the_batch() -> Any:
    parts = (layers.Dense(5), Centred(), layers.Dense(3, activity_regularizer="l2"))
    return stack(*parts, shape=(4,)), numbers(NUM_ROWS, 4)


def weights_regularised() -> Any:
    kinds = {"kernel_regularizer": "l2", "bias_regularizer": "l2"}
    parts = (layers.Dense(5, **kinds), layers.BatchNormalization(gamma_regularizer="l2"))
    return stack(*parts, shape=(4,)), numbers(NUM_ROWS, 4)


def subclassed() -> Any:
    return Subclassed(), numbers(NUM_ROWS, 4)


NETS: list[Callable[[], Any]] = [
    dense,
    dense_with_batch_statistics,
    convolution,
    recurrent_under_a_mask,
    attention,
    loss_over_the_batch,
    weights_regularised,
    subclassed,
]


def rows_of(data: Any, keep: Any) -> Any:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[keep], data)


def updates(model: Any, data: Any, bad: Any, **compiled: Any) -> tuple[list[Any], list[Any]]:
    """Give the weights after two steps: plain without the bad rows, guarded with them."""
    keep = np.setdiff1d(np.arange(NUM_ROWS), bad)
    sound, found = rows_of(data, keep), []
    model(keras.tree.map_structure(lambda leaf: leaf[keep], data[0]))
    start = model.get_weights()
    for guard, batch in ((False, sound), (True, data)):
        # Compiling again makes a new optimizer and a new trace; the weights start equal.
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), **{"loss": "mse", **compiled})
        if guard:
            guarded(model)
        for _ in range(2):
            model.train_on_batch(*batch)
        found.append(model.get_weights())
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(start, found[0], strict=True))
    return found[0], found[1]


def assert_same(plain: list[Any], kept: list[Any], tolerance: float = 1e-6) -> None:
    for expected, got in zip(plain, kept, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("net", NETS)
def test_the_update_is_that_of_the_batch_without_rows_with_a_bad_input(net: Any) -> None:
    model, x = net()
    x[BAD[0]].flat[1], x[BAD[1]].flat[2] = np.nan, np.inf
    assert_same(*updates(model, (x, numbers(NUM_ROWS, 2)), BAD))


@pytest.mark.parametrize("net", [dense, dense_with_batch_statistics])
def test_the_update_is_the_same_under_xla(net: Any) -> None:
    model, x = net()
    x[BAD[0]].flat[1], x[BAD[1]].flat[2] = np.nan, np.inf
    assert_same(*updates(model, (x, numbers(NUM_ROWS, 2)), BAD, jit_compile=True), tolerance=1e-5)


@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_rows_with_a_bad_label_are_left_out_of_an_embedding_net(compiled: Any) -> None:
    parts = (layers.Embedding(9, 3), layers.GlobalAveragePooling1D())
    model = stack(*parts, shape=(4,), dtype="int32")
    y = numbers(NUM_ROWS, 2)
    y[BAD, 0] = np.nan
    x = np.arange(NUM_ROWS * 4, dtype="int32").reshape(NUM_ROWS, 4) % 9
    assert_same(*updates(model, (x, y), BAD, **compiled))


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_rows_with_a_bad_weight_are_left_out(weight: float) -> None:
    model, x = dense()
    weights = np.linspace(0.5, 2.0, NUM_ROWS, dtype="float32")
    weights[list(BAD)] = weight
    assert_same(*updates(model, (x, numbers(NUM_ROWS, 2), weights), BAD))


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight", "sum_over_batch_size"])
def test_the_reduction_stays_the_losses_own(reduction: str) -> None:
    model, x = dense()
    x[BAD, 0] = np.nan
    weights = np.linspace(0.5, 2.0, NUM_ROWS, dtype="float32")
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    assert_same(*updates(model, (x, numbers(NUM_ROWS, 2), weights), BAD, loss=loss))


def two_in_two_out() -> Any:
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate()([layers.Dense(4)(left), right])
    outputs = {
        "size": layers.Dense(1, name="size")(both),
        "kind": layers.Dense(3, activation="softmax", name="kind")(both),
    }
    return keras.Model({"left": left, "right": right}, outputs)


def test_a_row_bad_in_one_of_several_inputs_and_outputs_is_left_out_of_all() -> None:
    x = {"left": numbers(NUM_ROWS, 3), "right": numbers(NUM_ROWS, 2)}
    y = {"size": numbers(NUM_ROWS, 1), "kind": np.arange(NUM_ROWS) % 3}
    x["right"][BAD[0], 1], y["size"][BAD[1]] = np.nan, np.inf
    ones = np.linspace(1, 2, NUM_ROWS, dtype="float32")
    weights = {"size": ones, "kind": ones[::-1].copy()}
    losses = {"size": "mse", "kind": keras.losses.SparseCategoricalCrossentropy()}
    options = {"loss": losses, "loss_weights": {"size": 0.5, "kind": 2.0}}
    assert_same(*updates(two_in_two_out(), (x, y, weights), BAD, **options))


def test_lists_and_tuples_of_outputs_are_taken_apart_by_row() -> None:
    source = keras.Input((4,))
    model = keras.Model(source, [layers.Dense(1)(source), layers.Dense(2)(source)])
    x = numbers(NUM_ROWS, 4)
    x[BAD, 0] = np.nan
    data = (x, [numbers(NUM_ROWS, 1), numbers(NUM_ROWS, 2)])
    assert_same(*updates(model, data, BAD, loss=["mse", keras.losses.mean_absolute_error]))


def test_a_model_that_has_nothing_but_added_losses_is_guarded() -> None:
    model, x = loss_over_the_batch()
    x[BAD, 0] = np.nan
    # Its last layer has no part in a loss.
    model = keras.Sequential(model.layers[:-1])
    assert_same(*updates(model, (x,), BAD, loss=None))


@pytest.mark.parametrize(
    ("column", "seen"), [("sqrt", "gradient"), ("log", "loss"), ("huge", "loss")]
)
def test_a_row_whose_own_loss_or_gradient_is_not_finite_is_left_out(column: str, seen: str) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        ops = keras.ops
        if column == "sqrt":
            return ops.mean(ops.sqrt(y_true * (1 + ops.square(y_pred))), axis=-1)
        if column == "log":
            return ops.mean(ops.square(y_pred - ops.log(y_true)), axis=-1)
        return ops.mean(ops.square(y_pred - y_true), axis=-1)

    model, x = dense()
    y = np.abs(numbers(NUM_ROWS, 2)) + 0.5
    y[BAD, :] = {"sqrt": 0.0, "log": -1.0, "huge": 1e30}[column]
    assert_same(*updates(model, (x, y), BAD, loss=loss), tolerance=1e-5)
    incidents = model.guard.incidents
    assert [row.position for row in incidents[0].rows] == list(BAD)
    assert {row.seen for row in incidents[0].rows} == {seen}


@pytest.mark.parametrize(
    ("net", "strict"),
    [
        (dense, False),
        (dense_with_batch_statistics, False),
        (dense_with_batch_statistics, True),
        (weights_regularised, False),
    ],
)
def test_without_a_fault_guarded_training_is_plain_training(net: Any, strict: bool) -> None:
    found = []
    for guard in (False, True):
        keras.utils.set_random_seed(1)
        model, x = net()
        model.compile("adam", "mse", metrics=["mae"])
        if guard:
            guarded(model, strict=strict)
        history = model.fit(x, numbers(NUM_ROWS, 2), batch_size=5, epochs=2, verbose=0)
        found.append((model.get_weights(), history.history))
    (plain, logs), (kept, kept_logs) = found
    assert_same(plain, kept)
    assert kept_logs.pop("skipped_rows") == kept_logs.pop("skipped_steps") == [0.0, 0.0]
    assert kept_logs.keys() == logs.keys()
    for name, values in logs.items():
        assert kept_logs[name] == pytest.approx(values, rel=1e-5)


def test_metrics_leave_bad_rows_out_and_stay_finite() -> None:
    model, x = dense()
    y = numbers(NUM_ROWS, 2)
    x[BAD, 0] = np.nan
    keep = np.setdiff1d(np.arange(NUM_ROWS), BAD)
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    expected = model.evaluate(x[keep], y[keep], verbose=0, return_dict=True)
    logs = guarded(model).fit(x, y, batch_size=NUM_ROWS, verbose=0).history
    assert logs["loss"] == pytest.approx([expected["loss"]])
    assert logs["mae"] == pytest.approx([expected["mae"]])
    assert (logs["skipped_rows"], logs["skipped_steps"]) == ([2.0], [0.0])


def per_step() -> Any:
    model = keras.Sequential([keras.Input((6, 2)), layers.LSTM(3, return_sequences=True)])
    model.add(layers.Dense(2))
    return model, numbers(NUM_ROWS, 6, 2)


def as_many_steps_as_rows() -> Any:
    model = keras.Sequential([keras.Input((NUM_ROWS, 2)), layers.Dense(2)])
    return model, numbers(NUM_ROWS, NUM_ROWS, 2)


def segmentation() -> Any:
    model = keras.Sequential([keras.Input((5, 5, 1)), layers.Conv2D(2, 3, padding="same")])
    return model, numbers(NUM_ROWS, 5, 5, 1)


@pytest.mark.parametrize("net", [per_step, as_many_steps_as_rows, segmentation])
@pytest.mark.parametrize("seen", ["input", "label"])
def test_rows_of_many_losses_each_are_left_out_as_rows(net: Any, seen: str) -> None:
    model, x = net()
    y = numbers(*x.shape[:-1], 2)
    spoiled = x if seen == "input" else y
    spoiled[BAD[0]].flat[3], spoiled[BAD[1]].flat[2] = np.nan, np.inf
    assert_same(*updates(model, (x, y), BAD))
    assert [row.position for row in model.guard.incidents[0].rows] == list(BAD)


def test_a_row_bad_in_its_loss_alone_is_not_taken_for_a_step_of_another() -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.sqrt(y_true) + keras.ops.square(y_pred), axis=-1)

    model, x = as_many_steps_as_rows()
    y = np.ones((*x.shape[:-1], 2), "float32")
    y[3, 5] = -1.0
    updates(model, (x, y), [3], loss=loss)
    assert [row.position for row in model.guard.incidents[0].rows] == [3]


def test_a_layer_that_writes_its_own_weight_trains_as_without_the_guard() -> None:
    parts = (layers.SpectralNormalization(layers.Dense(5)), layers.ReLU())
    model, x = stack(*parts, shape=(4,)), numbers(NUM_ROWS, 4)
    x[BAD, 1] = np.nan
    assert_same(*updates(model, (x, numbers(NUM_ROWS, 2)), BAD))


class Restarting(layers.Layer):
    """A layer whose weight begins every step as what no gradient leads to."""

    def build(self, shape: Any) -> None:
        self.start = self.add_weight(shape=(shape[-1],), initializer="ones", trainable=False)
        self.scale = self.add_weight(shape=(shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        self.scale.assign(self.start)
        return x * self.scale


def test_a_weight_written_from_outside_has_its_gradient() -> None:
    model, x = stack(Restarting(), shape=(4,)), numbers(NUM_ROWS, 4)
    x[BAD, 1] = np.nan
    plain, kept = updates(model, (x, numbers(NUM_ROWS, 2)), BAD)
    assert_same(plain, kept)
    assert any((np.abs(weight - 1) > 1e-4).any() for weight in kept if weight.shape == (4,))
