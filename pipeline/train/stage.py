"""Fit behind the guard, save, and compare with the best constant."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.engine import Progress
from pipeline.errors import UsageError
from pipeline.feed import read_shards
from pipeline.guard import GuardSettings, guarded
from pipeline.job import TrainSettings, read_train_settings
from pipeline.manifest import Label, Manifest, Spec, SplitName, read_manifest
from pipeline.reference import resolve_reference
from pipeline.storage import write_json
from pipeline.train.model import build_model


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to.

    Attributes:
        run: Its folder.
        metric: `accuracy` (higher is better) or `rmse` (lower; in the label's units).
        split: What it was measured on.
        value: The model's.
        baseline: That of the best constant: the train split's majority class, or its mean.
        beats_baseline: Whether the model is the better one.
        num_weights: Numbers in the model's weights.
        num_nonfinite: How many of them are NaN or infinite.
        num_incidents: What the guard wrote down, in `incidents.jsonl`.
        table: The incidents as a table in plain text; empty without one.
        history: Loss and metric by epoch.
    """

    run: Path
    metric: str
    split: SplitName
    value: float
    baseline: float
    beats_baseline: bool
    num_weights: int
    num_nonfinite: int
    num_incidents: int
    table: str
    history: dict[str, list[float]]


def train_dataset(
    out: Path | str,
    *,
    run: Path | str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    on_progress: Progress | None = None,
) -> TrainResult:
    """Train a model on a published dataset.

    Args:
        out: The dataset's folder.
        run: Where model, history and incidents go; by default the next of `OUT/runs/0001/`.
        epochs: In place of the job's `train.epochs`.
        batch_size: In place of `train.batch_size`.
        learning_rate: In place of `train.learning_rate`.
        on_progress: Called as epochs are done.

    Raises:
        UsageError: There is no dataset, a setting is out of range, or `train.model` does not
            lead to a model.
        DatasetDiffers: A shard is not there.
        GuardBudgetSpent: More was skipped than may be.
    """
    out = Path(out)
    manifest = read_manifest(out)
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings = read_train_settings(
        {**manifest.settings["train"], **{k: v for k, v in given.items() if v is not None}}
    )
    folder = _make_run(out, run)
    keras.utils.set_random_seed(settings.seed)
    model = _make_model(manifest, settings, out)
    shared = {name: getattr(settings, name) for name in list_shared_settings()}
    guarded(
        model,
        incidents_path=folder / "incidents.jsonl",
        tensorboard_path=folder / "tensorboard",
        recorder_path=folder / "recorder",
        dataset=out,
        **shared,
    )
    compile_model(model, manifest.spec, settings.learning_rate)
    history = _fit(model, out, manifest, settings, on_progress)
    model.save(folder / "model.keras")
    result = _judge(model, out, manifest, folder, history)
    write_json(folder / "history.json", _summary(result, settings))
    return result


def list_shared_settings() -> list[str]:
    """Return the settings that [train] and the guard have in common."""
    known = TrainSettings.model_fields
    return [field.name for field in fields(GuardSettings) if field.name in known]


def compile_model(model: Any, spec: Spec, learning_rate: float) -> None:
    """Compile for the spec's label, with Adam at this rate."""
    optimizer: Any = keras.optimizers.Adam(learning_rate)
    if spec.training_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    if spec.label.classes is None:
        metric = keras.metrics.RootMeanSquaredError(name="rmse")
        model.compile(optimizer, "mean_squared_error", metrics=[metric])
        return
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    model.compile(optimizer, loss, metrics=[metric])


def _make_run(out: Path, run: Path | str | None) -> Path:
    if run is None:
        taken = [int(p.name) for p in (out / "runs").glob("[0-9]*") if p.name.isdigit()]
        run = out / "runs" / f"{max(taken, default=0) + 1:04d}"
    folder = Path(run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "incidents.jsonl").write_text("", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the run folder {folder} cannot be written: {error.strerror}.",
            fix="give another folder, or mend its permissions.",
        ) from None
    return folder


