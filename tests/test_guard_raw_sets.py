"""Public sets with all their dirt behind the guard, as `benchmarks/guard_raw.py` runs them."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT, find_dataset
from tests.raw_sets import SETS, Table, find_bad, load_table, make_arrays

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "benchmarks"))
    guard_raw = importlib.import_module("guard_raw")

SMALL = (("penguins", "relu"), ("titanic", "tanh"))


def list_runs(names: Iterable[str], fast: Iterable[tuple[str, str]]) -> list[Any]:
    """List every set with every activation; what is not among the fast ones is slow."""
    return [
        pytest.param(*run, marks=() if run in fast else pytest.mark.slow)
        for run in product(names, guard_raw.ACTIVATIONS)
    ]


def load(name: str, *, keep_sparse: bool = False) -> Table:
    return load_table(find_dataset(SETS[name].place), SETS[name], keep_sparse=keep_sparse)


@pytest.mark.parametrize(("name", "activation"), list_runs(SETS, SMALL))
def test_a_raw_set_trains_and_each_bad_row_is_named_once_an_epoch(
    name: str, activation: str
) -> None:
    table = load(name)
    run = guard_raw.train(table, SETS[name], activation)
    assert run.raised is None
    assert run.finite
    bad = find_bad(table.train)
    assert bad.any()
    assert run.named == Counter(product(range(SETS[name].epochs), bad.index[bad]))
    assert guard_raw.is_better(table, *guard_raw.measure(table, run.model))


@pytest.mark.parametrize(("name", "activation"), list_runs(guard_raw.SPENT, [("titanic", "relu")]))
def test_a_set_of_mostly_bad_rows_ends_by_the_budget(name: str, activation: str) -> None:
    table = load(name, keep_sparse=True)
    assert find_bad(table.train).mean() > guard_raw.MAX_SKIPPED_RATIO
    run = guard_raw.train(table, SETS[name], activation)
    assert run.raised.exit_code == 3
    assert "% of the rows" in str(run.raised)
    assert run.finite


def test_without_the_guard_the_same_run_loses_its_weights() -> None:
    chosen = SETS["titanic"]._replace(epochs=1)
    assert not guard_raw.train(load("titanic"), chosen, "tanh", guard=False).finite


# Bad rows of the whole set, and the columns less than half filled. The folder's README counts
# them too: 29 rows with Inf, 207 blanks.
KNOWN = {
    "cicids2017": (29, []),
    "nyc_weather": (3_108, ["wind_gust"]),
    "california_housing": (207, []),
    "penguins": (2, []),
    "titanic": (557, ["boat", "body"]),
    "chicago_taxi": (4_275, ["pickup_census_tract"]),
    "nyc_taxi": (7_200, []),
    "nyc_weather, pressure": (3_108, ["wind_gust"]),
}


@pytest.mark.parametrize("name", SETS)
def test_the_oracle_counts_what_is_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.raw_sets.MAX_ROWS", 10**9)
    table = load(name)
    num_bad = int(find_bad(table.train).sum() + find_bad(table.held_out).sum())
    assert (num_bad, table.sparse) == KNOWN[name]


def test_scaling_repairs_nothing_and_leaves_a_constant_column_alone() -> None:
    nan, inf = np.nan, np.inf
    rows = pd.DataFrame(
        {"size": [1.0, 3.0, inf, nan], "same": [0.1, 0.1, 0.1, nan], "kind": [0.0, 1.0, nan, 1.0]},
        index=[5, 6, 7, 1 << 40],
    )
    x, y = make_arrays(Table(rows, rows, "kind", ("a", "b"), [], []), rows)
    np.testing.assert_array_equal(x["x"][:, 0], [-1, 1, inf, nan])
    np.testing.assert_allclose(x["x"][:, 1], [0, 0, 0, nan], atol=1e-7)
    np.testing.assert_array_equal(x["row_id"], [5, 6, 7, 1 << 40])
    np.testing.assert_array_equal(y, [0, 1, nan, 1])
