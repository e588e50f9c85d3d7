"""What becomes of a job's columns: features, label, weight, group, ignored and carried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import check_job, run_job
from pipeline.errors import InputError
from tests.conftest import HEADER, JOB, SCHEMA, make_rows
from tests.reading import read_all, read_split

MakeJob = Callable[..., Path]


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


ROW_CHECK = """
import pandera.pandas as pa

Table = pa.DataFrameSchema(
    {
        "size": pa.Column(float),
        "end": pa.Column(float, ENDNULL),
        "label": pa.Column(int, pa.Check.isin([0, 1])),
    },
    checks=pa.Check(lambda df: df["end"] > df["size"], name="ends_after"),
)
"""


@pytest.mark.parametrize("blank", ["", "nan", "soon", "inf"])
@pytest.mark.parametrize("nullable", ["nullable=True", "nullable=False"])
def test_an_ignored_cell_that_is_broken_lets_run_and_check_agree(
    make_job: MakeJob, tmp_path: Path, blank: str, nullable: str
) -> None:
    schema = ROW_CHECK.replace("ENDNULL", nullable)
    rows = "".join(f"{i},{i + 1},{i % 2}\n" for i in range(60)) + f"7,{blank},1\n9,5,0\n"
    settings = JOB.replace(
        "[train]", 'ignore = ["end"]\n[repair]\nmax_dropped_ratio = 1.0\n[train]'
    )
    job = make_job("size,end,label\n" + rows, settings, schema)
    broken = check_job(job).broken
    assert set(broken) == {(None, "ends_after")}
    ledger = run_job(job, out=tmp_path / "out", until="shards").ledger
    assert ledger.rows["quarantined"] == broken[None, "ends_after"]
    aside = read_all(tmp_path / "out", "quarantine")
    asked_of_a_blank = nullable == "nullable=True" and blank in ("", "nan")
    assert aside["_row"].tolist() == ([62, 63] if asked_of_a_blank else [63])


def test_an_ignored_column_need_not_show_every_listed_value(
    make_job: MakeJob, tmp_path: Path
) -> None:
    schema = ROW_CHECK.replace("ENDNULL", "pa.Check.unique_values_eq([0.0, 1.0])")
    rows = "".join(f"{i},{i + 1},{i % 2}\n" for i in range(60))
    settings = JOB.replace("[train]", 'ignore = ["end"]\n[train]')
    job = make_job("size,end,label\n" + rows, settings, schema)
    result = check_job(job)
    assert (result.passed, result.uncovered) == (True, ())
    assert run_job(job, out=tmp_path / "out", until="shards").ledger.rows["clean"] == 60
    job.write_text(JOB)
    assert not check_job(job).passed
