"""What a setting may be, and what is wrong with one, told by the job file's JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import SettingsError, list_some, suggest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Keys = Sequence[str | int]
"""What leads to a setting: the names of tables, its own, a place in a list."""


def explain_settings(
    error: ValidationError, given: Any, schema: Mapping[str, Any], *within: str
) -> SettingsError:
    """Say one wrong setting in the reader's words; all of them in `fields`.

    Of a union, whose every branch has its own complaint, it is what is wrong within the branch
    that the value belongs to, or else that no branch takes it.

    Args:
        error: What pydantic says.
        given: What it looked at.
        schema: The job file's JSON Schema.
        within: The table that it looked at, where that is not the whole job file.
    """
    problems = error.errors(include_url=False)
    paths = [[*within, *_find_path(problem, given)] for problem in problems]
    chosen = _choose(problems, paths)
    problem, path = problems[chosen], paths[chosen]
    where = _join(path)
    fields: dict[str, Any] = {"settings": list(dict.fromkeys(map(_join, paths)))}
    match problem["type"]:
        case "extra_forbidden":
            return unknown_setting([str(part) for part in path], schema, **fields)
        case "missing":
            fix = f"add {where}."
            return SettingsError(f"the setting {where!r} is missing.", fix=fix, **fields)
        case "value_error":
            reason = problem["msg"].removeprefix("Value error, ")
            fix = f"correct {where}."
            return SettingsError(f"setting {where!r}: {reason}.", fix=fix, **fields)
    reason = _say_reason(problem, in_union=paths.count(path) > 1)
    return _refuse_value(problem["input"], reason, path, schema, **fields)


def _find_path(problem: ErrorDetails, given: Any) -> list[str | int]:
    """Return the keys that lead to a setting; pydantic puts the branches of unions between."""
    path: list[str | int] = []
    for part in problem["loc"]:
        try:
            given = given[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(part)
    return [*path, problem["loc"][-1]] if problem["type"] == "missing" else path


def _choose(problems: Sequence[ErrorDetails], paths: Sequence[Keys]) -> int:
    """Return the place of the problem to be told."""
    # An unknown key goes first: misspelt, it is why another one is missing.
    first = min(range(len(paths)), key=lambda i: problems[i]["type"] != "extra_forbidden")
    if problems[first]["type"] == "extra_forbidden":
        return first
    # Only the branch that a value belongs to looks into it.
    inside = [i for i, path in enumerate(paths) if path[: len(paths[first])] == paths[first]]
    return max(inside, key=lambda i: len(paths[i]))


def _join(path: Keys) -> str:
    return ".".join(map(str, path))


def _say_reason(problem: ErrorDetails, *, in_union: bool) -> str:
    if problem["type"] == "literal_error":
        return f"{problem['input']!r} is not one of its values"
    if in_union:
        return "it takes no such value"
    if problem["type"] == "model_type":
        return "it is a table"
    return problem["msg"].replace("valid tuple", "list").replace("valid dictionary", "table")


def _refuse_value(
    got: Any, reason: str, path: Keys, schema: Mapping[str, Any], **fields: Any
) -> SettingsError:
    where, nodes = _join(path), _find_nodes(schema, path)
    choices = [str(choice) for node in nodes for choice in node.get("enum", ())]
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


def _find_nodes(schema: Mapping[str, Any], path: Keys) -> list[Mapping[str, Any]]:
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
