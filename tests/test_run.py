"""A run from raw files to published shards, with pandas and Python's csv as oracles."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipeline import run_job, verify_dataset
from pipeline.job import read_job
from pipeline.run.publish import fingerprint_of
from pipeline.run.setup import list_inputs
from tests.conftest import HEADER, JOB, ROOT, SCHEMA, hash_files, make_rows
from tests.reading import read_all, read_split

MakeJob = Callable[..., Path]


WEATHER = ROOT / "data" / "weather"


NOT_BYTES = ("manifest.json", ".lock")


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weather") / "out"
    run_job(WEATHER / "job.toml", out=out, until="shards")
    return out


def test_one_worker_and_two_write_the_same_bytes(weather: Path, tmp_path: Path) -> None:
    run_job(WEATHER / "job.toml", out=tmp_path / "out", workers=2, until="shards")
    assert hash_files(tmp_path / "out", *NOT_BYTES) == hash_files(weather, *NOT_BYTES)


def test_small_partitions_change_no_row(make_job: MakeJob, tmp_path: Path) -> None:
    text = HEADER + make_rows(9000)
    run_job(make_job(text), out=tmp_path / "whole", until="shards")
    job = JOB.replace("[train]", "partition_bytes = 65536\n[train]")
    result = run_job(make_job(text, job), out=tmp_path / "cut", until="shards", workers=2)
    assert len(text) > 2 * 65536
    whole, cut = read_split(tmp_path / "whole", "test"), read_split(tmp_path / "cut", "test")
    pd.testing.assert_frame_equal(whole, cut)
    assert result.ledger.rows["read"] == 9000


BOUNDS = {
    "temperature_c": (-89.2, 56.7),
    "humidity_pct": (0, 100),
    "pressure_hpa": (870, 1089.4),
    "wind_speed_ms": (0, 113.2),
    "rain_mm": (0, 1825),
    "cloud_oktas": (0, 8),
}


SIXTEENTHS = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()


def read_weather_lines() -> tuple[int, pd.DataFrame]:
    """Return the number of lines and the well-formed ones, read by Python's csv alone."""
    num_lines, good = 0, []
    for file in sorted((WEATHER / "raw").glob("*.csv")):
        header, *lines = file.read_text().splitlines()
        names = [name.strip() for name in header.split(",")]
        num_lines += len(lines)
        for line in lines:
            cells = next(csv.reader([line]))
            if len(cells) == len(names) and line.count('"') % 2 == 0:
                good.append(dict(zip(names, cells, strict=True)))
    return num_lines, pd.DataFrame(good)


def test_pandas_finds_the_same_rows_to_set_aside_and_cells_to_mend(weather: Path) -> None:
    num_lines, rows = read_weather_lines()
    broken = pd.DataFrame(
        {
            name: ~pd.to_numeric(rows[name], errors="coerce").between(low, high)
            for name, (low, high) in BOUNDS.items()
        }
    )
    broken["wind_dir"] = ~rows["wind_dir"].isin(SIXTEENTHS)
    broken["thunder"] = ~rows["thunder"].isin(["true", "false"])
    copies = rows.duplicated(["station", "observed_at"], keep=False) & (rows["station"] != "")
    aside = (
        ~rows["rain_tomorrow"].isin(["0", "1"])
        | (rows["station"] == "")
        | rows["observed_at"].str.startswith("1970")
        | copies
        | (broken.sum(axis=1) > 0.5 * (len(broken.columns) + 2))  # observed_at, wind_gust_ms
    )
    ledger = json.loads((weather / "ledger.json").read_text())
    assert ledger["rows"]["read"] == num_lines
    assert ledger["rows"]["quarantined"] == num_lines - len(rows) + aside.sum()
    assert ledger["cells"]["repaired"] == broken[~aside].sum().sum()
    assert ledger["cells"]["filled"] == (rows["wind_gust_ms"][~aside] == "").sum()


def test_every_changed_cell_stands_in_repairs_with_what_it_was(weather: Path) -> None:
    repairs = read_all(weather, "repairs")
    ledger = json.loads((weather / "ledger.json").read_text())
    filled = repairs["rule"] == "fill"
    assert filled.sum() == ledger["cells"]["filled"]
    assert (~filled).sum() == ledger["cells"]["repaired"]
    trace = repairs[repairs["rule"] == "type"].query("column == 'rain_mm'")
    assert (trace["old"] == "trace").all()
    assert (trace["new"] == "0.0").all()
    drift = repairs.query("column == 'wind_speed_ms' and old == '-0.2'")
    assert (drift["new"] == "0.0").all()
    assert len(drift) == 30


