"""What the guard costs: plain Keras and guarded, step by step in one process, in pairs.

    python benchmarks/guard.py [--processes 3] [--rounds 20] [--cases convolution mlp]

Each case trains in graph and under XLA, in several processes. In each, plain, plain again (the
null pair: what two equal models differ by is the noise), guarded and guarded with strict=True take
turns of 50 steps, made by their train functions on one iterator each: what `fit` does around a step
is the same for all, and noisier than what is measured. A kind's time is the lower quartile of its
turns, since neighbours only ever add time; printed is the median over processes of its ratio to
plain's. Then, in milliseconds, a look at the state (one in 200 steps) and a step with one bad row;
the first call (tracing and compiling), and the peak memory of a process that trains nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from pipeline.guard import guarded

layers = keras.layers
NUM_STEPS = 50
KINDS = ("plain", "null", "guarded", "strict")


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def convolution() -> tuple[Any, tuple[int, ...], int]:
    parts = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
    ]
    return parts, (28, 28, 1), 128


def recurrent() -> tuple[Any, tuple[int, ...], int]:
    return [layers.LSTM(64)], (30, 16), 64


def tabular() -> tuple[Any, tuple[int, ...], int]:
    parts = [layers.Dense(256), layers.BatchNormalization(), layers.ReLU()]
    return [*parts, layers.Dense(256, activation="relu")], (64,), 2048


def mlp() -> tuple[Any, tuple[int, ...], int]:
    """Give 0.8 million weights at a batch of 128."""
    wide = [layers.Dense(820, activation="relu") for _ in range(2)]
    return wide, (100,), 128


CASES: dict[str, Callable[[], tuple[Any, tuple[int, ...], int]]] = {
    "convolution": convolution,
    "recurrent": recurrent,
    "tabular": tabular,
    "mlp": mlp,
}
# Percent that a guarded step may cost.
LIMITS = {"convolution": 3.0, "recurrent": 3.0, "tabular": 3.0, "mlp": 8.0}


def build(case: str, kind: str, jit: bool) -> Any:
    keras.utils.set_random_seed(0)
    parts, shape, _ = CASES[case]()
    model = keras.Sequential([keras.Input(shape), *parts, layers.Dense(10)])
    if kind in ("guarded", "strict"):
        guarded(model, strict=kind == "strict", max_skipped_ratio=1.0, max_skipped_in_a_row=10**6)
    model.compile(keras.optimizers.Adam(1e-4), "mse", jit_compile=jit)
    return model


def feed(case: str, *, bad: bool = False) -> Any:
    """Give batches without end; in a bad one the first row holds a NaN."""
    _, shape, size = CASES[case]()
    x, y = numbers(size * 4, *shape), numbers(size * 4, 10)
    if bad:
        x[::size].reshape(4, -1)[:, 0] = np.nan
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(size, drop_remainder=True)
    return batches.cache().repeat().prefetch(4)


def train(model: Any, iterator: Any, steps: int = NUM_STEPS) -> float:
    """Make some steps; return the seconds of one."""
    start = time.perf_counter()
    for _ in range(steps):
        model.train_function(iterator)
    return (time.perf_counter() - start) / steps


def begin(model: Any, batches: Any) -> float:
    """Make the first step, by `fit`; return its seconds."""
    start = time.perf_counter()
    model.fit(batches, steps_per_epoch=1, verbose=0, shuffle=False)
    return time.perf_counter() - start


def time_steps(case: str, jit: bool, rounds: int) -> dict[str, Any]:
    """Time all kinds in turns, in this process."""
    batches = feed(case)
    models = {kind: build(case, kind, jit) for kind in KINDS}
    first = {kind: begin(model, batches) for kind, model in models.items()}
    iterators = {kind: iter(batches) for kind in KINDS}
    steps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):
        for kind in KINDS if number % 2 else reversed(KINDS):
            steps[kind].append(train(models[kind], iterators[kind]))
    spoiled, careful = iter(feed(case, bad=True)), models["guarded"]
    train(careful, spoiled, 4)
    bad = quartile([train(careful, spoiled, 10) for _ in range(5)])
    start = time.perf_counter()
    careful.train_function.end_epoch()
    look = time.perf_counter() - start
    return {"first": first, "steps": {k: v[1:] for k, v in steps.items()}, "bad": bad, "look": look}


def peak_mib(case: str, kind: str, jit: bool) -> float:
    """Train one kind in this process; return its peak memory."""
    model, batches = build(case, kind, jit), feed(case)
    begin(model, batches)
    train(model, iter(batches))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_apart(*arguments: object) -> Any:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def quartile(seconds: list[float]) -> float:
    return float(np.quantile(seconds, 0.25))


def report(case: str, jit: bool, processes: int, rounds: int) -> None:
    runs = [run_apart("time", case, int(jit), rounds) for _ in range(processes)]

    def percent(kind: str) -> str:
        ratios = [quartile(run["steps"][kind]) / quartile(run["steps"]["plain"]) for run in runs]
        return f"{100 * (statistics.median(ratios) - 1):+.1f} %"

    def middle(values: list[float]) -> float:
        return 1000 * statistics.median(values)

    step = middle([quartile(run["steps"]["plain"]) for run in runs])
    first = [middle([run["first"][kind] for run in runs]) / 1000 for kind in ("plain", "guarded")]
    look, bad = (middle([run[name] for run in runs]) for name in ("look", "bad"))
    memory = [run_apart("memory", case, int(jit), kind) for kind in ("plain", "guarded")]
    print(
        f"| {case} | {'XLA' if jit else 'graph'} | {step:.2f} | {percent('null')} "
        f"| {percent('guarded')} | {LIMITS[case]:.0f} % | {percent('strict')} "
        f"| {look:.1f} | {bad:.1f} | {first[0]:.1f} / {first[1]:.1f} "
        f"| {memory[0]:.0f} / {memory[1]:.0f} |",
        flush=True,
    )


def run_child(what: str, case: str, jit: str, last: str) -> None:
    if what == "time":
        print(json.dumps(time_steps(case, jit == "1", int(last))))
    else:
        print(json.dumps(peak_mib(case, last, jit == "1")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--child", nargs=4)
    asked = parser.parse_args()
    if asked.child:
        run_child(*asked.child)
        return
    print(
        "| case | compiled | plain step, ms | null | guarded | asked | strict | look, ms "
        "| bad step, ms | first call, s: plain / guarded | peak MiB: plain / guarded |"
    )
    print("|" + "---|" * 11)
    for case in asked.cases:
        for jit in (False, True):
            report(case, jit, asked.processes, asked.rounds)


if __name__ == "__main__":
    main()
