"""The image files of a folder to batches."""

from __future__ import annotations

import heapq
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.arrow import strings, to_arrow
from pipeline.batch import Batch, Malformed
from pipeline.load.arrays import BATCH_BYTES
from pipeline.load.image_folder import hash_images, refuse_unreadable
from pipeline.load.opening import check_regular, escape_path
from pipeline.load.pixels import (
    MAX_PIXELS,
    PILLOW_FORMATS,
    BadImage,
    Pixels,
    decode,
    require_pillow,
)
from pipeline.load.reading import Reading
from pipeline.load.source import Source
from pipeline.load.tensors import list_derived, mixed_columns, tensor_type
from pipeline.load.typed_batch import make_batch

# So many headers tell how large images are on average.
SAMPLE_FILES = 256


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
            detail=fault,
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
        refuse_unreadable(source.location, file, error)
        raise BadImage(f"cannot be read: {error.strerror or error}") from None
