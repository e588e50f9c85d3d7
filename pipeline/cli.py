"""The command: parse, one call, print. Results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn, get_args

import typer
from rich.console import Console

from pipeline.errors import EnvironmentFailure, PipelineError, UsageError, list_some, suggest
from pipeline.inert import harmless_for_logs, harmless_json
from pipeline.tensorflow_import import require_tensorflow, silence_import

app = typer.Typer(
    name="nanproof",
    help="Training data that cannot turn a loss into NaN.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file, a job.toml.")]
OutFolder = Annotated[Path, typer.Argument(metavar="OUT", help="A published dataset's folder.")]
Raw = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Raw files in place of data.raw; may be given repeatedly."),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The dataset's folder. [default: out/ beside JOB]"),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: one a core]")]
Stage = Literal["shards", "model"]
STAGES = get_args(Stage)


def _read_until(text: str) -> str:
    if text not in STAGES:
        near = suggest(text, STAGES) or f"known are {list_some(STAGES)}."
        raise typer.BadParameter(f"there is no stage {text!r}; {near}")
    return text


Until = Annotated[
    Stage,
    typer.Option(parser=_read_until, metavar=f"[{'|'.join(STAGES)}]", help="Where to stop."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ShowValues = Annotated[
    bool, typer.Option("--show-values", help="Show the first broken value of each rule.")
]

Junit = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit report.")]
Sarif = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a SARIF 2.1.0 log.")]
Github = Annotated[bool, typer.Option("--github", help="Print annotations for GitHub.")]
STDOUT, STDERR = 1, 2


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    if show_version:
        typer.echo(f"nanproof {version('nanproof')}")
        raise typer.Exit


@app.command()
def run(
    job: JobFile,
    raw: Raw = None,
    out: Out = None,
    workers: Workers = None,
    until: Until = "model",
    as_json: AsJson = False,
    show_values: ShowValues = False,
) -> None:
    """Turn raw files into clean shards, and train on them."""
    from pipeline.run import run_job
    from pipeline.show import run_to_json, show_run

    with _work() as on_progress:
        result = run_job(
            job, raw=raw, out=out, workers=workers, until=until, on_progress=on_progress
        )
    if as_json:
        _print_json(run_to_json(result))
    else:
        show_run(result, show_values=show_values)


@app.command()
def check(
    job: JobFile,
    raw: Raw = None,
    workers: Workers = None,
    as_json: AsJson = False,
    junit: Junit = None,
    sarif: Sarif = None,
    github: Github = False,
    show_values: ShowValues = False,
) -> None:
    """Judge raw files by the schema, and write nothing but reports. Exit 1 where they break it."""
    from pipeline.findings import list_annotations, require_writable, write_reports
    from pipeline.job import read_job
    from pipeline.run import CheckResult, check_job
    from pipeline.show import check_to_json, show_check

    require_writable(junit=junit, sarif=sarif)
    name, refusal = job.resolve().parent.name, None
    try:
        settings = read_job(job)
        name = settings.name
        with _work() as on_progress:
            result = check_job(settings, raw=raw, workers=workers, on_progress=on_progress)
    except PipelineError as error:
        refusal, result = error, CheckResult.refuse(name, error)
    write_reports(result, junit=junit, sarif=sarif, show_values=show_values)
    if as_json and refusal is None:
        _print_json(check_to_json(result, show_values=show_values))
    elif refusal is None:
        show_check(result, show_values=show_values)
    if github:
        for line in list_annotations(result, show_values=show_values):
            typer.echo(line, err=as_json)  # JSON has stdout to itself
    if refusal is not None:
        raise refusal
    raise typer.Exit(0 if result.passed else 1)


@app.command()
def train(
    out: OutFolder,
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the model goes. [default: OUT/runs/NNNN]"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="In place of train.epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="In place of train.batch_size.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="In place of train.learning_rate.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on a published dataset. Exit 3 where the guard's budget is spent."""
    from pipeline.show import show_training, training_to_json

    require_tensorflow()
    with silence_import():
        from pipeline.train import train_dataset

    with _work() as on_progress:
        result = train_dataset(
            out,
            run=run,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            on_progress=on_progress,
        )
    if as_json:
        _print_json(training_to_json(result))
    else:
        show_training(result)


