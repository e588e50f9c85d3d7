"""A copy of a guarded model is a plain one; the original's class is what a file names."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.guard import guarded

layers = keras.layers


@keras.saving.register_keras_serializable("tests")
class Registered(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.out = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(x)

    def build(self, shape: Any) -> None:
        self.out.build(shape)
        self.built = True


def functional() -> Any:
    source = keras.Input((2,))
    return keras.Model(source, layers.Dense(1)(source))


def sequential() -> Any:
    return keras.Sequential([keras.Input((2,)), layers.Dense(1)])


def save_and_load(model: Any, folder: Path) -> Any:
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "file": save_and_load,
    "clone": lambda model, _: keras.models.clone_model(model),
    "config": lambda model, _: type(model).from_config(model.get_config()),
    "deepcopy": lambda model, _: copy.deepcopy(model),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", [functional, sequential, Registered])
def test_a_copy_trains_as_a_plain_model(kind: Any, way: str, tmp_path: Path) -> None:
    x = np.ones((4, 2), "float32")
    model = guarded(kind())
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0)
    other = COPIES[way](model, tmp_path)
    other.compile("sgd", "mse")
    other.fit(x, x[:, :1], verbose=0)
    assert isinstance(model, kind if isinstance(kind, type) else keras.Model)
    assert np.isfinite(model.fit(x * np.nan, x[:, :1], verbose=0).history["skipped_rows"]).all()
    assert not hasattr(other, "guard") or way == "deepcopy"
