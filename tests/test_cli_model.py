"""What would keep the model from being trained is told before the job starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import JOB, Ended

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]


def assert_refused(ended: Ended, *parts: str) -> None:
    assert (ended.code, ended.out) == (2, "")
    for part in parts:
        assert part in ended.err


def test_training_without_its_shards_is_refused_before_the_job_starts(
    nanproof: Command, make_job: MakeJob
) -> None:
    job = make_job(job=JOB + '[shards]\nformats = ["parquet"]\n')
    assert_refused(nanproof("run", job), "shards.formats", "--until shards")
    assert not (job.parent / "out").exists()
    assert nanproof("run", job, "--until", "shards", "--workers", 1).code == 0


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("nte:build", ["train.model", "no module 'nte'"]),
        ("net:biuld", ["train.model", "net.py has no 'biuld'", "did you mean 'build'?"]),
        ("net.build", ["train.model", "module:attribute"]),
    ],
)
def test_a_model_that_is_not_there_is_refused_before_the_job_starts(
    nanproof: Command, make_job: MakeJob, model: str, parts: list[str]
) -> None:
    job = make_job(job=JOB + f'model = "{model}"\n')
    (job.parent / "net.py").write_text("def build(spec): ...\n")
    assert_refused(nanproof("run", job), *parts)
    assert not (job.parent / "out").exists()
    assert nanproof("run", job, "--until", "shards", "--workers", 1).code == 0


def test_without_tensorflow_the_extra_is_named_before_the_job_starts(
    nanproof: Command, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    monkeypatch.setattr("pipeline.tensorflow_import.find_spec", lambda name: None)
    assert_refused(nanproof("run", job), "nanproof[train]", "--until shards")
    assert not (job.parent / "out").exists()
    assert nanproof("run", job, "--until", "shards", "--workers", 1).code == 0
