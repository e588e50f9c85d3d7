"""Stdout belongs to the result: what a schema's or a model's own code prints goes to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import HEADER, JOB, ROOT, SCHEMA, Ended, make_rows

TALKING = "import os\nprint('loaded')\n" + SCHEMA.replace(
    "pa.Check.ge(0)",
    "pa.Check(lambda v: print('asked') or os.write(1, b'native\\n') > 0, element_wise=True)",
)
MODEL = """
import keras
print("loaded model")

def build(spec):
    print("built")
    size = keras.Input((1,), name="size")
    others = {f.name: keras.Input((1,), name=f.name, dtype=f.dtype) for f in spec.features}
    return keras.Model({**others, "size": size}, keras.layers.Dense(2)(size))
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("command", [["check"], ["run", "--until", "shards"]])
def test_a_schema_that_prints_leaves_the_json_whole(
    nanproof: Callable[..., Ended], make_job: Callable[..., Path], command: list[str], workers: int
) -> None:
    job = make_job(schema=TALKING)
    (job.parent / "raw" / "b.csv").write_text(HEADER + make_rows(5))
    ended = nanproof(command[0], job, "--json", "--workers", workers, *command[1:])
    assert ended.code == 0, ended.err
    json.loads(ended.out)
    for said in ("loaded", "asked", "native"):
        assert said in ended.err


def test_a_model_that_prints_leaves_the_json_whole(
    nanproof: Callable[..., Ended], make_job: Callable[..., Path]
) -> None:
    job = make_job(job=JOB.replace("[train]", '[train]\nmodel = "net:build"'))
    (job.parent / "net.py").write_text(MODEL)
    ended = nanproof("run", job, "--json", "--workers", 1)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["training"]["num_nonfinite"] == 0
    assert "loaded model\n" in ended.err
    assert "built\n" in ended.err


def test_stdout_is_itself_again_after_a_refusal(
    nanproof: Callable[..., Ended], make_job: Callable[..., Path]
) -> None:
    refused = nanproof("check", make_job(schema="print('loaded')\n1 / 0\n"))
    assert (refused.code, refused.out) == (2, "")
    assert "check passed" in nanproof("check", make_job()).out


def test_a_pipe_gets_the_result_alone(make_job: Callable[..., Path]) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "check", str(make_job(schema=TALKING))]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.startswith("No rule is broken")
    assert "asked" in ended.stderr


def test_a_closed_stdout_changes_no_exit_code(make_job: Callable[..., Path]) -> None:
    command = f"{sys.executable} -m pipeline.cli check {make_job(schema=TALKING)} >&-"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert "asked" in ended.stderr


def test_a_reader_that_goes_away_is_no_fault_of_the_schema(make_job: Callable[..., Path]) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "check", str(make_job())]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 141
    assert "ended the process" not in said