@app.command()
def verify(
    out: OutFolder,
    deep: Annotated[bool, typer.Option("--deep", help="Read every value, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a published dataset with its manifest. Exit 1 where anything differs."""
    from pipeline.show import show_verdict, verdict_to_json
    from pipeline.verify import verify_dataset

    with _work() as on_progress:
        result = verify_dataset(out, deep=deep, on_progress=on_progress)
    if as_json:
        _print_json(verdict_to_json(result))
    else:
        show_verdict(result, out)
    raise typer.Exit(0 if result.passed else 1)


def main() -> NoReturn:
    """Run the command, and turn whatever happens into an exit code.

    0 done, 1 the data's verdict, 2 usage, 3 the guard's budget, 4 the environment, 70 a bug.
    """
    signal.signal(signal.SIGTERM, _on_terminate)
    if sys.stdout is None:  # the caller has closed it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.exit(run_app())


def run_app() -> int:
    """Run the command as `sys.argv` has it; return the exit code."""
    try:
        result = app(standalone_mode=False)
        sys.stdout.flush()
        return int(result or 0)
    except BaseException as error:
        return _explain(error)


def _explain(error: BaseException) -> int:
    if isinstance(error, _Terminated):
        return 128 + signal.SIGTERM
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        return 141  # rich's answer, which has seen to the descriptor
    if isinstance(error, SystemExit):  # nothing of ours raises it
        error = UsageError(
            "code of the schema or the model ended the process.",
            expected="a module that defines, and does not exit",
            got=f"SystemExit({error.code!r})",
            fix="take the exit out of it.",
        )
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        print("nanproof: interrupted.", file=sys.stderr)
        return 130
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # the parser's own
        error.show()
        return int(error.exit_code)
    if isinstance(error, OSError) and not isinstance(error, PipelineError):
        where = f"{error.filename}: " if error.filename else ""
        error = EnvironmentFailure(
            f"{where}{error.strerror or error}.", fix="mend it, and run the same command again."
        )
    if isinstance(error, MemoryError):
        error = EnvironmentFailure(
            "the memory is full.",
            fix="run again with fewer --workers, or a smaller data.partition_bytes.",
        )
    if isinstance(error, PipelineError):
        print(f"nanproof: {harmless_for_logs(str(error))}", file=sys.stderr)
        return error.exit_code
    if os.environ.get("NANPROOF_TRACEBACK"):
        traceback.print_exception(error)
    what = f"{type(error).__name__}: {harmless_for_logs(str(error))[:500]}"
    print(
        f"nanproof: a bug in nanproof: {what}\n"
        "Fix: report it, please, with what NANPROOF_TRACEBACK=1 prints.",
        file=sys.stderr,
    )
    return 70


class _Terminated(BaseException):
    """SIGTERM; no SystemExit, which a schema's own code may raise."""


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _print_json(value: Any) -> None:
    # ASCII alone: nothing out of the data may steer a terminal, or be no UTF-8.
    typer.echo(harmless_json(json.dumps(value, indent=1, allow_nan=False)))


@contextmanager
def _work() -> Iterator[Any]:
    """Keep stdout for the result while code of the schema and the model runs.

    Gives a callback that shows a bar a stage on a terminal, and a line a stage elsewhere.
    """
    with _stdout_to_stderr(), _progress() as on_progress:
        yield on_progress


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    sys.stdout.flush()
    # The descriptor as well: worker processes and native code have no other.
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


@contextmanager
def _progress() -> Iterator[Any]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_stage
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield advance


def _print_stage(stage: str, done: int, total: int) -> None:
    if done == total:
        print(f"{stage}: {total} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
