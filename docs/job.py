"""Write `job.md` and `job.schema.json` from the settings' one definition: `python docs/job.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.explain import describe_values
from pipeline.job import describe_job

BEGINNING = """# The job file

Written by `python docs/job.py` from the definitions in `pipeline/job.py`.

A job file is TOML. `raw`, `schema` and `label` are enough; every other setting has a default. \
Paths are relative to the job file. A setting that is not known is an error that names the \
nearest one. The examples show one value that is not the default; together they are a legal job.

An editor with a TOML language server completes and checks a job file that begins with \
`#:schema PATH`, the path of [job.schema.json](job.schema.json).
"""


def write_reference() -> str:
    """Return the whole page as Markdown."""
    schema = describe_job()
    return "\n".join([BEGINNING, *_list_sections(schema)])


def write_schema() -> str:
    """Return the JSON Schema of a job file."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | describe_job(), indent=1, ensure_ascii=False) + "\n"


def _list_sections(table: Mapping[str, Any], *names: str) -> Iterator[str]:
    """Yield a section for a table, then those of the tables in it."""
    settings = table["properties"]
    plain = {name: node for name, node in settings.items() if "properties" not in node}
    where = f"[{'.'.join(names)}]" if names else ""
    if where:
        yield f"## {where}\n\n{table['description']}\n"
    example = [where] * bool(where)
    example += [f"{name} = {_to_toml(node['examples'][0])}" for name, node in plain.items()]
    yield "```toml\n" + "\n".join(example) + "\n```\n"
    yield "| setting | type | default | meaning |\n|---|---|---|---|"
    for name, node in plain.items():
        default = _describe_default(node, name in table.get("required", ()))
        yield f"| `{name}` | {describe_values(node)} | {default} | {node['description']} |"
    yield ""
    for name, node in settings.items():
        if name not in plain:
            yield from _list_sections(node, *names, name)


def _describe_default(node: Mapping[str, Any], is_required: bool) -> str:
    if is_required:
        return "**required**"
    return f"`{_to_toml(node['default'])}`" if node.get("default") is not None else ""


def _to_toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_to_key(key)} = {_to_toml(part)}" for key, part in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_to_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _to_key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else json.dumps(name)


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "job.md").write_text(write_reference(), encoding="utf-8")
    (folder / "job.schema.json").write_text(write_schema(), encoding="utf-8")
