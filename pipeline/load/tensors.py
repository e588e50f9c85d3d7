"""Arrays of one row each, such as images: their bytes, and the numbers a schema can judge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from pipeline.arrow import positions_array, strings, to_arrow

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# How the type of a tensor column is spelled among a file's types; no Arrow type starts so.
TENSOR = "tensor"
# The most that one row may hold: Pillow's own limit for an image of three bytes a pixel.
MAX_ROW_BYTES = 256 << 20
# Statistics are worked out in float64; so many values at a time keep that at 8 MiB.
PIECE_VALUES = 1 << 20


def list_derived(name: str, shape: Sequence[int]) -> dict[str, str]:
    """Return the columns that tell of a tensor, by name, and their Arrow types.

    Args:
        name: The tensor's name.
        shape: Of one row; `(height, width)` and `(height, width, channels)` are images.
    """
    sizes = ("height", "width", "channels") if len(shape) in (2, 3) else ("size",)
    types = {"shape": "string", **dict.fromkeys(sizes, "int64")}
    types |= dict.fromkeys(("min", "max", "mean", "std"), "double")
    types |= {"nonfinite": "int64", "digest": "string"}
    return {f"{name}_{what}": type_ for what, type_ in types.items()}


def tensor_type(dtype: np.dtype[Any]) -> str:
    """Return a tensor column's type, for a file's list of types; booleans are kept as uint8."""
    return f"{TENSOR}<{'uint8' if dtype.kind == 'b' else dtype.name}>"


def tensor_columns(name: str, tensors: Values) -> dict[str, pa.Array]:
    """Return the columns of tensors of one shape.

    Args:
        name: The tensor's name.
        tensors: `(rows, …)` of booleans, integers or floats.

    Returns:
        `name`, an Arrow binary array `(rows,)` of each row's bytes, little-endian and C-ordered;
        and what `list_derived` names: the shape, such as "28x28x1"; height, width and channels of
        an image (1 without such an axis), else the size; minimum, maximum, mean and standard
        deviation of the finite values (NaN where there is none; a deviation of exactly 0 where
        all are equal); how many are not finite; and a hash of 128 bits over dtype, shape and
        values.
    """
    shape = tensors.shape[1:]
    # A byte of a boolean that is neither 0 nor 1 is true, and nobody's value.
    numbers = (tensors.view(np.uint8) != 0).view(np.uint8) if tensors.dtype == bool else tensors
    plain = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))
    flat = plain.reshape(len(plain), math.prod(shape))
    sizes = (*shape, 1)[:3] if len(shape) in (2, 3) else (math.prod(shape),)
    spelled = "x".join(map(str, sizes if len(shape) in (2, 3) else shape))
    derived: list[pa.Array] = [strings([spelled] * len(flat))]
    derived += [to_arrow(np.full(len(flat), size, np.int64)) for size in sizes]
    low, high, mean, std, nonfinite = measure(flat)
    derived += map(to_arrow, (low, high, mean, std, nonfinite))
    kind = f"{'x'.join(map(str, shape))} {plain.dtype.name}:".encode()
    derived.append(strings([_digest(kind, row) for row in flat]))
    return {name: _wrap_rows(flat), **dict(zip(list_derived(name, shape), derived, strict=True))}


def mixed_columns(name: str, tensors: Sequence[Values], num_axes: int) -> dict[str, pa.Array]:
    """Return the same columns of tensors of different shapes, one tensor a row.

    Args:
        name: The tensors' name.
        tensors: Each of `num_axes` axes, and all of one dtype.
        num_axes: Counts where there is no tensor at all.
    """
    if not tensors:
        return tensor_columns(name, np.zeros((0, *[1] * num_axes), np.uint8))
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, tensor in enumerate(tensors):
        groups.setdefault(tensor.shape, []).append(place)
    parts = [
        tensor_columns(name, np.stack([tensors[place] for place in places]))
        for places in groups.values()
    ]
    if len(parts) == 1:
        return parts[0]
    back = np.argsort(np.concatenate([np.array(places) for places in groups.values()]))
    return {
        column: pa.concat_arrays([part[column] for part in parts]).take(positions_array(back))
        for column in parts[0]
    }


def describe_tensors(columns: Mapping[str, pa.Array], name: str, dtype: str) -> pa.Array:
    """Return what stands for a tensor's cells where cells are text, such as "28x28x1 uint8"."""
    return strings([f"{shape} {dtype}" for shape in columns[f"{name}_shape"].to_pylist()])


def _wrap_rows(flat: Values) -> pa.Array:
    offsets = np.arange(len(flat) + 1, dtype=np.int32) * np.int32(flat[:1].nbytes)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(flat))]
    return pa.Array.from_buffers(pa.binary(), len(flat), buffers)


def _digest(kind: bytes, row: Values) -> str:
    digest = xxhash.xxh3_128(kind)
    digest.update(row.view(np.uint8).data)
    return digest.hexdigest()


def measure(flat: Values) -> tuple[Floats, Floats, Floats, Floats, npt.NDArray[np.int64]]:
    """Return each row's minimum, maximum, mean, deviation and number of values not finite.

    Args:
        flat: `(rows, values)`, at least one value a row.
    """
    low, high, mean, std = (np.full(len(flat), np.nan) for _ in range(4))
    nonfinite = np.zeros(len(flat), np.int64)
    rows = max(1, PIECE_VALUES // flat.shape[1])
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        # The squares of float64's largest values are infinite, and so is then the deviation.
        with np.errstate(over="ignore", invalid="ignore"):
            found = _measure_part(flat[part])
        low[part], high[part], mean[part], std[part], nonfinite[part] = found
    return low, high, mean, std, nonfinite


def _measure_part(flat: Values) -> tuple[Values, ...]:
    low, high = np.full(len(flat), np.inf), np.full(len(flat), -np.inf)
    total, squares = np.zeros(len(flat)), np.zeros(len(flat))
    count = np.zeros(len(flat), np.int64)
    for piece, finite in _pieces(flat):
        count += piece.shape[1] if finite is True else finite.sum(axis=1)
        low = np.minimum(low, piece.min(axis=1, where=finite, initial=np.inf))
        high = np.maximum(high, piece.max(axis=1, where=finite, initial=-np.inf))
        total += piece.sum(axis=1, where=finite)
    mean = total / np.maximum(count, 1)
    for piece, finite in _pieces(flat):
        piece -= mean[:, None]
        squares += np.square(piece, out=piece).sum(axis=1, where=finite)
    std = np.sqrt(squares / np.maximum(count, 1))
    constant = low == high  # by rounding, the sum of equal values need not divide evenly
    mean, std = np.where(constant, low, mean), np.where(constant, 0.0, std)
    found = [np.where(count > 0, numbers, np.nan) for numbers in (low, high, mean, std)]
    return *found, flat.shape[1] - count


def _pieces(flat: Values) -> Iterator[tuple[Floats, Any]]:
    """Yield stretches of the rows, each with what of it is finite: True where all of it is."""
    for start in range(0, flat.shape[1], PIECE_VALUES):
        piece = flat[:, start : start + PIECE_VALUES]
        floats = piece.astype(np.float64)
        finite = flat.dtype.kind != "f" or np.isfinite(floats)
        yield floats, True if np.all(finite) else finite
