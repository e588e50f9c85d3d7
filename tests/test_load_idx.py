"""Images and labels in IDX: what they hold, and files that lie or are cut off."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.load import (
    Source,
    list_sources,
)
from tests.arrays import (
    IMAGES,
    LABELS,
    Values,
    list_tensors,
    make_idx,
    read_path,
    write_idx,
)
from tests.conftest import find_dataset
from tests.reading import COMMA, find_source, make_reading, read_source

PIXELS = bytes(range(24))


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_images_in_idx_have_the_labels_of_their_companion(tmp_path: Path, packed: str) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), b"\7\0\1\7"), packed)
    rows = read_source(find_source(path), make_reading({"label": "int"}))
    assert rows.columns == {"label": [7, 0, 1, 7]}
    assert rows.carried["image"] == [PIXELS[i : i + 6] for i in range(0, 24, 6)]
    sizes = [rows.carried[f"image_{axis}"] for axis in ("height", "width", "channels")]
    assert sizes == [[3] * 4, [2] * 4, [1] * 4]
    assert find_source(path).shapes == (("image", (3, 2, 1)),)


@pytest.mark.parametrize("code", [9, 11, 12, 13, 14])
def test_idx_holds_wider_numbers_big_endian(tmp_path: Path, code: int) -> None:
    dtype = {9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[code]
    array = np.arange(-12, 12).reshape(4, 3, 2).astype(dtype)
    path = write_idx(tmp_path, make_idx((4, 3, 2), array.tobytes(), code), make_idx((4,), bytes(4)))
    rows = read_path(path)
    np.testing.assert_array_equal(list_tensors(rows, "image", array.dtype.name, (3, 2)), array)


def test_a_pattern_may_match_the_labels_as_well(tmp_path: Path) -> None:
    write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)), ".gz")
    (source,) = list_sources(["*.gz"], tmp_path, COMMA)
    assert source.name == f"{IMAGES}.gz"


def test_the_companion_may_be_packed_where_the_images_are_not(tmp_path: Path) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), b"\1\2\3\4"))
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress((tmp_path / LABELS).read_bytes()))
    (tmp_path / LABELS).unlink()
    assert read_path(path).carried["label"] == [1, 2, 3, 4]


def test_the_hash_covers_the_labels(tmp_path: Path) -> None:
    images = make_idx((4, 3, 2), PIXELS)
    first = find_source(write_idx(tmp_path, images, make_idx((4,), bytes(4))))
    second = find_source(write_idx(tmp_path, images, make_idx((4,), b"\1\0\0\0")))
    assert first.content_hash != second.content_hash


@pytest.mark.parametrize(
    ("images", "labels", "fault"),
    [
        (make_idx((4, 3, 2), PIXELS), make_idx((5,), bytes(5)), "'image' has 4, 'label' has 5"),
        (make_idx((4, 3, 2), PIXELS[:-1]), make_idx((4,), bytes(4)), "images|early"),
        (make_idx((4, 3, 2), PIXELS + b"x"), make_idx((4,), bytes(4)), "its header says"),
        (make_idx((1 << 31, 3, 2), PIXELS), make_idx((1 << 31,), bytes(4)), "its header says"),
        (make_idx((4, 3, 2), PIXELS), make_idx((4, 1), bytes(4)), "is an IDX file of the shape"),
        (make_idx((4, 6), PIXELS), make_idx((4,), bytes(4)), "is an IDX file of the shape"),
        (make_idx((4, 3, 2), PIXELS, 10), make_idx((4,), bytes(4)), "does not begin as"),
        (b"\x89PNG", make_idx((4,), bytes(4)), "does not begin as"),
        (make_idx((4, 3, 2), b"")[:9], make_idx((4,), bytes(4)), "ends too early"),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_idx_that_lies_is_refused(
    tmp_path: Path, images: bytes, labels: bytes, fault: str, packed: str
) -> None:
    path = write_idx(tmp_path, images, labels, packed)
    with pytest.raises(InputError, match=fault) as caught:
        read_path(path)
    assert "-ubyte" in caught.value.message


@pytest.mark.parametrize("which", [IMAGES, LABELS])
def test_gzip_that_is_cut_off_or_flipped_is_an_error(tmp_path: Path, which: str) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)), ".gz")
    file = tmp_path / f"{which}.gz"
    whole = file.read_bytes()
    for spoilt in (whole[:-1], whole[:-9], whole[:-6] + b"\xff" + whole[-5:]):
        file.write_bytes(spoilt)
        with pytest.raises(InputError, match=which):
            read_path(path)


def test_images_without_labels_and_labels_alone_are_errors(tmp_path: Path) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)))
    with pytest.raises(InputError, match="labels"):
        find_source(tmp_path / LABELS)
    (tmp_path / LABELS).unlink()
    with pytest.raises(InputError, match="its labels are not beside it") as caught:
        find_source(path)
    assert LABELS in str(caught.value)


def find_letters() -> tuple[Source, Values, Values]:
    folder = find_dataset("notmnist_idx")
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    images, labels = (gzip.decompress((folder / name).read_bytes()) for name in names)
    (source,) = list_sources([names[0]], folder, COMMA)
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return source, pixels, np.frombuffer(labels, np.uint8, offset=8)


def test_ten_thousand_pictures_of_letters_are_those_in_the_file() -> None:
    source, pixels, labels = find_letters()
    rows = read_source(source, make_reading({"label": "int", "image_std": "float"}))
    assert rows.carried["image"] == [picture.tobytes() for picture in pixels]
    assert rows.columns["label"] == labels.tolist()
    blank = pixels.reshape(len(pixels), -1).std(axis=1) == 0
    assert np.array_equal(np.array(rows.columns["image_std"]) == 0, blank)
    assert (len(pixels), int(blank.sum()), set(labels.tolist())) == (10_000, 141, set(range(10)))
    num_distinct = len({picture.tobytes() for picture in pixels})
    assert len(set(rows.carried["image_digest"])) == num_distinct


def test_labels_without_an_end_are_an_error(tmp_path: Path) -> None:
    path = write_idx(tmp_path, make_idx((4, 3, 2), PIXELS), make_idx((4,), bytes(4)))
    (tmp_path / LABELS).unlink()
    (tmp_path / LABELS).symlink_to("/dev/zero")
    with pytest.raises(InputError, match=f"{LABELS} cannot be read: not a regular file"):
        find_source(path)
