"""What every task of a job shares, worked out once and sent to the workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError, SettingsError, list_some, suggest
from pipeline.features import INDICATOR_SUFFIX
from pipeline.job import Job
from pipeline.load import (
    Partition,
    Reading,
    Source,
    check_columns,
    keep_fault,
    list_sources,
    plan_partitions,
)
from pipeline.load.sources import check_tensors
from pipeline.reference import resolve_reference
from pipeline.repair import points_per_column, policy_of
from pipeline.run.mended import Replaced, find_replaced
from pipeline.schema import Check, ColumnSchema, Schema
from pipeline.split import count_buckets
from pipeline.validate import bind_schema, compile_schema
from pipeline.whole import list_keys, list_orders

RESERVED = ("row_id", "_row")
# Gzip shrinks tables about eightfold; its true size is known only after reading it.
GZIP_RATIO = 8


@dataclass(frozen=True)
class Setup:
    """What the tasks of one job share; small, and travels by pickle.

    Attributes:
        job: The settings.
        schema: The compiled schema of the columns that are read and judged.
        reading: How the raw files are read.
        num_buckets: How many buckets the dataset has.
        features: The feature columns, in the schema's order.
        repairable: Those whose policy mends a cell.
        unjudged: Columns that are read for a key or a row check only.
        indicators: The features with a missing indicator.
        task: What the label is trained as.
        points: How many quantile points a column's summary may hold.
        source_names: The raw files' names, by file number.
        replaced: The rows of raw files that stand, mended, in another.
        tensors: The tensor features and the dtype of their values.
        tensor_columns: Tensor feature to its column and those that are derived of it.
        placeless: Columns that do not make two rows differ when they are split.
    """

    job: Job
    schema: Schema
    reading: Reading
    num_buckets: int
    features: tuple[str, ...]
    repairable: frozenset[str]
    unjudged: frozenset[str]
    indicators: tuple[str, ...]
    task: Literal["classification", "regression"]
    points: int
    source_names: tuple[str, ...]
    replaced: Replaced
    tensors: Mapping[str, str]
    tensor_columns: Mapping[str, frozenset[str]]
    placeless: frozenset[str]

    def load_pandera_schema(self) -> Any:
        """Return the schema object itself, for the checks that only pandera decides."""
        return load_schema(self.job)


def load_schema(job: Job) -> Any:
    """Return the object that `data.schema` refers to."""
    return resolve_reference(job.data.schema_, job.folder, setting="data.schema")


def list_inputs(job: Job, raw: Sequence[str] | None) -> tuple[Source, ...]:
    """Return the job's raw files; `raw` patterns are relative to the working directory."""
    patterns, folder = (job.data.raw, job.folder) if raw is None else (tuple(raw), Path.cwd())
    return list_sources(patterns, folder, job.data.csv, job.data.on_bad_file, job.data.images)


