"""What verify says of files that are not the dataset's, and of folders that are none."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline import verify_dataset
from pipeline.errors import PipelineError
from tests.conftest import Ended
from tests.spoiling import forge_json, publish_small

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_small(tmp_path_factory.mktemp("verify") / "job")


@pytest.fixture
def out(published: Path, tmp_path: Path) -> Path:
    return shutil.copytree(published, tmp_path / "out")


def problems_of(out: Path) -> list[str]:
    shallow = verify_dataset(out).problems
    assert set(shallow) <= set(verify_dataset(out, deep=True).problems)
    return list(shallow)


def test_a_published_dataset_passes_as_text_and_as_json(nanproof: Command, out: Path) -> None:
    ended = nanproof("verify", out, "--deep")
    assert (ended.code, "62 rows, every value read." in ended.out) == (0, True)
    ended = nanproof("verify", out, "--json")
    told = json.loads(ended.out)
    assert told["passed"] is True
    assert told["problems"] == []
    assert told["deep"] is False
    assert told["rows"] == 62


def test_what_belongs_to_no_dataset_is_left_alone(out: Path) -> None:
    for name in ("runs/0001", "failed/quarantine", ".staging"):
        (out / name).mkdir(parents=True)
        (out / name / "anything").write_text("x")
    assert problems_of(out) == []


def test_a_dataset_through_a_link_passes(out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(out)
    assert problems_of(tmp_path / "link") == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("notes.txt", "notes.txt: the manifest does not name it"),
        (".DS_Store", ".DS_Store: the manifest does not name it"),
        ("train/part-1.tfrecord", "train/part-1.tfrecord: the manifest does not name it"),
        ("more/", "more: the manifest does not name it (it is a folder)"),
        ("test/more/", "test/more: the manifest does not name it (it is a folder)"),
        ("line\nbreak", "line\nbreak: the manifest does not name it"),
    ],
)
def test_a_stranger_is_told(out: Path, name: str, problem: str) -> None:
    (out / name).mkdir() if name.endswith("/") else (out / name).touch()
    assert problems_of(out) == [problem]


def test_a_file_of_a_hostile_name_steers_no_terminal(nanproof: Command, out: Path) -> None:
    (out / "\x1b[31m::error::\udcff").touch()
    ended = nanproof("verify", out)
    assert ended.code == 1
    assert "\x1b" not in ended.out
    assert "::error" not in ended.out
    assert nanproof("verify", out, "--json").code == 1


def first(out: Path, pattern: str = "train/*.tfrecord") -> Path:
    return min(out.glob(pattern))


def to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_link(path: Path) -> None:
    copy = path.parent.parent.parent / "copy"
    path.rename(copy)
    path.symlink_to(copy)


def to_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (Path.unlink, "is not there"),
        (to_pipe, "is no regular file"),
        (to_link, "is a symbolic link"),
        (to_loop, "is a symbolic link"),
        (to_folder, "is a folder"),
        (lambda path: path.write_bytes(b""), "0 bytes, expected "),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "another checksum"),
    ],
)
@pytest.mark.parametrize("pattern", ["train/*.tfrecord", "ledger.json", "repairs/*"])
def test_a_spoiled_file_is_told(
    out: Path, pattern: str, spoil: Callable[[Path], object], problem: str
) -> None:
    path = first(out, pattern)
    spoil(path)
    (line,) = problems_of(out)
    assert line.startswith(f"{path.relative_to(out)}: {problem}")


def test_a_folder_in_place_of_a_split_and_a_file_in_place_of_a_folder(out: Path) -> None:
    shutil.rmtree(out / "test")
    (out / "test").touch()
    problems = problems_of(out)
    assert "test: the manifest does not name it" in problems
    assert sum(line.startswith("test/") and "is not there" in line for line in problems) == 2


def test_a_linked_split_is_told(out: Path, tmp_path: Path) -> None:
    (out / "test").rename(tmp_path / "test")
    (out / "test").symlink_to(tmp_path / "test")
    assert "test: the manifest does not name it (it is a symbolic link)" in problems_of(out)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d["files"].append(d["files"][0]), "it does not name quarantine/part-00001"),
        (lambda d: d["files"].reverse(), "its files stand in another order than nanproof's"),
        (lambda d: d["splits"]["train"]["shards"].reverse(), "its files stand in another order"),
    ],
)
def test_part_names_say_place_and_count(
    out: Path, edit: Callable[[dict], object], problem: str
) -> None:
    forge_json(out, "manifest.json", edit)
    assert any(problem in line for line in problems_of(out))


def make_folder(out: Path) -> None:
    out.mkdir()


def make_pipe(out: Path) -> None:
    out.mkdir()
    os.mkfifo(out / "manifest.json")


def make_device(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").symlink_to("/dev/zero")


def make_loop(out: Path) -> None:
    out.symlink_to(out)


def make_text(text: bytes) -> Callable[[Path], None]:
    def make(out: Path) -> None:
        out.mkdir()
        (out / "manifest.json").write_bytes(text)

    return make


def make_huge(out: Path) -> None:
    out.mkdir()
    with (out / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        (lambda out: None, 2, "no published dataset"),
        (make_folder, 2, "no published dataset"),
        (lambda out: out.write_text("{}"), 2, "is a file"),
        (make_loop, 2, "cannot be read"),
        (make_pipe, 2, "it is no file"),
        (make_device, 2, "it is no file"),
        (make_huge, 1, "1,099,511,627,776 bytes"),
        (make_text(b""), 1, "no JSON"),
        (make_text(b"\xff\xfe"), 1, "no UTF-8"),
        (make_text(b"\0" * 100), 1, "no JSON"),
        (make_text(b"[" * 100_000), 1, "no JSON"),
        (make_text(b'{"version": ' + b"9" * 10_000 + b"}"), 1, "no JSON"),
        (make_text(b'{"version": NaN}'), 1, "NaN is no number"),
        (make_text(b'{"version": 1e999}'), 1, "version inf"),
        (make_text(b'{"version": 2, "version": 2}'), 1, "'version' stands twice"),
        (make_text(b"[2]"), 1, "no JSON object"),
        (make_text(b"null"), 1, "no JSON object"),
        (make_text(b'{"version": {"a": [2]}}'), 1, "another version"),
        (make_text(b'{"version": "2"}'), 1, "another version"),
        (make_text(b'{"version": 2}'), 1, "Field required"),
        (make_text(b'{"version": 2, "name": "\\ud800"}'), 1, "version 2"),
    ],
)
def test_a_hostile_folder_is_refused(
    nanproof: Command, tmp_path: Path, make: Callable[[Path], object], code: int, told: str
) -> None:
    make(tmp_path / "out")
    ended = nanproof("verify", tmp_path / "out", "--deep")
    assert ended.code == code
    assert told in ended.err
    assert "Fix: " in ended.err


HOSTILE = [None, -1, 2**70, 1e308, "", "x\0y", "../..", [], {}, [[]], {"a": 1}, True, "é" * 1000]
Place = tuple[str | int, ...]


def list_places(value: object, place: Place = ()) -> list[Place]:
    """Return the places of everything in a JSON document."""
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    inner = [found for key, item in items for found in list_places(item, (*place, key))]
    return [place, *inner] if place else inner


def put(document: Any, place: Place, value: object) -> None:
    for part in place[:-1]:
        document = document[part]
    document[place[-1]] = value


@pytest.mark.parametrize("name", ["manifest.json", "ledger.json", "plan.json"])
@pytest.mark.parametrize("num_tries", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_value_in_any_place_of_a_signed_document_is_a_crash(
    published: Path, tmp_path: Path, name: str, num_tries: int
) -> None:
    places = list_places(json.loads((published / name).read_text()))
    pick = random.Random(name)
    for _ in range(num_tries):
        out = shutil.copytree(published, tmp_path / "out")
        place, value = pick.choice(places), pick.choice(HOSTILE)
        forge_json(out, name, partial(put, place=place, value=value))
        try:
            verify_dataset(out, deep=True)
        except PipelineError:
            pass
        except Exception as error:
            raise AssertionError(f"{name}: {place} = {value!r}") from error
        shutil.rmtree(out)
