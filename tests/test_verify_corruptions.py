"""Whatever happens to a published dataset's files, verify tells, and never crashes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from pipeline import verify_dataset
from pipeline.errors import PipelineError
from tests.spoiling import append, flip, overwrite, publish_small, sign, spoil, truncate


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_small(tmp_path_factory.mktemp("corruptions") / "job")


def exit_code_of(out: Path, deep: bool) -> int:
    """Return the command's exit code; what is no error of ours goes through."""
    try:
        return 0 if verify_dataset(out, deep=deep).passed else 1
    except PipelineError as error:
        return error.exit_code


def find_missed(published: Path, folder: Path, seeds: range) -> list[str]:
    missed = []
    for seed in seeds:
        out = folder / str(seed) / "out"
        shutil.copytree(published, out)
        told = spoil(out, seed)
        try:
            code = exit_code_of(out, deep=seed % 2 == 0)
        except Exception as error:
            code = 70
            told += f": {type(error).__name__}: {error}"
        if code not in (1, 2):
            missed.append(f"{told}: exit {code}")
        shutil.rmtree(folder / str(seed))
    return missed


def test_a_dataset_as_published_passes(published: Path) -> None:
    assert exit_code_of(published, deep=False) == exit_code_of(published, deep=True) == 0


def test_150_random_corruptions_are_found(published: Path, tmp_path: Path) -> None:
    assert find_missed(published, tmp_path, range(150)) == []


@pytest.mark.slow
def test_1000_random_corruptions_are_found(published: Path, tmp_path: Path) -> None:
    assert find_missed(published, tmp_path, range(1000, 2000)) == []


@pytest.mark.parametrize("num_tries", [30, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["tfrecord", "parquet"])
def test_damage_that_was_signed_is_no_crash_and_most_of_it_is_found(
    published: Path, tmp_path: Path, num_tries: int, suffix: str
) -> None:
    pick = random.Random(num_tries)
    found = 0
    for _ in range(num_tries):
        out = shutil.copytree(published, tmp_path / "out")
        path = pick.choice(sorted(out.rglob(f"*.{suffix}")))
        damage = pick.choice([flip, flip, overwrite, truncate, append])
        told = damage(out, path, pick)
        sign(out)
        try:
            found += exit_code_of(out, deep=True)
        except Exception as error:
            raise AssertionError(f"{damage.__name__} {path.name} {told}") from error
        shutil.rmtree(out)
    # A TFRecord has checksums of its own; in Parquet much is statistics and names that none needs.
    assert found == num_tries if suffix == "tfrecord" else found > 0.5 * num_tries