def _make_model(manifest: Manifest, settings: TrainSettings, out: Path) -> Any:
    if settings.model is None:
        return build_model(manifest.spec, hidden=settings.hidden, activation=settings.activation)
    job_folder = (out / manifest.job_folder).resolve()
    build = resolve_reference(settings.model, job_folder, setting="train.model")
    model = build if isinstance(build, keras.Model) or not callable(build) else build(manifest.spec)
    if not isinstance(model, keras.Model):
        raise UsageError(
            f"train.model = {settings.model!r} gives no model.",
            expected="a function of the feature spec that returns an uncompiled keras.Model",
            got=type(model).__name__,
            fix="return the model.",
        )
    return model


def _fit(
    model: Any,
    out: Path,
    manifest: Manifest,
    settings: TrainSettings,
    on_progress: Progress | None,
) -> dict[str, list[float]]:
    size = settings.batch_size
    validation = None
    if manifest.splits["validation"].rows:
        validation = read_shards(out, "validation", batch_size=size)
    callbacks = []
    if on_progress is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, _: on_progress("train", epoch + 1, settings.epochs)
            )
        )
    train = read_shards(
        out, "train", batch_size=size, shuffle=True, seed=settings.seed, with_row_ids=True
    )
    fitted = model.fit(
        train,
        validation_data=validation,
        epochs=settings.epochs,
        callbacks=callbacks,
        shuffle=False,  # the shards are
        verbose=0,
    )
    return {name: [float(value) for value in values] for name, values in fitted.history.items()}


def _judge(
    model: Any,
    out: Path,
    manifest: Manifest,
    folder: Path,
    history: dict[str, list[float]],
) -> TrainResult:
    order: tuple[SplitName, ...] = ("test", "validation", "train")
    split = next(name for name in order if manifest.splits[name].rows)
    metric = "rmse" if manifest.spec.label.classes is None else "accuracy"
    value, baseline = _measure(model, out, split, manifest.spec.label)
    numbers = model.get_weights()
    return TrainResult(
        run=folder,
        metric=metric,
        split=split,
        value=value,
        baseline=baseline,
        beats_baseline=value < baseline if metric == "rmse" else value > baseline,
        num_weights=sum(array.size for array in numbers),
        num_nonfinite=sum(int((~np.isfinite(array)).sum()) for array in numbers),
        num_incidents=len(model.guard.incidents),
        table=model.guard.table(),
        history=history,
    )


def _measure(model: Any, out: Path, split: SplitName, label: Label) -> tuple[float, float]:
    """Return the metric of the model and of the best constant, over all rows of a split."""
    count, ours, constant = 0.0, 0.0, 0.0
    majority = int(np.argmax(label.counts or [0]))
    for features, truth, *weight in read_shards(out, split):
        predicted = np.asarray(model.predict_on_batch(features), np.float64)
        truth = truth.numpy()
        weights = weight[0].numpy().astype(np.float64) if weight else np.ones(len(truth))
        if label.classes is not None:
            ours += float(weights @ (predicted.argmax(axis=1) == truth))
            constant += float(weights @ (truth == majority))
        else:
            ours += float(weights @ (predicted[:, 0] - truth) ** 2)
            constant += float(weights @ ((label.mean or 0.0) - truth) ** 2)
        count += float(weights.sum())
    if label.classes is not None:
        return ours / count, constant / count
    return (ours / count) ** 0.5, (constant / count) ** 0.5


def _summary(result: TrainResult, settings: TrainSettings) -> dict[str, Any]:
    def plain(value: float) -> float | str:
        return value if np.isfinite(value) else str(value)

    return {
        "metric": result.metric,
        "split": result.split,
        "value": plain(result.value),
        "baseline": plain(result.baseline),
        "num_weights": result.num_weights,
        "num_nonfinite": result.num_nonfinite,
        "num_incidents": result.num_incidents,
        "epochs": {name: list(map(plain, values)) for name, values in result.history.items()},
        "settings": settings.model_dump(mode="json"),
    }
