"""Manifest, ledger and plan: what each says, against the others."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import PipelineError
from pipeline.features import LEARNED_OF_COLUMNS, LEARNED_OF_LABEL, LEARNED_OF_TENSORS
from pipeline.ledger import Ledger, check_balance
from pipeline.manifest import SPLITS, Feature, Manifest
from pipeline.repair.plan import ColumnPlan, Plan, TensorPlan

Model = TypeVar("Model", bound=BaseModel)

FORMATS = ("parquet", "tfrecord")


def check_accounts(
    out: Path, manifest: Manifest, sound: frozenset[str]
) -> tuple[Ledger | None, list[str]]:
    """Return the ledger, where there is one, and where counts, statistics, settings disagree."""
    problems = [*_check_rows(manifest), *_check_settings(manifest)]
    ledger = _read(out / "ledger.json", Ledger, sound, problems)
    plan = _read(out / "plan.json", Plan, sound, problems)
    if ledger is not None:
        problems += _check_ledger(ledger, manifest)
    if plan is not None:
        problems += _check_plan(plan, manifest)
    return ledger, problems


def _read(
    path: Path, model: type[Model], sound: frozenset[str], problems: list[str]
) -> Model | None:
    if path.name not in sound:  # said already
        return None
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        problems.append(f"{path.name}: {where}: {first['msg']}")
        return None


def _check_rows(manifest: Manifest) -> Iterator[str]:
    rows = manifest.rows
    for split in SPLITS:
        if manifest.splits[split].rows != rows.get(split):
            yield f"manifest.json: the rows of {split} are not those of its split"
    clean, read = rows.get("clean"), rows.get("read")
    if clean != sum(manifest.splits[split].rows for split in SPLITS):
        yield "manifest.json: its clean rows are not those of its splits"
    if read != sum(source.rows for source in manifest.sources):
        yield "manifest.json: the rows that were read are not those of its sources"
    if clean is None or read != clean + rows.get("quarantined", 0):
        yield "manifest.json: rows were lost between read, clean and quarantined"


def _check_settings(manifest: Manifest) -> Iterator[str]:
    spec, settings = manifest.spec, manifest.settings
    said: dict[str, Any] = {
        "name": manifest.name,
        "data.schema": manifest.schema_reference,
        "data.label": spec.label.name,
        "data.weight": spec.weight,
        "shards.layout": spec.layout,
        "shards.block_rows": spec.block_rows,
        "train.dtype": spec.training_dtype,
    }
    for setting, value in said.items():
        if _find(settings, setting) != value:
            yield f"manifest.json: settings.{setting} is not what the rest of it says"
    asked = _find(settings, "shards.formats")
    formats = set(map(str, asked)) if isinstance(asked, list) else set()
    shards = [shard for split in SPLITS for shard in manifest.splits[split].shards]
    if any({n for n in FORMATS if getattr(shard, n)} != formats for shard in shards):
        yield "manifest.json: not every shard is there in the formats of settings.shards.formats"


def _find(settings: Any, path: str) -> Any:
    for name in path.split("."):
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings


def _check_ledger(ledger: Ledger, manifest: Manifest) -> Iterator[str]:
    try:
        check_balance(ledger)
    except PipelineError as error:
        yield f"ledger.json: {error.message}"
    except (KeyError, IndexError):
        yield "ledger.json: a count or a stage is absent"
    if ledger.rows != manifest.rows:
        yield "ledger.json: its rows are not the manifest's"
    if ledger.files.read + ledger.files.quarantined != len(manifest.sources):
        yield "ledger.json: its files are not the manifest's sources"


def _check_plan(plan: Plan, manifest: Manifest) -> Iterator[str]:
    spec = manifest.spec
    own = {feature.name: feature for feature in spec.features if feature.indicates is None}
    planned: dict[str, ColumnPlan | TensorPlan] = {**plan.columns, **plan.tensors}
    tensors = {name for name, feature in own.items() if feature.kind == "tensor"}
    if planned.keys() != own.keys() or plan.tensors.keys() != tensors:
        yield "plan.json: its columns are not the manifest's features"
    for feature in spec.features:
        name, of = feature.name, feature.indicates
        bare = Feature(name=name, kind="bool", dtype="float32", indicates=of)
        if of is not None and (of not in own or feature != bare):
            yield f"manifest.json: {name!r} is no indicator of a feature"
    for name in sorted(planned.keys() & own.keys()):
        told = LEARNED_OF_TENSORS if name in plan.tensors else LEARNED_OF_COLUMNS
        yield from _compare(repr(name), planned[name], own[name], told)
    yield from _compare("the label", plan.label, spec.label, LEARNED_OF_LABEL)


def _compare(what: str, planned: BaseModel, told: BaseModel, names: Set[str]) -> Iterator[str]:
    for name in sorted(names):
        if getattr(planned, name) != getattr(told, name):
            yield f"plan.json: {name} of {what} is not the manifest's"
