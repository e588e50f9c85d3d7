"""The generated letters, as TensorFlow's decoder sees them, and the schema that judges them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline import read_shards, validate_frame
from pipeline.reference import resolve_reference
from tests.conftest import ROOT, Ended, find_dataset, hash_files

LETTERS = "ABCDEFGHIJ"
# What `check` says of each fault that a row-wise rule can see.
RULES = {
    "truncated": (None, "malformed"),
    "no image": (None, "malformed"),
    "empty file": (None, "malformed"),
    "blank": ("image_std", "greater_than"),
    "wrong size": ("image_width", "equal_to"),
    "in colour": ("image_channels", "equal_to"),
    "unsorted": ("label", "isin"),
}


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("letters", ROOT / "data/letters/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters") / "raw"
    load_generator().generate(folder)
    return folder


@pytest.fixture(scope="module")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters_idx")
    load_generator().generate(folder, idx=True)
    return folder


def decode(path: Path) -> npt.NDArray[Any] | None:
    """Return `(height, width, channels)`, or None for what is no whole PNG."""
    try:
        return tf.io.decode_png(path.read_bytes()).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def judge(path: Path) -> str:
    """Say what is wrong with a file, in the words of the table of faults."""
    image = decode(path)
    if image is None:
        content = path.read_bytes()
        if not content:
            return "empty file"
        return "truncated" if content.startswith(b"\x89PNG") else "no image"
    if image.shape[2] != 1:
        return "in colour"
    if image.shape != (28, 28, 1):
        return "wrong size"
    if path.parent.name not in LETTERS:
        return "unsorted"
    return "" if np.ptp(image) else "blank"


def test_a_seed_gives_the_same_files_and_another_seed_others(raw: Path, tmp_path: Path) -> None:
    generator = load_generator()
    generator.generate(tmp_path / "same", seed=28)
    generator.generate(tmp_path / "other", seed=29)
    assert hash_files(tmp_path / "same") == hash_files(raw)
    ours, others = hash_files(raw), hash_files(tmp_path / "other")
    whole = {name for name in ours if judge(raw / name) == ""}
    assert sum(ours[name] == others.get(name) for name in whole) == 0


def test_the_faults_are_those_of_the_table(raw: Path, tmp_path: Path) -> None:
    paths = sorted(raw.rglob("*.png"))
    found = Counter(map(judge, paths))
    contents = Counter(path.read_bytes() for path in paths if judge(path) == "")
    found["copy"] = contents.total() - len(contents)
    account = load_generator().generate(tmp_path)
    table = (ROOT / "data" / "README.md").read_text()
    for fault, what, count in account:
        assert f"| {fault} | {what} | {count} |" in table
        assert count == (10 if fault == "misfiled" else found[fault])
    assert len(paths) == 2000 + found["copy"]
    bad = len(paths) - found[""]
    assert (len(paths), bad) == (2040, 61)
    assert {path.parent.name for path in paths} == {*LETTERS, "unsorted"}


def test_the_command_writes_idx_files_as_mnist_has_them(idx: Path, tmp_path: Path) -> None:
    script = ROOT / "data/letters/generate.py"
    ended = subprocess.run(
        [sys.executable, script, "--idx", "--out", tmp_path], capture_output=True, text=True
    )
    assert ended.stdout.splitlines()[0] == "| blank | every pixel is 0 | 30 |", ended.stderr
    assert hash_files(tmp_path) == hash_files(idx)
    images = (idx / "letters-images-idx3-ubyte").read_bytes()
    labels = (idx / "letters-labels-idx1-ubyte").read_bytes()
    assert np.frombuffer(images[:16], ">i4").tolist() == [2051, 2040, 28, 28]
    assert np.frombuffer(labels[:8], ">i4").tolist() == [2049, 2040]
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(2040, -1)
    assert (np.ptp(pixels, axis=1) == 0).sum() == 30
    assert len(labels) == 8 + 2040
    assert set(labels[8:]) == set(range(10))


def test_both_forms_hold_the_same_pictures(raw: Path, idx: Path) -> None:
    pixels = np.frombuffer((idx / "letters-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    labels = (idx / "letters-labels-idx1-ubyte").read_bytes()[8:]
    pictures = pixels.reshape(-1, 28, 28, 1)
    for path in raw.rglob("*.png"):
        if judge(path) in ("", "blank"):
            place = int(path.stem)
            assert path.parent.name == LETTERS[labels[place]]
            np.testing.assert_array_equal(decode(path), pictures[place])


def test_the_letters_can_be_told_apart(idx: Path) -> None:
    """By the nearest of a thousand others, which knows nothing of letters."""
    pixels = np.frombuffer((idx / "letters-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    labels = np.frombuffer((idx / "letters-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    x = pixels.reshape(-1, 784).astype(float)[:2000]
    x /= np.linalg.norm(x, axis=1, keepdims=True) + 1e-9
    nearest = (x[1::2] @ x[::2].T).argmax(1)
    right = (labels[:2000:2][nearest] == labels[1:2000:2]).mean()
    # Neither a toy, nor noise: the first guess is right in one of ten.
    assert 0.6 < right < 0.99


def glyph(label: Any, /, **changed: Any) -> dict[str, Any]:
    valid = {
        "image_height": 28, "image_width": 28, "image_channels": 1, "image_std": 70.5,
        "image_nonfinite": 0, "label": label,
    }  # fmt: skip
    return valid | changed


@pytest.mark.parametrize(("name", "label"), [("Letter", "A"), ("NumberedLetter", 9)])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("image_height", 27),
        ("image_width", 29),
        ("image_channels", 3),
        ("image_std", 0.0),
        ("image_nonfinite", 1),
        ("label", None),
    ],
)
def test_the_schema_sets_one_picture_aside_for_one_fault(
    name: str, label: Any, column: str, value: Any
) -> None:
    schema = resolve_reference(f"schemas.letters:{name}", ROOT, setting="schema")
    wrong = {"A": "K", 9: 10}[label] if value is None else value
    frame = pd.DataFrame([glyph(label), glyph(label, **{column: wrong}), glyph(label)])
    verdict = validate_frame(frame, schema)
    assert verdict.good.index.tolist() == [0, 2]
    assert verdict.reasons[["row", "column"]].to_numpy().tolist() == [[1, column]]


def check_job(nanproof: Callable[..., Ended], job: str, raw: Path) -> dict[str, Any]:
    ended = nanproof("check", ROOT / "data/letters" / job, "--raw", raw, "--workers", 1, "--json")
    assert ended.code == 1, ended.err
    result: dict[str, Any] = json.loads(ended.out)
    return result


def test_check_finds_each_fault_of_the_folder_and_where(
    nanproof: Callable[..., Ended], raw: Path
) -> None:
    pytest.importorskip("PIL")
    result = check_job(nanproof, "job.toml", raw)
    paths = sorted(raw.rglob("*.png"), key=lambda path: path.relative_to(raw).as_posix())
    faults = list(map(judge, paths))
    expected = Counter(RULES[fault] for fault in faults if fault)
    found = {(broken["column"], broken["rule"]): broken["count"] for broken in result["broken"]}
    assert found == expected
    assert (result["rows"], result["broken_rows"]) == (len(paths), expected.total())
    for broken in result["broken"]:
        for place in broken["places"]:
            rule = RULES[faults[place["row"] - 1]]
            assert rule == (broken["column"], broken["rule"])
            assert rule[0] or paths[place["row"] - 1].name in place["file"]


def test_check_finds_the_blanks_of_the_idx_files(nanproof: Callable[..., Ended], idx: Path) -> None:
    result = check_job(nanproof, "notmnist.toml", idx / "letters-images-idx3-ubyte")
    pixels = np.frombuffer((idx / "letters-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    blank = 1 + np.flatnonzero(np.ptp(pixels.reshape(2040, -1), axis=1) == 0)
    (broken,) = result["broken"]
    assert (broken["column"], broken["rule"], broken["count"]) == ("image_std", "greater_than", 30)
    assert {place["row"] for place in broken["places"]} <= set(blank.tolist())
    assert result["rows"] == 2040


def test_check_finds_the_blanks_of_notmnist(nanproof: Callable[..., Ended]) -> None:
    path = find_dataset("notmnist_idx/t10k-images-idx3-ubyte.gz")
    result = check_job(nanproof, "notmnist.toml", path)
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    blank = np.ptp(pixels.reshape(10_000, -1), axis=1) == 0
    (broken,) = result["broken"]
    assert (broken["column"], broken["count"]) == ("image_std", blank.sum())
    assert result["broken_rows"] == 141


def run_job(nanproof: Callable[..., Ended], job: str, raw: Path, out: Path) -> dict[str, Any]:
    ended = nanproof(
        "run", ROOT / "data/letters" / job, "--raw", raw, "--out", out, "--workers", 1, "--json"
    )
    assert ended.code == 0, ended.err
    result: dict[str, Any] = json.loads(ended.out)
    return result


def read_pictures(out: Path) -> dict[bytes, int]:
    """Read every picture of the shards with its label; float32, as a reader gets them."""
    found = {}
    for split in ("train", "validation", "test"):
        for features, label in read_shards(out, split):
            for picture, number in zip(features["image"].numpy(), label.numpy()):
                assert picture.dtype == np.float32
                found[picture.astype(np.uint8).tobytes()] = int(number)
    return found


def test_the_folder_is_cleaned_and_trains(
    nanproof: Callable[..., Ended], raw: Path, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    out = tmp_path / "out"
    result = run_job(nanproof, "job.toml", raw, out)
    paths = sorted(raw.rglob("*.png"))
    good = [path for path in paths if judge(path) == ""]
    rows = result["ledger"]["rows"]
    assert (rows["read"], rows["clean"], rows["quarantined"]) == (2040, len(good), 61)
    pictures = {path: decode(path) for path in good}
    expected = {
        picture.tobytes(): LETTERS.index(path.parent.name)
        for path, picture in pictures.items()
        if picture is not None
    }
    assert read_pictures(out) == expected
    training = result["training"]
    assert training["num_nonfinite"] == 0
    assert training["metric"] == "accuracy"
    assert training["value"] > 0.9


def test_no_copy_lies_in_another_split(
    nanproof: Callable[..., Ended], raw: Path, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    job = ROOT / "data/letters/job.toml"
    ended = nanproof("run", job, "--raw", raw, "--out", tmp_path / "out", "--until", "shards")
    assert ended.code == 0, ended.err
    splits = []
    for split in ("train", "validation", "test"):
        shards = read_shards(tmp_path / "out", split)
        splits.append({p.tobytes() for features, _ in shards for p in features["image"].numpy()})
    assert sum(map(len, splits)) == len(set.union(*splits))


def test_notmnist_is_cleaned_and_trains(nanproof: Callable[..., Ended], tmp_path: Path) -> None:
    path = find_dataset("notmnist_idx/t10k-images-idx3-ubyte.gz")
    result = run_job(nanproof, "notmnist.toml", path, tmp_path / "out")
    rows = result["ledger"]["rows"]
    assert (rows["read"], rows["clean"], rows["quarantined"]) == (10_000, 9_859, 141)
    assert result["training"]["num_nonfinite"] == 0
    assert result["training"]["value"] > 0.85


def test_notmnist_as_pictures_with_broken_ones_is_cleaned_and_trains(
    nanproof: Callable[..., Ended], tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    found = find_dataset("notmnist_idx/t10k-images-idx3-ubyte.gz")
    data = gzip.decompress(found.read_bytes())[16:]
    labels = gzip.decompress(Path(str(found).replace("images-idx3", "labels-idx1")).read_bytes())
    pixels = np.frombuffer(data, np.uint8).reshape(-1, 28, 28)
    raw = tmp_path / "raw"
    for place, (picture, label) in enumerate(zip(pixels, labels[8:], strict=True)):
        folder = raw / LETTERS[label]
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(picture).save(folder / f"{place:05d}.png")
    blank = {place for place, picture in enumerate(pixels) if picture.std() == 0}
    sound = [place for place in range(len(pixels)) if place not in blank]
    broken = np.random.default_rng(7).choice(sound, 20, replace=False).tolist()
    paths = {int(path.stem): path for path in raw.rglob("*.png")}
    for place in broken:
        spoilt = paths[place].read_bytes()
        paths[place].write_bytes(spoilt[: len(spoilt) // 2] if place % 2 else b"no picture")
    out = tmp_path / "out"
    result = run_job(nanproof, "job.toml", raw, out)
    rows = result["ledger"]["rows"]
    assert (rows["read"], rows["clean"], rows["quarantined"]) == (10_000, 9_839, 161)
    aside = [
        row
        for file in (out / "quarantine").glob("*.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
    names = {row["path"] or row["_malformed"].decode() for row in aside}
    assert names == {str(paths[place].relative_to(raw)) for place in [*blank, *broken]}
    assert result["training"]["num_nonfinite"] == 0
    assert result["training"]["value"] > 0.85
