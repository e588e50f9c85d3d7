"""The guarded loss alone: the loss of the sound rows, with a finite gradient."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import SettingsError
from pipeline.guard import GuardedLoss


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("loss", ["mse", "huber", keras.losses.MeanAbsoluteError()])
def test_the_guarded_loss_is_the_loss_of_the_rows_whose_labels_are_sound(
    loss: Any, bad: float
) -> None:
    labels, predictions = np.linspace(-3, 3, 24)[:, None].astype("float32"), np.zeros((24, 1), "f")
    expected = keras.losses.get(loss)(labels[1:], predictions[1:])
    labels[0] = bad
    wanted = float(np.mean(expected))
    assert float(GuardedLoss(loss)(labels, predictions)) == pytest.approx(wanted)


def test_the_guarded_loss_has_a_finite_gradient_beside_a_bad_label() -> None:
    def root(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.sqrt(y_true - y_pred), axis=-1)

    labels = tf.constant([[4.0], [np.nan], [-1.0]])
    predictions = tf.zeros([3, 1])
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        value = GuardedLoss(root)(labels, predictions)
    assert float(value) == 2.0
    np.testing.assert_allclose(tape.gradient(value, predictions), [[-0.25], [0.0], [0.0]])


def test_what_the_loss_itself_ignores_stays_ignored() -> None:
    random = np.random.default_rng(0)
    logits, y = random.normal(size=(12, 3)).astype("float32"), random.integers(0, 3, 12)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)
    assert float(GuardedLoss(plain)(y, logits)) == pytest.approx(float(plain(y, logits)))
    logits[4] = np.nan
    keep = np.arange(12) != 4
    expected = float(plain(y[keep], logits[keep]))
    assert float(GuardedLoss(plain)(y, logits)) == pytest.approx(expected)


def test_a_loss_of_a_whole_batch_is_refused() -> None:
    with pytest.raises(SettingsError, match="one number for the whole batch"):
        GuardedLoss(lambda y, p: keras.ops.mean(p))(np.ones(3), np.ones(3, "float32"))
