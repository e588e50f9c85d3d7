"""Which module may import which, and that the light ways load nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HEADER, JOB, ROOT, SCHEMA, make_rows

PACKAGE = ROOT / "pipeline"
# What every room may use: the shared nouns, in the order in which they build on each other.
NOUNS = [
    "errors", "inert", "tensorflow_import", "reference", "explain", "job", "arrow", "batch", "schema",
    "manifest", "ledger", "hashing", "storage", "spill", "engine",
]  # fmt: skip
# Room: what it may use beside the nouns. A data stage knows no other stage; `run` knows them all.
ROOMS = {
    "load": [],
    "validate": ["load", "whole"],
    "frame": ["load", "validate", "whole"],
    "whole": [],
    "split": [],
    "repair": [],
    "features": ["repair"],
    "write": [],
    "run": ["load", "validate", "whole", "split", "repair", "features", "write", "train"],
    "feed": [],
    "guard": [],
    "train": ["feed", "guard"],
    "verify": ["features", "repair", "write"],
    "show": ["run", "train", "verify"],
    "findings": ["run"],
    "cli": ["run", "train", "verify", "show", "findings"],
}


def list_imports(room: str) -> set[str]:
    """Return the rooms and nouns that a room's files import, types included."""
    files = [PACKAGE / f"{room}.py", *(PACKAGE / room).glob("*.py")]
    found = set()
    for file in files:
        if not file.exists():
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "pipeline":
                    names = [f"pipeline.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            found |= {n.split(".")[1] for n in names if n.startswith("pipeline.")}
    return found - {room}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_stands_above_it_alone(room: str) -> None:
    assert list_imports(room) <= {*NOUNS, *ROOMS[room]}


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_imports_the_nouns_above_it_alone(noun: str) -> None:
    assert list_imports(noun) <= set(NOUNS[: NOUNS.index(noun)])


def test_every_module_has_its_place() -> None:
    present = {
        p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert present - {"__init__"} == {*NOUNS, *ROOMS}


def test_only_validate_imports_pandera() -> None:
    users = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        if re.search(r"^ *(import|from) pandera", file.read_text(), re.M)
    }
    assert users == {"validate"}


def loaded_by(code: str) -> set[str]:
    """Return which heavy modules a fresh process has loaded after running the code."""
    report = (
        f"{code}\nimport sys; print(*(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return set(ended.stderr.splitlines()[-1].split()) if ended.stderr.strip() else set()


HEAVY = ("tensorflow", "keras", "pandas", "pandera")
COMMAND = "import sys; sys.argv = {!r}; from pipeline.cli import run_app; run_app()"


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import pipeline") == set()


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by(COMMAND.format(["nanproof", "--help"])) == set()


@pytest.mark.parametrize("command", [["check"], ["run", "--until", "shards"]])
def test_the_data_part_loads_no_tensorflow(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text(HEADER + make_rows(60))
    (tmp_path / "table.py").write_text(SCHEMA)
    (tmp_path / "job.toml").write_text(JOB)
    name, *options = command
    line = ["nanproof", name, str(tmp_path / "job.toml"), "--workers", "1", *options]
    assert loaded_by(COMMAND.format(line)) & {"tensorflow", "keras"} == set()


def test_a_worker_whose_kernels_decide_everything_loads_neither_pandas_nor_pandera() -> None:
    tasks = "import pipeline.run.scan, pipeline.run.finish, pipeline.run.quarantine"
    assert loaded_by(tasks) == set()


def test_public_names_are_no_modules() -> None:
    import pipeline

    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(pipeline.__all__)
    assert set(pipeline._MODULES) == set(pipeline.__all__)
