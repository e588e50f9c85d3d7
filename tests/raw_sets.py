"""Public sets as they are, unrepaired: their numbers, and which rows plain pandas finds bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MAX_ROWS = 20_000


class RawSet(NamedTuple):
    """Where a set lies, and what is learned of it.

    Attributes:
        place: A CSV file, or a folder of them, in the folder of the public sets.
        label: The column to learn.
        classes: Its texts; empty where it is a number.
        leaks: Columns that give the label away.
        epochs: How long to train.
        batch_size: How many rows a step.
    """

    place: str
    label: str
    classes: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    epochs: int = 6
    batch_size: int = 128


class Table(NamedTuple):
    """A set's numeric columns, the label among them; the index is the row id.

    Attributes:
        train: Rows to train on.
        held_out: Rows to judge by.
        label: The label's column.
        classes: As `RawSet.classes`.
        texts: Columns without a single number, which are no numeric ones.
        sparse: Numeric columns of which less than half is filled.
    """

    train: pd.DataFrame
    held_out: pd.DataFrame
    label: str
    classes: tuple[str, ...]
    texts: list[str]
    sparse: list[str]


# Labels and leaks are those of the project's jobs in data/, but for chicago_taxi: without the way
# of payment, which is text, nothing tells a big tipper.
SETS = {
    "cicids2017": RawSet(
        "cicids2017_sample",
        "PSH Flag Count",
        ("0", "1"),
        (
            "FIN Flag Count", "SYN Flag Count", "RST Flag Count", "ACK Flag Count",
            "URG Flag Count", "CWE Flag Count", "ECE Flag Count", "Fwd PSH Flags", "Bwd PSH Flags",
        ),
    ),
    "nyc_weather": RawSet("nyc_weather/weather.csv", "visib"),
    "california_housing": RawSet("california_housing/housing.csv", "median_house_value"),
    "penguins": RawSet(
        "penguins/penguins.csv", "species", ("Adelie", "Chinstrap", "Gentoo"),
        epochs=15, batch_size=16,
    ),
    "titanic": RawSet("titanic/titanic.csv", "survived", ("0", "1"), epochs=8, batch_size=32),
    "chicago_taxi": RawSet("chicago_taxi/big_tipper.csv", "fare", (), ("tips", "big_tipper")),
    "nyc_taxi": RawSet("nyc_taxi", "fare_amount", (), ("total_amount", "tip_amount")),
    # None of the labels above is ever missing; this one is.
    "nyc_weather, pressure": RawSet("nyc_weather/weather.csv", "pressure"),
}  # fmt: skip


def read_numbers(path: Path, label: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Read a file, or a folder's CSV files, as numbers; text that is none becomes NaN.

    The index is the row id: the file's number, shifted by 40 bits, and the row in it. Classes
    become their numbers.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    frames = [pd.read_csv(file, dtype=str, keep_default_na=False) for file in files]
    for number, frame in enumerate(frames):
        frame.columns = frame.columns.str.strip()
        frame.index = pd.RangeIndex(number << 40, (number << 40) + len(frame))
    texts = pd.concat(frames)
    numbers: pd.DataFrame = texts.apply(pd.to_numeric, errors="coerce").astype("float64")
    if classes:
        numbers[label] = texts[label].map({text: float(n) for n, text in enumerate(classes)})
    return numbers


def load_table(path: Path, chosen: RawSet, *, keep_sparse: bool = False) -> Table:
    """Read a set, leave columns out, and part at most 20,000 of its rows at random, four to one.

    Args:
        path: Where the set lies.
        chosen: What of it.
        keep_sparse: Keep the columns of which less than half is filled.
    """
    numbers = read_numbers(path, chosen.label, chosen.classes).drop(columns=list(chosen.leaks))
    filled = numbers.notna().mean()
    texts = list(filled.index[filled == 0])
    sparse = list(filled.index[(filled > 0) & (filled < 0.5)])
    numbers = numbers.drop(columns=texts if keep_sparse else texts + sparse)
    numbers = numbers.sample(min(len(numbers), MAX_ROWS), random_state=0)
    cut = len(numbers) * 4 // 5
    return Table(
        numbers.iloc[:cut], numbers.iloc[cut:], chosen.label, chosen.classes, texts, sparse
    )


def find_bad(rows: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows have a cell, the label's among them, that is no finite number."""
    return (rows.isna() | rows.isin([np.inf, -np.inf])).any(axis=1)


def take_complete(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[~find_bad(rows)]


def finite_part(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the finite cells; NaN stands for the rest."""
    return rows.where(~rows.isin([np.inf, -np.inf]))


def measure_scale(table: Table) -> tuple[pd.Series[float], pd.Series[float]]:
    """Give the mean and the spread of every column's finite values in the rows to train on.

    The spread of a constant column and of a class is 1, and the mean of a class 0.
    """
    finite = finite_part(table.train)
    mean = finite.mean()
    spread = finite.std(ddof=0).where(finite.nunique() > 1, 1.0)
    if table.classes:
        mean[table.label], spread[table.label] = 0.0, 1.0
    return mean, spread


def make_arrays(table: Table, rows: pd.DataFrame) -> tuple[dict[str, Any], Any]:
    """Scale rows and give features, with row ids, and labels; NaN and Inf stay what they are.

    Returns:
        `{"x": (rows, columns) float32, "row_id": (rows,) int64}` and `(rows,) float32`.
    """
    mean, spread = measure_scale(table)
    scaled = ((rows - mean) / spread).astype("float32")
    label = scaled.pop(table.label)
    return {"x": scaled.to_numpy(), "row_id": rows.index.to_numpy()}, label.to_numpy()
