"""The pixels of one image file, decoded by Pillow to 8 bits a channel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError
from pipeline.job import ImageSettings
from pipeline.load.faults import BAD_SEEK
from pipeline.load.tensors import MAX_ROW_BYTES

Pixels = npt.NDArray[np.uint8]

# By content, whatever the name says; others of Pillow's run programs, or are documents.
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = MAX_ROW_BYTES // 3
GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
DEEP_GREY_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# Pillow converts these to nothing else, or to colours alone.
FIRST_TO = {"La": "LA", "LAB": "RGB"}


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


def decode(file: Any, settings: ImageSettings) -> Pixels:
    """Decode the first picture of a file.

    Alpha is dropped, not blended; a palette, CMYK and other colours become RGB, and 16 bits
    become their upper 8. An orientation that a camera has noted is left as a note.

    Returns:
        `(height, width, channels)`, of the size and the channels that the settings name.

    Raises:
        BadImage: It cannot be decoded, has too many pixels, or such that are no 8 bits.
        OSError: The file cannot be read; whether it holds an image is not known.
    """
    from PIL import Image

    with _decoding():
        image = Image.open(file, formats=PILLOW_FORMATS)
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise BadImage(f"more than {MAX_PIXELS:,} pixels")
        if not image.width * image.height:
            raise BadImage("no pixel")
        with _decoding():
            image.load()
        return _convert(image, settings)


@contextmanager
def _decoding() -> Iterator[None]:
    """Make a BadImage of what Pillow raises on the bytes of a file."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise BadImage("no image of a known format") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MAX_PIXELS:,} pixels") from None
    # Pillow's decoders raise nearly anything, MemoryError too, on bytes made to break them.
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, *BAD_SEEK):
            raise
        cut = "truncated" in str(error)
        fault = "truncated" if cut else f"broken: {type(error).__name__} while decoding"
        raise BadImage(fault) from None


def _convert(image: Any, settings: ImageSettings) -> Pixels:
    from PIL import Image

    # Pillow looks at it while it converts, though alpha is dropped, and a broken file notes any.
    image.info.pop("transparency", None)
    image = _cut_depth(image)
    grey = image.mode in GREY_MODES if settings.channels is None else settings.channels == 1
    for mode in (FIRST_TO.get(image.mode, image.mode), "L" if grey else "RGB"):
        image = image if image.mode == mode else image.convert(mode)
    if settings.size is not None:
        height, width = settings.size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    return pixels[:, :, None] if grey else pixels


def _cut_depth(image: Any) -> Any:
    """Cut 16 bits of grey to their upper 8.

    Raises:
        BadImage: The pixels are of a mode that has neither 8 bits nor 16.
    """
    from PIL import Image

    if image.mode in DEEP_GREY_MODES or (image.mode, image.format) == ("I", "PPM"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode not in (*GREY_MODES, *COLOUR_MODES):
        raise BadImage(f"pixels of the mode {image.mode}, which have no 8-bit equal")
    return image
