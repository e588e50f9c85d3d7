"""What the tests of arrays write and read files with."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reading import Rows, find_source, make_reading, read_source

Values = npt.NDArray[Any]


IMAGES, LABELS = "t-images-idx3-ubyte", "t-labels-idx1-ubyte"


def read_path(path: Path) -> Rows:
    return read_source(find_source(path), make_reading({}))


def read_npy(path: Path, array: Any) -> Rows:
    np.save(path / "a.npy", array)
    return read_path(path / "a.npy")


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def make_idx(shape: tuple[int, ...], data: bytes, code: int = 8) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + data


def write_idx(folder: Path, images: bytes, labels: bytes, packed: str = "") -> Path:
    for name, data in ((IMAGES, images), (LABELS, labels)):
        (folder / f"{name}{packed}").write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return folder / f"{IMAGES}{packed}"


def list_tensors(rows: Rows, name: str, dtype: str, shape: tuple[int, ...]) -> Values:
    data = b"".join(rows.carried[name])
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(-1, *shape)


def make_header(text: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text.encode()
