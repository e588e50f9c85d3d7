"""How many wrong cells a schema finds in two dirty tables that have clean twins.

A cell is wrong where the dirty twin's text differs from the clean one's; it is flagged where
`validate_frame` gives a reason that names it. `docs/detection.md` holds what this prints.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline import validate_frame
from pipeline.job import DEFAULT_MISSING, read_job
from pipeline.reference import resolve_reference

ROOT = Path(__file__).parent.parent
DATASETS = Path(os.environ.get("NANPROOF_DATASETS", ROOT.parent / "shared" / "datasets"))
SETS = ("raha_hospital", "raha_beers")
# The columns of which the hospitals' schema knows no more than how English spells an x.
SPELLED = ("HospitalName", "Address1", "City", "MeasureName")

# Row (from 0) and column.
Cell = tuple[int, str]


class Outcome(NamedTuple):
    """What was wrong in one set, and what was flagged.

    Attributes:
        dirty: The dirty twin as text.
        clean: The clean twin as text.
        wrong: The cells in which they differ.
        flagged: The cells that break a rule, and that rule.
    """

    dirty: pd.DataFrame
    clean: pd.DataFrame
    wrong: set[Cell]
    flagged: dict[Cell, str]


def detect(name: str, missing: tuple[str, ...] | None = None) -> Outcome:
    """Judge a dirty twin by its job's schema, and compare it with the clean one.

    Args:
        name: The set.
        missing: The texts that mean missing, in place of the job's.
    """
    dirty = read_twin(DATASETS / name / "dirty.csv")
    clean = read_twin(DATASETS / name / "clean.csv")
    job = read_job(ROOT / "data" / name / "job.toml")
    schema = resolve_reference(job.data.schema_, job.folder, setting="data.schema")
    texts = {str(column): missing or job.data.missing_texts(str(column)) for column in dirty}
    reasons = validate_frame(dirty, schema, missing=texts).reasons
    flagged = zip(reasons["row"], reasons["column"], reasons["rule"], strict=True)
    different = dirty != clean
    wrong = {(int(row), name) for name in map(str, dirty) for row in dirty.index[different[name]]}
    return Outcome(dirty, clean, wrong, {(row, column): rule for row, column, rule in flagged})


def read_twin(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def count(label: str, wrong: set[Cell], flagged: set[Cell]) -> str:
    """Return a line: how many cells are wrong, flagged, both; precision and recall."""
    both = len(wrong & flagged)
    precision = f"{both / len(flagged):.4f}" if flagged else "-"
    recall = f"{both / len(wrong):.4f}" if wrong else "-"
    return f"{label:18s} {len(wrong):6,} {len(flagged):8,} {both:6,} {precision:>10s} {recall:>7s}"


def count_by_column(outcome: Outcome) -> list[str]:
    """Return the table of the columns in which any cell is wrong or flagged, and of all."""
    lines = [f"{'column':18s}  wrong  flagged   both  precision  recall"]
    for column in map(str, outcome.dirty):
        wrong = {cell for cell in outcome.wrong if cell[1] == column}
        flagged = {cell for cell in outcome.flagged if cell[1] == column}
        if wrong or flagged:
            lines.append(count(column, wrong, flagged))
    return [*lines, count("all", outcome.wrong, set(outcome.flagged))]


def list_cells(outcome: Outcome, cells: set[Cell]) -> list[str]:
    """Return a line for every column and rule: which rows (from 1)."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, column in sorted(cells, key=lambda cell: (cell[1], cell[0])):
        rule = outcome.flagged.get((row, column), "no rule")
        groups.setdefault((column, rule), []).append(row + 1)
    return [
        f"{column}, {rule}: {len(rows):,} in rows {', '.join(map(str, rows))}"
        for (column, rule), rows in groups.items()
    ] or ["none"]


def report(name: str, outcome: Outcome) -> list[str]:
    flagged = set(outcome.flagged)
    return [
        f"{name}: {outcome.dirty.shape[0]:,} rows x {outcome.dirty.shape[1]} columns",
        *count_by_column(outcome),
        "flagged though clean:",
        *list_cells(outcome, flagged - outcome.wrong),
        "wrong and not flagged:",
        *list_cells(outcome, outcome.wrong - flagged),
    ]


def main() -> None:
    outcomes = {name: detect(name) for name in SETS}
    for name, outcome in outcomes.items():
        print(*report(name, outcome), "", sep="\n")
    hospital = outcomes["raha_hospital"]
    known = {cell for cell in hospital.flagged if cell[1] not in SPELLED}
    beers = detect("raha_beers", DEFAULT_MISSING)
    print("with less said:")
    print(count("hospital, no x", hospital.wrong, known))
    print(count("beers, N/A blank", beers.wrong, set(beers.flagged)))


if __name__ == "__main__":
    main()