def guess_partitions(sources: Sequence[Source], job: Job) -> int:
    """Return about how many partitions there will be, from the files' sizes alone."""
    return sum(max(1, source.size // job.data.partition_bytes) for source in sources)


def prepare(
    job: Job, sources: Sequence[Source]
) -> tuple[Setup, tuple[Source, ...], tuple[Partition, ...]]:
    """Work out what the tasks need, and find every mistake that needs no row.

    Returns:
        What the tasks share; the raw files, those that the job sets aside with their `fault`;
        and the partitions of the others.

    Raises:
        SettingsError: A setting names a column that does not exist, or does not suit it.
        SchemaError: The schema cannot be judged row by row.
        InputError: A file lacks a required column, and the job sets no file aside; or all do. Or
            a file has other tensors than the others.
    """
    headers = list(dict.fromkeys(name for source in sources for name in source.raw_columns))
    whole = bind_schema(compile_schema(load_schema(job)), headers)
    _check_named_columns(job, whole, headers)
    schema, unjudged = _read_columns(job, whole)
    known = {*whole.names, *job.data.ignore, job.data.group or ""}
    sources, partitions = _look_into(job, sources, schema, known)
    worked_out = {name for source in sources for name in source.worked_out}
    _refuse_policies_of(worked_out, job)
    special = {job.data.label, job.data.group, job.data.weight} | set(unjudged)
    tensors = _list_tensors(sources, job.data.ignore)
    special |= worked_out
    features = tuple(
        name for name in schema.names if name not in special and name not in job.data.ignore
    )
    if not features and not tensors:
        raise SettingsError(
            "no feature is left: every column of the schema is label, group, weight or ignored.",
            fix="name the feature columns in the schema.",
        )
    keys = _list_key_columns(schema)
    policies = {name: policy_of(schema[name], job.repair)[0] for name in features}
    repairable = frozenset(n for n in features if policies[n] != "drop" and n not in keys)
    setup = Setup(
        job=job,
        schema=schema,
        reading=Reading.of(schema, job.data),
        num_buckets=count_buckets([_plain_bytes(source) for source in sources]),
        features=features,
        repairable=repairable,
        unjudged=unjudged,
        indicators=_indicators(job, features, policies, headers),
        task=_choose_task(job, schema[job.data.label]),
        points=points_per_column(len(features) + 1),
        source_names=tuple(source.name for source in sources),
        replaced=_find_replaced(job, partitions),
        tensors=tensors,
        tensor_columns={name: _list_tensor_columns(sources, name) for name in tensors},
        # Equal images differ by where they lie, and their bytes are told by their digest.
        placeless=frozenset(
            name for source in sources if source.tensors for name in (*dict(source.tensors), "path")
        ),
    )
    return setup, sources, partitions


def _list_tensors(sources: Sequence[Source], ignored: Sequence[str]) -> dict[str, str]:
    sound = next((source for source in sources if not source.fault), None)
    tensors = () if sound is None else sound.tensors
    return {name: dtype for name, dtype in tensors if name not in ignored}


def _list_tensor_columns(sources: Sequence[Source], tensor: str) -> frozenset[str]:
    sound = [source for source in sources if not source.fault]
    return frozenset[str]().union(*(source.list_tensor_columns(tensor) for source in sound))


def _find_replaced(job: Job, partitions: Sequence[Partition]) -> Replaced:
    with keep_fault(job.data.on_bad_file):
        return find_replaced(partitions)
    return {}  # what cannot be read replaces nothing


def _look_into(
    job: Job, sources: Sequence[Source], schema: Schema, known: set[str]
) -> tuple[tuple[Source, ...], tuple[Partition, ...]]:
    """Look at every file's columns, and cut it: of the file and `partition_bytes` alone."""
    seen: list[Source] = []
    partitions: list[Partition] = []
    for source in sources:
        if not source.fault:
            with keep_fault(job.data.on_bad_file) as faults:
                check_columns(source.table, schema, known)
                cut = plan_partitions([source], job.data.partition_bytes)
                first = len(partitions)
                partitions += (replace(part, index=first + part.index) for part in cut)
            source = replace(source, fault="".join(faults))
        seen.append(source)
    refuse_all_bad(seen)
    check_tensors(seen)
    return tuple(seen), tuple(partitions)


def _list_key_columns(schema: Schema) -> set[str]:
    """Return the columns that rules of the whole dataset are about; their cells stay as read."""
    return {name for key in list_keys(schema) for name in key} | dict(list_orders(schema)).keys()


def refuse_all_bad(sources: Sequence[Source]) -> None:
    """Refuse files of which none can be read.

    Raises:
        InputError: All are to be set aside.
    """
    if all(source.fault for source in sources):
        raise InputError(
            f"no raw file can be read; the first of {len(sources)}: {sources[0].fault}",
            fix="mend the files, or the patterns in data.raw.",
            file=sources[0].name,
        )


def _read_columns(job: Job, schema: Schema) -> tuple[Schema, frozenset[str]]:
    """Leave out what is ignored, unless a key or a row check needs it."""
    keys = _list_key_columns(schema)
    ignored = set(job.data.ignore) - {job.data.label, job.data.group, job.data.weight}
    needed = ignored if schema.row_checks or schema.parses else ignored & keys
    never_blank = {job.data.label, job.data.group, job.data.weight}
    columns = [
        replace(column, nullable=False, required=True, added=False, default=None)
        if column.name in never_blank
        else column
        for column in schema.columns
        if column.name not in ignored or column.name in needed
    ]
    columns = [_weight(column) if column.name == job.data.weight else column for column in columns]
    return replace(schema, columns=tuple(columns)), frozenset(needed - keys)


def _weight(column: ColumnSchema) -> ColumnSchema:
    """A negative weight turns descent into ascent."""
    check = Check("greater_than_or_equal_to", {"min_value": 0}, kernel="ge", index=-1)
    return replace(column, checks=(*column.checks, check))


def _choose_task(job: Job, label: ColumnSchema) -> Literal["classification", "regression"]:
    if job.train.task == "regression" and label.kind == "string":
        raise SettingsError(
            f'train.task = "regression" needs a number, and the label {label.name!r} is a '
            f"{label.kind}.",
            fix='set train.task = "classification", or name another label.',
            column=label.name,
        )
    return job.train.task or _default_task(label)


def _default_task(label: ColumnSchema) -> Literal["classification", "regression"]:
    listed = label.kind in ("string", "bool") or label.categories is not None
    return "classification" if listed else "regression"


def _plain_bytes(source: Source) -> int:
    if source.plain_bytes:
        return source.plain_bytes
    return source.size * (GZIP_RATIO if source.name.endswith(".gz") else 1)


def _indicators(
    job: Job, features: tuple[str, ...], policies: Mapping[str, str], headers: Sequence[str]
) -> tuple[str, ...]:
    asked = job.repair.indicators
    if isinstance(asked, tuple):
        for name in asked:
            _check_known("repair.indicators", name, features)
        names = tuple(dict.fromkeys(asked))
    else:
        names = tuple(n for n in features if policies[n] != "drop") if asked else ()
    for name in names:
        if name + INDICATOR_SUFFIX in headers:
            raise SettingsError(
                f"the indicator of {name!r} would be called {name + INDICATOR_SUFFIX!r}, "
                "which is a column already.",
                fix="rename that column, or leave the indicator out.",
            )
    return names


def _check_named_columns(job: Job, schema: Schema, headers: Sequence[str]) -> None:
    data = job.data
    for reserved in RESERVED:
        if reserved in headers:
            raise SettingsError(
                f"a raw file has a column {reserved!r}, which is nanproof's own name.",
                fix="rename that column.",
                column=reserved,
            )
    _check_known("data.label", data.label, schema.names)
    if data.weight is not None:
        _check_known("data.weight", data.weight, schema.names)
        if schema[data.weight].kind not in ("float", "int"):
            raise SettingsError(f"data.weight: column {data.weight!r} is no number.")
    if data.group is not None:
        _check_known("data.group", data.group, (*schema.names, *headers))
    if len({data.label, data.group, data.weight}) < 1 + bool(data.group) + bool(data.weight):
        raise SettingsError(
            "data.label, data.group and data.weight name one column twice.",
            fix="give each a column of its own.",
        )
    for name in data.ignore:
        _check_known("data.ignore", name, (*schema.names, *headers))
    if data.label in data.ignore:
        raise SettingsError(
            f"data.ignore holds the label {data.label!r}.", fix="take it out of data.ignore."
        )
    for name in job.repair.columns:
        _check_known("repair.columns", name, schema.names)
        if name in (data.label, data.weight, data.group):
            raise SettingsError(
                f"repair.columns names {name!r}, and the label, the group and the weight are never "
                "repaired.",
                fix="take it out; a row whose label is broken is quarantined.",
                column=name,
            )
    if isinstance(data.missing, dict):
        for name in data.missing:
            _check_known("data.missing", name, (*schema.names, *headers))


def _refuse_policies_of(worked_out: set[str], job: Job) -> None:
    for name in sorted(worked_out & job.repair.columns.keys()):
        raise SettingsError(
            f"repair.columns names {name!r}, which is worked out of a tensor and never repaired.",
            fix="take it out; a row that breaks a rule about it is quarantined.",
            column=name,
        )


def _check_known(setting: str, name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    raise SettingsError(
        f"{setting}: there is no column {name!r}.",
        expected=f"a column of the schema or the files: {list_some(sorted(set(known)))}",
        got=repr(name),
        fix=suggest(name, known) or "correct the name.",
        setting=setting,
        column=name,
    )
