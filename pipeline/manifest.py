"""The manifest: what a published dataset is. Written last, read first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.batch import Kind
from pipeline.errors import DatasetDiffers, UsageError
from pipeline.job import Layout

MANIFEST_VERSION = 2
Stored = Literal["uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32"]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


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
        mean: Of the valid train cells before the shift, or of all values of the train tensors;
            None for vocabulary indices.
        variance: Likewise, the population's.
        vocabulary: The categories of a `string` feature; index i + 1 is the i-th, 0 is unknown.
        indicates: For a missing indicator (1.0 where the cell was filled or repaired), its column.
    """

    name: str
    kind: Kind | Literal["tensor"]
    dtype: Literal["float32", "int64"]
    shape: tuple[int, ...] = ()
    stored: Stored | None = None
    shift: float = 0.0
    mean: float | None = None
    variance: float | None = None
    vocabulary: tuple[str, ...] | None = None
    indicates: str | None = None


class Label(Entry):
    """The label as it lies in a TFRecord shard.

    Attributes:
        name: Its name in the Example.
        kind: How the schema reads the column.
        task: `classification`: an int64 index into `classes`; `regression`: a float32.
        classes: The classes in index order, in the schema's type; None for regression.
    """

    name: str
    kind: Kind
    task: Literal["classification", "regression"]
    classes: tuple[bool | int | float | str, ...] | None = None

    @property
    def dtype(self) -> Literal["float32", "int64"]:
        """Return the dtype in the shard."""
        return "int64" if self.task == "classification" else "float32"


class Spec(Entry):
    """The feature spec: everything a reader needs to parse a shard and build a model.

    `row_id` (int64) stands in every Example beside these; a weight is float32.

    Attributes:
        features: In the schema's order; tensors last.
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
    training_dtype: Literal["float32", "float16"] = "float32"
    layout: Layout = "row"
    block_rows: int = 1024


class File(Entry):
    """One file of the dataset; `path` is relative to the manifest, sizes in bytes."""

    path: str
    bytes: int
    sha256: str


class Shard(Entry):
    """One shard: the same rows in each format that was asked for."""

    rows: int
    parquet: File | None = None
    tfrecord: File | None = None


class Split(Entry):
    """The shards of one split, in order."""

    rows: int
    shards: tuple[Shard, ...]


class SourceEntry(Entry):
    """One raw file; `row_id >> 40` is its place in the manifest's list."""

    name: str
    bytes: int
    content_hash: str
    rows: int


class Manifest(Entry):
    """What `OUT/manifest.json` holds; `job_folder` is relative to OUT."""

    version: Literal[2] = 2
    name: str
    fingerprint: str
    created: str
    schema_reference: str
    job_folder: str
    spec: Spec
    splits: dict[SplitName, Split]
    rows: dict[str, int]
    sources: tuple[SourceEntry, ...]
    files: tuple[File, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    def list_files(self) -> Iterator[File]:
        """Yield every file that the dataset consists of."""
        for split in self.splits.values():
            for shard in split.shards:
                yield from (file for file in (shard.parquet, shard.tfrecord) if file)
        yield from self.files


def read_manifest(out: Path) -> Manifest:
    """Read the manifest of a published dataset.

    Raises:
        UsageError: There is no dataset, or it was written by another version.
        DatasetDiffers: The manifest is not what nanproof wrote.
    """
    path = out / "manifest.json"
    try:
        text = path.read_text(encoding="utf-8")
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
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}.", fix="mend it, or run the job again.", file=str(path)
        ) from None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        raise DatasetDiffers(
            f"{path} is not a manifest of version {MANIFEST_VERSION}: {where}: {first['msg']}.",
            fix="run the job again; the manifest is not to be edited by hand.",
            file=str(path),
        ) from None
