"""Every file of the hostile suites by a real job: rows in, rows out, or an error that names it.

`suites.tsv` says what is expected of each file. Beside each file lies a sound one, whose rows
must come through whatever its neighbour holds.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import signal
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import check_job, run_job, verify_dataset
from pipeline.errors import PipelineError, UsageError
from pipeline.job import CsvSettings, Job
from pipeline.load import list_sources
from tests.conftest import find_dataset

SUITES = ("csv_suite", "npz_suite", "parquet_suite")
LIMIT_SECONDS = 20
SOUND_ROWS = 20
NESTED = ("list", "large_list", "fixed_size_list", "struct", "map")
Settings = dict[str, Any]
Rows = list[tuple[str, ...]]


class Observed(NamedTuple):
    """What became of a file, as the table writes it.

    Attributes:
        outcome: `ok`, `quarantined` (some rows, or all), or `error`.
        read: Rows read, where every column is text and no text means missing.
        quarantined: How many of them are set aside.
        independent: Rows that Python's csv or pyarrow reads; nothing where it cannot.
    """

    outcome: str
    read: str
    quarantined: str
    independent: str


class Expected(NamedTuple):
    """A line of the table.

    Attributes:
        path: Below the folder of the data sets.
        settings: Of [data.csv], as JSON, or nothing.
        observed: The columns between.
        why: What is odd about the file; never empty where the two counts differ.
    """

    path: str
    settings: str
    observed: Observed
    why: str

    @property
    def csv(self) -> Settings:
        settings = json.loads(self.settings or "{}")
        return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def read_expected() -> list[Expected]:
    with Path(__file__).with_name("suites.tsv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert header == ["path", "settings", *Observed._fields, "why"]
    return [Expected(path, given, Observed(*seen), why) for path, given, *seen, why in lines]


TABLE = read_expected()


def list_files(suite: Path) -> Iterator[Path]:
    """List what is data: neither licence, nor list of sources, nor description."""
    for path in sorted(suite.rglob("*")):
        about = path.name == "SOURCES.tsv" or path.name.startswith("LICENSE")
        if path.is_file() and not about and path.suffix != ".md":
            yield path


@contextmanager
def limit_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer within {LIMIT_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def read_csv(path: Path, settings: Settings) -> Rows:
    """Read the records after the header with Python's csv; a blank line is none."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    marked = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    encoding = settings.get("encoding", "utf-16" if marked else "utf-8-sig")
    text = io.StringIO(data.decode(encoding, "replace"), newline="")
    delimiter = settings.get("delimiter", "\t" if ".tsv" in path.suffixes else ",")
    csv.field_size_limit(len(data) + 1)
    reader = csv.reader(text, delimiter=delimiter, quotechar=settings.get("quote", '"'))
    rows = [tuple(cell.strip() for cell in row) for row in reader if row]
    return rows if "columns" in settings else rows[1:]


def count_rows(path: Path, settings: Settings) -> int | None:
    """Count a file's rows without nanproof; None where that cannot be, or takes a GiB."""
    try:
        if ".parquet" in path.suffixes:
            meta = pq.read_metadata(path)
            sizes = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
            if sum(sizes) > 1 << 30:
                return None
            return int(pq.read_table(path, page_checksum_verification=True).num_rows)
        if {".csv", ".tsv"} & set(path.suffixes):
            return len(read_csv(path, settings))
    except (pa.ArrowException, OSError, ValueError):
        pass
    return None


def list_plain_columns(path: Path, settings: Settings) -> list[str]:
    """Return the columns that a schema can name; an invented one where there is none."""
    try:
        (source,) = list_sources([path.name], path.parent, CsvSettings(**settings))
    except PipelineError:
        return ["x"]
    types = dict(source.types)
    plain = [name for name in source.columns if not types.get(name, "").startswith(NESTED)]
    return plain or list(source.columns) or ["x"]


def guess_kinds(path: Path, names: list[str], settings: Settings) -> dict[str, str]:
    """Call a column float where most of its cells are numbers."""
    if ".parquet" in path.suffixes:
        schema = pq.read_schema(path)
        plain = [t for t in schema.types if not pa.types.is_nested(t)] or schema.types
        numeric = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in plain]
    else:
        rows = [row for row in read_csv(path, settings) if len(row) == len(names)]
        cells = pd.DataFrame(rows, columns=range(len(names)), dtype=str)
        numeric = [
            bool(pd.to_numeric(cells[c], errors="coerce").notna().mean() > 0.5) for c in cells
        ]
    return {n: "float" if number else "str" for n, number in zip(names, numeric, strict=True)}


