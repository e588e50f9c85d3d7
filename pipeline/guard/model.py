"""`guarded`: a compiled Keras model whose training step survives bad rows and bad steps."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import keras
import tensorflow as tf
from keras.src.utils import io_utils

from pipeline.errors import SettingsError
from pipeline.guard.batch import without_row_ids
from pipeline.guard.function import EpochWatch, GuardedFunction
from pipeline.guard.settings import GuardSettings
from pipeline.guard.table import make_table
from pipeline.guard.witness import Witness


def guarded(
    model: keras.Model,
    *,
    strict: bool = False,
    max_gradient_norm: float = 1e30,
    explosion_ratio: float = 1000.0,
    clip: float = 0.0,
    max_skipped_in_a_row: int = 10,
    max_skipped_ratio: float = 0.1,
    max_rate_cuts: int = 1,
    rate_cut_factor: float = 0.5,
    max_rollbacks: int = 3,
    rollback_rate_factor: float = 0.1,
    look_every_steps: int = 200,
    incidents_path: str | Path | None = None,
    dataset: str | Path | None = None,
    tensorboard_path: str | Path | None = None,
    recorder_path: str | Path | None = None,
    max_recorded: int = 3,
    row_id: str = "row_id",
) -> keras.Model:
    """Make a model's training step one that happens whole, on sound rows, or not at all.

    The model stays the same object: compile, fit, save and load go on as before, and `isinstance`
    holds. `fit` logs `skipped_rows` and `skipped_steps` of the epoch; `model.guard.incidents`
    names what was skipped and why. A copy by `clone_model` or from a file is not guarded.

    Rows with a non-finite input, label, weight, loss or gradient are dropped before the forward
    pass that counts: the update is that of the batch without them, to float rounding. With batch
    statistics it is so too, except that other rows are told from bad ones in inference mode.
    Under a distribution strategy the gradient is the mean of the replicas' means.

    Args:
        model: Any Keras model, compiled or not yet.
        strict: Look at the whole state after every update; see `GuardSettings` for this and the
            other settings.
        max_gradient_norm: The greatest global gradient norm that changes anything.
        explosion_ratio: How many times the usual gradient norm is an explosion.
        clip: How many times the recent gradient norm a gradient is shortened to; 0 is never.
        max_skipped_in_a_row: Steps that may be skipped one after another.
        max_skipped_ratio: Part of the rows of an epoch that may be skipped, in [0, 1].
        max_rate_cuts: How often a spent budget is answered by a smaller rate alone.
        rate_cut_factor: What such a cut multiplies the learning rate by.
        max_rollbacks: How often it is answered by a roll-back, after that.
        rollback_rate_factor: What a roll-back multiplies the learning rate by.
        look_every_steps: Steps between two looks at the whole state.
        incidents_path: A file for the incidents, one line of JSON each.
        dataset: The folder of the published dataset that the feed reads: rows are then named by
            their raw file and the row in it.
        tensorboard_path: A folder of TensorBoard's, for incidents and the numbers of epochs.
        recorder_path: A folder for what `pipeline.guard.replay` needs to make the first bad steps
            again: the state before each, and its batch.
        max_recorded: How many are kept.
        row_id: The key of the row ids in a dict of features.

    Returns:
        The same model.

    Raises:
        UsageError: There is no such dataset.
        SettingsError: A setting is out of range, an input is named like the row ids, or the model
            has a train step of its own, which would bypass the guard.
    """
    settings = GuardSettings(
        strict=strict,
        max_gradient_norm=max_gradient_norm,
        explosion_ratio=explosion_ratio,
        clip=clip,
        max_skipped_in_a_row=max_skipped_in_a_row,
        max_skipped_ratio=max_skipped_ratio,
        max_rate_cuts=max_rate_cuts,
        rate_cut_factor=rate_cut_factor,
        max_rollbacks=max_rollbacks,
        rollback_rate_factor=rollback_rate_factor,
        look_every_steps=look_every_steps,
        incidents_path=incidents_path,
        dataset=dataset,
        tensorboard_path=tensorboard_path,
        recorder_path=recorder_path,
        max_recorded=max_recorded,
        row_id=row_id,
    )
    _refuse_where_the_guard_does_not_run(model)
    _refuse_an_input_named_like_the_row_ids(model, settings.row_id)
    if not isinstance(model, GuardedTraining):
        _refuse_steps_of_its_own(model)
        _warn_of_raw_variables(model)
        model.__class__ = _guarded_class(cast(Hashable, type(model)))
    model.guard = Witness(settings)
    model.train_function = None
    return model


# A mixin has no `super()` that a type checker could know.
_Base: Any = object


class GuardedTraining(_Base):  # type: ignore[misc]
    """What a guarded model does differently; mixed in before the model's own class."""

    guard: Witness

    def make_train_function(self: Any, force: bool = False) -> Any:
        """Put the guarded step behind `fit` and `train_on_batch`."""
        if self.train_function is None or force:
            self.train_function = GuardedFunction(self)
        return self.train_function

    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Train as Keras does, count by epoch what was skipped, and show the incidents at last.

        They are shown where `verbose` shows the progress.
        """
        num_known = len(self.guard.incidents)
        bound = inspect.signature(super().fit).bind(*args, **kwargs)
        given = bound.arguments.get("callbacks")
        watch = EpochWatch()
        if isinstance(given, keras.callbacks.CallbackList):
            if not any(isinstance(callback, EpochWatch) for callback in given.callbacks):
                watch.set_model(self)
                given.callbacks.insert(0, watch)
        else:
            rest = [] if given is None else given
            bound.arguments["callbacks"] = [watch, *(rest if isinstance(rest, list) else [rest])]
        try:
            history = super().fit(*bound.args, **bound.kwargs)
        finally:
            if isinstance(self.train_function, GuardedFunction):
                self.train_function.logs_counts = False
            if bound.arguments.get("verbose", "auto") and self.guard.incidents[num_known:]:
                io_utils.print_msg(make_table(self.guard.incidents[num_known:]))
        if self.guard.rolled_back_at == self.guard.step:
            warnings.warn(
                "training ended with a roll-back: the state is an earlier one. "
                "print(model.guard.table()) says why.",
                stacklevel=2,
            )
        return history

    def test_step(self: Any, data: Any) -> Any:
        return super().test_step(without_row_ids(data, self.guard.settings.row_id))

    def predict_step(self: Any, data: Any) -> Any:
        return super().predict_step(without_row_ids(data, self.guard.settings.row_id))

    def _symbolic_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if data_batch is not None:
            data_batch = without_row_ids(data_batch, self.guard.settings.row_id)
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)


@functools.cache
def _guarded_class(model_class: type) -> type:
    # The name and module stay, so that saving writes, and loading finds, the original class.
    names = {
        "__module__": model_class.__module__,
        "__qualname__": model_class.__qualname__,
        "__new__": lambda _, *args, **kwargs: model_class(*args, **kwargs),
    }
    made = type(model_class)(model_class.__name__, (GuardedTraining, model_class), names)
    package, _, name = keras.saving.get_registered_name(model_class).rpartition(">")
    if package:
        for known in (made, model_class):
            keras.saving.register_keras_serializable(package, name)(known)
    return made


def _refuse_where_the_guard_does_not_run(model: Any) -> None:
    if keras.config.backend() != "tensorflow":
        raise SettingsError(
            f"the guard works on TensorFlow, and Keras runs on {keras.config.backend()}.",
            fix="set KERAS_BACKEND=tensorflow before Keras is imported.",
        )
    strategy = model.distribute_strategy
    if isinstance(
        strategy, (tf.distribute.TPUStrategy, tf.distribute.experimental.ParameterServerStrategy)
    ):
        raise SettingsError(
            f"the guard does not work under {type(strategy).__name__}.",
            fix="use MirroredStrategy, or train on one device.",
        )


def _refuse_steps_of_its_own(model: Any) -> None:
    name = type(model).__name__
    for method in ("train_step", "make_train_function"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            raise SettingsError(
                f"{name} has a {method} of its own, which the guard would have to replace.",
                fix=f"move what {name}.{method} does into compute_loss, compute_metrics or call.",
                model=name,
                method=method,
            )


def _warn_of_raw_variables(model: Any) -> None:
    for layer, attribute in _raw_variables(model):
        warnings.warn(
            f"{layer}.{attribute} is a tf.Variable: if it is written in call, the guard cannot "
            "take that back. Make it a weight with add_weight.",
            stacklevel=3,
        )


def _refuse_an_input_named_like_the_row_ids(model: Any, row_id: str) -> None:
    # A subclassed model, and a Sequential one before its first batch, has no named inputs.
    given = getattr(model, "input", None) if hasattr(model, "inputs") else None
    names = [tensor.name for tensor in keras.tree.flatten(given) if tensor is not None]
    if row_id in (*names, *(given if isinstance(given, dict) else ())):
        raise SettingsError(
            f"{type(model).__name__} has an input named {row_id!r}, which is the key of the row "
            "ids.",
            fix="rename the input, or give guarded another row_id.",
        )


def _raw_variables(model: Any) -> list[tuple[str, str]]:
    return [
        (layer.name, attribute)
        for layer in model._flatten_layers()
        for attribute, value in vars(layer).items()
        if isinstance(value, tf.Variable)
    ]
