"""The exceptions of nanproof, each with the exit code that the command gives it.

    PipelineError
    ├── DataVerdict           1   the data is not what was asked for
    │   ├── TooManyDropped        more rows quarantined than `max_dropped_ratio`
    │   ├── NoRowsLeft            nothing to publish, or a split without a row
    │   ├── RuleBroken            a rule of the whole dataset that no row is to blame for
    │   ├── RepairError           a fill that the schema rejects, a column without a valid cell
    │   └── DatasetDiffers        what lies on disk is not what the manifest says
    │       └── ShardError        one shard is truncated, flipped or foreign
    ├── UsageError            2   the caller has to change something
    │   ├── SettingsError         the job file or a flag
    │   ├── BadReference       "module:attribute" does not lead to what is needed
    │   ├── SchemaError           a schema that cannot be judged row by row
    │   │   └── NotRowWise            a check or parser that looks beyond its row
    │   └── InputError            a raw file is absent, empty or unreadable
    ├── GuardBudgetSpent      3   training met more bad steps than it may skip
    └── EnvironmentFailure    4   disk, lock, worker

Every error is a few lines: what and where, with numbers; what was expected and got;
and, last, `Fix: …`. The facts are fields as well, in `fields`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError

MAX_LISTED = 12


class PipelineError(Exception):
    """Root of every error that nanproof raises on purpose.

    Args:
        message: What happened and where, with numbers; one line.
        expected: What would have been right.
        got: What was there instead.
        fix: What the reader can do about it.
        **fields: The facts by name (file, row, column, rule, count, …).
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        fix: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.got = got
        self.fix = fix
        self.fields = fields

    def __str__(self) -> str:
        lines = [self.message]
        if self.expected is not None:
            lines.append(f"Expected {self.expected}" + (f", got {self.got}." if self.got else "."))
        if self.fix is not None:
            lines.append(f"Fix: {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default pickling between worker processes.
        return _rebuild, (type(self), self.message, self.expected, self.got, self.fix, self.fields)


def _rebuild(
    kind: type[PipelineError],
    message: str,
    expected: str | None,
    got: str | None,
    fix: str | None,
    fields: dict[str, Any],
) -> PipelineError:
    return kind(message, expected=expected, got=got, fix=fix, **fields)


class DataVerdict(PipelineError):
    """The job ran; the data is not what was asked for."""

    exit_code = 1


class TooManyDropped(DataVerdict):
    """More rows were quarantined than `max_dropped_ratio` allows."""


class NoRowsLeft(DataVerdict):
    """No row is left, or an asked-for split got none."""


class RuleBroken(DataVerdict):
    """A rule of the whole dataset is broken, and no row is to blame for it."""


class RepairError(DataVerdict):
    """A column cannot be filled: no valid train cell, or a fill that the schema rejects."""


class DatasetDiffers(DataVerdict):
    """What lies on disk is not what the manifest says."""


class ShardError(DatasetDiffers):
    """One shard is truncated, bit-flipped or foreign."""


class UsageError(PipelineError):
    """The caller has to change a setting, a reference or a file."""

    exit_code = 2


class SettingsError(UsageError):
    """The job file or a flag says something that cannot be."""


class BadReference(UsageError):
    """A `module:attribute` reference does not lead to what is needed."""


class SchemaError(UsageError):
    """The schema holds something that cannot be judged row by row."""


class NotRowWise(SchemaError):
    """A check or parser that looks beyond its row, or gives no value for each."""


class InputError(UsageError):
    """A raw file is absent, empty or unreadable."""


class GuardBudgetSpent(PipelineError):
    """Training met more bad steps than its budget lets it skip."""

    exit_code = 3


class EnvironmentFailure(PipelineError):
    """The machine failed, not the data: disk full, lock held, worker lost."""

    exit_code = 4


def broken_shard(path: Path, what: str, **fields: Any) -> ShardError:
    """Say what is wrong with a shard.

    Args:
        path: The shard.
        what: What is wrong with it.
        **fields: More facts by name.
    """
    fix = "restore the shard, or run the job again."
    return ShardError(f"{path.name}: {what}.", fix=fix, file=str(path), **fields)


def list_some(names: Iterable[object]) -> str:
    """Write the first names as Python does, and how many more there are.

    Example:
        >>> list_some(["size", "colour"])
        "'size', 'colour'"
        >>> list_some(range(15))
        '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more'
    """
    every = list(names)
    more = len(every) - MAX_LISTED
    return ", ".join(map(repr, every[:MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


def suggest(name: str, known: Iterable[str]) -> str:
    """Ask whether the known name that is most alike was meant; empty where none is.

    Example:
        >>> suggest("SISE", ["size", "colour"])
        "did you mean 'size'?"
        >>> suggest("weight", ["size", "colour"])
        ''
    """
    folded = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), folded, n=1)
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def explain_settings(
    error: ValidationError, given: Any, schema: Mapping[str, Any], *within: str
) -> SettingsError:
    """Say one wrong setting in the reader's words; all of them in `fields`.

    Args:
        error: What pydantic says.
        given: What it looked at.
        schema: The job file's JSON Schema.
        within: The table that it looked at, where that is not the whole job file.
    """
    problems = error.errors(include_url=False)
    # An unknown key goes first: misspelt, it is why another one is missing.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    path = [*within, *_settings_path(first["loc"], given)]
    where = ".".join(map(str, path))
    fields: dict[str, Any] = {"settings": [".".join(map(str, p["loc"])) for p in problems]}
    if first["type"] == "extra_forbidden":
        return unknown_setting([str(part) for part in path], schema, **fields)
    if first["type"] == "missing":
        where = ".".join(map(str, [*path, first["loc"][-1]]))
        return SettingsError(f"the setting {where!r} is missing.", fix=f"add {where}.", **fields)
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason.replace("valid tuple", "list").replace("valid dictionary", "table")
    if first["type"] == "value_error":
        return SettingsError(f"setting {where!r}: {reason}.", fix=f"correct {where}.", **fields)
    got, nodes = first["input"], _find_nodes(schema, path)
    choices = [str(choice) for node in nodes for choice in node.get("enum", ())]
    if first["type"] == "literal_error":
        reason = f"{got!r} is not one of its values"
    elif first["type"] == "model_type":
        reason = "it is a table"
    return SettingsError(
        f"setting {where!r}: {reason}.",
        expected=describe_values({"anyOf": nodes}) if nodes else None,
        got=repr(got),
        fix=(isinstance(got, str) and suggest(got, choices)) or f"correct {where}.",
        **fields,
    )


def unknown_setting(path: Sequence[str], schema: Mapping[str, Any], **fields: Any) -> SettingsError:
    """Say that there is no such setting, and which one may have been meant.

    Args:
        path: The tables that lead to it, and its name.
        schema: The job file's JSON Schema.
        **fields: The facts by name.
    """
    *tables, name = path
    nodes = _find_nodes(schema, tables)
    known = sorted(key for node in nodes for key in node.get("properties", ()))
    others = [f"[{table}]" for table in _list_tables(schema, name)]
    elsewhere = f"write it under {' or '.join(others)}." if others else ""
    return SettingsError(
        f"unknown setting {'.'.join(path)!r}.",
        fix=elsewhere or suggest(name, known) or f"known here: {list_some(known)}.",
        **fields,
    )


def inline_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema with its `$defs` written out where they are referred to.

    Example:
        >>> inline_references({"items": {"$ref": "#/$defs/N"}, "$defs": {"N": {"maxLength": 9}}})
        {'items': {'maxLength': 9}}
    """
    definitions = schema.get("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(part) for part in node]
        if not isinstance(node, dict):
            return node
        named = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {key: inline(part) for key, part in {**named, **node}.items() if key != "$ref"}

    return inline({key: part for key, part in schema.items() if key != "$defs"})


def describe_values(node: Mapping[str, Any]) -> str:
    """Say in a few words what a node of a JSON Schema without references allows.

    Example:
        >>> describe_values({"type": "array", "items": {"type": "integer", "minimum": 1}})
        'a list of whole numbers ≥ 1'
        >>> describe_values({"anyOf": [{"enum": ["drop", "mean"]}, {"type": "null"}]})
        '"drop" or "mean"'
    """
    *others, last = dict.fromkeys(_list_kinds(node))
    return f"{', '.join(others)} or {last}" if others else last


def _list_kinds(node: Mapping[str, Any]) -> list[str]:
    if "anyOf" in node:
        return [kind for part in node["anyOf"] for kind in _list_kinds(part)]
    if "enum" in node:
        return [json.dumps(choice) for choice in node["enum"]]
    match node.get("type"):
        case "null":
            return []
        case "array" if "prefixItems" in node:
            first, *rest = node["prefixItems"]
            return [f"a list of {1 + len(rest)} {_plural(first)}"]
        case "array":
            return [f"a list of {_plural(node['items'])}"]
        case "object" if isinstance(node["additionalProperties"], dict):
            return [f"a table of {_plural(node['additionalProperties'])}"]
        case "object":
            needed = ", ".join(f"{key} = …" for key in node.get("required", ()))
            return [f"{{ {needed} }}" if needed else "a table"]
        case "string":
            return ["one character" if node.get("maxLength") == 1 else "text"]
        case "boolean":
            return ["true", "false"]
        case kind:
            number = "a whole number" if kind == "integer" else "a number"
            return [number + _describe_bounds(node)]


def _plural(node: Mapping[str, Any]) -> str:
    singular = describe_values(node).removeprefix("a ")
    return re.sub(r"\b(number|list|text)\b", r"\1s", singular)


def _describe_bounds(node: Mapping[str, Any]) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']:g} to {node['maximum']:g}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [
        f"{sign} {node[key]:,}".removesuffix(".0") for key, sign in signs.items() if key in node
    ]
    return "".join(f" {' and '.join(limits)}" if limits else "")


def _find_nodes(schema: Mapping[str, Any], path: Sequence[str | int]) -> list[Mapping[str, Any]]:
    """Return what may stand at a setting: the branches of its union, or the one node."""
    nodes = [schema]
    for part in path:
        children = [_find_child(node, part) for node in nodes]
        nodes = [branch for child in children if child for branch in child.get("anyOf", [child])]
    return nodes


def _find_child(node: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    if isinstance(part, int):
        return node.get("items")
    return node.get("properties", {}).get(part) or node.get("additionalProperties") or None


def _list_tables(schema: Mapping[str, Any], name: str, *within: str) -> list[str]:
    """Return the tables that have a setting of this name, by their dotted names."""
    found = []
    for key, node in schema.get("properties", {}).items():
        if key == name and within:
            found.append(".".join(within))
        found += _list_tables(node, name, *within, key)
    return found


def _settings_path(location: tuple[int | str, ...], given: Any) -> list[str | int]:
    """Return the keys that lead to a setting; pydantic puts the branches of unions between."""
    path: list[str | int] = []
    for part in location:
        try:
            given = given[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(part)
    return path
