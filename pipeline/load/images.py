"""Image files to batches, decoded by Pillow to 8 bits a channel."""

from __future__ import annotations

import heapq
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from pipeline.arrow import strings, to_arrow
from pipeline.batch import Batch, Malformed
from pipeline.errors import UsageError
from pipeline.job import ImageSettings
from pipeline.load.arrays import BATCH_BYTES
from pipeline.load.image_folder import hash_images, refuse_missing
from pipeline.load.opening import check_regular, escape_path
from pipeline.load.reading import Reading
from pipeline.load.source import Source
from pipeline.load.tensors import MAX_ROW_BYTES, list_derived, mixed_columns, tensor_type
from pipeline.load.typed_batch import make_batch

Pixels = npt.NDArray[np.uint8]

# By content, whatever the name says; others of Pillow's run programs, or are documents.
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
# So many headers tell how large images are on average.
SAMPLE_FILES = 256
MAX_PIXELS = MAX_ROW_BYTES // 3
GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
DEEP_GREY_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


class BadImage(Exception):
    """A file that is no image that can be read, and why."""


def require_pillow() -> None:
    """Look for Pillow.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import PIL.Image  # noqa: F401 -- for whom has images
    except ImportError:
        raise UsageError(
            "image files are read by Pillow, which is not installed.",
            fix='install the extra: pip install "nanproof[images]".',
        ) from None


def add_images(source: Source) -> Source:
    """Add a folder's columns, and its hash.

    Raises:
        InputError: A file is there no more.
    """
    types = {"image": tensor_type(np.dtype(np.uint8)), "label": "string", "path": "string"}
    types |= {**list_derived("image", (1, 1, 1)), "image_decodes": "bool"}
    size, channels = source.images.size, source.images.channels
    return replace(
        source,
        columns=tuple(types),
        types=tuple(types.items()),
        tensors=(("image", "uint8"),),
        shapes=(("image", (*size, channels)),) if size and channels else (),
        plain_bytes=_guess_bytes(source),
        content_hash=hash_images(source.location, source.files),
    )


def _guess_bytes(source: Source) -> int:
    """Return about how many bytes all pixels are, by the headers of some images."""
    from PIL import Image

    channels = source.images.channels or 3
    if source.images.size is not None:
        return math.prod(source.images.size) * channels * len(source.files)
    # By a hash and not by place: every other file may be the thumbnail of the one before.
    sample = heapq.nsmallest(SAMPLE_FILES, source.files, key=_hash_name)
    num_pixels = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in sample:
            path = os.path.join(source.location.url, file)
            with suppress(Exception):  # what is wrong with it is told when it is decoded
                check_regular(path)
                with Image.open(path, "r", PILLOW_FORMATS) as image:
                    num_pixels.append(min(image.width * image.height, MAX_PIXELS))
    mean = sum(num_pixels) / max(1, len(num_pixels))
    return int(mean * channels * len(source.files))


def _hash_name(file: str) -> int:
    return xxhash.xxh3_64_intdigest(os.fsencode(file))


def read_batches(
    source: Source, files: Sequence[str], first: int, reading: Reading
) -> Iterator[Batch]:
    """Yield images, in batches of about `BATCH_BYTES` of pixels.

    Args:
        source: The folder.
        files: Their paths below it.
        first: The number of the first, from 0.
        reading: The settings.

    Raises:
        UsageError: Pillow is not installed.
        InputError: A file is there no more.
    """
    require_pillow()
    start = 0
    while start < len(files):
        pixels, faults = _decode_some(source, files, range(start, start + reading.batch_rows))
        yield _make_batch(source, files, first, pixels, faults, reading)
        start += len(pixels) + len(faults)


def _decode_some(
    source: Source, files: Sequence[str], places: range
) -> tuple[dict[int, Pixels], dict[int, str]]:
    """Decode files until the pixels fill a batch; return those, and what is wrong with others."""
    pixels: dict[int, Pixels] = {}
    faults: dict[int, str] = {}
    size = 0
    with warnings.catch_warnings():
        # Pillow warns of what it reads all the same; of pixels we count more than it allows.
        warnings.simplefilter("ignore")
        for place in places[: len(files) - places.start]:
            try:
                pixels[place] = _read_file(source, files[place])
                size += pixels[place].nbytes
            except BadImage as error:
                faults[place] = str(error)
            if size >= BATCH_BYTES:
                break
    return pixels, faults


def _make_batch(
    source: Source,
    files: Sequence[str],
    first: int,
    pixels: dict[int, Pixels],
    faults: dict[int, str],
    reading: Reading,
) -> Batch:
    derived = mixed_columns("image", list(pixels.values()), num_axes=3)
    arrays: dict[str, pa.Array] = {
        "image": derived.pop("image"),
        "label": strings([name_class(source, files[place]) for place in pixels]),
        "path": strings([escape_path(files[place]) for place in pixels]),
        **derived,
        "image_decodes": to_arrow(np.ones(len(pixels), bool)),
    }
    malformed = tuple(
        Malformed(
            row_id=source.first_id + first + place,
            row=first + place + 1,
            data=os.fsencode(files[place]),
            detail=f"{escape_path(files[place])}: {fault}",
            file=escape_path(files[place]),
        )
        for place, fault in faults.items()
    )
    records = np.array(list(pixels), np.int64) + first
    return make_batch(source, arrays, records, reading, malformed)


def name_class(source: Source, file: str) -> str:
    """Return the name of the folder that holds an image."""
    folder = os.path.dirname(os.path.join(source.location.url, file))
    return escape_path(os.path.basename(folder))


def _read_file(source: Source, file: str) -> Pixels:
    path = os.path.join(source.location.url, file)
    try:
        check_regular(path)
        if os.path.getsize(path) == 0:
            raise BadImage("an empty file")
        with open(path, "rb") as opened:
            return decode(opened, source.images)
    except OSError as error:
        refuse_missing(source.location, file, error)
        raise BadImage(f"cannot be read: {error.strerror or error}") from None


def decode(file: Any, settings: ImageSettings) -> Pixels:
    """Decode the first picture of a file.

    Alpha is dropped, not blended; a palette, CMYK and other colours become RGB, and 16 bits
    become their upper 8. An orientation that a camera has noted is left as a note.

    Returns:
        `(height, width, channels)`, of the size and the channels that the settings name.

    Raises:
        BadImage: It cannot be decoded, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=PILLOW_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f"more than {MAX_PIXELS:,} pixels")
            if not image.width * image.height:
                raise BadImage("no pixel")
            image.load()
            return _convert(image, settings)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("no image of a known format") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MAX_PIXELS:,} pixels") from None
    # Pillow's decoders raise nearly anything, MemoryError too, on bytes made to break them.
    except Exception as error:
        cut = "truncated" in str(error)
        fault = "truncated" if cut else f"broken: {type(error).__name__} while decoding"
        raise BadImage(fault) from None


def _convert(image: Any, settings: ImageSettings) -> Pixels:
    from PIL import Image

    deep = image.mode in DEEP_GREY_MODES or (image.mode, image.format) == ("I", "PPM")
    if deep:
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode not in (*GREY_MODES, *COLOUR_MODES):
        raise BadImage(f"pixels of the mode {image.mode}, which have no 8-bit equal")
    grey = image.mode in GREY_MODES if settings.channels is None else settings.channels == 1
    mode = "L" if grey else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if settings.size is not None:
        height, width = settings.size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    return pixels[:, :, None] if grey else pixels
