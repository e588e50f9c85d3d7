"""CRC-32C (Castagnoli), of one text and of many records that differ in a few columns.

The checksum is linear over GF(2): a record's is the template's, changed by what each two bytes
that differ add to it. What they add depends on their distance from the end alone, so it is a
table look-up, and the same for all rows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

# tensorflow/core/lib/hash/crc32c.h
MASK_DELTA = 0xA282EAD8


def masked(checks: Words) -> Words:
    """Return checksums as TFRecord stores them."""
    rotated = (checks >> np.uint32(15)) | (checks << np.uint32(17))
    return rotated + np.uint32(MASK_DELTA)


def _byte_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _byte_table()


@lru_cache(maxsize=64)
def crc32c(data: bytes) -> int:
    """Return the checksum of a short text."""
    check = 0xFFFFFFFF
    for byte in data:
        check = _TABLE[(check ^ byte) & 0xFF] ^ check >> 8
    return check ^ 0xFFFFFFFF


def add_changes(checks: Words, cells: Bytes, blank: Bytes, distance: int) -> None:
    """Add to checksums what it changes that some bytes are `cells` and not `blank`.

    Args:
        checks: `(rows,)`; changed in place.
        cells: `(rows, bytes)`, neighbours in the record.
        blank: `(bytes,)` what stands there in the template.
        distance: From the first of them to the end of the record; 1 is the last byte.
    """
    width = cells.shape[1]
    for place in range(0, width - 1, 2):
        pair = cells[:, place] | cells[:, place + 1].astype(np.uint16) << 8
        change = pair ^ (int(blank[place]) | int(blank[place + 1]) << 8)
        checks ^= _pair_table(distance - place)[change]
    if width % 2:
        change = (cells[:, -1] ^ blank[-1]).astype(np.uint16)
        checks ^= _pair_table(distance - width + 1)[change]


# A table is 256 KiB; a shard of 200 floats needs 400.
@lru_cache(maxsize=1024)
def _pair_table(distance: int) -> Words:
    """Return `(65536,)`: what two bytes add, the first of them `distance` before the end."""
    effects = _effects_within(1 << distance.bit_length())
    bits = [*effects[distance - 1], *(effects[distance - 2] if distance > 1 else ())]
    table = np.zeros(1 << 16, np.uint32)
    for bit, effect in enumerate(bits):
        table[1 << bit : 2 << bit] = table[: 1 << bit] ^ np.uint32(effect)
    return table


@lru_cache(maxsize=64)
def _effects_within(limit: int) -> tuple[tuple[int, ...], ...]:
    """Return what each bit of a byte adds, for bytes 1 to `limit` from the end."""
    effects = [tuple(_TABLE[1 << bit] for bit in range(8))]
    for _ in range(limit - 1):
        effects.append(tuple(_TABLE[effect & 0xFF] ^ effect >> 8 for effect in effects[-1]))
    return tuple(effects)
