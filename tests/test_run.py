from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import run_job, verify_dataset
from pipeline.errors import InputError, RepairError, TooManyDropped, UsageError
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
        pd.testing.assert_frame_equal(
            read_split(tmp_path / "csv", split), read_split(tmp_path / "other", split)
        )


def test_timestamps_bools_categories_and_indicators_reach_the_shards(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = """
import pandas as pd, pandera.pandas as pa
class Table(pa.DataFrameModel):
    at: pd.Timestamp
    dry: bool
    kind: str = pa.Field(nullable=True)
    size: float = pa.Field(nullable=True)
    label: str = pa.Field(isin=["no", "yes"])
"""
    rows = "".join(
        f"2025-01-{1 + i % 28:02d}T00:00:0{i % 10}+01:00,{'TRUE' if i % 2 else 0},"
        f"{'' if i % 5 == 0 else 'ab'[i % 2]},{'nan' if i % 7 == 0 else i},{'yes' if i % 3 else 'no'}\n"
        for i in range(140)
    )
    job = make_job("at,dry,kind,size,label\n" + rows, JOB + "[repair]\nindicators = true\n", schema)
    result = run_job(job, out=tmp_path / "out", until="shards")
    spec = {feature.name: feature for feature in result.manifest.spec.features}
    assert spec["kind"].vocabulary == ("b", "a") or spec["kind"].vocabulary == ("a", "b")
    assert [name for name in spec if name.endswith("_was_missing")] == [
        f"{name}_was_missing" for name in ("at", "dry", "kind", "size")
    ]
    table = read_split(tmp_path / "out")
    assert str(table["at"].dtype) == "datetime64[us]"
    assert table["dry"].dtype == bool
    assert set(table["label"]) == {"no", "yes"}
    first = table[table["row_id"] == 0].iloc[0]
    assert first["at"] == pd.Timestamp("2024-12-31T23:00:00")
    assert result.ledger.cells == {"repaired": 0, "filled": 28 + 20, "parsed": 0}
    assert result.manifest.spec.label.classes == ("no", "yes")


def test_a_column_whose_spread_float32_would_lose_is_shifted(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = "".join(f"{1e9 + i % 97},{i},red,{i % 2}\n" for i in range(300))
    schema = SCHEMA.replace("pa.Check.in_range(0, 100)", "pa.Check.ge(0)")
    result = run_job(make_job(HEADER + rows, schema=schema), out=tmp_path / "o", until="shards")
    feature = result.manifest.spec.features[0]
    assert feature.shift == pytest.approx(1e9 + 48, abs=10)
    assert np.float32(1e9 + 1) == np.float32(1e9)  # what would have been lost


def test_the_policies_do_what_they_say(make_job: MakeJob, tmp_path: Path) -> None:
    rows = make_rows(100) + "900,1,red,0\n-5,x,green,1\n"
    job = JOB + '[repair.columns]\nsize = "clip"\ncount = { constant = 3 }\ncolour = "drop"\n'
    result = run_job(make_job(HEADER + rows, job), out=tmp_path / "out", until="shards")
    table = read_split(tmp_path / "out").set_index("row_id")
    assert table.loc[100, "size"] == 100.0
    assert 101 not in table.index
    assert result.ledger.rows["quarantined"] == 1
    assert result.ledger.cells == {"repaired": 1, "filled": 0, "parsed": 0}


def test_a_row_with_too_many_broken_cells_goes(make_job: MakeJob, tmp_path: Path) -> None:
    rows = make_rows(100) + "x,x,red,0\nx,1,red,1\n"
    result = run_job(make_job(HEADER + rows), out=tmp_path / "out", until="shards")
    quarantine = read_all(tmp_path / "out", "quarantine")
    assert quarantine["_row"].tolist() == [102]
    rules = [(r["column"], r["rule"], r["value"]) for r in quarantine["_reasons"][0]]
    assert sorted(rules, key=str) == [
        ("count", "type", "x"), ("size", "type", "x"), (None, "too_many_repairs", None)
    ]  # fmt: skip
    assert result.ledger.cells["repaired"] == 1


def test_carried_columns_come_along_and_are_no_features(make_job: MakeJob, tmp_path: Path) -> None:
    text = (
        "note,"
        + HEADER
        + "".join(f"n{i},{row}\n" for i, row in enumerate(make_rows(50).splitlines()))
    )
    result = run_job(make_job(text), out=tmp_path / "out", until="shards")
    assert "note" not in {feature.name for feature in result.manifest.spec.features}
    table = read_split(tmp_path / "out").set_index("row_id")
    assert table.loc[7, "note"] == "n7"


def test_a_column_of_our_own_name_costs_no_reason(make_job: MakeJob, tmp_path: Path) -> None:
    rows = "".join(f"mine,{row}\n" for row in (make_rows(60) + "1,1,red,7").splitlines())
    run_job(make_job("_reasons," + HEADER + rows), out=tmp_path / "out", until="shards")
    quarantine = read_all(tmp_path / "out", "quarantine")
    assert [r["rule"] for r in quarantine["_reasons"][0]] == ["isin"]
    assert quarantine["_reasons.raw"].tolist() == ["mine"]


def test_an_ignored_column_is_known_to_a_strict_schema(make_job: MakeJob, tmp_path: Path) -> None:
    text = "note," + HEADER + "".join(f"n,{row}\n" for row in make_rows(60).splitlines())
    schema = SCHEMA.replace("})", "}, strict=True)")
    job = JOB.replace("[train]", 'ignore = ["note", "colour"]\n[train]')
    result = run_job(make_job(text, job, schema), out=tmp_path / "out", until="shards")
    assert [feature.name for feature in result.manifest.spec.features] == ["size", "count"]


def test_regression_and_weights(make_job: MakeJob, tmp_path: Path) -> None:
    schema = """
import pandera.pandas as pa
Table = pa.DataFrameSchema({name: pa.Column(float) for name in ("a", "w", "label")})
"""
    rows = "".join(f"{i},{1 if i else -1},{i / 7}\n" for i in range(80))
    job = JOB.replace("[train]", 'weight = "w"\n[train]')
    result = run_job(
        make_job("a,w,label\n" + rows, job, schema), out=tmp_path / "o", until="shards"
    )
    assert result.manifest.spec.label.task == "regression"
    assert result.manifest.spec.weight == "w"
    assert [(q.column, q.rule) for q in result.ledger.quarantined] == [
        ("w", "greater_than_or_equal_to")
    ]


def test_a_fill_that_the_schema_rejects_is_an_error_that_names_the_column(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = JOB + "[repair.columns]\nsize = { constant = 101.0 }\n"
    with pytest.raises(RepairError, match=r"'size'.*in_range"):
        run_job(make_job(job=job), out=tmp_path / "out", until="shards")


def test_a_class_that_the_train_split_never_saw_is_quarantined(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = SCHEMA.replace("[0, 1]", "[0, 1, 2]")
    job = JOB.replace("[train]", 'group = "colour"\n[train]')
    schema = schema.replace('pa.Check.isin(["red", "blue"])', "")
    text = HEADER + "".join(f"1,{i},g{i % 40},{i % 2}\n" for i in range(400))
    out = tmp_path / "out"
    run_job(make_job(text, job, schema), out=out, until="shards")
    outside = read_split(out, "test")["colour"].iloc[0]
    run_job(make_job(text + f"1,1,{outside},2\n", job, schema), out=out, until="shards")
    quarantine = read_all(out, "quarantine")
    assert [[r["rule"] for r in reasons] for reasons in quarantine["_reasons"]] == [
        ["class_unseen"]
    ]
    assert quarantine["_row"].tolist() == [402]


def test_the_fingerprint_knows_the_modules_that_the_schema_imports(make_job: MakeJob) -> None:
    job = make_job(schema="from bounds import HIGH\n" + SCHEMA.replace("100)", "HIGH)"))
    bounds = job.parent / "bounds.py"
    found = []
    for high in (100, 101):
        bounds.write_text(f"HIGH = {high}\n")
        found.append(fingerprint_of(read_job(job), list_inputs(read_job(job), None)))
    assert found[0] != found[1]


def test_a_share_of_dropped_rows_that_is_just_allowed_passes(make_job: MakeJob) -> None:
    text = HEADER + make_rows(71) + "1,1,red,7\n" * 29
    job = make_job(text, JOB + "[repair]\nmax_dropped_ratio = 0.29\n")
    assert 0.29 * 100 < 29  # what rounding would make of it
    assert run_job(job, until="shards").ledger.rows["quarantined"] == 29


def test_a_schema_that_was_edited_meanwhile_is_read_again(make_job: MakeJob) -> None:
    first = run_job(make_job(HEADER + make_rows(60)), until="shards")
    narrow = SCHEMA.replace("in_range(0, 100)", "in_range(0, 50)")
    second = run_job(make_job(HEADER + make_rows(60), schema=narrow), until="shards")
    assert (first.ledger.cells["repaired"], second.ledger.cells["repaired"]) == (0, 10)


def test_errors_carry_their_facts(make_job: MakeJob) -> None:
    with pytest.raises(TooManyDropped) as caught:
        run_job(make_job(HEADER + make_rows(80) + "1,1,red,7\n" * 20), until="shards")
    assert caught.value.fields == {"read": 100, "quarantined": 20}
    with pytest.raises(UsageError, match="workers = 0"):
        run_job(make_job(), until="shards", workers=0)


def write_lines(job: Path, last: str) -> Path:
    """Write JSON Lines whose last record has a key that the first thousand do not have."""
    raw = job.parent / "raw"
    (raw / "a.csv").unlink(missing_ok=True)
    lines = [
        f'{{"size":{i % 100},"count":{i},"colour":"red","label":{i % 2}}}\n' for i in range(1500)
    ]
    (raw / "a.jsonl").write_text("".join(lines) + last)
    job.write_text(JOB.replace("raw/*.csv", "raw/*"))
    return job


def test_a_key_of_our_own_name_far_down_is_refused(make_job: MakeJob) -> None:
    last = '{"size":1,"count":1,"colour":"red","label":1,"row_id":1}\n'
    with pytest.raises(InputError, match="'row_id'"):
        run_job(write_lines(make_job(), last), until="shards")


def test_a_key_that_comes_late_is_kept_in_quarantine(make_job: MakeJob, tmp_path: Path) -> None:
    last = '{"size":1,"count":1,"colour":"red","label":7,"late":"KEEP"}\n'
    run_job(write_lines(make_job(), last), out=tmp_path / "out", until="shards")
    assert read_all(tmp_path / "out", "quarantine")["late"].tolist() == ["KEEP"]


def test_raw_columns_named_like_ours_do_not_displace_each_other(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = "".join(f"A,B,{row}\n" for row in (make_rows(60) + "1,1,red,7").splitlines())
    run_job(make_job("_source.raw,_source," + HEADER + rows), out=tmp_path / "o", until="shards")
    quarantine = read_all(tmp_path / "o", "quarantine")
    assert quarantine[["_source.raw", "_source.raw.raw"]].to_numpy().tolist() == [["A", "B"]]


def test_what_is_ignored_is_carried_as_it_was_even_where_a_row_check_reads_it(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = """
import pandera.pandas as pa

Table = pa.DataFrameSchema(
    {"size": pa.Column(float), "small": pa.Column("int8"), "label": pa.Column(int)},
    checks=pa.Check(lambda df: df["size"] >= 0, name="positive"),
)
"""
    smalls = ["300", "abc", " 07"]
    rows = "".join(f"{i},{smalls[i % 3]},{i % 2}\n" for i in range(60))
    job = JOB.replace("[train]", 'ignore = ["small"]\n[train]\ntask = "classification"')
    out = tmp_path / "out"
    result = run_job(make_job("size,small,label\n" + rows, job, schema), out=out, until="shards")
    table = read_split(out).sort_values("row_id")
    assert table["small"].tolist() == smalls * 20
    assert result.ledger.rows["quarantined"] == 0


def test_a_group_that_the_schema_does_not_name_is_carried(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = "".join(f"g{i % 30},{row}\n" for i, row in enumerate(make_rows(90).splitlines()))
    job = JOB.replace("[train]", 'group = "site"\n[train]')
    out = tmp_path / "out"
    run_job(make_job("site," + HEADER + rows, job), out=out, until="shards")
    table = read_split(out).sort_values("row_id")
    assert table["site"].tolist() == [f"g{i % 30}" for i in range(90)]


def test_an_ignored_key_that_a_file_may_lack_costs_no_row(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = SCHEMA.replace(
        '"size":', '"code": pa.Column(int, required=False),\n    "size":'
    ).replace("})", '}, unique=["code", "count"])')
    job = make_job(
        HEADER + make_rows(40), JOB.replace("[train]", 'ignore = ["code"]\n[train]'), schema
    )
    rows = "".join(f"{i},{row}\n" for i, row in enumerate(make_rows(40).splitlines()))
    (job.parent / "raw" / "b.csv").write_text("code," + HEADER + rows)
    result = run_job(job, out=tmp_path / "out", until="shards")
    assert result.ledger.rows["quarantined"] == 0


def test_a_constant_fills_a_column_of_which_nothing_is_valid(
    make_job: MakeJob, tmp_path: Path
) -> None:
    text = HEADER + "".join(f",{i},?,{i % 2}\n" for i in range(60))
    policies = "[repair]\nmax_repaired_ratio_per_row = 1.0\n[repair.columns]\n"
    constants = 'size = { constant = 12.5 }\ncolour = { constant = "red" }\n[train]'
    job = JOB.replace("[train]", policies + constants)
    run_job(make_job(text, job), out=tmp_path / "out", until="shards")
    rows = read_split(tmp_path / "out")
    assert rows["size"].tolist() == [12.5] * 60
    assert rows["colour"].tolist() == ["red"] * 60


def test_a_run_that_cannot_fill_a_column_leaves_its_accounts(
    make_job: MakeJob, tmp_path: Path
) -> None:
    text = HEADER + "".join(f",{i},red,{i % 2}\n" for i in range(60)) + ",x,red,7\n"
    with pytest.raises(RepairError, match="'size'"):
        run_job(make_job(text), out=tmp_path / "out", until="shards")
    ledger = json.loads((tmp_path / "out" / "failed" / "ledger.json").read_text())
    assert (ledger["rows"]["read"], ledger["rows"]["quarantined"]) == (61, 1)
    assert len(read_all(tmp_path / "out" / "failed", "quarantine")) == 1
