"""Cells that are wrong by a clean twin, and cells that a schema flags."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from pipeline import validate_frame
from schemas.raha_beers import Beer
from schemas.raha_hospital import Row
from tests.conftest import ROOT, find_dataset

Cells = set[tuple[int, str]]
# The hospitals' columns of free text; the others have a closed domain or a format.
FREE = {"HospitalName", "Address1", "City", "MeasureName"}


def read_twins(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = find_dataset(name)
    dirty, clean = (
        pd.read_csv(folder / f"{twin}.csv", dtype=str, keep_default_na=False)
        for twin in ("dirty", "clean")
    )
    return dirty, clean


def list_cells(mask: pd.DataFrame) -> Cells:
    return {(row, name) for name in map(str, mask) for row in mask.index[mask[name]]}


def flag(frame: pd.DataFrame, schema: object) -> Cells:
    reasons = validate_frame(frame, schema).reasons
    return set(zip(reasons["row"], reasons["column"], strict=True))


def test_hospital_wrong_cells_are_found_and_no_other() -> None:
    dirty, clean = read_twins("raha_hospital")
    wrong = list_cells(dirty != clean)
    flagged = flag(dirty.replace("empty", None), Row)
    assert len(wrong) == 509
    assert flagged <= wrong
    assert len(flagged & wrong) / len(wrong) >= 0.97
    assert {column for _, column in wrong - flagged} <= FREE


def test_hospital_closed_columns_flag_what_the_clean_twin_never_says() -> None:
    dirty, clean = read_twins("raha_hospital")
    closed = dirty.drop(columns=[*FREE, "Sample"])
    unheard = {name: ~closed[name].isin(set(clean[name])) for name in closed}
    flagged = flag(dirty.replace("empty", None), Row)
    assert list_cells(pd.DataFrame(unheard)) == {
        cell for cell in flagged if cell[1] in closed.columns
    }


def test_beers_wrong_cells_are_found_and_no_other() -> None:
    dirty, clean = read_twins("raha_beers")
    wrong = list_cells(dirty != clean)
    assert len(wrong) == 4_362
    # A blank is this catalogue's word for missing; validate_frame takes N/A for one, too.
    assert flag(dirty.replace("N/A", "(N/A)"), Beer) == wrong


def test_beers_unknown_bitterness_is_valid_where_it_means_missing() -> None:
    dirty, clean = read_twins("raha_beers")
    wrong = list_cells(dirty != clean)
    assert wrong - flag(dirty, Beer) == {cell for cell in wrong if cell[1] == "ibu"}


@pytest.mark.parametrize(
    ("column", "text"),
    [("abv", "0.5"), ("abv", "0.05"), ("city", "Bend"), ("state", "OR"), ("style", "Other")],
)
def test_a_plausible_wrong_value_is_beyond_a_row_wise_rule(column: str, text: str) -> None:
    _, clean = read_twins("raha_beers")
    assert flag(clean.assign(**{column: text}), Beer) == set()


def test_the_document_holds_what_the_benchmark_prints(capsys: pytest.CaptureFixture[str]) -> None:
    find_dataset("raha_hospital")
    find_dataset("raha_beers")
    file = ROOT / "benchmarks" / "detection.py"
    spec = importlib.util.spec_from_file_location("detection", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    printed = capsys.readouterr().out
    assert printed in Path(ROOT / "docs" / "detection.md").read_text()
