"""The known ways to a NaN, as `benchmarks/faults.py` runs them, and how it judges."""

from __future__ import annotations

import importlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import GuardBudgetSpent
from tests.conftest import ROOT

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "benchmarks"))
    faults = importlib.import_module("faults")

CASES = {case.name: case for case in faults.CASES}
SAMPLE = {
    "NaN cell + relu": "survived",
    "finite 1e30 feature": "survived",
    "label = num_classes": "survived",
    "BCE labels 0/255": "unseen",
    "Normalization adapted on NaN": "stopped",
    "blank image divided by its own std, in the model": "survived",
    "NaN sample_weight": "survived",
    "loss weight 1e6": "stopped",
    "division by the batch's positives": "survived",
    "single where(log)": "survived",
    "RMSE at sqrt(0)": "survived",
    "loss of 1e5": "quiet",
}


def test_every_fault_and_every_control_is_a_case_with_a_name_of_its_own() -> None:
    assert len(CASES) == len(faults.CASES)
    # The table's 22, 14, 22 and 10; one of the data and one of the losses come in two forms.
    groups = Counter(case.group for case in faults.CASES)
    assert groups == {"data": 23, "rate": 14, "loss": 23, "control": 10}


# What XLA's kernels make of a fault is another thing in these.
UNDER_XLA = ("NaN cell + relu", "label = num_classes", "loss weight 1e6", "loss of 1e5")
RUNS = [(name, "graph") for name in SAMPLE] + [(name, "xla") for name in UNDER_XLA]


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_a_sample_of_the_faults_is_held(name: str, mode: str) -> None:
    case, word = CASES[name], SAMPLE[name]
    held = faults.train(case, mode, guard=True)
    verdict = faults.judge(case, mode, held, lambda: faults.train(case, mode, guard=False))
    assert verdict.word == word, verdict
    assert not (case.bad_row and word == "survived") or verdict.why.endswith("row named")


@pytest.mark.slow
@pytest.mark.parametrize("mode", faults.MODES)
@pytest.mark.parametrize("name", CASES)
def test_no_fault_is_missed_and_each_is_one_to_plain_keras(name: str, mode: str) -> None:
    case = CASES[name]
    verdict, plain = faults.run_case(case, mode)
    assert verdict.word != "missed", verdict
    assert (plain == "sound") == (case.says == "none" or mode in case.unseen)
    assert not (case.bad_row and verdict.word == "survived") or verdict.why.endswith("row named")


@pytest.mark.parametrize(("mode", "word"), [("graph", "poisoned silently"), ("xla", "poisoned")])
def test_without_the_guard_the_look_finds_the_poison(mode: str, word: str) -> None:
    run = faults.train(CASES["NaN cell + relu"], mode, guard=False)
    assert faults.describe_plain(run) == word
    assert run.bad_state.endswith("after step 2")


STOP = GuardBudgetSpent("training stopped")
INCIDENT = SimpleNamespace(kind="batch", first_seen="loss", done="skipped step", step=1, rows=())


@pytest.mark.parametrize(
    ("name", "run", "word"),
    [
        ("Inf label", {}, "missed"),
        ("Inf label", {"incidents": [INCIDENT]}, "survived"),
        ("Inf label", {"incidents": [INCIDENT], "bad_state": "kernel after step 2"}, "missed"),
        ("Inf label", {"incidents": [INCIDENT], "raised": ValueError("text")}, "missed"),
        ("Inf label", {"raised": STOP}, "stopped"),
        ("Inf label", {"raised": STOP, "bad_state": "kernel after step 2"}, "missed"),
        ("Inf label", {"raised": STOP, "bad_state": "kernel after step 0", "steps": 0}, "stopped"),
        ("clean relu net", {}, "quiet"),
        ("clean relu net", {"incidents": [INCIDENT]}, "missed"),
        ("clean relu net", {"raised": STOP}, "missed"),
        ("BCE labels 0/255", {}, "unseen"),
        ("BCE labels 0/255", {"loss_finite": False}, "missed"),
        ("BCE labels 0/255", {"plain": {"bad_state": "kernel after step 2"}}, "missed"),
    ],
)
def test_a_run_is_judged_by_its_state_first(name: str, run: dict[str, Any], word: str) -> None:
    plain = make_run(**run.get("plain", {}))
    given = {key: value for key, value in run.items() if key != "plain"}
    assert faults.judge(CASES[name], "graph", make_run(**given), lambda: plain).word == word


def make_run(incidents: Any = (), **fields: Any) -> Any:
    model = SimpleNamespace(guard=SimpleNamespace(incidents=list(incidents)))
    whole = {"steps": 48, "bad_state": "", "loss_finite": True, "raised": None, **fields}
    return faults.Run(**whole, model=model)
