"""Public sets with all their dirt, unrepaired, behind the guard.

    python benchmarks/guard_raw.py [--only TEXT]

Every set is trained on as it is, NaN and Inf included, by a network of relu and by one of tanh;
`tanh` shows a NaN where `relu` hides it. Budget: half of the rows. What is printed is

- bad: the rows to train on in which plain pandas finds a cell that is no finite number;
- named: how many of them the incidents name, and "exactly" where it is each of them once an
  epoch and no other row;
- metric: accuracy, or RMSE in the label's unit, on the complete rows of a fifth held out;
- constant: that of the most frequent class, or of the mean, of the rows to train on;
- finite: whether all weights and optimizer slots are, at the end.

Columns of which less than half is filled are left out at first. With them, "(all columns)", most
rows are bad, and training is to end by the budget. Exit 1 if any of this is not so.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import numpy as np
import pandas as pd

from pipeline.errors import GuardBudgetSpent
from pipeline.guard import guarded
from tests.raw_sets import (
    SETS,
    RawSet,
    Table,
    find_bad,
    load_table,
    make_arrays,
    measure_scale,
    take_complete,
)

ROOT = Path(__file__).parent.parent
ACTIVATIONS = ("relu", "tanh")
SPENT = ("chicago_taxi", "titanic", "nyc_weather")
"""Sets of which more than half of the rows are bad if every column is kept."""
MAX_SKIPPED_RATIO = 0.5
# So that a bad stretch alone is no reason to end.
MANY = 1_000_000

Named = Counter[tuple[int, int | str | None]]
"""Epoch and row id, and how often the incidents of that epoch name the row."""


class Run(NamedTuple):
    """How one training went.

    Attributes:
        model: As it was left.
        raised: What the guard ended it with, if it did.
        seconds: How long `fit` took.
    """

    model: Any
    raised: GuardBudgetSpent | None
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether every weight and every slot is."""
        state = [*self.model.weights, *self.model.optimizer.variables]
        return all(np.isfinite(keras.ops.convert_to_numpy(value)).all() for value in state)

    @property
    def named(self) -> Named:
        """The rows that the incidents name."""
        incidents = self.model.guard.incidents
        return Counter((i.epoch, row.row_id) for i in incidents for row in i.rows)


def build(num_columns: int, activation: str, num_outputs: int) -> Any:
    source = keras.Input((num_columns,), name="x")
    hidden = keras.layers.Dense(32, activation)(source)
    hidden = keras.layers.Dense(16, activation)(hidden)
    return keras.Model({"x": source}, keras.layers.Dense(num_outputs)(hidden))


def train(table: Table, chosen: RawSet, activation: str, *, guard: bool = True) -> Run:
    """Train a small network on a set's rows as they are."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    x, y = make_arrays(table, table.train)
    if not guard:
        del x["row_id"]
    model = build(x["x"].shape[1], activation, len(table.classes) or 1)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), entropy if table.classes else "mse")
    if guard:
        guarded(model, max_skipped_ratio=MAX_SKIPPED_RATIO, max_skipped_in_a_row=MANY)
    raised, started = None, time.perf_counter()
    try:
        model.fit(x, y, epochs=chosen.epochs, batch_size=chosen.batch_size, verbose=0)
    except GuardBudgetSpent as error:
        raised = error
    return Run(model, raised, time.perf_counter() - started)


def expect_named(train: pd.DataFrame, epochs: int) -> Named:
    """Give what the incidents ought to name: every bad row once an epoch."""
    bad = find_bad(train)
    return Counter(product(range(epochs), bad.index[bad]))


def measure(table: Table, model: Any) -> tuple[float, float]:
    """Give the metric of a model and that of the best constant, on complete rows held out."""
    rows, label = take_complete(table.held_out), table.label
    found = np.asarray(model({"x": make_arrays(table, rows)[0]["x"]}))
    truth, known = rows[label], table.train[label]
    if table.classes:
        right = found.argmax(axis=1) == truth
        return float(right.mean()), float((truth == known.mode()[0]).mean())
    mean, spread = measure_scale(table)
    return (
        root_mean_square(found[:, 0] * spread[label] + mean[label] - truth),
        root_mean_square(truth - known.mean()),
    )


def root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def is_better(table: Table, metric: float, constant: float) -> bool:
    """Tell whether a metric beats the constant's; NaN beats nothing."""
    return metric > constant if table.classes else metric < constant


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def show(name: str, table: Table, chosen: RawSet, activation: str) -> bool:
    """Train on a set, print its line, and tell whether all is as it should be."""
    run = train(table, chosen, activation)
    expected, named = expect_named(table.train, chosen.epochs), run.named
    exactly = named == expected
    metric, constant = measure(table, run.model)
    num_named = len({row for _, row in named})
    print_row(
        name, activation, len(table.train) + len(table.held_out), len(table.train),
        find_bad(table.train).sum(), f"{num_named}{', exactly' if exactly else ''}",
        f"{'accuracy' if table.classes else 'RMSE'} {metric:.4g}", f"{constant:.4g}",
        "yes" if run.finite else "NO", f"{run.seconds:.1f}",
    )  # fmt: skip
    better = is_better(table, metric, constant)
    return run.raised is None and run.finite and exactly and better


def show_spent(name: str, table: Table, chosen: RawSet, activation: str) -> bool:
    """Train on a set with every column; as `show`."""
    run = train(table, chosen, activation)
    code = None if run.raised is None else run.raised.exit_code
    print_row(
        f"{name} (all columns)", activation, len(table.train) + len(table.held_out),
        len(table.train), find_bad(table.train).sum(), len({row for _, row in run.named}),
        f"exit code {code}", "", "yes" if run.finite else "NO", f"{run.seconds:.1f}",
    )  # fmt: skip
    return code == GuardBudgetSpent.exit_code and run.finite


def find(place: str) -> Path:
    """Give a set's path."""
    root = os.environ.get("NANPROOF_DATASETS", ROOT.parent / "shared" / "datasets")
    return Path(root) / place


def tell_left_out(name: str, table: Table, chosen: RawSet) -> str:
    reasons = {
        "less than half filled": table.sparse,
        "without a number": table.texts,
        "give the label away": chosen.leaks,
    }
    told = [f"{reason}: {', '.join(columns) or 'none'}" for reason, columns in reasons.items()]
    return f"{name}: {'; '.join(told)}"


def run_all(names: Iterable[str]) -> int:
    """Print the table; give the exit code."""
    print_row(*"set activation rows train bad named metric constant finite seconds".split())
    print("|" + "---|" * 10)
    fine, left_out = [], []
    for name in names:
        chosen = SETS[name]
        table = load_table(find(chosen.place), chosen)
        fine += [show(name, table, chosen, activation) for activation in ACTIVATIONS]
        left_out.append(tell_left_out(name, table, chosen))
        if name in SPENT:
            table = load_table(find(chosen.place), chosen, keep_sparse=True)
            fine += [show_spent(name, table, chosen, activation) for activation in ACTIVATIONS]
    print("\nColumns left out", *left_out, sep="\n")
    return int(not all(fine))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="the sets whose name holds this text")
    only = parser.parse_args().only
    return run_all(name for name in SETS if only in name)


if __name__ == "__main__":
    sys.exit(main())
