"""`"schemas.weather:Weather"` to an object."""

from __future__ import annotations

import importlib.util
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import BadReference


def search_folders(job_folder: Path) -> list[Path]:
    """Return the folders that a reference is looked up in, nearest first.

    They are the job's folder, then each parent up to and with the nearest one that holds a
    `pyproject.toml`, then the working directory. Without a `pyproject.toml` above the job, only
    the job's folder and its parent's chain up to the root would be left: there it is the job's
    folder and the working directory alone.
    """
    folders = [job_folder]
    for parent in [job_folder, *job_folder.parents]:
        if parent != job_folder:
            folders.append(parent)
        if (parent / "pyproject.toml").is_file():
            break
    else:
        folders = [job_folder]
    working = Path.cwd()
    return folders if working in folders else [*folders, working]


def resolve_reference(reference: str, job_folder: Path, *, setting: str) -> Any:
    """Return the object that `module:attribute` names.

    The first folder of `search_folders` that holds the module's file wins; the file is loaded by
    its path, so a module of the same name elsewhere never takes its place. What the module raises
    while it is imported passes through untouched: it is the user's own error.

    Raises:
        BadReference: The form is wrong, the module has no file, or it lacks the attribute.
    """
    module_name, _, attribute = reference.partition(":")
    if not _is_dotted_name(module_name) or not _is_dotted_name(attribute):
        raise BadReference(
            f"{setting} = {reference!r} is not a reference.",
            expected='the form "module:attribute", such as "schemas.weather:Weather"',
            fix="write the module's dotted name, a colon and the name in it.",
            setting=setting,
            reference=reference,
        )
    module = load_module(module_name, job_folder, setting=setting)
    return _read_attribute(module, attribute, reference, setting)


def find_module_file(module_name: str, job_folder: Path) -> Path | None:
    """Return the file of a dotted module name, or None where no folder holds it."""
    relative = Path(*module_name.split("."))
    for folder in search_folders(job_folder):
        for candidate in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def load_module(module_name: str, job_folder: Path, *, setting: str) -> ModuleType:
    """Load a module by the path of its file, once per file."""
    file = find_module_file(module_name, job_folder)
    if file is None:
        looked = ", ".join(str(folder) for folder in search_folders(job_folder))
        raise BadReference(
            f"{setting}: no module {module_name!r}.",
            expected=f"a file {'/'.join(module_name.split('.'))}.py in one of: {looked}",
            fix="correct the name, or put the file beside the job or under its project.",
            setting=setting,
            module=module_name,
        )
    # The registered name carries the path: two jobs may each have a module `schemas.weather`.
    unique_name = f"_nanproof_reference.{module_name}@{file}"
    if unique_name in sys.modules:
        return sys.modules[unique_name]
    spec = importlib.util.spec_from_file_location(unique_name, file)
    if spec is None or spec.loader is None:
        raise BadReference(f"{setting}: {file} cannot be loaded as a module.", setting=setting)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique_name] = module
    root = str(file.parents[module_name.count(".")])
    sys.path.insert(0, root)  # the module's own imports resolve beside it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique_name]
        raise
    finally:
        sys.path.remove(root)
    return module


def _read_attribute(module: ModuleType, attribute: str, reference: str, setting: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = sorted(n for n in vars(found) if not n.startswith("_"))
            near = get_close_matches(name, public, n=1)
            raise BadReference(
                f"{setting} = {reference!r}: {module.__file__} has no {name!r}.",
                fix=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(public[:10])}.",
                setting=setting,
                reference=reference,
                attribute=name,
            )
        found = getattr(found, name)
    return found


def _is_dotted_name(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))
