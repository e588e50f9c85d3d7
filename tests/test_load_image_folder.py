"""Folders of images: which files they are, and what stands for no image."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import InputError
from pipeline.load import (
    image_folder,
    images,
    list_sources,
    plan_partitions,
    read_partition,
    read_records,
)
from pipeline.load.image_folder import find_files, hash_images
from pipeline.load.opening import Location
from tests.pictures import (
    find_folder,
    list_pixels,
    make_pixels,
    png,
    read_folder,
    save,
    write_classes,
)
from tests.reading import COMMA, WHOLE, make_reading, read_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_classes(tmp_path)


def test_an_image_is_a_row_and_its_folder_the_class(folder: Path) -> None:
    rows = read_folder(folder)
    paths = ["a/0.png", "a/1.png", "a/10.png", "b/0.png", "b/1.png", "b/2.png"]
    assert rows.carried["path"] == paths
    assert rows.carried["label"] == ["a", "a", "a", "b", "b", "b"]
    assert (rows.ids, rows.lines) == ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    for path, pixels in zip(paths, list_pixels(rows), strict=True):
        expected = np.asarray(Image.open(folder / "g" / path))[:, :, None]
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("pattern", ["g", "g/", "g/*/", "g/*/*.png", "g/**/*.png", "./g/[ab]/*"])
def test_a_folder_and_its_globs_are_the_same_source(folder: Path, pattern: str) -> None:
    source, plain = find_folder(folder, pattern), find_folder(folder, "g")
    assert (source.name, source.format, source.index) == ("g", "images", 0)
    assert source == plain


def test_images_that_several_patterns_match_are_read_once(folder: Path) -> None:
    source = find_folder(folder, "g/b/", "g/a/*.png", "g", "g/a/0.png")
    assert (source.name, len(source.files)) == ("g", 6)


def test_a_glob_takes_what_it_matches_alone(folder: Path) -> None:
    (folder / "g" / "a" / "notes.txt").write_text("x\n")
    assert find_folder(folder, "g/*/0.png").files == ("a/0.png", "b/0.png")
    assert find_folder(folder, "g/a/1.png").files == ("1.png",)
    assert find_folder(folder, "g/a/").files == ("0.png", "1.png", "10.png")


@pytest.mark.parametrize(("real", "linked"), [("cats", "kitty"), ("kitty", "cats")])
def test_a_folder_with_two_names_has_the_first_one_s_class(
    tmp_path: Path, real: str, linked: str
) -> None:
    (tmp_path / "g" / real).mkdir(parents=True)
    Image.new("L", (2, 2)).save(tmp_path / "g" / real / "1.png")
    (tmp_path / "g" / linked).symlink_to(tmp_path / "g" / real)
    assert find_files(str(tmp_path / "g")) == [str(tmp_path / "g" / "cats" / "1.png")]


def test_hidden_files_and_links_that_lead_back_are_left_out(folder: Path) -> None:
    (folder / "g" / "a" / "._0.png").write_bytes(b"resource fork")
    (folder / "g" / "a" / "up").symlink_to(folder / "g")
    (folder / "outside").mkdir()
    save(folder / "outside" / "0.png", make_pixels(2, 3, 1))
    (folder / "g" / "c").symlink_to(folder / "outside")
    files = find_folder(folder, "g").files
    assert files == (*find_folder(folder, "g/[ab]/*.png").files, "c/0.png")


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    with pytest.raises(InputError, match="g is a folder that holds no image file"):
        list_sources(["g"], tmp_path, COMMA)
    with pytest.raises(InputError, match="nothing matches"):
        list_sources(["*/"], tmp_path, COMMA)


def test_the_hash_tells_a_changed_byte_and_another_name(folder: Path) -> None:
    first = find_folder(folder, "g").content_hash
    renamed = folder / "g" / "a" / "00.png"
    (folder / "g" / "a" / "0.png").rename(renamed)
    second = find_folder(folder, "g").content_hash
    renamed.write_bytes(renamed.read_bytes() + b"x")
    assert len({first, second, find_folder(folder, "g").content_hash}) == 3


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [(b"1", b"2", b"1b.png\0002"), (b"2", b"vwxyz", b"b.png\0005vwxyz")],
)
def test_the_hash_tells_where_a_file_ends(
    tmp_path: Path, first: bytes, second: bytes, both: bytes
) -> None:
    location = Location("g", str(tmp_path))
    (tmp_path / "a.png").write_bytes(first)
    (tmp_path / "b.png").write_bytes(second)
    apart = hash_images(location, ["a.png", "b.png"])
    (tmp_path / "a.png").write_bytes(both)
    assert hash_images(location, ["a.png"]) != apart


def test_partitions_hold_their_own_files_and_cover_all(folder: Path) -> None:
    source = find_folder(folder, "g")
    parts = plan_partitions([source], 9_000)  # a file counts as 4,096 bytes at least
    assert [part.files for part in parts] == [source.files[i : i + 2] for i in (0, 2, 4)]
    assert [(p.first_record, p.stop_record, p.first_row) for p in parts] == [
        (0, 2, 1),
        (2, 4, 3),
        (4, 6, 5),
    ]
    assert {part.source.files for part in parts} == {()}
    whole = read_source(source, make_reading({}))
    assert read_source(source, make_reading({}), 9_000) == whole


def test_rows_are_read_again_by_their_ids(folder: Path) -> None:
    (folder / "g" / "a" / "00.png").write_bytes(b"x")
    (part,) = plan_partitions([find_folder(folder, "g")], WHOLE)
    found = read_records(part, np.array([2, 6]), make_reading({}))
    assert found["path"].to_pylist() == ["a/1.png", "b/2.png"]
    assert found["_row"].to_pylist() == [3, 7]
    assert found["image"].to_pylist() == ["2x3x1 uint8"] * 2


def test_a_file_that_goes_away_is_an_error_and_no_row(folder: Path) -> None:
    parts = plan_partitions([find_folder(folder, "g")], WHOLE)
    (folder / "g" / "a" / "1.png").unlink()
    with pytest.raises(InputError, match=r"a/1\.png cannot be read: No such file"):
        list(read_partition(parts[0], make_reading({})))


def forbid(path: str) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", path)


def test_an_image_that_may_not_be_read_is_an_error_and_no_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = plan_partitions([find_folder(folder, "g")], WHOLE)
    monkeypatch.setattr(images, "check_regular", forbid)
    with pytest.raises(InputError, match=r"a/0\.png cannot be read: Permission denied"):
        list(read_partition(parts[0], make_reading({})))


def test_an_image_that_may_not_be_read_has_no_hash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folder, "check_regular", forbid)
    with pytest.raises(InputError, match=r"a/0\.png cannot be read: Permission denied"):
        find_folder(folder, "g")


def test_a_name_that_is_no_utf_8_is_told_with_escapes(folder: Path) -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    (folder / "g" / "a" / name).write_bytes(b"x")
    (folder / "g" / "a" / f"1{name}").write_bytes(png(make_pixels(2, 3, 1)))
    rows = read_folder(folder)
    assert "a/1\\xff.png" in rows.carried["path"]
    assert [bad.data for bad in rows.malformed] == [b"a/\xff.png"]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.png")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_below_a_file(path: Path) -> None:
    path.symlink_to("0.png/1.png")


def link_to_too_long_a_name(path: Path) -> None:
    path.symlink_to("x" * 300)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (make_pipe, "not a regular file"),
        (link_to_a_device, "not a regular file"),
        (link_to_nothing, "No such file"),
        (link_to_itself, "Too many levels"),
        (link_below_a_file, "Not a directory"),
        (link_to_too_long_a_name, "File name too long"),
    ],
)
def test_what_is_no_file_costs_its_own_row(
    folder: Path, make: Callable[[Path], None], fault: str
) -> None:
    make(folder / "g" / "a" / "00.png")
    rows = read_folder(folder)
    (bad,) = rows.malformed
    assert (bad.row, bad.data) == (2, b"a/00.png")
    assert fault in bad.detail
    assert rows.ids == [0, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("make", [make_pipe, link_to_a_device])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz", "t-images-idx3-ubyte"])
def test_a_raw_file_without_an_end_is_an_error(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / name)
    (tmp_path / "t-labels-idx1-ubyte").touch()
    with pytest.raises(InputError, match=f"{name} cannot be read: not a regular file"):
        list_sources([name], tmp_path, COMMA)


def test_files_with_other_endings_are_left_out_and_counted(folder: Path) -> None:
    for name in ("notes.txt", "a/Thumbs.db", "a/.hidden", "b/1.svg"):
        (folder / "g" / name).write_text("x")
    assert find_folder(folder, "g").left_out == 3
    assert find_folder(folder, "g/*/", "g/a").left_out == 2
    assert find_folder(folder, "g/*/*.png").left_out == 0


@pytest.mark.parametrize("name", ["{}.csv", "{}.npy", "{}.parquet", "{}/1.png"])
def test_a_name_that_is_no_utf_8_is_an_error_that_escapes_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.format(os.fsdecode(b"\xff"))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png(make_pixels(2, 2)))
    pattern = os.fsdecode(b"\xff") + "/" if "/" in name else "*.*"
    with pytest.raises(InputError, match=r"\\xff(\.\w+)?: its name is not UTF-8") as caught:
        list_sources([pattern], tmp_path, COMMA, "quarantine")
    str(caught.value).encode()


def test_images_by_url_are_refused_by_the_reason() -> None:
    with fsspec.open("memory://pictures/1.png", "wb") as remote:
        remote.write(png(make_pixels(2, 2)))
    with pytest.raises(InputError, match="images are read from local disks only"):
        list_sources(["memory://pictures/*.png"], Path(), COMMA)
