"""The job file: frozen, validated settings. Flags, docs and defaults derive from here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from pipeline.errors import SettingsError
from pipeline.explain import explain_settings, inline_references, unknown_setting

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
Character = Annotated[str, Field(min_length=1, max_length=1)]
AtLeastOne = Annotated[int, Field(ge=1)]
# The text nan is not among them: it is NaN, and told apart.
DEFAULT_MISSING = ("", "NA", "N/A", "null", "NULL")


class Settings(BaseModel):
    """A table of the job file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CsvSettings(Settings):
    """How delimited text is written. Parquet and JSON Lines need none of it."""

    delimiter: Character = Field(
        default=",",
        description="What stands between two fields. Of a `.tsv` file it is a tab by default.",
        examples=[";"],
    )
    decimal: Character = Field(
        default=".",
        description="What stands between units and tenths.",
        examples=[","],
    )
    quote: Character = Field(
        default='"',
        description="What encloses a field that holds a delimiter, a quote or a line end.",
        examples=["'"],
    )
    encoding: str = Field(
        default="utf-8",
        description="The text encoding, any that Python knows. A byte order mark overrides the "
        "default.",
        examples=["latin-1"],
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        description="The columns' names in order, where the files have no header. "
        "Without it the first line is the header.",
        examples=[["rooms", "built", "heating", "price"]],
    )

    @model_validator(mode="after")
    def _columns_are_names(self) -> CsvSettings:
        names = [name.strip() for name in self.columns or ()]
        if self.columns is not None and (not names or "" in names or len({*names}) < len(names)):
            raise ValueError("columns has to name each field once")
        return self


ImageSide = Annotated[int, Field(ge=1, le=8192)]


class ImageSettings(Settings):
    """How image files are decoded. Arrays in .npy, .npz and IDX files need none of it."""

    # The largest power of two: in colour, such a square is 192 MiB, and a row may hold 256.
    size: tuple[ImageSide, ImageSide] | None = Field(
        default=None,
        description="Height and width that every image is resized to, each at most 8192. "
        "Without it each image keeps its own, and all have to be alike to be a feature.",
        examples=[[28, 28]],
    )
    channels: Literal[1, 3] | None = Field(
        default=None,
        description="1 turns every image to grey, 3 to red, green and blue. "
        "Without it grey images have one channel and all others three.",
        examples=[1],
    )


class DataSettings(Settings):
    """What to read, and what it means."""

    raw: tuple[str, ...] = Field(
        description="The raw files: paths, globs or fsspec URLs, relative to the job file. "
        "CSV, JSON Lines (both also gzipped) and Parquet; folders of images by class, .npy, .npz "
        "and IDX files.",
        examples=[["raw/*.csv"]],
    )
    schema_: str = Field(
        alias="schema",
        description="What valid data is: `module:name` of a pandera DataFrameModel or "
        "DataFrameSchema. The module is looked for in the job's folder, then in each folder above "
        "it up to the nearest `pyproject.toml`, then in the working directory.",
        examples=["schemas.houses:House"],
    )
    label: str = Field(
        description="The column to predict. It is never repaired: where it is broken or blank, "
        "the row is quarantined.",
        examples=["price"],
    )
    group: str | None = Field(
        default=None,
        description="Rows with the same value in this column stay in one split. Without it only "
        "equal rows do. It is no feature; a row without a value is quarantined.",
        examples=["street"],
    )
    weight: str | None = Field(
        default=None,
        description="The column of sample weights, none of them negative. It is no feature, and "
        "never repaired.",
        examples=["importance"],
    )
    ignore: tuple[str, ...] = Field(
        default=(),
        description="Columns that are neither checked nor features, and are carried to Parquet as "
        "they are. A key or a check of whole rows still sees them.",
        examples=[["id", "remarks"]],
    )
    missing: tuple[str, ...] | dict[str, tuple[str, ...]] = Field(
        default=DEFAULT_MISSING,
        description="Texts that are read as missing, in numeric columns by value (-200 is -200.0). "
        "A list is for all columns; a table gives lists by column, and leaves the default to the "
        "others. The text nan is NaN, which is told apart.",
        examples=[["", "?", "-999"]],
    )
    csv: CsvSettings = CsvSettings()
    images: ImageSettings = ImageSettings()
    on_bad_file: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="What a file that cannot be read does: end the job, or be set aside as a "
        "whole and counted in the ledger.",
        examples=["quarantine"],
    )
    # Sixteen MiB keeps a worker's peak under 200 MiB and gives two cores enough to share.
    partition_bytes: Annotated[int, Field(ge=1 << 16)] = Field(
        default=16 << 20,
        description="About how many bytes of a file a worker reads at a time. Less takes less "
        "memory; medians and vocabularies of large columns may depend on it.",
        examples=[4194304],
    )

    def missing_texts(self, column: str) -> tuple[str, ...]:
        """Return the texts that mean missing in this column."""
        if isinstance(self.missing, tuple):
            return self.missing
        return self.missing.get(column, DEFAULT_MISSING)


