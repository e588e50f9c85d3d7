"""Where reports may go: nothing but an earlier report is overwritten."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import HEADER, JOB, Ended, hash_files, make_rows

Command = Callable[..., Ended]
MakeJob = Callable[..., Path]


def assert_refused(ended: Ended, *parts: str) -> None:
    assert (ended.code, ended.out) == (2, ""), ended.err
    for part in parts:
        assert part in ended.err


UNWRITABLE = {
    ".": "it is no file",
    "socket": "it is no file",
    "file/junit.xml": "file exists",
    "x" * 300: "file name too long",
    "loop": "too many levels of symbolic links",
}


@pytest.mark.parametrize(("path", "reason"), UNWRITABLE.items())
@pytest.mark.parametrize("flag", ["--sarif", "--junit"])
def test_a_report_that_cannot_be_written_is_refused_before_the_data_is_read(
    make_job: MakeJob,
    nanproof: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    reason: str,
    flag: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    # No device: root would replace it, were it not refused.
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        ended = nanproof("check", make_job(""), flag, path)
    assert_refused(ended, f"the report {path} cannot be written: {reason}.")
    assert sorted(os.listdir(tmp_path)) == ["file", "job", "loop", "socket"]


def test_two_reports_to_one_file_are_refused(
    make_job: MakeJob, nanproof: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = nanproof("check", make_job(""), "--junit", tmp_path / "x", "--sarif", "x")
    assert_refused(ended, "two reports go to", "a file of its own")
    assert os.listdir(tmp_path) == ["job"]


FOREIGN = {
    "the job": ("job.toml", None),
    "a raw file": ("raw/a.csv", None),
    "the schema's module": ("table.py", None),
    "another module": ("net.py", b"import keras\n"),
    "an image": ("raw/0.png", b"\x89PNG\r\n\x1a\n"),
    "labels of IDX": ("t10k-labels-idx1-ubyte", b"\0\0\x08\1\0\0\0\1\7"),
    "XML": ("a.xml", b'<?xml version="1.0"?><annotation><testsuite name="a"/></annotation>'),
    "JSON": ("a.json", b'{"$schema": "https://json-schema.org/draft/2020-12/schema"}'),
    "blank": ("blank", b"\n"),
}


@pytest.mark.parametrize(("name", "data"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("flag", ["--sarif", "--junit"])
@pytest.mark.parametrize("job", [JOB, "[data\n"], ids=["whole", "refused"])
def test_no_report_overwrites_what_is_no_report(
    make_job: MakeJob, nanproof: Command, job: str, flag: str, name: str, data: bytes | None
) -> None:
    file = make_job(job=job).parent / name
    if data is not None:
        file.write_bytes(data)
    before = hash_files(file.parent)
    ended = nanproof("check", file.parent / "job.toml", flag, file)
    assert_refused(ended, f"{name} would overwrite", "a new file, an empty one or an earlier")
    assert hash_files(file.parent) == before


def test_a_report_overwrites_an_earlier_one_of_its_kind_or_an_empty_file(
    make_job: MakeJob, nanproof: Command, tmp_path: Path
) -> None:
    xml, log = tmp_path / "junit.xml", tmp_path / "log.sarif"
    xml.touch()
    log.touch()
    for text, code in ((HEADER, 1), (HEADER + make_rows(2), 0)):
        ended = nanproof("check", make_job(text), "--junit", xml, "--sarif", log)
        assert (ended.code, xml.stat().st_size > 0, log.stat().st_size > 0) == (code, True, True)
    xml.write_text("<testsuites>\n</testsuites>\n")
    assert nanproof("check", make_job(), "--junit", xml).code == 0
    assert_refused(nanproof("check", make_job(), "--junit", log), "is no JUnit report")
    assert_refused(nanproof("check", make_job(), "--sarif", xml), "is no SARIF log")


def test_a_folder_that_takes_no_file_is_told(
    make_job: MakeJob, nanproof: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)  # root may write
    ended = nanproof("check", make_job(), "--junit", tmp_path / "x")
    assert_refused(ended, f"{tmp_path / 'x'} cannot be written: its folder is not writable")
