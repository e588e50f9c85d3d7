"""Images and labels in IDX files, as MNIST has them: two files, one the other's companion.

The format is that of http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import PurePosixPath
from typing import IO

import numpy as np

from pipeline.errors import InputError
from pipeline.load.array import Array, read_exactly, refuse

IMAGES = re.compile(r"images(?P<mark>[-.])idx[34]-ubyte(?P<packed>\.gz)?$")
LABELS = re.compile(r"labels(?P<mark>[-.])idx1-ubyte(?P<packed>\.gz)?$")
# The third byte of a file.
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def is_idx(name: str) -> bool:
    """Tell whether a file is one of images, by its name."""
    return IMAGES.search(name) is not None


def is_idx_labels(name: str) -> bool:
    """Tell whether a file is a companion, by its name."""
    return LABELS.search(name) is not None


def name_companions(path: str) -> tuple[str, str]:
    """Return the names that the labels of a file of images may have.

    Example:
        >>> name_companions("raw/t10k-images-idx3-ubyte.gz")
        ('raw/t10k-labels-idx1-ubyte.gz', 'raw/t10k-labels-idx1-ubyte')
    """
    found = IMAGES.search(path)
    if found is None:
        raise ValueError(path)
    plain = f"{path[: found.start()]}labels{found['mark']}idx1-ubyte"
    packed = f"{plain}.gz"
    return (packed, plain) if found["packed"] else (plain, packed)


def missing_companion(what: str) -> InputError:
    """Return the error on images without labels."""
    wanted = " or ".join(PurePosixPath(name).name for name in name_companions(what))
    return InputError(
        f"{what}: its labels are not beside it.",
        expected=wanted,
        got="no such file",
        fix="put the file of labels into the same folder.",
        file=what,
    )


def read_idx_header(file: IO[bytes], name: str, what: str) -> Array:
    """Read the header of a file; afterwards it stands at its first value.

    Images without an axis for channels get one.

    Raises:
        InputError: It is no IDX file.
    """
    beginning = read_exactly(file, 4, what)
    zeros, code, num_axes = struct.unpack(">HBB", beginning)
    if zeros or code not in TYPES or not num_axes:
        raise refuse(what, "does not begin as an IDX file does")
    data = read_exactly(file, 4 * num_axes, what)
    shape = struct.unpack(f">{num_axes}I", data)
    start = len(beginning) + len(data)
    shape = (*shape, 1) if len(shape) == 3 else shape
    wanted = 1 if is_idx_labels(what) else 4
    if len(shape) != wanted or math.prod(shape[1:]) == 0:
        raise refuse(what, f"is an IDX file of the shape {shape}")
    return Array(name, np.dtype(TYPES[code]), shape, start, what=what)
