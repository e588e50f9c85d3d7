"""Results as tables for people and as plain values for machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.inert import harmless_for_logs, one_line, shorten
from pipeline.ledger import name_subject
from pipeline.manifest import SPLITS

if TYPE_CHECKING:
    from pipeline.ledger import Ledger, Rule
    from pipeline.run import CheckResult, RunResult
    from pipeline.run.scan import Example
    from pipeline.train import TrainResult
    from pipeline.verify import VerifyResult

    Examples = Mapping[Rule, Sequence[Example]]

# Wide enough for a path to stand unbroken where the output is no terminal.
PIPE_WIDTH = 160
MAX_FILLED_SHOWN = 4


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def show_run(result: RunResult, *, show_values: bool) -> None:
    """Print what a run found, published and trained."""
    console = _console()
    ledger = result.ledger
    broken = {(line.column, line.rule): line.count for line in ledger.broken}
    _show_broken(console, broken, ledger.rows["read"], result.examples, show_values)
    _show_warned(console, {(line.column, line.rule): line.count for line in ledger.warned})
    for bad in ledger.files.bad:
        _print(console, f"set aside   {_place_first(bad.file, bad.fault)}")
    _show_left_out(console, result.left_out)
    for column in result.near_unique:
        _print(console, f"{column}: nearly every value is another one; an identifier? ", end="")
        _print(
            console,
            f'Fix: add "{column}" to data.ignore; it is then neither trained on nor checked.',
        )
    _show_ledger(console, ledger)
    if ledger.rows["quarantined"]:
        _print(
            console, f"quarantine  {_near(result.out / 'quarantine')}  each row with its reasons"
        )
    _print(console, f"dataset     {_near(result.out)}")
    if result.training is not None:
        _show_training(console, result.training)


def show_check(result: CheckResult, *, show_values: bool) -> None:
    """Print a verdict on raw files."""
    console = _console()
    _show_broken(console, result.broken, result.rows, result.examples, show_values)
    _show_warned(console, result.warned)
    _show_left_out(console, result.left_out)
    for found in result.uncovered:
        _print(console, f"{found.column}: {result.details[found.column, found.rule]}")
    if result.row_rules and result.asked_rows < result.rows:
        _print(
            console,
            f"checks of whole rows: asked of {result.asked_rows:,} of {result.rows:,} rows; "
            "the others have a broken cell",
        )
    verdict = "passed" if result.passed else "FAILED"
    if result.passed and result.broken:
        verdict += ", within the job's limits"
    _print(
        console,
        f"check {verdict}: {result.broken_rows:,} of {result.rows:,} rows break the schema"
        + (
            f", {result.settled_rows:,} of them a rule of the whole dataset."
            if result.settled_rows
            else "."
        ),
    )


def _show_left_out(console: Console, num_files: int) -> None:
    if num_files:
        _print(console, f"raw: {num_files:,} files with other endings than images' were left out")


def show_training(result: TrainResult) -> None:
    """Print what a training came to."""
    _show_training(_console(), result)


def show_verdict(result: VerifyResult, out: Path) -> None:
    """Print whether a dataset is what its manifest says."""
    console = _console()
    for problem in result.problems:
        _print(console, problem)
    verdict = "as published" if result.passed else f"DIFFERS in {len(result.problems)} places"
    size = f"{result.files:,} files, {result.bytes:,} bytes, {result.rows:,} rows"
    size += ", every value read" if result.deep else ""
    _print(console, f"{out}: {verdict}: {size}.")


def _print(console: Console, text: str, end: str = "\n") -> None:
    console.print(Text(harmless_for_logs(one_line(text))), end=end, soft_wrap=True)


def _show_broken(
    console: Console, broken: Mapping[Rule, int], rows: int, examples: Examples, show_values: bool
) -> None:
    """Print a line a column: how often each of its rules was broken, and where first."""
    if not broken:
        _print(console, f"No rule is broken in {rows:,} rows.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("column", "broken", "first at"):
        table.add_column(name, overflow="fold")
    for column, rules in _by_column(broken):
        counts = ", ".join(f"{_cell(rule)} {count:,}" for rule, count in rules)
        keys = [(column, rule) for rule, _ in rules]
        place = _first_place([e for key in keys for e in examples.get(key, ())], show_values)
        subject = name_subject((column, rules[0][0]))
        table.add_row(*(Text(_cell(subject)), Text(counts), Text(place)))
    console.print(Text(f"What {rows:,} raw rows break", style="bold"))
    console.print(table)


def _show_warned(console: Console, warned: Mapping[Rule, int]) -> None:
    for (column, rule), count in sorted(warned.items(), key=lambda item: -item[1]):
        _print(console, f"warning: {_cell(name_subject((column, rule)))} {_cell(rule)} {count:,}")


def _by_column(broken: Mapping[Rule, int]) -> list[tuple[str | None, list[tuple[str, int]]]]:
    columns: dict[str | None, list[tuple[str, int]]] = {}
    for (column, rule), count in sorted(broken.items(), key=lambda item: (-item[1], item[0][1])):
        columns.setdefault(column, []).append((rule, count))
    return sorted(columns.items(), key=lambda item: -sum(count for _, count in item[1]))


def _first_place(examples: Iterable[Example], show_values: bool) -> str:
    first = min(examples, key=lambda example: (example.source, example.row), default=None)
    if first is None:
        return ""
    text = f"{first.source}/{first.file}" if first.file else f"{first.source}:{first.row}"
    if not first.row:  # a file as a whole
        text = _place_first(first.source, first.detail)
    elif first.detail:
        text += f"{':' if first.file else ''} {shorten(first.detail)}"
    elif show_values and first.value:
        text += f" {shorten(first.value)!r}"
    return harmless_for_logs(one_line(text))


def _place_first(place: str, fault: str) -> str:
    """Put a place before a fault that does not begin with it."""
    return fault if fault.startswith(place) else f"{place} {fault}"


def _cell(text: str) -> str:
    return harmless_for_logs(shorten(text))


def _show_ledger(console: Console, ledger: Ledger) -> None:
    rows, cells = ledger.rows, ledger.cells
    parsed = cells["parsed"]
    splits = ", ".join(f"{split} {rows[split]:,}" for split in SPLITS if rows[split])
    console.print(Text("Ledger", style="bold"))
    _print(
        console,
        f"rows        read {rows['read']:,} = clean {rows['clean']:,}"
        f" + quarantined {rows['quarantined']:,}",
    )
    if rows["replaced"]:
        _print(console, f"replaced    {rows['replaced']:,} rows by mended ones")
    _print(console, f"splits      clean {rows['clean']:,} = {splits.replace(', ', ' + ')}")
    _print(
        console,
        f"cells       repaired {cells['repaired']:,}, blanks filled {cells['filled']:,}"
        + _most_filled(ledger)
        + (f", changed by the schema's parsers and defaults {parsed:,}" if parsed else ""),
    )


def _most_filled(ledger: Ledger) -> str:
    filled = [f"{x.column} {x.count:,}" for x in ledger.repaired if x.rule == "fill"]
    more = ", …" if len(filled) > MAX_FILLED_SHOWN else ""
    return f" ({', '.join(filled[:MAX_FILLED_SHOWN])}{more})" if filled else ""


def _show_training(console: Console, result: TrainResult) -> None:
    better = "beats" if result.beats_baseline else "DOES NOT BEAT"
    _print(
        console,
        f"model       {result.metric} {_rounded(result.value)} on {result.split} {better} "
        f"the constant's {_rounded(result.baseline)}; "
        f"{result.num_nonfinite:,} of {result.num_weights:,} weights are not finite",
    )
    _print(console, f"run         {_near(result.run)}  {result.num_incidents:,} incidents")
    for line in result.table.splitlines():
        _print(console, line)


def _near(path: Path) -> Path:
    """Return a path as seen from the working directory, where it lies beneath it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def run_to_json(result: RunResult) -> dict[str, Any]:
    """Return a run as plain values."""
    return {
        "out": str(result.out),
        "fingerprint": result.manifest.fingerprint,
        "ledger": result.ledger.model_dump(mode="json"),
        "near_unique": list(result.near_unique),
        "training": None if result.training is None else training_to_json(result.training),
    }


