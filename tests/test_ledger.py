"""The accounts balance, or nothing is published."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pipeline.ledger import (
    Files,
    Ledger,
    LedgerUnbalanced,
    Line,
    Stage,
    add_counts,
    check_balance,
    list_lines,
)


def ledger_of(**changed: Any) -> Ledger:
    """Ten rows: one rejected by scan, two repeated, one rejected in finish; three cells changed."""
    facts: dict[str, Any] = {
        "files": Files(read=1),
        "stages": {
            "scan": Stage(read=10, clean=9, quarantined=1),
            "settle": Stage(read=9, clean=7, quarantined=2),
            "finish": Stage(read=7, clean=6, quarantined=1),
        },
        "rows": {
            "read": 10, "clean": 6, "quarantined": 4, "train": 4, "validation": 1, "test": 1,
        },
        "cells": {"repaired": 2, "filled": 1},
        "broken": (),
        "quarantined": (),
        "repaired": (
            Line(column="x", rule="nan", count=2), Line(column="y", rule="fill", count=1),
        ),
    }  # fmt: skip
    return Ledger(**{**facts, **changed})


def test_a_ledger_that_adds_up_balances() -> None:
    check_balance(ledger_of())


STAGES = ledger_of().stages
ROWS = ledger_of().rows


@pytest.mark.parametrize(
    ("changed", "what", "left", "right"),
    [
        (
            {"stages": {**STAGES, "scan": Stage(read=11, clean=9, quarantined=1)}},
            "rows of stage scan", 11, 10,
        ),
        (
            {"stages": {**STAGES, "settle": Stage(read=8, clean=7, quarantined=1)}},
            "rows between stages", 9, 8,
        ),
        ({"rows": {**ROWS, "read": 12}}, "rows read", 12, 10),
        ({"rows": {**ROWS, "read": 11, "clean": 7}}, "rows read in scan", 11, 10),
        ({"rows": {**ROWS, "clean": 5, "quarantined": 5}}, "rows quarantined", 5, 4),
        ({"rows": {**ROWS, "test": 2}}, "clean rows", 6, 7),
        ({"cells": {"repaired": 2, "filled": 0}}, "changed cells", 2, 3),
        ({"repaired": ()}, "changed cells", 3, 0),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_a_bug_of_ours_and_named(
    changed: dict[str, Any], what: str, left: int, right: int
) -> None:
    with pytest.raises(LedgerUnbalanced) as caught:
        check_balance(ledger_of(**changed))
    assert caught.value.fields == {"what": what, "left": left, "right": right}
    assert caught.value.exit_code == 70


def test_lines_are_sorted_by_count_then_column_then_rule_and_leave_out_zeros() -> None:
    counts = {("b", "nan"): 2, ("a", "nan"): 2, ("a", "le"): 2, (None, "m"): 5, ("c", "x"): 0}
    found = [(line.column, line.rule, line.count) for line in list_lines(counts)]
    assert found == [(None, "m", 5), ("a", "le", 2), ("a", "nan", 2), ("b", "nan", 2)]


def test_counts_of_several_parts_add_up() -> None:
    parts = [{("a", "nan"): 1}, {("a", "nan"): 2, (None, "m"): 1}, {}]
    assert add_counts(parts) == Counter({("a", "nan"): 3, (None, "m"): 1})
    assert add_counts([]) == Counter()


def test_a_ledger_survives_its_json() -> None:
    assert Ledger.model_validate_json(ledger_of().model_dump_json()) == ledger_of()
