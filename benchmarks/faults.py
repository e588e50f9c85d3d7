"""Every known way to a NaN as a small run, guarded and plain, in graph mode and under XLA.

    python benchmarks/faults.py [--group data] [--only TEXT] [--strict]

Each case trains for 48 steps with its fault in the second batch. After every step weights,
optimizer slots, non-trainable state and metric trackers are looked at, number by number.

- survived: all of it was finite after every step, and the fault was reported;
- stopped: training ended by the budget, with its reason, and finite until then;
- unseen: nothing was reported, as every value stayed finite without the guard too;
- quiet: a control, and nothing was reported;
- missed: non-finite state, an exception that is not the guard's, or a fault not reported.

"plain" is what Keras does alone: poisoned (silently if its loss stayed finite), raised or sound.
Exit 1 if anything was missed, or a control was reported.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from faults_case import BAD, BATCH_SIZE, EPOCHS, Case
from faults_data import CONTROLS, DATA
from faults_loss import LOSS
from faults_rate import RATE

from pipeline.errors import GuardBudgetSpent
from pipeline.guard import guarded

TABLES = (DATA, RATE, LOSS, CONTROLS)
CASES = [case for table in TABLES for case in table.cases]
GROUPS = [table.group for table in TABLES]
MODES = ("graph", "xla")


class Run(NamedTuple):
    """How one training went.

    Attributes:
        steps: Steps made.
        bad_state: The first variable found non-finite, and after which step; "" if none was.
        loss_finite: Whether the running mean of the loss was finite after every step.
        raised: The exception that ended training, if one did.
        model: As it was left.
    """

    steps: int
    bad_state: str
    loss_finite: bool
    raised: Exception | None
    model: Any


class Verdict(NamedTuple):
    """What a guarded run comes to: one of the words above, and why."""

    word: str
    why: str


class Look(keras.callbacks.Callback):  # type: ignore[misc]
    """Looks at the whole state after every step.

    Args:
        trackers: Whether metric trackers are part of it.
    """

    def __init__(self, trackers: bool) -> None:
        super().__init__()
        self.trackers = trackers
        self.steps = 0
        self.bad_state = ""
        self.loss_finite = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps += 1
        self.loss_finite &= bool(np.isfinite((logs or {})["loss"]))
        self.look()

    def look(self) -> None:
        name = self.bad_state or find_bad(self.model, self.trackers)
        self.bad_state = name if self.bad_state or not name else f"{name} after step {self.steps}"


def find_bad(model: Any, trackers: bool) -> str:
    """Name a variable of model or optimizer that is not finite; "" if there is none."""
    metrics = {id(variable) for variable in model.metrics_variables}
    state = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    for variable in state:
        if not trackers and id(variable) in metrics:
            continue
        value = np.asarray(variable.value)
        if not np.isfinite(value.astype("float64")).all():
            return str(variable.path)
    return ""


def train(case: Case, mode: str, *, guard: bool, strict: bool = False) -> Run:
    """Train a case for a few epochs and look at it after every step."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    setup = case.build()
    setup.model.compile(**setup.compile, jit_compile=mode == "xla")
    model = guarded(setup.model, strict=strict) if guard else setup.model
    look, raised = Look(trackers=guard), None
    look.set_model(model)
    options = {"epochs": EPOCHS, "shuffle": False, "verbose": 0, "callbacks": [look]}
    try:
        model.fit(setup.data, **options, **setup.fit)
    except Exception as error:
        raised = error
    look.look()
    return Run(look.steps, look.bad_state, look.loss_finite, raised, model)


def describe_plain(run: Run) -> str:
    """Say in a word or two what became of a run without the guard."""
    if run.raised is not None:
        return f"raised {type(run.raised).__name__}"
    if run.bad_state:
        return "poisoned silently" if run.loss_finite else "poisoned"
    return "sound" if run.loss_finite else "loss not finite"


