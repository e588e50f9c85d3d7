"""What the command says of raw files that are left out or set aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Ended
from tests.pictures import make_pixels, save

Command = Callable[..., Ended]
JOB = '[data]\nraw = ["{}"]\nschema = "table:Table"\nlabel = "label"\non_bad_file = "quarantine"\n'
SCHEMA = """
import pandera.pandas as pa

Table = pa.DataFrameSchema({"label": pa.Column(str)}, strict=False)
"""


def write_job(folder: Path, raw: str) -> Path:
    (folder / "pyproject.toml").touch()
    (folder / "table.py").write_text(SCHEMA)
    (folder / "job.toml").write_text(JOB.format(raw))
    return folder / "job.toml"


@pytest.mark.parametrize("command", [["check"], ["run", "--until", "shards"]])
def test_files_that_are_no_images_are_told_of(
    tmp_path: Path, nanproof: Command, command: list[str]
) -> None:
    for place in range(40):
        save(tmp_path / "g" / "ab"[place % 2] / f"{place}.png", make_pixels(2, 3, seed=place))
    job = write_job(tmp_path, "g")
    assert "left out" not in nanproof(*command, job).out
    for name in ("notes.txt", "a/Thumbs.db"):
        (tmp_path / "g" / name).write_text("x")
    ended = nanproof(*command, job)
    assert "raw: 2 files with other endings than images' were left out\n" in ended.out, ended.err


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_that_is_set_aside_is_named_once(
    tmp_path: Path, nanproof: Command, command: str
) -> None:
    np.savez(tmp_path / "a.npz", x=np.eye(40), label=np.array(["p", "q"] * 20))
    (tmp_path / "b.npz").write_bytes(b"PK")
    options = ["--until", "shards"] if command == "run" else []
    ended = nanproof(command, *options, write_job(tmp_path, "*.npz"))
    lines = [line for line in ended.out.splitlines() if "broken archive" in line]
    assert lines
    assert [line.count("b.npz") for line in lines] == [1] * len(lines)
