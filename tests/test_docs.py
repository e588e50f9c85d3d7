"""What the documents say is so."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from pipeline.errors import SettingsError
from pipeline.job import Job, Settings
from tests.conftest import ROOT, Ended

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.S)
# Figures of one run that another run need not repeat.
VARYING = ("dataset ", "model ", "run ")


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    module = load(ROOT / "data/weather/generate.py")
    table = (ROOT / "data" / "README.md").read_text()
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for fault, what, count in module.generate(ROOT.__class__(folder)):
            assert f"| {fault} | {what} | {count} |" in table
        for file in ROOT.__class__(folder).glob("*.csv"):
            assert file.read_bytes() == (ROOT / "data/weather/raw" / file.name).read_bytes()


def test_the_reference_of_the_job_file_is_what_the_settings_give() -> None:
    writer = load(ROOT / "docs" / "job.py")
    assert (ROOT / "docs" / "job.md").read_text() == writer.write_reference()
    assert (ROOT / "docs" / "job.schema.json").read_text() == writer.write_schema()


def test_every_setting_has_a_meaning_and_an_example_that_is_not_its_default() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "job.md").read_text(), flags=re.S)
    job = Job.from_settings(tomllib.loads("\n".join(blocks)))
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .* \| .{10,} \|$", _read_reference(), flags=re.M)
    settings = list(list_settings(job))
    assert rows == [name for name, _, _ in settings]
    for name, value, default in settings:
        assert value != default, name


def _read_reference() -> str:
    return (ROOT / "docs" / "job.md").read_text()


def list_settings(table: Settings) -> list[tuple[str, Any, Any]]:
    """Return name, value and default of every setting, those of inner tables last."""
    fields = type(table).model_fields
    found, inner = [], []
    for name, field in fields.items():
        value = getattr(table, name)
        if isinstance(value, Settings):
            inner += list_settings(value)
        elif name != "folder":
            found.append((field.alias or name, value, field.default))
    return found + inner


SCHEMA = json.loads((ROOT / "docs" / "job.schema.json").read_text())


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("data/*/*.toml")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_the_json_schema_takes_the_jobs_there_are(file: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(tomllib.loads(file.read_text()), SCHEMA)


@pytest.mark.parametrize(
    "more",
    [
        {"trian": {}},
        {"train": {"epochs": 0}},
        {"train": {"epoch": 1}},
        {"repair": {"numeric": "medain"}},
        {"repair": {"columns": {"a": {"constnt": 0}}}},
        {"split": {"test": 1.5}},
        {"shards": {"formats": []}},
        {"data": {"raw": ["a"], "schema": "a:b"}},
        {"folder": "/"},
        {"name": 3},
    ],
)
def test_the_json_schema_refuses_what_the_job_refuses(more: dict[str, Any]) -> None:
    settings = {"data": {"raw": ["a"], "schema": "a:b", "label": "y"}}
    jsonschema.validate(settings, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**settings, **more}, SCHEMA)
    with pytest.raises(SettingsError):
        Job.from_settings({**settings, **more})