def judge(case: Case, mode: str, run: Run, train_plain: Callable[[], Run]) -> Verdict:
    """Hold a guarded run against what the case says, and against plain Keras where it is silent."""
    reported = describe_incidents(case, run)
    if isinstance(run.raised, GuardBudgetSpent) and (not run.steps or not run.bad_state):
        # Without a step, what is not finite was so before training.
        word = "missed" if case.says == "none" else "stopped"
        return Verdict(word, str(run.raised).splitlines()[0])
    if run.bad_state:
        return Verdict("missed", f"{run.bad_state} is not finite")
    if run.raised is not None:
        return Verdict("missed", f"raised {type(run.raised).__name__}: {last_line(run.raised)}")
    if case.says == "none":
        return Verdict("missed" if reported else "quiet", reported)
    if reported:
        return Verdict("survived", reported)
    if describe_plain(run) != "sound":
        return Verdict("missed", "a loss that is not finite was not reported")
    if mode not in case.unseen:
        return Verdict("missed", "not reported, and the case gives no reason")
    if describe_plain(train_plain()) != "sound":
        return Verdict("missed", "not reported, though plain Keras fails")
    return Verdict("unseen", case.unseen[mode])


def last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "[[" not in line and "Graph execution" not in line]
    return (told or lines or [""])[-1][:100]


def describe_incidents(case: Case, run: Run) -> str:
    """Count incidents by what was seen and done, and say whether the bad row was named."""
    incidents = run.model.guard.incidents
    if not incidents:
        return ""
    counts = Counter(f"{i.kind}, {i.first_seen}, {i.done}" for i in incidents)
    parts = [f"{count}x {text}" for text, count in counts.most_common(3)]
    if case.bad_row:
        named = {row.position for i in incidents if i.step == 1 for row in i.rows}
        right = named == {BAD % BATCH_SIZE}
        parts.append("row named" if right else f"row not named, but {sorted(named) or 'none'}")
    return "; ".join(parts)


def run_case(case: Case, mode: str, strict: bool = False) -> tuple[Verdict, str]:
    """Train a case plain and guarded; give the verdict and what plain Keras came to."""
    plain = train(case, mode, guard=False)
    held = train(case, mode, guard=True, strict=strict)
    return judge(case, mode, held, lambda: plain), describe_plain(plain)


def list_counts(counts: dict[str, Counter[str]]) -> list[str]:
    """Return the table of verdicts, a line a mode."""
    words = ("survived", "stopped", "unseen", "missed", "quiet")
    lines = ["mode   " + " ".join(f"{word:>9s}" for word in words)]
    for mode, found in counts.items():
        lines.append(f"{mode:6s} " + " ".join(f"{found[word]:9d}" for word in words))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--group", choices=GROUPS, help="the cases of one group")
    parser.add_argument("--only", default="", help="the cases whose name holds this text")
    parser.add_argument("--strict", action="store_true", help="guarded(model, strict=True)")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {mode: Counter() for mode in MODES}
    nulls: dict[str, Counter[str]] = {mode: Counter() for mode in MODES}
    started = time.perf_counter()
    for case in CASES:
        if options.only not in case.name or options.group not in (None, case.group):
            continue
        print(f"{case.group}: {case.name}" + (f" ({case.says})" if case.says else ""))
        for mode in MODES:
            verdict, plain = run_case(case, mode, options.strict)
            counts[mode][verdict.word] += 1
            nulls[mode][plain] += 1
            print(f"  {mode:5s} {verdict.word:8s} {verdict.why}  [plain: {plain}]", flush=True)
    print("", *list_counts(counts), sep="\n")
    for mode, found in nulls.items():
        print(f"plain Keras, {mode}: " + ", ".join(f"{n} {word}" for word, n in found.items()))
    print(f"{time.perf_counter() - started:.0f} s")
    return int(any(found["missed"] for found in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
