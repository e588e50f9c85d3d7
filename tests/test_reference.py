"""`module:attribute` to an object: where it is looked for, and how it can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BadReference
from pipeline.reference import (
    find_module_file,
    load_module,
    look_up_reference,
    resolve_reference,
    search_folders,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a job folder in it, and a working directory elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    root = tmp_path / "project"
    write(root / "pyproject.toml", "")
    (root / "jobs" / "night").mkdir(parents=True)
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def resolve(reference: str, folder: Path) -> Any:
    return resolve_reference(reference, folder, setting="data.schema")


def refusal_of(reference: str, folder: Path) -> BadReference:
    with pytest.raises(BadReference) as caught:
        resolve(reference, folder)
    assert caught.value.exit_code == 2
    assert caught.value.fields["setting"] == "data.schema"
    return caught.value


@pytest.mark.parametrize("reference", ["", "rules", "rules:", ":Table", "a b:c", "a:b:c", "../x:y"])
def test_a_wrong_form_shows_the_right_one(project: Path, reference: str) -> None:
    write(project / "rules.py", "Table = 1")
    error = refusal_of(reference, project)
    assert error.message == f"data.schema = {reference!r} is not a reference."
    assert "module:attribute" in (error.expected or "")


def test_no_module_says_where_it_was_looked_for(project: Path) -> None:
    error = refusal_of("rulez:Table", project / "jobs" / "night")
    assert "no module 'rulez'" in error.message
    for folder in ("night", "jobs", "project", "elsewhere"):
        assert f"{folder}" in (error.expected or "")


def test_no_attribute_names_the_nearest(project: Path) -> None:
    write(project / "rules.py", "Weather = 1\n_Wether = 2\n")
    error = refusal_of("rules:Wether", project)
    assert "has no 'Wether'" in error.message
    assert error.fix == "did you mean 'Weather'?"


def test_no_attribute_and_nothing_near_lists_what_there_is(project: Path) -> None:
    write(project / "rules.py", "b = 1\na = 2\n")
    assert refusal_of("rules:Weather", project).fix == "it has 'a', 'b'."


def test_a_module_without_a_public_name_says_so(project: Path) -> None:
    write(project / "rules.py", "")
    assert refusal_of("rules:Weather", project).fix == "write it there; the module is empty."


def test_an_attribute_may_be_nested(project: Path) -> None:
    write(project / "rules.py", "class Tables:\n    night = 3\n")
    assert resolve("rules:Tables.night", project) == 3
    assert refusal_of("rules:Tables.nigth", project).fix == "did you mean 'night'?"


def test_an_error_while_importing_names_file_line_and_type(project: Path) -> None:
    file = write(project / "rules.py", "a = 1\n\nb = a / 0\n")
    error = refusal_of("rules:Table", project)
    assert f"{file}, line 3: ZeroDivisionError: division by zero" in error.message
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert (error.fields["file"], error.fields["line"]) == (str(file), 3)


def test_an_error_in_a_module_that_it_imports_names_that_one(project: Path) -> None:
    write(project / "rules.py", "import helper_one\n")
    helper = write(project / "helper_one.py", "\nraise ValueError('no\\nbounds')\n")
    error = refusal_of("rules:Table", project)
    assert error.message == f"data.schema: {helper}, line 2: ValueError: no."


def test_a_missing_package_is_blamed_on_the_line_that_imports_it(project: Path) -> None:
    file = write(project / "rules.py", "import no_such_package_anywhere\n")
    error = refusal_of("rules:Table", project)
    assert f"{file}, line 1: ModuleNotFoundError" in error.message


def test_a_syntax_error_names_its_line(project: Path) -> None:
    file = write(project / "rules.py", "a = 1\nb = = 2\n")
    error = refusal_of("rules:Table", project)
    assert f"{file}, line 2: SyntaxError" in error.message
    assert isinstance(error.__cause__, SyntaxError)


def test_an_interrupt_while_importing_passes_through(project: Path) -> None:
    write(project / "rules.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        resolve("rules:Table", project)


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3."),
        ("raise SystemExit", "SystemExit."),
        ("raise GeneratorExit", "GeneratorExit."),
    ],
)
def test_a_module_that_ends_the_process_is_refused_and_ends_no_job(
    project: Path, ends: str, says: str
) -> None:
    file = write(project / "rules.py", f"\n{ends}")
    assert refusal_of("rules:Table", project).message == f"data.schema: {file}, line 2: {says}"
    file.write_text("Table = 5  # mended")
    assert resolve("rules:Table", project) == 5


def test_a_module_that_failed_is_read_again(project: Path) -> None:
    file = write(project / "rules.py", "raise ValueError")
    refusal_of("rules:Table", project)
    file.write_text("Table = 5  # mended")
    assert resolve("rules:Table", project) == 5


def test_the_search_ends_at_the_nearest_pyproject_and_the_working_directory(project: Path) -> None:
    night = project / "jobs" / "night"
    elsewhere = project.parent / "elsewhere"
    assert search_folders(night) == [night, project / "jobs", project, elsewhere]
    assert search_folders(project) == [project, elsewhere]


def test_the_working_directory_is_not_looked_in_twice(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert search_folders(project / "jobs") == [project / "jobs", project]


def test_the_nearest_folder_wins(project: Path) -> None:
    night = project / "jobs" / "night"
    for place in (night, project, project.parent / "elsewhere"):
        write(place / "rules.py", f"Table = {place.name!r}")
    assert resolve("rules:Table", night) == "night"
    assert resolve("rules:Table", project / "jobs") == "project"
    (project / "rules.py").unlink()
    assert resolve("rules:Table", project / "jobs") == "elsewhere"


def test_an_installed_package_never_takes_the_place_of_the_job_s_file(project: Path) -> None:
    write(project / "json.py", "Table = 'mine'")
    assert resolve("json:Table", project) == "mine"
    assert sys.modules["json"].__name__ == "json"


def test_a_package_is_found_by_its_init(project: Path) -> None:
    file = write(project / "rules" / "__init__.py", "from rules.bounds import TOP as Table\n")
    write(project / "rules" / "bounds.py", "TOP = 9\n")
    assert find_module_file("rules", project) == file
    assert resolve("rules:Table", project) == 9


def test_a_module_is_loaded_once(project: Path) -> None:
    write(project / "rules.py", "Table = object()")
    assert resolve("rules:Table", project) is resolve("rules:Table", project / "jobs")


def test_two_modules_of_one_name_do_not_mix(project: Path) -> None:
    for name in ("day", "night"):
        write(project / "jobs" / name / "rules.py", f"Table = {name!r}")
    found = [resolve("rules:Table", project / "jobs" / name) for name in ("day", "night", "day")]
    assert found == ["day", "night", "day"]


@pytest.mark.parametrize("line", ["from parts.bounds import TOP", "from parts import bounds"])
def test_nor_do_the_modules_that_they_import(project: Path, line: str) -> None:
    for name in ("day", "night"):
        folder = project / "jobs" / name
        write(folder / "parts" / "bounds.py", f"TOP = {name!r}")
        for module in ("rules", "model"):
            top = "TOP" if "TOP" in line else "bounds.TOP"
            write(folder / f"{module}.py", f"{line}\nTable = {top}")
    places = [("day", "rules"), ("night", "rules"), ("day", "model"), ("night", "model")]
    for name, module in places:
        assert resolve(f"{module}:Table", project / "jobs" / name) == name


def test_the_import_path_is_left_as_it_was(project: Path) -> None:
    write(project / "rules.py", "import sys\nTable = list(sys.path)")
    before = list(sys.path)
    assert load_module("rules", project, setting="x").Table[0] == str(project)
    assert sys.path == before


@pytest.mark.parametrize(
    "text",
    [
        "def Table(): ...",
        "async def Table(): ...",
        "class Table: ...",
        "Table = 1",
        "Table: int = 1",
        "first, *Table = [1]",
        "import json as Table",
        "import Table.part",
        "from os import *",
        "def __getattr__(name): return 1",
        "if True:\n    try:\n        Table = 1\n    finally:\n        pass",
        "def make():\n    global Table\n    Table = 1\nmake()",
        "for Table in [1]: ...",
        "(Table := 1)",
        "with open(__file__) as Table: ...",
        "match [1]:\n    case [Table]: ...",
        "match [1]:\n    case [*Table]: ...",
        "match {1: 2}:\n    case {**Table}: ...",
        'globals()["Table"] = 1',
        "vars().update(Table=1)",
        'exec("Table = 1")',
        'import sys\nsetattr(sys.modules[__name__], "Table", 1)',
        "import sys\nsys.modules[__name__].Table = 1",
    ],
)
def test_a_look_up_passes_a_name_however_it_is_bound_and_runs_nothing(
    project: Path, text: str
) -> None:
    write(project / "rules.py", f"raise RuntimeError\n{text}")
    look_up_reference("rules:Table.part", project, setting="train.model")


def test_a_name_that_only_the_import_can_tell_is_refused_after_it(project: Path) -> None:
    write(project / "rules.py", 'globals()["Table"] = 1')
    assert resolve("rules:Table", project) == 1
    look_up_reference("rules:Tabel", project, setting="train.model")
    assert refusal_of("rules:Tabel", project).fix == "did you mean 'Table'?"


@pytest.mark.parametrize(
    ("reference", "text", "says", "fix"),
    [
        ("rules:Tabel", "Table = Tabel = 1", None, None),
        ("rules:Tabel", "Table = 1\nprint(Tabel)", "has no 'Tabel'", "did you mean 'Table'?"),
        ("rules:Table", "", "has no 'Table'", "write it there; the module is empty."),
        ("rulse:Table", "Table = 1", "no module 'rulse'", "correct the name"),
        ("rules.Table", "Table = 1", "is not a reference", "a colon"),
        ("rules:Table", "a = 1\nb = = 2", "line 2: SyntaxError", "correct that file"),
    ],
)
def test_a_look_up_refuses_what_cannot_be_resolved(
    project: Path, reference: str, text: str, says: str | None, fix: str | None
) -> None:
    write(project / "rules.py", text)
    if says is None:
        look_up_reference(reference, project, setting="train.model")
        return
    with pytest.raises(BadReference) as caught:
        look_up_reference(reference, project, setting="train.model")
    assert says in caught.value.message
    assert (fix or "") in (caught.value.fix or "")
    assert caught.value.message.startswith("train.model")
