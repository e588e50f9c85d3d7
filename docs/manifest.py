"""Write `manifest.schema.json` from the manifest's one definition: `python docs/manifest.py`."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pipeline.manifest import Feature, File, Label, Manifest, Shard, SourceEntry, Spec, Split


def describe_manifest() -> dict[str, Any]:
    """Return the JSON Schema of the manifest, with the descriptions of its classes."""
    schema = Manifest.model_json_schema(mode="serialization")
    for model in (Manifest, Spec, Feature, Label, Split, Shard, File, SourceEntry):
        part = schema if model is Manifest else schema["$defs"][model.__name__]
        text, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("\nAttributes:\n")
        part["description"] = " ".join(text.split())
        for name, told in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.M):
            part["properties"][name]["description"] = " ".join(told.split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_schema() -> str:
    """Return the JSON Schema as text."""
    return json.dumps(describe_manifest(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    path = Path(__file__).parent / "manifest.schema.json"
    path.write_text(write_schema(), encoding="utf-8")
