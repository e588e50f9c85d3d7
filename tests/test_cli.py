from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from pipeline.cli import STAGES
from pipeline.run import run_job
from tests.conftest import HEADER, JOB, ROOT, SCHEMA, Ended, hash_files, make_rows

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]


def run(nanproof: Command, job: Path, *more: object) -> Ended:
    return nanproof("run", job, "--until", "shards", "--workers", 1, *more)


def assert_refused(ended: Ended, code: int, *parts: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert 1 <= ended.err.count("\n") <= 5, ended.err
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err


def test_a_job_runs_and_says_what_it_did(nanproof: Command, make_job: MakeJob) -> None:
    ended = run(nanproof, make_job(HEADER + make_rows(60) + "x,1,red,0\n"))
    assert ended.code == 0, ended.err
    assert "size    type 1" in ended.out
    assert "raw/a.csv:62" in ended.out
    assert "read 61 = clean 61 + quarantined 0" in ended.out


BAD_SETTINGS = {
    "misspelled key": (JOB + "[repiar]\n", ["'repiar'", "did you mean 'repair'?"]),
    "misspelled key in a table": (
        JOB + "[repair]\nmax_droped_ratio = 0.1\n",
        ["repair.max_droped_ratio", "did you mean 'max_dropped_ratio'?"],
    ),
    "wrong type": (JOB + '[shards]\nrows = "many"\n', ["shards.rows", "'many'"]),
    "out of range": (JOB + "[repair]\nmax_dropped_ratio = 7\n", ["max_dropped_ratio"]),
    "a policy that is none": (
        JOB + '[repair]\nnumeric = "medain"\n',
        ["repair.numeric", "did you mean 'median'?"],
    ),
    "misspelled key that is needed": (
        JOB.replace("label =", "labl ="),
        ["unknown setting 'data.labl'", "did you mean 'label'?"],
    ),
    "a policy that does not suit": (
        JOB + '[repair.columns]\ncolour = "mean"\n',
        ["'colour'", "most_frequent"],
    ),
    "shares that are not one": (JOB + "[split]\ntrain = 0.5\n", ["split", "0.7"]),
    "no label": (JOB.replace('label = "label"', ""), ["data.label", "missing"]),
    "a label that is no column": (
        JOB.replace('label = "label"', 'label = "lable"'),
        ["'lable'", "did you mean 'label'?"],
    ),
    "an ignored column that is none": (
        JOB.replace("[train]", 'ignore = ["color"]\n[train]'),
        ["'color'", "did you mean 'colour'?"],
    ),
    "a regression to words": (
        JOB.replace('label = "label"', 'label = "colour"').replace(
            "[train]", '[train]\ntask = "regression"'
        ),
        ["'colour'", "classification"],
    ),
    "no TOML": ("[data\n", ["TOML", "line 1"]),
    "no schema": (JOB.replace('schema = "table:Table"', ""), ["data.schema"]),
}


@pytest.mark.parametrize(("job", "parts"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_a_wrong_setting_is_named_and_the_right_one_told(
    nanproof: Command, make_job: MakeJob, job: str, parts: list[str]
) -> None:
    assert_refused(run(nanproof, make_job(job=job)), 2, *parts)


BAD_REFERENCES = {
    "no colon": ("table.Table", ["module:attribute"]),
    "no such module": ("tabel:Table", ["'tabel'", "tabel.py"]),
    "no such name": ("table:Tabel", ["'Tabel'", "did you mean 'Table'?"]),
    "no schema": ("table:pa", ["no schema", "DataFrameSchema"]),
}


@pytest.mark.parametrize(("reference", "parts"), BAD_REFERENCES.values(), ids=BAD_REFERENCES)
def test_a_wrong_schema_reference_is_told_in_each_of_its_ways(
    nanproof: Command, make_job: MakeJob, reference: str, parts: list[str]
) -> None:
    job = JOB.replace("table:Table", reference)
    assert_refused(run(nanproof, make_job(job=job)), 2, *parts)


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ("import nowhere_at_all\n", "nowhere_at_all"),
        ("def (\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_an_error_in_the_users_own_module_is_named_as_theirs(
    nanproof: Command, make_job: MakeJob, schema: str, part: str
) -> None:
    assert_refused(run(nanproof, make_job(schema=schema)), 2, "table.py", part)


def test_a_check_that_is_no_statement_about_rows_is_refused_by_name(
    nanproof: Command, make_job: MakeJob
) -> None:
    schema = SCHEMA.replace("pa.Check.ge(0)", 'pa.Check(lambda s: s.mean() > 0, name="positive")')
    for command in ("run", "check"):
        ended = nanproof(command, make_job(schema=schema), "--workers", 1)
        assert_refused(ended, 2, "'positive'", "verdict for each row")


BAD_FILES = {
    "empty": ("", ["a.csv is empty"]),
    "blank lines only": ("\n\n", ["a.csv"]),
    "a column short": ("size,count,label\n1,2,0\n", ["'colour'", "a.csv"]),
    "another delimiter": (HEADER.replace(",", ";"), ["data.csv.delimiter"]),
}


@pytest.mark.parametrize(("text", "parts"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_such_table_is_named(
    nanproof: Command, make_job: MakeJob, text: str, parts: list[str]
) -> None:
    assert_refused(run(nanproof, make_job(text)), 2, *parts)


def test_a_missing_file_is_named(nanproof: Command, make_job: MakeJob, tmp_path: Path) -> None:
    ended = run(nanproof, make_job(), "--raw", tmp_path / "none.csv")
    assert_refused(ended, 2, "none.csv")
    assert_refused(nanproof("run", tmp_path / "job.tml"), 2, "no such job file")
    assert_refused(nanproof("check", tmp_path), 2, "is a folder", "job.toml")


BAD_DATA = {
    "header only": (HEADER, ["no row was read"]),
    "no row that is good": (HEADER + "1,1,red,7\n" * 30, ["quarantined", "label isin 30"]),
    "too many dropped": (
        HEADER + make_rows(80) + "1,1,red,7\n" * 20,
        ["20 of 100", "max_dropped_ratio"],
    ),
    "a column without a valid cell": (
        HEADER + "".join(f"x,{i},red,{i % 2}\n" for i in range(99)),
        ["'size'", "no valid cell"],
    ),
    "one row": (HEADER + make_rows(1), ["split", "got no row"]),
}


@pytest.mark.parametrize(("text", "parts"), BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_cannot_be_published_is_a_verdict(
    nanproof: Command, make_job: MakeJob, text: str, parts: list[str]
) -> None:
    assert_refused(run(nanproof, make_job(text)), 1, *parts)


def test_where_the_last_row_is_dropped_late_no_row_is_left(
    nanproof: Command, make_job: MakeJob
) -> None:
    schema = SCHEMA.replace("pa.Check.ge(0))", "pa.Check.ge(0), unique=True)")
    job = make_job(
        HEADER + "".join(f"{i},1,red,{i % 2}\n" for i in range(60)),
        JOB + "[repair]\nmax_dropped_ratio = 1.0\n",
        schema,
    )
    ended = run(nanproof, job)
    assert (ended.code, ended.out) == (1, "")
    assert "no row is left: all 60 rows that were read are quarantined." in ended.err


def test_a_failing_job_leaves_the_published_dataset_and_its_own_quarantine(
    nanproof: Command, make_job: MakeJob
) -> None:
    job = make_job()
    out = job.parent / "out"
    assert run(nanproof, job).code == 0
    before = hash_files(out)
    for text, code in [(HEADER + "1,1,red,7\n" * 30, 1), (HEADER, 1), ("", 2), ("a\n1\n", 2)]:
        (job.parent / "raw" / "a.csv").write_text(text)
        assert run(nanproof, job).code == code
        assert hash_files(out, "failed") == before
    (job.parent / "raw" / "a.csv").write_text(HEADER + "1,1,red,7\n" * 30)
    run(nanproof, job)
    assert json.loads((out / "failed" / "ledger.json").read_text())["rows"]["quarantined"] == 30
    assert list((out / "failed" / "quarantine").glob("*.parquet"))


def test_an_output_that_is_anothers_is_refused(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job()
    out = tmp_path / "out"
    assert run(nanproof, job, "--out", out).code == 0
    before = hash_files(out)
    job.write_text('name = "other"\n' + JOB)
    assert_refused(run(nanproof, job, "--out", out), 2, "'job'", "'other'", "--out")
    assert hash_files(out) == before
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.doc").touch()
    assert_refused(run(nanproof, job, "--out", strange), 2, "thesis.doc")
    assert [path.name for path in strange.iterdir()] == ["thesis.doc"]


def test_a_damaged_manifest_says_how_to_go_on(nanproof: Command, make_job: MakeJob) -> None:
    job = make_job()
    manifest = job.parent / "out" / "manifest.json"
    run(nanproof, job)
    manifest.write_text("{}")
    assert_refused(run(nanproof, job), 2, "cannot read", f"delete {manifest}")
    manifest.unlink()
    assert run(nanproof, job).code == 0


def test_an_output_that_cannot_be_written_is_named(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert_refused(run(nanproof, make_job(), "--out", tmp_path / "file" / "out"), 2, "file/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(
    nanproof: Command, make_job: MakeJob, tmp_path: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert_refused(run(nanproof, make_job(), "--out", tmp_path / "locked" / "out"), 2, "locked")


def test_check_tells_broken_from_whole_data(nanproof: Command, make_job: MakeJob) -> None:
    job = make_job()
    whole = nanproof("check", job, "--workers", 1)
    assert (whole.code, "check passed" in whole.out) == (0, True)
    (job.parent / "raw" / "a.csv").write_text(HEADER + "101,1,red,0\n1,1,red,0\n")
    broken = nanproof("check", job, "--workers", 1, "--json")
    assert broken.code == 1
    assert json.loads(broken.out)["broken"] == [
        {
            "column": "size",
            "rule": "in_range",
            "count": 1,
            "places": [{"source": "raw/a.csv", "row": 2}],
        }
    ]
    assert not (job.parent / "out").exists()
    (job.parent / "raw" / "a.csv").write_text(HEADER)
    assert_refused(nanproof("check", job, "--workers", 1), 1, "no row was read")


def test_a_limit_for_a_rule_that_is_none_names_the_nearest(
    nanproof: Command, make_job: MakeJob
) -> None:
    ended = nanproof("check", make_job(job=JOB + "[check.rules]\nin_rnage = 0.1\n"))
    assert ended.code == 2
    assert "no rule 'in_rnage'" in ended.err
    assert "did you mean 'in_range'?" in ended.err


def test_annotations_beside_json_leave_it_whole(nanproof: Command, make_job: MakeJob) -> None:
    job = make_job(HEADER + "101,1,red,7\n")
    ended = nanproof("check", job, "--json", "--github")
    assert json.loads(ended.out)["passed"] is False
    assert ended.err.count("::error ") == 2


def test_values_of_the_data_are_shown_only_when_asked_for(
    nanproof: Command, make_job: MakeJob
) -> None:
    job = make_job(HEADER + "secret\x1b[31m,1,red,0\n")
    assert "secret" not in nanproof("check", job, "--workers", 1).out
    shown = nanproof("check", job, "--workers", 1, "--show-values").out
    assert "secret\\x1b[31m" in shown.replace("\\\\", "\\")
    assert "\x1b" not in shown


def test_verify_passes_a_published_dataset_and_fails_a_spoiled_one(
    nanproof: Command, make_job: MakeJob
) -> None:
    job = make_job()
    out = job.parent / "out"
    run(nanproof, job)
    assert nanproof("verify", out).code == 0
    shard = next((out / "train").glob("*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(data)
    ended = nanproof("verify", out)
    assert ended.code == 1
    assert f"train/{shard.name}: another checksum" in ended.out


def test_a_folder_without_a_dataset_is_told(nanproof: Command, tmp_path: Path) -> None:
    assert_refused(nanproof("verify", tmp_path), 2, "no published dataset", "nanproof run")
    assert_refused(nanproof("train", tmp_path), 2, "no published dataset")
    (tmp_path / "file").touch()
    assert_refused(nanproof("verify", tmp_path / "file"), 2, "is a file")


def test_misspelled_options_and_commands_are_usage(nanproof: Command, make_job: MakeJob) -> None:
    assert nanproof("run", make_job(), "--untli", "shards").code == 2
    assert nanproof("rnu", make_job()).code == 2
    until = nanproof("run", make_job(), "--until", "shard")
    assert (until.code, "did you mean 'shards'?" in until.err) == (2, True)
    assert nanproof("run", make_job(), "--workers", 0).code == 2
    assert nanproof("--help").code == 0
    assert nanproof("--version").out.startswith("nanproof ")


def test_a_bug_of_ours_is_no_verdict(
    nanproof: Command, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("pipeline.run.scan_partition", fail)
    assert_refused(run(nanproof, make_job()), 70, "a bug in nanproof", "KeyError")


def test_the_installed_command_is_this_one() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "run", "nowhere.toml", "--until", "shards"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("nanproof: nowhere.toml: no such job file.")


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ("import sys\nsys.exit(0)\n" + SCHEMA, "table.py, line 2: SystemExit"),
        (
            SCHEMA.replace("pa.Check.ge(0)", "pa.Check(lambda v: exit(0), element_wise=True)"),
            "ended the process",
        ),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_schema_that_exits_lets_no_check_pass(
    make_job: MakeJob, nanproof: Command, schema: str, part: str, workers: int
) -> None:
    job = make_job(schema=schema)
    (job.parent / "raw" / "b.csv").write_text(HEADER + make_rows(5))
    ended = nanproof("check", job, "--workers", workers)
    assert (ended.code, part in ended.err) == (2, True)


def test_a_terminated_command_is_no_mistake_of_the_schema(make_job: MakeJob) -> None:
    schema = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n" + SCHEMA
    command = [sys.executable, "-m", "pipeline.cli", "check", str(make_job(schema=schema))]
    assert subprocess.run(command, check=False, capture_output=True, cwd=ROOT).returncode == 143


def test_the_stages_to_stop_at_are_those_that_a_run_knows() -> None:
    assert get_args(get_type_hints(run_job)["until"]) == STAGES
