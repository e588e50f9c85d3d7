"""The stages in order. `run_job` reads as the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.engine import Engine, Progress, open_engine
from pipeline.errors import NoRowsLeft, RepairError, SettingsError
from pipeline.features import build_spec
from pipeline.job import Job, read_job
from pipeline.ledger import Ledger, Rule, check_balance
from pipeline.load import Partition, Source
from pipeline.manifest import SPLITS, Manifest, Spec
from pipeline.reference import look_up_reference
from pipeline.repair import Plan
from pipeline.run.accounts import count_rows_by_source, keep_ledger, list_account_files
from pipeline.run.bad_files import set_files_aside
from pipeline.run.check import CheckResult, check_job
from pipeline.run.finish import Finished, FinishTask, finish_shards
from pipeline.run.fit import fit_plan, list_near_unique
from pipeline.run.keys import refuse_blank_keys
from pipeline.run.publish import Output, fingerprint_of, open_output, publish, publish_failure
from pipeline.run.quarantine import Quarantined, QuarantineTask, quarantine_rows
from pipeline.run.scan import Example, Scanned, ScanTask, merge_examples, scan_partition
from pipeline.run.settle import (
    Settled,
    check_rows_left,
    empty_split,
    no_row_left,
    settle_rules,
    too_many_dropped,
)
from pipeline.run.setup import Setup, guess_partitions, list_inputs, prepare
from pipeline.run.tensors import cap_shard_rows
from pipeline.split import plan_shards
from pipeline.tensorflow_import import require_tensorflow, silence_import
from pipeline.whole import find_uncovered, not_covered

if TYPE_CHECKING:
    from pipeline.train import TrainResult

__all__ = ["CheckResult", "Example", "RunResult", "check_job", "run_job"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RunResult:
    """What a run published.

    Attributes:
        out: The dataset's folder.
        manifest: What was published.
        ledger: The accounts.
        examples: The first places of every broken rule.
        near_unique: String features that look like identifiers.
        training: What the model came to; None where the run stopped at the shards.
        left_out: How many files in folders of images are no images.
    """

    out: Path
    manifest: Manifest
    ledger: Ledger
    examples: dict[Rule, list[Example]]
    near_unique: tuple[str, ...]
    training: TrainResult | None = None
    left_out: int = 0


def run_job(
    job: Job | Path | str,
    *,
    raw: Sequence[str] | None = None,
    out: Path | str | None = None,
    workers: int | None = 1,
    until: Literal["shards", "model"] = "model",
    on_progress: Progress | None = None,
) -> RunResult:
    """Turn a job's raw files into published shards, and train on them.

    Args:
        job: The job, or the path of its file.
        raw: Globs in place of the job's own, relative to the working directory.
        out: The dataset's folder; by default `out/` beside the job file.
        workers: How many processes; None for one a core. The bytes written do not depend on it.
        until: Where to stop.
        on_progress: Called as tasks are done.

    Raises:
        UsageError: A setting, a reference or a file is wrong, or TensorFlow is not installed.
        NotRowWise: A check or a parser of the schema's own looks beyond its row.
        DataVerdict: Too many rows were dropped, or none is left. What was published stays.
        EnvironmentFailure: The disk, the lock or a worker failed.
        GuardBudgetSpent: Training met too many bad steps. What was published stays.
    """
    job = job if isinstance(job, Job) else read_job(job)
    if until == "model":
        _require_training(job)
    target = Path(out) if out is not None else job.folder / "out"
    sources = list_inputs(job, raw)
    with ExitStack() as stack:
        engine = stack.enter_context(
            open_engine(workers, scan_partition, guess_partitions(sources, job))
        )
        setup, sources, partitions = prepare(job, sources)
        refuse_blank_keys(setup, sources)
        staging = stack.enter_context(open_output(target, job))
        stages = _Stages(setup, sources, partitions, staging, target, engine, on_progress)
        scans = stages.scan()
        sources, scans = set_files_aside(sources, partitions, scans)
        stages = replace(stages, sources=sources)
        settled = settle_rules(setup, scans, staging)
        finished: list[Finished] = []
        try:
            counts = stages.require_rows(scans, settled)
            plan = fit_plan(setup, scans)
            spec = build_spec(plan, setup.schema, setup.job, setup.indicators)
            finished = stages.finish(scans, settled, plan, spec, counts)
            manifest, ledger = stages.publish(scans, settled, plan, spec, finished)
        except (NoRowsLeft, RepairError):
            stages.leave_accounts(scans, settled, finished)
            raise
    near_unique = tuple(list_near_unique(plan, scans, setup))
    training = _train(target, on_progress) if until == "model" else None
    examples = merge_examples(scans) | settled.examples
    left_out = sum(source.left_out for source in sources)
    return RunResult(target, manifest, ledger, examples, near_unique, training, left_out)


def _require_training(job: Job) -> None:
    """Refuse before the shards are written what would keep the model from being trained."""
    require_tensorflow("stop at the shards with --until shards")
    if "tfrecord" not in job.shards.formats:
        raise SettingsError(
            "training reads TFRecord shards, and shards.formats has none.",
            fix='add "tfrecord" to shards.formats, or stop at the shards with --until shards.',
        )
    if job.train.model is not None:
        look_up_reference(job.train.model, job.folder, setting="train.model")


def _train(out: Path, on_progress: Progress | None) -> TrainResult:
    with silence_import():
        from pipeline.train import train_dataset

    return train_dataset(out, on_progress=on_progress)


@dataclass(frozen=True)
class _Stages:
    """The stages of one run, each a map or what stands between two."""

    setup: Setup
    sources: Sequence[Source]
    partitions: Sequence[Partition]
    staging: Path
    out: Path
    engine: Engine
    on_progress: Progress | None

    @property
    def job(self) -> Job:
        return self.setup.job

    def scan(self) -> list[Scanned]:
        tasks = [ScanTask(self.setup, part, self.staging) for part in self.partitions]
        return self._map("scan", scan_partition, tasks)

    def require_rows(self, scans: Sequence[Scanned], settled: Settled) -> npt.NDArray[np.int64]:
        """Return the spilled rows by split and bucket; fail early where a run is hopeless."""
        read, rejected = sum(s.read for s in scans), sum(s.rejected for s in scans)
        if read and rejected / read > self.job.repair.max_dropped_ratio:
            self._fail_dropped(scans, settled, [])
        seen = [seen for scan in scans for seen in scan.seen]
        uncovered = find_uncovered(self.setup.schema, seen, self.setup.unjudged)
        broken = [found for found in uncovered if not found.warns]
        if broken:
            self.leave_accounts(scans, settled, [])
            raise not_covered(broken)
        return check_rows_left(self.job, scans)

    def finish(
        self,
        scans: Sequence[Scanned],
        settled: Settled,
        plan: Plan,
        spec: Spec,
        counts: npt.NDArray[np.int64],
    ) -> list[Finished]:
        groups = plan_shards(counts, cap_shard_rows(self.job.shards.rows, spec.features))
        task = partial(
            FinishTask,
            setup=self.setup,
            plan=plan,
            spec=spec,
            spills=tuple(stem for scan in scans for stem in scan.spills),
            carried=tuple(dict.fromkeys(name for scan in scans for name in scan.carried)),
            settled=settled.file,
            staging=self.staging,
        )
        tasks = [task(index=index, group=group) for index, group in enumerate(groups)]
        return self._map("finish", finish_shards, tasks)

    def _set_aside(
        self, scans: Sequence[Scanned], settled: Settled, finished: Sequence[Finished]
    ) -> list[Quarantined]:
        columns = tuple(dict.fromkeys(name for s in self.sources for name in s.raw_columns))
        late = tuple(f.late_reasons for f in finished if f.late_reasons is not None)
        tasks = [
            QuarantineTask(
                setup=self.setup,
                partition=part,
                spills=tuple(scan.spills),
                late=late,
                settled=settled.within(*part.row_ids),
                columns=columns,
                staging=self.staging,
            )
            for part, scan in zip(self.partitions, scans, strict=True)
        ]
        return self._map("quarantine", quarantine_rows, tasks)

    def publish(
        self,
        scans: Sequence[Scanned],
        settled: Settled,
        plan: Plan,
        spec: Spec,
        finished: Sequence[Finished],
    ) -> tuple[Manifest, Ledger]:
        aside = self._set_aside(scans, settled, finished)
        ledger = keep_ledger(self.sources, scans, settled, finished, aside)
        check_balance(ledger)
        ratio = ledger.rows["quarantined"] / ledger.rows["read"]
        if ratio > self.job.repair.max_dropped_ratio:
            self._fail_dropped(scans, settled, finished)
        if not ledger.rows["clean"]:
            raise no_row_left(ledger.rows["read"])
        for split in SPLITS:
            if getattr(self.job.split, split) and not ledger.rows[split]:
                raise empty_split(self.job, split, ledger.rows["clean"], scans)
        manifest = publish(
            Output(self.out, self.staging, fingerprint_of(self.job, self.sources)),
            self.job,
            self.sources,
            count_rows_by_source(self.sources, self.partitions, scans),
            plan,
            spec,
            ledger,
            [(SPLITS[f.split], shard) for f in finished for shard in f.shards],
            list_account_files(finished, aside),
        )
        return manifest, ledger

    def _fail_dropped(
        self, scans: Sequence[Scanned], settled: Settled, finished: Sequence[Finished]
    ) -> NoReturn:
        ledger, failed = self.leave_accounts(scans, settled, finished)
        raise too_many_dropped(self.job, ledger, failed)

    def leave_accounts(
        self, scans: Sequence[Scanned], settled: Settled, finished: Sequence[Finished]
    ) -> tuple[Ledger, Path]:
        """Lay ledger and quarantine of a run that fails under `failed/`."""
        aside = self._set_aside(scans, settled, finished)
        ledger = keep_ledger(self.sources, scans, settled, finished, aside)
        files = list_account_files(finished, aside)
        return ledger, publish_failure(self.out, self.staging, ledger, files)

    def _map(
        self, name: str, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        results: list[Result] = []
        for result in self.engine.map(task, items):
            results.append(result)
            if self.on_progress is not None:
                self.on_progress(name, len(results), len(items))
        return results