class SplitSettings(Settings):
    """The share of each split; together they are 1. A row's place follows from a hash."""

    train: Ratio = Field(
        default=0.8, description="The share of rows, or of groups, to learn from.", examples=[0.7]
    )
    validation: Ratio = Field(
        default=0.1, description="The share to choose between models by.", examples=[0.15]
    )
    test: Ratio = Field(default=0.1, description="The share to judge by.", examples=[0.15])
    seed: int = Field(
        default=7,
        description="Keys the hash: another seed gives other splits, the same seed the same ones.",
        examples=[9],
    )

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitSettings:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, and must be 1")
        if self.train == 0.0:
            raise ValueError("train is 0: nothing could be learned")
        return self


class Constant(Settings):
    """`{ constant = 0.0 }`: the value that takes a broken cell's place."""

    constant: bool | int | float | str


Layout = Literal["row", "block"]
Policy = Literal["median", "mean", "most_frequent", "clip", "drop"] | Constant


class RepairSettings(Settings):
    """What takes the place of a feature cell that is not valid, and how much of it may be.

    What is learned is learned on the valid cells of the train split. `drop` quarantines the row.
    """

    numeric: Literal["median", "mean", "clip", "drop"] | Constant = Field(
        default="median",
        description="For numbers and times. `clip` moves what is out of range to the schema's "
        "bound, and gives anything else the median.",
        examples=["mean"],
    )
    categorical: Literal["most_frequent", "drop"] | Constant = Field(
        default="most_frequent", description="For strings and booleans.", examples=["drop"]
    )
    columns: dict[str, Policy] = Field(
        default={},
        description="The policy of single columns, by name; `[repair.columns]` is the same.",
        examples=[{"rooms": "clip", "heating": {"constant": "gas"}}],
    )
    indicators: bool | tuple[str, ...] = Field(
        default=False,
        description="Features to add a feature `NAME_was_missing` to, 1.0 where the cell had no "
        "valid value: `true` for all that are not dropped, or a list of columns.",
        examples=[["rooms"]],
    )
    max_repaired_ratio_per_row: Ratio = Field(
        default=0.5,
        description="A row of whose features more than this share is broken is quarantined.",
        examples=[0.25],
    )
    max_dropped_ratio: Ratio = Field(
        default=0.05,
        description="If more than this share of the rows is quarantined, the run fails and what "
        "was published stays.",
        examples=[0.02],
    )
    max_categories: AtLeastOne = Field(
        default=10_000,
        description="How many values of a string feature get an index of their own, the most "
        "frequent first; the others share the index of the unknown.",
        examples=[500],
    )


class CheckSettings(Settings):
    """How much may break the schema before `nanproof check` exits with 1; see [check](check.md)."""

    max_broken_ratio: Ratio = Field(
        default=0.0,
        description="The share of rows that may break a rule, for each rule of each column by "
        "itself.",
        examples=[0.001],
    )
    rules: dict[str, Ratio] = Field(
        default={},
        description="The same for single rules: by `rule`, whatever the column, or by "
        "`column/rule`, which goes first. `[check.rules]` is the same.",
        examples=[{"missing": 0.05, "heating/isin": 0.01}],
    )


class ShardSettings(Settings):
    """What is written."""

    formats: Annotated[tuple[Literal["parquet", "tfrecord"], ...], Field(min_length=1)] = Field(
        default=("parquet", "tfrecord"),
        description="The formats, with the same rows in each. Training reads TFRecord.",
        examples=[["tfrecord"]],
    )
    rows: AtLeastOne = Field(
        default=65_536, description="About how many rows a shard has.", examples=[100000]
    )
    layout: Layout = Field(
        default="row",
        description="`row`: one Example a row, which anything reads. `block`: many rows packed in "
        "one Example, which `read_shards` reads several times faster.",
        examples=["block"],
    )
    # Large enough that a block costs a reader little, small enough to shuffle well.
    block_rows: AtLeastOne = Field(
        default=1024, description="How many rows a block has.", examples=[4096]
    )


