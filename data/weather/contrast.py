"""The same network on the same raw files without nanproof, as the usual advice goes.

`python data/weather/contrast.py OUT` reads the raw CSVs with pandas, coerces what does not parse,
and fits the network of OUT's feature spec twice: as it is, and with the loss masked where it is
not finite.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.manifest import Manifest, read_manifest
from pipeline.tensorflow_import import silence_import

with silence_import():
    import keras
    import tensorflow as tf

    from pipeline.train import build_model
    from pipeline.train.stage import compile_model

RAW = Path(__file__).parent / "raw"


def read_raw(manifest: Manifest) -> tuple[pd.DataFrame, dict[str, Any], Any]:
    """Return the rows that pandas can read, and what they become as features and label."""
    files = sorted(RAW.glob("*.csv"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of the lines that it skips
        frames = [
            pd.read_csv(file, skipinitialspace=True, on_bad_lines="skip", na_values=["-999"])
            .rename(columns=str.strip)
            .assign(_file=file.name)
            for file in files
        ]
    frame = pd.concat(frames, ignore_index=True)
    label = pd.to_numeric(frame[manifest.spec.label.name], errors="coerce")
    known = label.isin([0, 1]).to_numpy()  # a label out of range raises, so that one is seen
    frame, label = frame[known].reset_index(drop=True), label[known].to_numpy(np.int64)
    return frame, {f.name: _encode(frame[f.name], f) for f in manifest.spec.features}, label


def _encode(column: pd.Series[Any], feature: Any) -> Any:
    if feature.vocabulary is not None:
        index = pd.Index(feature.vocabulary).get_indexer(column) + 1
        return index[:, None].astype(np.int64)
    if feature.kind == "timestamp":
        stamps = pd.to_datetime(column, errors="coerce").fillna(pd.Timestamp(0))
        return stamps.to_numpy().astype("datetime64[us]").astype(np.int64)[:, None]
    numbers = pd.to_numeric(column.replace({"true": 1, "false": 0}), errors="coerce")
    if feature.dtype == "int64":
        return numbers.fillna(-(2**31)).to_numpy(np.int64)[:, None]
    with np.errstate(over="ignore"):
        return numbers.to_numpy(np.float64)[:, None].astype(np.float32)


def masked_loss(truth: Any, logits: Any) -> Any:
    """Return the mean loss, 0 where it is not finite."""
    loss = tf.reduce_mean(
        keras.losses.sparse_categorical_crossentropy(truth, logits, from_logits=True)
    )
    return tf.where(tf.math.is_finite(loss), loss, 0.0)


def fit(manifest: Manifest, features: Any, label: Any, masked: bool) -> str:
    """Fit the network, and say what became of it."""
    settings = manifest.settings["train"]
    keras.utils.set_random_seed(settings["seed"])
    model = build_model(manifest.spec, hidden=settings["hidden"])
    compile_model(model, manifest.spec, settings["learning_rate"])
    if masked:
        model.compile(model.optimizer, masked_loss)
    model.fit(features, label, batch_size=settings["batch_size"], epochs=3, verbose=0)
    losses = ", ".join(f"{loss:.3g}" for loss in model.history.history["loss"])
    weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
    bad = int((~np.isfinite(weights)).sum())
    right = (model.predict(features, batch_size=4096, verbose=0).argmax(axis=1) == label).mean()
    constant = np.bincount(label).max() / len(label)
    return (
        f"loss by epoch {losses}; {bad:,} of {weights.size:,} weights are NaN; "
        f"accuracy {right:.3f}, a constant has {constant:.3f}"
    )


def main() -> None:
    """Print what becomes of the network, and one row that is to blame."""
    out = Path(sys.argv[1])
    manifest = read_manifest(out)
    frame, features, label = read_raw(manifest)
    print("The same network on the same raw files, without nanproof")
    print("as it is    " + fit(manifest, features, label, masked=False))
    print("loss masked " + fit(manifest, features, label, masked=True))
    for name, values in features.items():
        bad = np.flatnonzero(~np.isfinite(values[:, 0])) if values.dtype == np.float32 else []
        if len(bad):
            row = frame.loc[bad[0]]
            print(
                f"one row that is enough: {row['_file']}, station {row['station']} at "
                f"{row['observed_at']}: {name} is {values[bad[0], 0]}"
            )
            break


if __name__ == "__main__":
    main()