def make_job(folder: Path, path: Path, kinds: dict[str, str], data: Settings) -> Job:
    """Write a job of the file and a sound one that has all its columns and one more."""
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    shutil.copyfile(path, folder / path.name)
    kinds = {**kinds, "sound": "float"}
    line = json.dumps(dict.fromkeys(kinds, "0"))
    (folder / "sound.jsonl").write_text(f"{line}\n" * SOUND_ROWS, encoding="utf-8")
    columns = "".join(f"    {n!r}: pa.Column({k}, nullable=True),\n" for n, k in kinds.items())
    schema = f"import pandera.pandas as pa\n\nTable = pa.DataFrameSchema({{\n{columns}}})\n"
    (folder / "table.py").write_text(schema, encoding="utf-8")
    settings = {
        "name": "suite",
        "data": {"raw": ["sound.jsonl", path.name], "schema": "table:Table", **data},
        "split": {"train": 1.0, "validation": 0.0, "test": 0.0},
        "repair": {"max_dropped_ratio": 1.0},
        # Both formats from one of the two jobs are enough.
        "shards": {"formats": ("parquet", "tfrecord") if "missing" in data else ("parquet",)},
    }
    return Job.from_settings(settings, folder)


def expect_refusal(job: Job, name: str, checked: UsageError) -> None:
    """Expect that a run says what the check said, names the file, and publishes nothing."""
    assert name in checked.message
    assert checked.fix
    with pytest.raises(type(checked), match=re.escape(checked.message)):
        run_job(job, until="shards")
    assert not (job.folder / "out" / "manifest.json").exists()


def judge(job: Job, name: str) -> tuple[int, int] | None:
    """Check and run a job; return the rows read and quarantined of the file, None if refused."""
    with limit_time():
        try:
            checked = check_job(job).rows
        except UsageError as error:
            expect_refusal(job, name, error)
            return None
        result = run_job(job, until="shards")
    rows = result.ledger.rows
    assert rows["read"] == rows["clean"] + rows["quarantined"] == checked
    assert rows["clean"] >= SOUND_ROWS
    assert verify_dataset(result.out).rows == rows["clean"]
    return rows["read"] - SOUND_ROWS, rows["quarantined"]


def read_published(job: Job, name: str, columns: list[str]) -> Counter[tuple[str, ...]]:
    """Return the published rows of one file."""
    index = sorted(job.data.raw).index(name)
    files = sorted((job.folder / "out" / "train").glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(file) for file in files])
    frame = frame[frame["row_id"] // 2**40 == index]
    return Counter(frame[columns].itertuples(index=False, name=None))


def observe(path: Path, settings: Settings, folder: Path) -> Observed:
    """Run a job in which all is text, and one with numbers; return what the table states."""
    names = list_plain_columns(path, settings)
    data = {"csv": settings, "label": names[0], "missing": ()}
    job = make_job(folder / "text", path, dict.fromkeys(names, "str"), data)
    counts = judge(job, path.name)
    count = count_rows(path, settings)
    independent = "" if count is None else str(count)
    if counts is None:
        return Observed("error", "", "", independent)
    read, quarantined = counts
    if ".parquet" not in path.suffixes:
        invented = read_published(job, path.name, names) - Counter(read_csv(path, settings))
        assert not invented
    kinds = guess_kinds(path, names, settings)
    typed = make_job(folder / "typed", path, kinds, {"csv": settings, "label": names[-1]})
    counts = judge(typed, path.name)
    assert counts is not None
    assert counts[0] == read
    outcome = "quarantined" if quarantined else "ok"
    return Observed(outcome, str(read), str(quarantined), independent)


@pytest.mark.parametrize(
    "expected", TABLE, ids=[f"{line.path} {line.settings}".strip() for line in TABLE]
)
def test_a_hostile_file_is_read_or_refused_as_the_table_says(
    expected: Expected, tmp_path: Path
) -> None:
    path = find_dataset(expected.path)
    assert observe(path, expected.csv, tmp_path) == expected.observed


@pytest.mark.parametrize("suite", SUITES)
def test_every_file_of_a_suite_is_in_the_table(suite: str) -> None:
    folder = find_dataset(suite)
    files = {path.relative_to(folder.parent).as_posix() for path in list_files(folder)}
    assert files == {line.path for line in TABLE if line.path.startswith(suite)}


@pytest.mark.parametrize(
    "line", [line for line in TABLE if line.observed.read != line.observed.independent]
)
def test_the_table_says_why_counts_differ(line: Expected) -> None:
    assert line.why
