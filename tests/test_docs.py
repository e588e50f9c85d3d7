"""What the documents say is so."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

import pytest

from tests.conftest import ROOT, Ended

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.S)
# Figures of one run that another run need not repeat.
VARYING = ("dataset ", "model ", "run ")


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 150


def test_the_readmes_session_is_what_the_command_prints(
    nanproof: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(ROOT)
    session = next(
        text for _, text in BLOCKS if text.startswith("$ .venv/bin/nanproof run data/weather")
    )
    expected = [line for line in session.splitlines()[1:] if not line.startswith(VARYING)]
    ended = nanproof(
        "run", "data/weather/job.toml", "--until", "shards", "--out", f"{tmp_path}/out"
    )
    assert ended.code == 0, ended.err
    printed = [line.rstrip() for line in ended.out.splitlines() if not line.startswith(VARYING)]
    shown = [line.replace("data/weather/out", f"{tmp_path}/out") for line in expected]
    assert printed == shown


def test_every_python_block_compiles_and_every_job_in_it_is_valid_toml() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert {"python", "toml"} <= set(kinds)
    for kind, text in BLOCKS:
        if kind == "python":
            compile(text, "README.md", "exec")
        elif kind == "toml":
            tomllib.loads(text)


def test_every_command_is_in_the_readme_and_has_a_help(nanproof: Callable[..., Ended]) -> None:
    listed = set(re.findall(r"`nanproof (\w+) [A-Z]+`", README))
    assert listed == {"run", "check", "train", "verify"}
    for command in listed:
        assert nanproof(command, "--help").code == 0


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"make (\w+)", README)) - {"sure"} <= targets


def test_the_table_of_faults_is_what_the_generator_prints() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("weather", ROOT / "data/weather/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = (ROOT / "data" / "README.md").read_text()
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for fault, what, count in module.generate(ROOT.__class__(folder)):
            assert f"| {fault} | {what} | {count} |" in table
        for file in ROOT.__class__(folder).glob("*.csv"):
            assert file.read_bytes() == (ROOT / "data/weather/raw" / file.name).read_bytes()