def check_to_json(result: CheckResult, *, show_values: bool = False) -> dict[str, Any]:
    """Return a verdict as plain values; places, and values of the data only when asked for."""
    return {
        "passed": result.passed,
        "rows": result.rows,
        "broken_rows": result.broken_rows,
        "settled_rows": result.settled_rows,
        "rules": [{"column": column, "rule": rule} for column, rule in result.rules],
        "asked_rows": result.asked_rows,
        "uncovered": [
            {"column": found.column, "rule": found.rule, "values": list(map(str, found.values))}
            for found in result.uncovered
        ],
        "broken": _rules_to_json(result.broken, result.examples, show_values),
        "warned": _rules_to_json(result.warned, result.warned_examples, show_values),
    }


def _rules_to_json(
    counts: Mapping[Rule, int], examples: Examples, show_values: bool
) -> list[dict[str, Any]]:
    ranked = sorted(counts.items(), key=lambda item: (item[0][0] or "", item[0][1]))
    return [
        {
            "column": column,
            "rule": rule,
            "count": count,
            "places": [
                {"source": e.source, "row": e.row}
                | ({"file": e.file} if e.file else {})
                | ({"detail": e.detail} if e.detail else {})
                | ({"value": e.value} if show_values else {})
                for e in examples.get((column, rule), ())
            ],
        }
        for (column, rule), count in ranked
    ]


def training_to_json(result: TrainResult) -> dict[str, Any]:
    """Return a training as plain values; a number that is not finite becomes its text."""
    return {key: _plain(value) for key, value in asdict(result).items() if key != "table"}


def verdict_to_json(result: VerifyResult) -> dict[str, Any]:
    """Return a verification as plain values."""
    return {"passed": result.passed, **asdict(result), "problems": list(result.problems)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        return str(value)
    return value
