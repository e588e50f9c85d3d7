"""The manifest: what a published dataset is. Written last, read first."""

from __future__ import annotations

import hashlib
import json
import stat
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from pipeline.batch import Kind
from pipeline.errors import DatasetDiffers, UsageError
from pipeline.job import Layout

Version = Literal[2]
(MANIFEST_VERSION,) = get_args(Version)
# A thousand vocabularies of ten thousand words; what is larger is no manifest of ours.
MAX_MANIFEST_BYTES = 256 << 20
# Protobuf's own limit is 2 GiB.
MAX_TENSOR_VALUES = 1 << 31
Stored = Literal["uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32"]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


class Entry(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Feature(Entry):
    """One feature as it lies in a TFRecord shard: `(1,)` a row, or a tensor of a fixed shape.

    Attributes:
        name: Its name in the Example.
        kind: How the schema reads the column; "tensor" for an image or another array.
        dtype: What a reader gives: `float32` or `int64`; timestamps are int64 microseconds since
            1970, UTC.
        shape: Of a tensor, without the batch: `(height, width, channels)` for an image.
        stored: The dtype of a tensor's values in the Example, where they lie as the little-endian
            bytes of a C-ordered array; None for what lies as a list of numbers.
        shift: What was taken off in float64 before the cast to float32; 0 nearly always.
        count: How many valid train cells the statistics are of.
        minimum: The smallest of them, before the shift; None for strings and tensors.
        maximum: The largest.
        mean: Of the valid train cells before the shift, or of all values of the train tensors;
            None for vocabulary indices.
        variance: Likewise, the population's.
        lower: The smallest value that the schema's range checks let pass; None without one.
        upper: The largest.
        vocabulary: The categories of a `string` feature; index i + 1 is the i-th, 0 is unknown.
        indicates: For a missing indicator (1.0 where the cell was filled or repaired), its column.
    """

    name: str
    kind: Kind | Literal["tensor"]
    dtype: Literal["float32", "int64"]
    shape: tuple[int, ...] = ()
    stored: Stored | None = None
    shift: float = 0.0
    count: int | None = None
    minimum: bool | int | float | None = None
    maximum: bool | int | float | None = None
    mean: float | None = None
    variance: float | None = None
    lower: int | float | None = None
    upper: int | float | None = None
    vocabulary: tuple[str, ...] | None = None
    indicates: str | None = None


class Label(Entry):
    """The label as it lies in a TFRecord shard.

    Attributes:
        name: Its name in the Example.
        kind: How the schema reads the column.
        task: `classification`: an int64 index into `classes`; `regression`: a float32.
        classes: The classes in index order, in the schema's type; None for regression.
        counts: How many train rows each class was seen in; None for regression.
        mean: Of the train labels, for regression.
        variance: Likewise, the population's.
        lower: The smallest value that the schema's range checks let pass, for regression.
        upper: The largest.
    """

    name: str
    kind: Kind
    task: Literal["classification", "regression"]
    classes: tuple[bool | int | float | str, ...] | None = None
    counts: tuple[int, ...] | None = None
    mean: float | None = None
    variance: float | None = None
    lower: int | float | None = None
    upper: int | float | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Label:
        if (self.task == "classification") != (self.classes is not None):
            raise ValueError("task and classes do not agree")
        return self

    @property
    def dtype(self) -> Literal["float32", "int64"]:
        """Return the dtype in the shard."""
        return "int64" if self.task == "classification" else "float32"


class Spec(Entry):
    """The feature spec: everything a reader needs to parse a shard and build a model.

    `row_id` (int64) stands in every Example beside these; a weight is float32.

    Attributes:
        features: Columns in the schema's order, then tensors, then missing indicators.
        label: The label.
        weight: The weight's name, or None.
        training_dtype: What the features are finite in.
        layout: Of the TFRecord shards. `row`: one Example a row. `block`: `block_rows` rows an
            Example, the last of a shard with what is left; each feature is one bytes value, the
            little-endian values of all its rows in their order (float32, int64, or `stored`).
        block_rows: Rows an Example in `block` layout.
    """

    features: tuple[Feature, ...]
    label: Label
    weight: str | None = None
    training_dtype: Literal["float32", "float16"]
    layout: Layout
    block_rows: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_sound(self) -> Spec:
        names = [feature.name for feature in self.features]
        names += [self.label.name, *([] if self.weight is None else [self.weight]), "row_id"]
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} columns are named {name[:60]!r}")
        for feature in self.features:
            told = {feature.kind == "tensor", feature.stored is not None, feature.shape != ()}
            if len(told) > 1:
                raise ValueError(f"kind, stored and shape of {feature.name[:60]!r} do not agree")
            if (feature.kind == "string") != (feature.vocabulary is not None):
                raise ValueError(f"kind and vocabulary of {feature.name[:60]!r} do not agree")
            if min(feature.shape, default=1) < 1 or prod(feature.shape) > MAX_TENSOR_VALUES:
                raise ValueError(f"{feature.name[:60]!r} has an impossible shape")
        return self

    def list_columns(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return what an Example holds: by name, the dtype as stored and the shape of one row."""
        columns: dict[str, tuple[str, tuple[int, ...]]] = {
            feature.name: (feature.stored or feature.dtype, feature.shape)
            for feature in self.features
        }
        columns[self.label.name] = (self.label.dtype, ())
        if self.weight is not None:
            columns[self.weight] = ("float32", ())
        return columns | {"row_id": ("int64", ())}


class File(Entry):
    """One file of the dataset.

    Attributes:
        path: Relative to the manifest, with `/` between its parts, and below its folder.
        bytes: Its size.
        sha256: Its SHA-256, in hexadecimal.
    """

    path: str
    bytes: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _lies_below(self) -> File:
        parts = self.path.split("/")
        if "\0" in self.path or not {"", ".", ".."}.isdisjoint(parts):
            raise ValueError(f"{self.path[:60]!r} is no path below the dataset's folder")
        return self


class Shard(Entry):
    """One shard: the same rows, in the same order, in each format that was asked for.

    Attributes:
        rows: How many.
        parquet: The repaired values in the schema's types, the label as read, `row_id`.
        tfrecord: The features as the spec has them, the label, the weight, `row_id`.
    """

    rows: int = Field(ge=1)
    parquet: File | None = None
    tfrecord: File | None = None


class Split(Entry):
    """One split.

    Attributes:
        rows: Of all its shards.
        shards: In their order, which is a hash's.
    """

    rows: int
    shards: tuple[Shard, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Split:
        counted = sum(shard.rows for shard in self.shards)
        if counted != self.rows:
            raise ValueError(f"{counted:,} rows in its shards, {self.rows:,} in all")
        return self


class SourceEntry(Entry):
    """One raw file.

    Attributes:
        name: Its path relative to the job file, or its URL.
        bytes: Its size.
        content_hash: A hash of its content.
        rows: How many rows were read from it.
    """

    name: str
    bytes: int
    content_hash: str
    rows: int


class Manifest(Entry):
    """What `OUT/manifest.json` holds.

    Attributes:
        version: Of this format; another number is another format.
        name: The job's.
        fingerprint: Eight hexadecimal digits of inputs, settings, schema and code; part of the
            names of all part files.
        created: When it was published, ISO 8601, UTC.
        schema_reference: The schema's `module:attribute`.
        schema_fingerprint: The SHA-256 of the source texts of the schema's module and of the
            modules of its tree that it imports.
        job_folder: Where the job file lies, relative to OUT.
        spec: The feature spec, with vocabularies and statistics of the train split.
        splits: `train`, `validation` and `test`.
        rows: `read`, `clean` and `quarantined`, and the clean ones by split; `replaced` are not
            read, because they stand mended in another raw file.
        sources: The raw files; `row_id >> 40` is a row's place in this list, and the rest of the
            bits the record's number in that file, from 0.
        files: What belongs to the dataset beside the shards: quarantine, repairs, ledger, plan.
        settings: The job file's settings, defaults filled in.
        versions: Of nanproof, Python and the libraries that decide what is written.
        checksum: The SHA-256 of this document without `checksum`, as JSON in ASCII with sorted
            keys and without blanks (`json.dumps(…, sort_keys=True, separators=(",", ":"))`).
    """

    version: Version = MANIFEST_VERSION
    name: str
    fingerprint: str
    created: str
    schema_reference: str
    schema_fingerprint: str = ""
    job_folder: str
    spec: Spec
    splits: dict[SplitName, Split]
    rows: dict[str, int]
    sources: tuple[SourceEntry, ...]
    files: tuple[File, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def checksum(self) -> str:
        """Return what tells a manifest that was edited by hand."""
        return _hash(self.model_dump(mode="json", exclude={"checksum"}))

    @model_validator(mode="after")
    def _has_every_split(self) -> Manifest:
        absent = [split for split in SPLITS if split not in self.splits]
        if absent:
            raise ValueError(f"splits lacks {absent[0]!r}")
        return self

    def list_files(self) -> Iterator[File]:
        """Yield every file that the dataset consists of."""
        for split in self.splits.values():
            for shard in split.shards:
                yield from (file for file in (shard.parquet, shard.tfrecord) if file)
        yield from self.files


def read_manifest(out: Path) -> Manifest:
    """Read the manifest of a published dataset.

    Raises:
        UsageError: There is no dataset, or the manifest cannot be read.
        DatasetDiffers: The manifest is not what nanproof wrote, or of another version.
    """
    path = out / "manifest.json"
    return parse_manifest(_read_bytes(path, out), str(path))


def parse_manifest(content: bytes, path: str) -> Manifest:
    """Return the manifest that a file holds; errors call it by `path`, which may be a URL.

    Raises:
        DatasetDiffers: It is not what nanproof wrote, or of another version.
    """
    document = _parse(path, content)
    version = document.get("version")
    if version != MANIFEST_VERSION:
        raise DatasetDiffers(
            f"{path} is a manifest of another version.",
            expected=f"version {MANIFEST_VERSION}, which this nanproof reads",
            got=f"version {str(version)[:20]}",
            fix="run the job again, or read the dataset with the nanproof that wrote it.",
            file=path,
            version=version,
        )
    given = document.pop("checksum", None)
    try:
        manifest = Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        _refuse(path, f"{where}: {first['msg'].removeprefix('Value error, ')}")
    if given != _hash(document):
        _refuse(path, "its checksum is not its text's: it was edited, or is damaged")
    return manifest


def _read_bytes(path: Path, out: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for without end
            raise OSError("it is no file")
        if found.st_size > MAX_MANIFEST_BYTES:
            _refuse(str(path), f"it has {found.st_size:,} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"{out} holds no published dataset (no manifest.json).",
            fix="run `nanproof run JOB` first, or give the folder that it wrote.",
            file=str(path),
        ) from None
    except NotADirectoryError:
        raise UsageError(
            f"{out} is a file.", fix="give the folder of a published dataset.", file=str(path)
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error}.", fix="mend it, or run the job again.", file=str(path)
        ) from None


def _parse(path: str, content: bytes) -> dict[str, Any]:
    if len(content) > MAX_MANIFEST_BYTES:
        _refuse(path, f"it has more than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        _refuse(path, f"it is no UTF-8 text ({error.reason} at byte {error.start:,})")
    except (ValueError, RecursionError) as error:  # nested without end, or a number of a novel
        _refuse(path, f"the text is no JSON: {error}")
    if not isinstance(document, dict):
        _refuse(path, "the text is no JSON object")
    return document


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twin, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twin[:60]!r} stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _hash(document: Any) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _refuse(path: str, why: str) -> NoReturn:
    raise DatasetDiffers(
        f"{path} is not a manifest of version {MANIFEST_VERSION}: {why}.",
        fix="run the job again; the manifest is not to be edited by hand.",
        file=path,
    )
