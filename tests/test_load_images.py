"""Image files: how they are decoded, what a broken one costs, and what is worked out."""

from __future__ import annotations

import errno
import hashlib
import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import xxhash
from PIL import Image

from pipeline.errors import InputError, UsageError
from pipeline.job import ImageSettings
from pipeline.load import (
    Reading,
    check_columns,
    images,
    list_sources,
    plan_partitions,
    read_partition,
)
from pipeline.load.pixels import BadImage, decode
from pipeline.schema import ColumnSchema, Schema
from tests.conftest import find_dataset
from tests.pictures import (
    Pixels,
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


def test_derived_columns_are_those_of_numpy(tmp_path: Path) -> None:
    shapes = [(4, 5, 3), (1, 1, 3), (4, 5, 1), (4, 5, 3), (7, 2, 1)]
    images = [make_pixels(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    for place, pixels in enumerate(images):
        save(tmp_path / "g" / f"{place}.png", pixels)
    carried = read_folder(tmp_path).carried
    assert carried["image"] == [pixels.tobytes() for pixels in images]
    sizes = [carried[f"image_{axis}"] for axis in ("height", "width", "channels")]
    assert list(zip(*sizes, strict=True)) == shapes
    for name in ("min", "max", "mean", "std"):
        expected = [float(getattr(np, name)(pixels)) for pixels in images]
        assert carried[f"image_{name}"] == pytest.approx(expected, rel=1e-12), name
    assert carried["image_nonfinite"] == [0] * 5
    assert carried["image_decodes"] == [True] * 5


def test_equal_pixels_alone_have_equal_digests(tmp_path: Path) -> None:
    pixels = make_pixels(2, 6, 1)
    for name, image in {"a": pixels, "b": pixels, "c": pixels.reshape(3, 4)}.items():
        save(tmp_path / "g" / f"{name}.png", image)
    save(tmp_path / "g" / "d.bmp", pixels)
    save(tmp_path / "g" / "e.png", pixels ^ (np.arange(12).reshape(2, 6) == 11))
    a, b, c, d, e = read_folder(tmp_path).carried["image_digest"]
    assert a == b == d
    assert len({a, c, e}) == 3
    assert len(bytes.fromhex(a)) == 16


def spoil(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def tiff(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


def bomb(side: int) -> bytes:
    """Return a few bytes of PNG whose header claims a square of this side."""
    return join_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
    )


def join_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


BROKEN = {
    "empty": (b"", "an empty file"),
    "text": (b"no image at all", "no image of a known format"),
    "truncated": (png(make_pixels(40, 40))[:-900], "truncated"),
    "flipped": (spoil(png(make_pixels(40, 40)), 60), "broken"),
    "bomb": (bomb(100_000), "more than 89,478,485 pixels"),
    "smaller bomb": (bomb(9_500), "more than 89,478,485 pixels"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known"),
    "floats": (tiff(np.ones((2, 3), np.float32)), "no 8-bit equal"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_image_costs_its_own_row_and_names_its_file(folder: Path, kind: str) -> None:
    data, fault = BROKEN[kind]
    (folder / "g" / "b" / "00.png").write_bytes(data)
    rows = read_folder(folder)
    (bad,) = rows.malformed
    assert (bad.row_id, bad.row, bad.data) == (4, 5, b"b/00.png")
    assert (bad.file, "00.png" in bad.detail) == ("b/00.png", False)
    assert fault in bad.detail
    assert rows.ids == [0, 1, 2, 3, 5, 6]


def test_a_folder_of_broken_images_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    for place in range(3):
        (tmp_path / "g" / f"{place}.png").write_bytes(b"x")
    source = find_folder(tmp_path, "g")
    rows = read_source(source, make_reading({"image_std": "float"}, batch_rows=1))
    assert [bad.row for bad in rows.malformed] == [1, 2, 3]
    assert rows.columns == {"image_std": []}


DEEP = np.array([[0, 255, 256], [32_768, 65_279, 65_535]], np.uint16)


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (Image.fromarray(DEEP), "a.png", [[0, 0, 1], [128, 254, 255]]),
        (Image.fromarray(DEEP), "a.tif", [[0, 0, 1], [128, 254, 255]]),
        (Image.fromarray(DEEP > 255), "a.png", [[0, 0, 255], [255, 255, 255]]),
        (Image.new("LA", (1, 1), (5, 0)), "a.png", [[5]]),
        (Image.new("RGBA", (1, 1), (5, 6, 7, 0)), "a.png", [[[5, 6, 7]]]),
        (Image.new("RGB", (1, 1), (5, 6, 7)).quantize(2), "a.png", [[[5, 6, 7]]]),
        (Image.new("RGB", (1, 1), (5, 6, 7)).quantize(2), "a.gif", [[[5, 6, 7]]]),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.jpg", [[[255, 0, 0]] * 8] * 8),
        (Image.new("RGB", (1, 1), (5, 6, 7)), "a.BMP", [[[5, 6, 7]]]),
        (Image.new("L", (1, 1), 9), "a.pgm", [[9]]),
    ],
)
def test_every_kind_of_pixel_becomes_grey_or_rgb_of_eight_bits(
    tmp_path: Path, image: Image.Image, name: str, expected: list[Any]
) -> None:
    (tmp_path / "g").mkdir()
    image.save(tmp_path / "g" / name)
    (pixels,) = list_pixels(read_folder(tmp_path))
    np.testing.assert_allclose(np.squeeze(pixels), np.squeeze(np.array(expected)), atol=1)
    assert pixels.shape[2] == (3 if np.ndim(expected) == 3 else 1)


def premultiplied(grey: int, alpha: int) -> bytes:
    """Return a TIFF of one pixel whose grey is already multiplied by its alpha."""
    file = io.BytesIO()
    Image.new("LA", (1, 1), (grey, alpha)).save(file, "TIFF")
    # The tag ExtraSamples, of one SHORT: 2 is alpha apart, 1 is premultiplied.
    return file.getvalue().replace(
        struct.pack("<HHIH", 338, 3, 1, 2), struct.pack("<HHIH", 338, 3, 1, 1)
    )


def write_tiff(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF")
    return file.getvalue()


# CIE's L* of 50 without colour is 119 in sRGB, and so is any grey of it.
LAB = write_tiff(Image.frombytes("LAB", (1, 1), b"\x80\0\0"))
PALETTE = write_tiff(Image.new("RGB", (1, 1), (9, 9, 9)).quantize(2).convert("PA"))
BIG_ENDIAN = write_tiff(Image.frombytes("I;16B", (1, 1), b"\x07\xff"))


@pytest.mark.parametrize(
    ("data", "grey", "own_channels"),
    [
        (premultiplied(50, 100), 127, 1),
        (LAB, 119, 3),
        (PALETTE, 9, 3),
        (BIG_ENDIAN, 7, 1),
        (write_tiff(Image.new("CMYK", (1, 1), (0, 0, 0, 155))), 100, 3),
        (write_tiff(Image.new("YCbCr", (1, 1), (60, 128, 128))), 60, 3),
    ],
)
def test_every_mode_becomes_the_channels_asked_for(
    data: bytes, grey: int, own_channels: int
) -> None:
    for channels in (None, 1, 3):
        pixels = decode(io.BytesIO(data), ImageSettings(channels=channels))
        assert pixels.shape == (1, 1, channels or own_channels)
        np.testing.assert_allclose(pixels, grey, atol=1)


@pytest.mark.parametrize("mode", ["I", "F"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_a_mode_without_an_8_bit_equal_is_told(mode: str, channels: Any) -> None:
    data = write_tiff(Image.new(mode, (1, 1)))
    with pytest.raises(BadImage, match=f"pixels of the mode {mode}, which have no 8-bit equal"):
        decode(io.BytesIO(data), ImageSettings(channels=channels))


def test_a_note_on_transparency_that_cannot_be_costs_nothing() -> None:
    # Of three colours, which a second header then makes grey.
    data = join_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"tRNS", bytes(6)),
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\7")),
    )
    assert decode(io.BytesIO(data), ImageSettings(channels=3)).tolist() == [[[7, 7, 7]]]


def test_a_bug_of_ours_is_no_broken_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "resize", Mock(side_effect=ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        read_folder(folder, size=(2, 2))


class BadDisk(io.BytesIO):
    """Fails from a place on."""

    def __init__(self, data: bytes, good_bytes: int) -> None:
        super().__init__(data)
        self.good_bytes = good_bytes

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.good_bytes:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("good_bytes", [0, 41])  # the header ends at 41
def test_a_disk_that_fails_is_no_broken_image(good_bytes: int) -> None:
    file = BadDisk(png(make_pixels(9, 9)), good_bytes)
    with pytest.raises(OSError, match="Input/output"):
        decode(file, ImageSettings())


def test_an_offset_where_no_file_can_be_is_the_image_s_own_fault(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II\x2b\0\x08\0\0\0" + struct.pack("<Q", 1 << 62))
    with (tmp_path / "a.tif").open("rb") as file, pytest.raises(BadImage, match="broken"):
        decode(file, ImageSettings())


def test_sixteen_bits_of_a_pgm_become_their_upper_eight(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    data = b"P5 3 2 65535\n" + DEEP.astype(">u2").tobytes()
    (tmp_path / "g" / "a.pgm").write_bytes(data)
    (pixels,) = list_pixels(read_folder(tmp_path))
    np.testing.assert_array_equal(pixels[:, :, 0], DEEP >> 8)


def test_of_an_animation_the_first_picture_counts(tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((2, 2), grey, np.uint8)) for grey in (7, 200))
    (tmp_path / "g").mkdir()
    first.save(tmp_path / "g" / "a.gif", save_all=True, append_images=[second])
    (pixels,) = list_pixels(read_folder(tmp_path))
    assert set(pixels.ravel().tolist()) == {7}


def test_the_content_decides_the_format_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "a.jpg").write_bytes(png(make_pixels(3, 2)))
    assert [p.shape for p in list_pixels(read_folder(tmp_path))] == [(3, 2, 3)]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_size_and_channels_are_settings(tmp_path: Path, channels: int, mode: str) -> None:
    save(tmp_path / "g" / "a.png", make_pixels(9, 5))
    save(tmp_path / "g" / "b.png", make_pixels(4, 4, 1))
    source = find_folder(tmp_path, "g", size=(6, 3), channels=channels)
    assert source.shapes == (("image", (6, 3, channels)),)
    for name, pixels in zip("ab", list_pixels(read_source(source, make_reading({}))), strict=True):
        image = Image.open(tmp_path / "g" / f"{name}.png").convert(mode)
        expected = np.asarray(image.resize((3, 6), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(pixels, expected.reshape(6, 3, channels))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": (0, 3)},
        {"size": (8193, 3)},
        {"size": (3, 100_000)},
        {"size": (3,)},
        {"channels": 2},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ImageSettings"):
        ImageSettings(**settings)


def test_the_size_of_the_pixels_is_guessed_from_headers(tmp_path: Path) -> None:
    for place in range(200):
        save(tmp_path / "g" / f"{place:03d}.png", np.zeros((30, 20, 3), np.uint8))
    (tmp_path / "g" / "000.png").write_bytes(b"x")
    assert find_folder(tmp_path, "g").plain_bytes == 200 * 30 * 20 * 3
    assert find_folder(tmp_path, "g", size=(4, 5), channels=1).plain_bytes == 200 * 20


def test_the_headers_looked_at_are_those_of_the_lowest_hashes_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = {f"{place}.png": 2**place for place in range(8)}  # every sample has its own sum
    for name, width in widths.items():
        save(tmp_path / "g" / name, np.zeros((1, width, 3), np.uint8))
    monkeypatch.setattr(images, "SAMPLE_FILES", 4)
    sample = sorted(widths, key=lambda name: xxhash.xxh3_64(name.encode()).intdigest())[:4]
    expected = sum(widths[name] for name in sample) * 3 * 8 // 4
    assert find_folder(tmp_path, "g").plain_bytes == expected


def test_batches_are_cut_by_the_bytes_of_pixels(tmp_path: Path) -> None:
    for place in range(5):
        save(tmp_path / "g" / f"{place}.png", np.full((1500, 1000, 3), place, np.uint8))
    (part,) = plan_partitions([find_folder(tmp_path, "g")], WHOLE)
    batches = list(read_partition(part, make_reading({})))
    assert [len(batch) for batch in batches] == [1, 1, 1, 1, 1]
    assert [batch.row_ids[0] for batch in batches] == [0, 1, 2, 3, 4]


def test_the_schema_s_columns_are_read_and_the_tensor_is_carried_whatever_it_says(
    folder: Path,
) -> None:
    columns = (ColumnSchema("label", "string", ""), ColumnSchema("image_mean", "float", ""))
    schema = Schema("filter", columns, strict=True, filters=True)
    source = find_folder(folder, "g")
    check_columns(source.table, schema)
    (part,) = plan_partitions([source], WHOLE)
    (batch,) = read_partition(part, Reading(schema, filters=True))
    assert set(batch.carried.column_names) == source.worked_out - {"image_mean"}
    assert list(batch.columns) == ["label", "image_mean"]
    assert batch.columns["label"].values.to_pylist() == ["a", "a", "a", "b", "b", "b"]


def test_a_schema_cannot_name_the_tensor_itself(folder: Path) -> None:
    schema = Schema("s", (ColumnSchema("image", "float", ""),))
    with pytest.raises(InputError, match="tensor<uint8>"):
        check_columns(find_folder(folder, "g").table, schema)


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UsageError, match="Pillow") as caught:
        list_sources(["g"], folder, COMMA, "quarantine")
    assert "nanproof[images]" in str(caught.value)


def test_ten_thousand_pictures_of_letters_come_through_as_files(tmp_path: Path) -> None:
    import gzip

    raw = gzip.decompress(
        (find_dataset("notmnist_idx") / "t10k-images-idx3-ubyte.gz").read_bytes()
    )[16:]
    images = np.frombuffer(raw, np.uint8).reshape(-1, 28, 28)[:500]
    for place, pixels in enumerate(images):
        save(tmp_path / "g" / str(place % 10) / f"{place:04d}.png", pixels)
    rows = read_folder(tmp_path)
    order = sorted(range(500), key=lambda place: (place % 10, place))
    found = [hashlib.sha256(data).digest() for data in rows.carried["image"]]
    assert found == [hashlib.sha256(images[place].tobytes()).digest() for place in order]
    assert rows.carried["label"] == [str(place % 10) for place in order]


@pytest.mark.parametrize("step", [2, 4, 5])
def test_the_guess_meets_the_photo_beside_every_few_thumbnails(tmp_path: Path, step: int) -> None:
    photo, thumbnail = (png(np.zeros((side, side), np.uint8)) for side in (100, 10))
    (tmp_path / "g").mkdir()
    for place in range(1000):
        data = photo if place % step == 1 else thumbnail
        (tmp_path / "g" / f"{place:04d}.png").write_bytes(data)
    true = 1000 * (10_000 + 100 * (step - 1)) / step * 3
    assert find_folder(tmp_path, "g").plain_bytes == pytest.approx(true, rel=0.25)