class TrainSettings(Settings):
    """The training stage. The shards depend on `task` and `dtype` alone."""

    task: Literal["classification", "regression"] | None = Field(
        default=None,
        description="What the label is trained as. Without it, a string, a boolean or a label "
        "whose values the schema lists is a class, and any other a number.",
        examples=["regression"],
    )
    model: str | None = Field(
        default=None,
        description="`module:name` of a function that takes the feature spec and returns an "
        "uncompiled Keras model; looked for as `data.schema` is. Without it, a network of dense "
        "layers, and of convolutions before them for images; `hidden` and `activation` shape that "
        "network alone.",
        examples=["models.houses:build"],
    )
    epochs: AtLeastOne = Field(
        default=5, description="How often the train split is gone through.", examples=[20]
    )
    batch_size: AtLeastOne = Field(default=1024, description="Rows a step.", examples=[256])
    learning_rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = Field(
        default=0.001, description="Adam's learning rate.", examples=[0.0003]
    )
    hidden: tuple[AtLeastOne, ...] = Field(
        default=(64, 32),
        description="Units of each hidden dense layer. Those of an image's convolutions follow "
        "from its size.",
        examples=[[128, 64, 32]],
    )
    activation: str = Field(
        default="relu",
        description="The activation of the hidden dense layers and of the convolutions, as Keras "
        "names it.",
        examples=["gelu"],
    )
    # As NumPy's generators take it.
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = Field(
        default=7, description="Of the first weights and the order of rows.", examples=[1]
    )
    dtype: Literal["float32", "float16"] = Field(
        default="float32",
        description="What features have to be finite in: a value beyond its range is an "
        "`overflow`. float16 trains in mixed precision.",
        examples=["float16"],
    )
    strict: bool = Field(
        default=False,
        description="Look at all weights after every step, and put the old ones back if one is "
        "not finite. Slower; without it they are looked at now and then.",
        examples=[True],
    )
    max_skipped_ratio: Ratio = Field(
        default=0.1,
        description="The share of an epoch's rows that the guard may skip. Beyond it the rate is "
        "lowered, then training goes back to an earlier state, and ends if that does not help.",
        examples=[0.01],
    )
    max_skipped_in_a_row: AtLeastOne = Field(
        default=20,
        description="How many steps one after another the guard may skip, likewise.",
        examples=[5],
    )
    # benchmarks/guard_limits.py: of 26 sound runs 15 were never clipped at 10 times, 7 in under 2%
    # of their steps, and 4, whose gradients shrink to nothing or grow without bound, in 3 to 11%.
    clip: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=10.0,
        description="Shorten a gradient whose norm is beyond this many times the median of the "
        "last 64 good steps to that. 0 shortens none.",
        examples=[0.0],
    )
    explosion_ratio: Annotated[float, Field(ge=1.0, le=1e15)] = Field(
        default=1000.0,
        description="Skip a step whose gradient norm is beyond this many times the usual one, or "
        "its loss beyond the square of it.",
        examples=[100.0],
    )
    max_rate_cuts: Annotated[int, Field(ge=0)] = Field(
        default=1,
        description="How often a spent budget of skips is answered by half the learning rate "
        "alone, where good steps are made in between.",
        examples=[0],
    )
    max_rollbacks: Annotated[int, Field(ge=0)] = Field(
        default=3,
        description="How often one is answered by going back to the last good state, at a tenth "
        "of the learning rate, before training stops.",
        examples=[1],
    )
    look_every_steps: AtLeastOne = Field(
        default=200,
        description="Steps between two looks at the whole state, each of which takes a snapshot.",
        examples=[50],
    )


class Job(Settings):
    """A whole job file. `raw`, `schema` and `label` are enough; the rest has defaults."""

    # `from_settings` gives a name to a job without one, and the folder is no setting.
    model_config = ConfigDict(json_schema_extra={"required": ["data"]})

    folder: SkipJsonSchema[Path]
    name: str = Field(
        description="What the dataset is called; by default the job's folder. An output folder "
        "of another name is refused.",
        examples=["houses"],
    )
    data: DataSettings
    split: SplitSettings = SplitSettings()
    repair: RepairSettings = RepairSettings()
    check: CheckSettings = CheckSettings()
    shards: ShardSettings = ShardSettings()
    train: TrainSettings = TrainSettings()

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], folder: Path | str = ".") -> Job:
        """Build a job from the job file's tables as a mapping.

        Raises:
            SettingsError: A key is unknown or missing, or a value is of the wrong type or range.
        """
        folder = Path(folder).resolve()
        if "folder" in settings:
            raise unknown_setting(["folder"], describe_job())
        given = {"name": folder.name, **_tuples(settings), "folder": folder}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise explain_settings(error, given, describe_job()) from None


def read_job(path: Path | str) -> Job:
    """Read and validate a job file.

    Raises:
        SettingsError: There is no such file, it is no TOML, or a setting is wrong.
    """
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such job file.", fix="give the path of a job.toml.", file=str(path)
        ) from None
    except IsADirectoryError:
        raise SettingsError(
            f"{path} is a folder.", fix=f"give a job file, such as {path / 'job.toml'}."
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: not UTF-8 text ({error.reason}).", fix="save it as UTF-8.", file=str(path)
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}.", fix="mend its permissions.", file=str(path)
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path}: not valid TOML: {error}.", fix="correct that line.", file=str(path)
        ) from None
    return Job.from_settings(settings, path.resolve().parent)


def read_train_settings(settings: Mapping[str, Any]) -> TrainSettings:
    """Validate the settings of a training alone.

    Raises:
        SettingsError: As `Job.from_settings`.
    """
    given = _tuples(settings)
    try:
        return TrainSettings.model_validate(given)
    except ValidationError as error:
        raise explain_settings(error, given, describe_job(), "train") from None


def describe_job() -> dict[str, Any]:
    """Return the JSON Schema of a job file, without references: types, defaults, descriptions."""
    return inline_references(Job.model_json_schema())


def _tuples(value: Any) -> Any:
    """Turn TOML's lists into tuples, which frozen settings hold."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value
