"""Is the guarded update that of the batch without its bad rows?

    python benchmarks/guard_updates.py [--steps 3]

Each model is trained twice from the same weights: plain on batches without the bad rows, guarded
on the batches with them. What is printed is how far the two come apart: the greatest difference
of a weight, over the greatest change of one. That of SGD is that of the gradient. "=" is equal
to the bit. Bad rows hold NaN in the first input, and Inf in the second or in the label.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from pipeline.guard import guarded

layers, optimizers = keras.layers, keras.optimizers
NUM_ROWS, BAD = 24, (3, 16)


class Case(NamedTuple):
    """A model, its inputs and its labels."""

    model: Any
    x: Any
    y: Any


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def stack(*parts: Any, shape: tuple[int, ...]) -> Case:
    model = keras.Sequential([keras.Input(shape), *parts, layers.Dense(2)])
    return Case(model, numbers(NUM_ROWS, *shape), numbers(NUM_ROWS, 2))


def dense() -> Case:
    return stack(
        layers.Dense(16, activation="relu"), layers.Dense(8, activation="tanh"), shape=(6,)
    )


def convolution() -> Case:
    parts = (layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten())
    return stack(*parts, shape=(8, 8, 1))


def recurrent() -> Case:
    case = stack(layers.Masking(), layers.GRU(8), shape=(6, 3))
    case.x[::3, 4:] = 0.0
    return case


def embedding() -> Case:
    source = {"id": keras.Input((4,), dtype="int32", name="id"), "x": keras.Input((2,), name="x")}
    words = layers.GlobalAveragePooling1D()(layers.Embedding(9, 3)(source["id"]))
    model = keras.Model(source, layers.Dense(2)(layers.concatenate([words, source["x"]])))
    ids = np.arange(NUM_ROWS * 4, dtype="int32").reshape(NUM_ROWS, 4) % 9
    return Case(model, {"id": ids, "x": numbers(NUM_ROWS, 2)}, numbers(NUM_ROWS, 2))


def attention() -> Case:
    source = keras.Input((5, 4))
    # A key's bias has no part in the result: its gradient is rounding noise, which Adam and Lion
    # make as large as any.
    mixed = layers.MultiHeadAttention(num_heads=2, key_dim=3, use_bias=False)(source, source)
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(source + mixed))
    model = keras.Model(source, layers.Dense(2)(pooled))
    return Case(model, numbers(NUM_ROWS, 5, 4), numbers(NUM_ROWS, 2))


def batch_statistics() -> Case:
    # As above: a bias before them has no part in the result.
    return stack(
        layers.Dense(8, use_bias=False), layers.BatchNormalization(), layers.ReLU(), shape=(6,)
    )


def several() -> Case:
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    both = layers.concatenate([layers.Dense(6, activation="tanh")(left), right])
    outputs = {
        "size": layers.Dense(1, name="size")(both),
        "kind": layers.Dense(3, name="kind")(both),
    }
    x = {"left": numbers(NUM_ROWS, 3), "right": numbers(NUM_ROWS, 2)}
    return Case(
        keras.Model({"left": left, "right": right}, outputs),
        x,
        {"size": numbers(NUM_ROWS, 1), "kind": numbers(NUM_ROWS, 3)},
    )


MODELS: Sequence[Callable[[], Case]] = (
    dense,
    convolution,
    recurrent,
    embedding,
    attention,
    batch_statistics,
    several,
)
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optimizers.SGD(0.01),
    "Adam": lambda: optimizers.Adam(0.01),
    "AdamW": lambda: optimizers.AdamW(0.01),
    "Lion": lambda: optimizers.Lion(0.01),
}


def spoil(case: Case) -> None:
    """Make two rows bad."""
    floats = [leaf for leaf in keras.tree.flatten(case.x) if leaf.dtype.kind == "f"]
    floats[0][BAD[0]].flat[0] = np.nan
    other = floats[1] if len(floats) > 1 else keras.tree.flatten(case.y)[0]
    other[BAD[1]].flat[0] = np.inf


def compare(make: Callable[[], Case], optimizer: str, jit: bool, weighted: bool, steps: int) -> Any:
    """Return how far plain and guarded training come apart."""
    policy = keras.config.dtype_policy()
    keras.utils.clear_session()  # or what earlier cases traced stays in memory
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    case = make()
    assert case.model.dtype_policy.name == policy.name
    spoil(case)
    weights = (np.linspace(0.5, 2.0, NUM_ROWS, dtype="float32"),) if weighted else ()
    data = (case.x, case.y, *weights)
    keep = np.setdiff1d(np.arange(NUM_ROWS), BAD)
    sound = keras.tree.map_structure(lambda leaf: leaf[keep], data)
    start, found = case.model.get_weights(), []
    for with_guard, batch in ((False, sound), (True, data)):
        case.model.set_weights(start)
        made: Any = OPTIMIZERS[optimizer]()
        if keras.config.dtype_policy().name == "mixed_float16":
            made = optimizers.LossScaleOptimizer(made, initial_scale=1024.0)
        loss = dict.fromkeys(case.y, "mse") if isinstance(case.y, dict) else "mse"
        case.model.compile(made, loss, jit_compile=jit)
        if with_guard:
            guarded(case.model, max_skipped_ratio=1.0, max_skipped_in_a_row=1000)
        for _ in range(steps):
            case.model.train_on_batch(*batch)
        found.append(case.model.get_weights())
    assert len(case.model.guard.incidents) == steps
    assert all(i.done == "dropped rows" for i in case.model.guard.incidents)
    changes = [np.abs(a - b).max() for a, b in zip(start, found[0], strict=True)]
    apart = [np.abs(a - b).max() for a, b in zip(*found, strict=True)]
    return max(apart) / max(changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--models", nargs="*", help="of which only these")
    asked = parser.parse_args()
    print("| model | dtype | compiled | " + " | ".join(OPTIMIZERS) + " |")
    print("|" + "---|" * (3 + len(OPTIMIZERS)))
    chosen = [make for make in MODELS if not asked.models or make.__name__ in asked.models]
    for make in chosen:
        for policy in ("float32", "mixed_float16"):
            keras.config.set_dtype_policy(policy)
            for jit in (False, True):
                cells = []
                for optimizer in OPTIMIZERS:
                    worst = max(
                        compare(make, optimizer, jit, weighted, asked.steps)
                        for weighted in (False, True)
                    )
                    cells.append("=" if worst == 0.0 else f"{worst:.0e}")
                name = make.__name__.replace("_", " ")
                how = "XLA" if jit else "graph"
                print(f"| {name} | {policy} | {how} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
