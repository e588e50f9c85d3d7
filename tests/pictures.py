"""What the tests of image files write and read folders with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.job import ImageSettings
from pipeline.load import (
    Source,
    list_sources,
)
from tests.reading import COMMA, Rows, make_reading, read_source

Pixels = npt.NDArray[Any]


def make_pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path: Path, pixels: Pixels, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def find_folder(folder: Path, *patterns: str, **settings: Any) -> Source:
    (source,) = list_sources(patterns, folder, COMMA, image_settings=ImageSettings(**settings))
    return source


def read_folder(folder: Path, pattern: str = "g", **settings: Any) -> Rows:
    return read_source(find_folder(folder, pattern, **settings), make_reading({}))


def list_pixels(rows: Rows) -> list[Pixels]:
    axes = ("image_height", "image_width", "image_channels")
    shapes = zip(*(rows.carried[axis] for axis in axes), strict=True)
    return [
        np.frombuffer(data, np.uint8).reshape(shape)
        for data, shape in zip(rows.carried["image"], shapes, strict=True)
    ]


def write_classes(folder: Path) -> Path:
    """Write a folder "g" of two classes with three grey images each."""
    for place, name in enumerate(["b/2", "a/1", "b/1", "a/0", "a/10", "b/0"]):
        save(folder / "g" / f"{name}.png", make_pixels(2, 3, 1, seed=place))
    return folder
