"""`"schemas.weather:Weather"` to an object."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import BadReference, list_some, suggest


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
    its path, so a module of the same name elsewhere never takes its place.

    Raises:
        BadReference: The form is wrong, the module has no file, raises while it is imported, or
            lacks the attribute.
    """
    module_name, attribute = _split_reference(reference, setting)
    module = load_module(module_name, job_folder, setting=setting)
    return _read_attribute(module, attribute, reference, setting)


def look_up_reference(reference: str, job_folder: Path, *, setting: str) -> None:
    """Refuse what `resolve_reference` surely will, without running the module.

    Loading a module may be slow, and one that makes its model while it is imported has to be
    loaded after the seed is set. What may bind names that its text does not show is let pass.

    Raises:
        BadReference: The form is wrong, the module has no file, is no Python, or nowhere binds
            the name.
    """
    module_name, attribute = _split_reference(reference, setting)
    file = _require_module_file(module_name, job_folder, setting)
    try:
        names = set(_list_bound_names(ast.parse(file.read_bytes(), file)))
    except SyntaxError as error:
        raise _failed_import(error, file, file.parent, setting) from error
    name = attribute.partition(".")[0]
    if not names & {name, *_UNSEEN}:
        raise _lacks_name(reference, name, file, sorted(names), setting)


# By these a module gets at its own namespace, or has names that it never binds.
_UNSEEN = frozenset(
    {"*", "__getattr__", "globals", "locals", "vars", "setattr", "__setattr__", "__dict__"}
    | {"exec", "eval", "modules", "import_module", "__import__", "f_globals"}
)


def _list_bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module's text binds, at whatever depth, and its uses of `_UNSEEN`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store) or node.id in _UNSEEN:
                yield node.id
        elif isinstance(node, ast.Attribute) and node.attr in _UNSEEN:
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest


def _split_reference(reference: str, setting: str) -> tuple[str, str]:
    module_name, _, attribute = reference.partition(":")
    if not _is_dotted_name(module_name) or not _is_dotted_name(attribute):
        raise BadReference(
            f"{setting} = {reference!r} is not a reference.",
            expected='the form "module:attribute", such as "schemas.weather:Weather"',
            fix="write the module's dotted name, a colon and the name in it.",
            setting=setting,
            reference=reference,
        )
    return module_name, attribute


def find_module_file(module_name: str, job_folder: Path) -> Path | None:
    """Return the file of a dotted module name, or None where no folder holds it."""
    relative = Path(*module_name.split("."))
    for folder in search_folders(job_folder):
        for candidate in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def list_source_files(module_name: str, job_folder: Path) -> list[Path]:
    """Return a module's file and those of the modules of its own tree that it imports, sorted."""
    first = find_module_file(module_name, job_folder)
    if first is None:
        return []
    root = first.parents[module_name.count(".") + (first.name == "__init__.py")]
    found, waiting = set(), [first]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for name in _list_imports(file):
            place = root.joinpath(*name.split("."))
            candidates = (place.with_suffix(".py"), place / "__init__.py")
            waiting += [candidate for candidate in candidates if candidate.is_file()]
    return sorted(found)


def _list_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _require_module_file(module_name: str, job_folder: Path, setting: str) -> Path:
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
    return file


def load_module(module_name: str, job_folder: Path, *, setting: str) -> ModuleType:
    """Load a module by the path of its file, once as long as its text is the same."""
    file = _require_module_file(module_name, job_folder, setting)
    # The registered name carries the path: two jobs may each have a module `schemas.weather`. And
    # it carries the text: a notebook's next run has to see what was edited meanwhile.
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    unique_name = f"_nanproof_reference.{module_name}@{file}#{digest}"
    if unique_name in sys.modules:
        return sys.modules[unique_name]
    spec = importlib.util.spec_from_file_location(unique_name, file)
    if spec is None or spec.loader is None:
        raise BadReference(f"{setting}: {file} cannot be loaded as a module.", setting=setting)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique_name] = module
    root = file.parents[module_name.count(".") + (file.name == "__init__.py")]
    try:
        with _imports_from(root):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[unique_name]
        # A script that ends itself by sys.exit() is no schema; an interrupt is the user's own.
        if isinstance(error, (Exception, SystemExit, GeneratorExit)):
            raise _failed_import(error, file, root, setting) from error
        raise
    return module


# What the modules of each folder imported from it, by name.
_IMPORTED: dict[Path, dict[str, ModuleType]] = {}


@contextmanager
def _imports_from(root: Path) -> Iterator[None]:
    """Let a module's own imports resolve in `root`, and in no folder of an earlier job."""
    for modules in _IMPORTED.values():
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
    foreign = {name.partition(".")[0] for name in sys.modules}
    own = _IMPORTED.setdefault(root, {})
    sys.modules.update(own)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in foreign and _lies_in(root, name, module):
                own[name] = module


def _lies_in(root: Path, name: str, module: ModuleType) -> bool:
    place = root.joinpath(*name.split("."))
    file = getattr(module, "__file__", None)
    if file is None:  # a folder without __init__.py
        return place.is_dir()
    return Path(file) in (place.with_suffix(".py"), place / "__init__.py")


def _failed_import(error: BaseException, file: Path, root: Path, setting: str) -> BadReference:
    """Name the last line of the user's own files on the way to the error."""
    place, line = str(file), None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(root) and "site-packages" not in frame.filename:
            place, line = frame.filename, frame.lineno
    if isinstance(error, SyntaxError) and error.filename:
        place, line = error.filename, error.lineno
    reason = (str(error).splitlines() or [""])[0].rstrip(".")
    what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return BadReference(
        f"{setting}: {place}, line {line}: {what}.",
        fix="correct that file, which is imported for this setting.",
        setting=setting,
        file=place,
        line=line,
        error=type(error).__name__,
    )


def _read_attribute(module: ModuleType, attribute: str, reference: str, setting: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _lacks_name(reference, name, module.__file__, list(vars(found)), setting)
        found = getattr(found, name)
    return found


def _lacks_name(
    reference: str, name: str, file: Path | str | None, names: list[str], setting: str
) -> BadReference:
    public = sorted(other for other in names if not other.startswith("_"))
    listed = f"it has {list_some(public)}." if public else "write it there; the module is empty."
    return BadReference(
        f"{setting} = {reference!r}: {file} has no {name!r}.",
        fix=suggest(name, public) or listed,
        setting=setting,
        reference=reference,
        attribute=name,
    )


def _is_dotted_name(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))
