"""The job file: frozen, validated settings. Flags, docs and defaults derive from here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import SettingsError, list_some, suggest

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
# The text nan is not among them: it is NaN, and told apart.
DEFAULT_MISSING = ("", "NA", "N/A", "null", "NULL")


class Settings(BaseModel):
    """A table of the job file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CsvSettings(Settings):
    """[data.csv]: how text tables are written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Annotated[str, Field(min_length=1, max_length=1)] = "."
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: str = "utf-8"
    columns: tuple[str, ...] | None = None  # where the files have no header

    @model_validator(mode="after")
    def _columns_are_names(self) -> CsvSettings:
        names = [name.strip() for name in self.columns or ()]
        if self.columns is not None and (not names or "" in names or len({*names}) < len(names)):
            raise ValueError("columns has to name each field once")
        return self


class ImageSettings(Settings):
    """How image files are decoded. Arrays in .npy, .npz and IDX files need none of it."""

    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="Height and width that every image is resized to. "
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
    """[data]: what to read and what it means."""

    raw: tuple[str, ...]
    schema_: Annotated[str, Field(alias="schema")]
    label: str
    group: str | None = None
    weight: str | None = None
    ignore: tuple[str, ...] = ()
    missing: tuple[str, ...] | dict[str, tuple[str, ...]] = DEFAULT_MISSING
    csv: CsvSettings = CsvSettings()
    images: ImageSettings = ImageSettings()
    on_bad_file: Literal["fail", "quarantine"] = "fail"
    # Sixteen MiB keeps a worker's peak under 200 MiB and gives two cores enough to share.
    partition_bytes: Annotated[int, Field(ge=1 << 16)] = 16 << 20

    def missing_texts(self, column: str) -> tuple[str, ...]:
        """Return the texts that mean missing in this column."""
        if isinstance(self.missing, tuple):
            return self.missing
        return self.missing.get(column, DEFAULT_MISSING)


class SplitSettings(Settings):
    """[split]: the share of each split, by hash."""

    train: Ratio = 0.8
    validation: Ratio = 0.1
    test: Ratio = 0.1
    seed: int = 7

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitSettings:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, and must be 1")
        if self.train == 0.0:
            raise ValueError("train is 0: nothing could be learned")
        return self


class Constant(Settings):
    """`{constant = 0.0}`: the value that takes a broken cell's place."""

    constant: bool | int | float | str


Layout = Literal["row", "block"]
Policy = Literal["median", "mean", "most_frequent", "clip", "drop"] | Constant


class RepairSettings(Settings):
    """[repair]: what to do with what is not valid."""

    numeric: Literal["median", "mean", "clip", "drop"] | Constant = "median"
    categorical: Literal["most_frequent", "drop"] | Constant = "most_frequent"
    columns: dict[str, Policy] = {}
    indicators: bool | tuple[str, ...] = False
    max_repaired_ratio_per_row: Ratio = 0.5
    max_dropped_ratio: Ratio = 0.05
    max_categories: Annotated[int, Field(ge=1)] = 10_000


class CheckSettings(Settings):
    """[check]: how much of the data may break the schema before `check` exits 1."""

    max_broken_ratio: Ratio = 0.0
    rules: dict[str, Ratio] = {}


class ShardSettings(Settings):
    """[shards]: what is written."""

    formats: Annotated[tuple[Literal["parquet", "tfrecord"], ...], Field(min_length=1)] = (
        "parquet",
        "tfrecord",
    )
    rows: Annotated[int, Field(ge=1)] = 65_536
    layout: Layout = "row"
    # Large enough that a block costs a reader little, small enough to shuffle well.
    block_rows: Annotated[int, Field(ge=1)] = 1024


class TrainSettings(Settings):
    """[train]: the training stage. No data task depends on it but for `dtype`."""

    task: Literal["classification", "regression"] | None = None
    model: str | None = None
    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 0.001
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)
    activation: str = "relu"
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 7  # as NumPy's generators take it
    dtype: Literal["float32", "float16"] = "float32"
    strict: bool = False
    max_skipped_ratio: Ratio = 0.1
    max_skipped_in_a_row: Annotated[int, Field(ge=1)] = 20


class Job(Settings):
    """A whole job file. `raw`, `schema` and `label` are enough; the rest has defaults.

    Attributes:
        folder: Where the job file lies; its paths are relative to it.
        name: Identifies the job in its output folder; by default the folder's name.
    """

    folder: Path
    name: str
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
            raise _unknown(["folder"])
        given = {"name": folder.name, **_tuples(settings), "folder": folder}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise _explain(error, given) from None


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
        raise _explain(error, given, "train") from None


def _tuples(value: Any) -> Any:
    """Turn TOML's lists into tuples, which frozen settings hold."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _explain(error: ValidationError, given: Any, *within: str) -> SettingsError:
    """Say the first wrong setting in the reader's words; all of them in `fields`."""
    problems = error.errors(include_url=False)
    first = problems[0]
    path = [*within, *_settings_path(first["loc"], given)]
    where = ".".join(path)
    fields: dict[str, Any] = {"settings": [".".join(map(str, p["loc"])) for p in problems]}
    if first["type"] == "extra_forbidden":
        return _unknown(path, **fields)
    if first["type"] == "missing":
        where = ".".join([*path, str(first["loc"][-1])])
        return SettingsError(f"the setting {where!r} is missing.", fix=f"add {where}.", **fields)
    got = repr(first["input"]) if first["type"] != "value_error" else None
    reason = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    return SettingsError(
        f"setting {where!r}: {reason}.",
        expected=None if got is None else "a value that fits",
        got=got,
        fix=f"correct {where}.",
        **fields,
    )


def _unknown(path: list[str], **fields: Any) -> SettingsError:
    known = _known_keys(path[:-1])
    return SettingsError(
        f"unknown setting {'.'.join(path)!r}.",
        fix=suggest(path[-1], known) or f"known here: {list_some(known)}.",
        **fields,
    )


def _settings_path(location: tuple[int | str, ...], given: Any) -> list[str]:
    """Return the keys that lead to a setting; pydantic puts the branches of unions between."""
    path = []
    for part in location:
        try:
            given = given[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(str(part))
    return path


def _known_keys(path: list[str]) -> list[str]:
    model: Any = Job
    for part in path:
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return []
        model = fields[part].annotation
    fields = getattr(model, "model_fields", {})
    return sorted(field.alias or name for name, field in fields.items() if name != "folder")