def test_repairs_and_quarantine_lead_to_the_raw_line(weather: Path) -> None:
    for name in ("repairs", "quarantine"):
        table = read_all(weather, name).rename(columns=lambda n: n.removeprefix("_"))
        row = table[table["old" if name == "repairs" else "station"].notna()].iloc[0]
        line = (WEATHER / row["source"]).read_text().splitlines()[row["row"] - 1]
        cells = table.loc[row.name, "old"] if name == "repairs" else row["station"]
        assert str(cells) in line


def test_fills_are_learned_on_the_train_split_alone(make_job: MakeJob, tmp_path: Path) -> None:
    result = run_job(make_job(HEADER + make_rows(500)), out=tmp_path / "out", until="shards")
    plan = json.loads((result.out / "plan.json").read_text())["columns"]["size"]
    train = read_split(result.out, "train")["size"].sort_values()
    assert len(train) < 450
    assert plan["fill"] == train.iloc[(len(train) + 1) // 2 - 1]
    assert plan["mean"] == pytest.approx(train.mean())
    assert plan["variance"] == pytest.approx(train.var(ddof=0))


def test_groups_stay_in_one_split_and_no_row_is_lost_or_doubled(weather: Path) -> None:
    splits = {s: set(read_split(weather, s)["station"]) for s in ("train", "validation", "test")}
    assert sum(map(len, splits.values())) == len(set().union(*splits.values())) == 72
    clean, aside = read_split(weather), read_all(weather, "quarantine")
    ids = [*clean["row_id"], *aside["_row_id"]]
    assert len(ids) == len(set(ids)) == 13077


def test_a_dataset_as_published_verifies(weather: Path) -> None:
    assert verify_dataset(weather).problems == ()


def test_running_again_replaces_the_generation_and_keeps_nothing_of_the_old(
    make_job: MakeJob,
) -> None:
    job = make_job()
    first = run_job(job, until="shards")
    job.write_text(JOB + "[shards]\nrows = 20\n")
    second = run_job(job, until="shards")
    assert first.manifest.fingerprint != second.manifest.fingerprint
    names = {file.path for file in second.manifest.list_files()} | {"manifest.json", ".lock"}
    assert set(hash_files(job.parent / "out")) == names


FORMATS = {
    "gzip": lambda raw, text: (raw / "a.csv.gz").write_bytes(gzip.compress(text.encode())),
    "parquet": lambda raw, text: pd.read_csv(pd.io.common.StringIO(text)).to_parquet(
        raw / "a.parquet"
    ),
    "jsonl": lambda raw, text: pd.read_csv(pd.io.common.StringIO(text)).to_json(
        raw / "a.jsonl", orient="records", lines=True
    ),
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_every_format_of_the_same_table_gives_the_same_rows(
    make_job: MakeJob, tmp_path: Path, write: Callable[[Path, str], object]
) -> None:
    text = HEADER + make_rows(200)
    job = make_job(text)
    run_job(job, out=tmp_path / "csv", until="shards")
    (job.parent / "raw" / "a.csv").unlink()
    write(job.parent / "raw", text)
    job.write_text(JOB.replace("raw/*.csv", "raw/*"))
    run_job(job, out=tmp_path / "other", until="shards")
    for split in ("train", "validation", "test"):
        table, other = read_split(tmp_path / "csv", split), read_split(tmp_path / "other", split)
        # A header takes a line.
        other["_row"] += table["_row"][0] - other["_row"][0]
        pd.testing.assert_frame_equal(table, other)


def test_a_shard_s_rows_say_where_they_stood(make_job: MakeJob, tmp_path: Path) -> None:
    notes = ['"two\nlines"' if i == 20 else "" for i in range(50)]
    lines = [f"{row},{note}" for row, note in zip(make_rows(50).splitlines(), notes, strict=True)]
    job = make_job("\n".join([f"{HEADER.strip()},note", *lines]))
    run_job(job, out=tmp_path / "out", until="shards")
    rows = read_split(tmp_path / "out")
    record = rows["row_id"]
    assert (rows["_row"] == record + 2 + (record > 20)).all()


def test_the_fingerprint_knows_the_modules_that_the_schema_imports(make_job: MakeJob) -> None:
    job = make_job(schema="from bounds import HIGH\n" + SCHEMA.replace("100)", "HIGH)"))
    bounds = job.parent / "bounds.py"
    found = []
    for high in (100, 101):
        bounds.write_text(f"HIGH = {high}\n")
        found.append(fingerprint_of(read_job(job), list_inputs(read_job(job), None)))
    assert found[0] != found[1]


def test_a_schema_that_was_edited_meanwhile_is_read_again(make_job: MakeJob) -> None:
    first = run_job(make_job(HEADER + make_rows(60)), until="shards")
    narrow = SCHEMA.replace("in_range(0, 100)", "in_range(0, 50)")
    second = run_job(make_job(HEADER + make_rows(60), schema=narrow), until="shards")
    assert (first.ledger.cells["repaired"], second.ledger.cells["repaired"]) == (0, 10)
