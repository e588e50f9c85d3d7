from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({
    "size": pa.Column(float, pa.Check.in_range(0, 100)),
    "count": pa.Column(int, pa.Check.ge(0)),
    "colour": pa.Column(str, pa.Check.isin(["red", "blue"])),
    "label": pa.Column(int, pa.Check.isin([0, 1])),
})
"""
JOB = """
[data]
raw = ["raw/*.csv"]
schema = "table:Table"
label = "label"
[train]
epochs = 2
batch_size = 16
"""
HEADER = "size,count,colour,label\n"


def make_rows(num_rows: int) -> str:
    """Return clean rows of the small table, no two alike."""
    return "".join(
        f"{i % 100}.5,{i},{'red' if i % 3 else 'blue'},{i % 2}\n" for i in range(num_rows)
    )


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Path]:
    """Write a job folder: `make_job(text of the CSV, job file, schema)` gives the job file."""

    def make(csv: str | None = None, job: str = JOB, schema: str = SCHEMA) -> Path:
        folder = tmp_path / "job"
        (folder / "raw").mkdir(parents=True, exist_ok=True)
        (folder / "pyproject.toml").touch()
        (folder / "table.py").write_text(schema)
        (folder / "job.toml").write_text(job)
        text = HEADER + make_rows(60) if csv is None else csv
        (folder / "raw" / "a.csv").write_text(text)
        return folder / "job.toml"

    return make


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def nanproof(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Run the command in this process: `nanproof("run", job)` gives code, stdout and stderr."""
    from pipeline.cli import run_app

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["nanproof", *map(str, arguments)])
        capfd.readouterr()
        code = run_app()
        return Ended(code, *capfd.readouterr())

    return run


def hash_files(folder: Path, *without: str) -> dict[str, str]:
    """Return the SHA-256 of every file, by path; `without` are top-level names."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in without
    }


def find_dataset(name: str) -> Path:
    """Return a public set's path, or skip the test where it is not there."""
    root = Path(os.environ.get("NANPROOF_DATASETS", ROOT.parent / "shared" / "datasets"))
    if not (root / name).exists():
        pytest.skip(f"the public set {name} is not in {root}; set NANPROOF_DATASETS")
    return root / name
