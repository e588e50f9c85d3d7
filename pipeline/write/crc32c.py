"""CRC-32C (Castagnoli) of many records: by a C library, or by tables where few bytes vary.

The checksum is linear over GF(2): a record's is the template's, changed by what each byte that
differs adds to it. What a byte adds depends on its distance from the end alone: a look-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import google_crc32c
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

# tensorflow/core/lib/hash/crc32c.h
MASK_DELTA = 0xA282EAD8
POLYNOMIAL = 0x82F63B78  # reflected


def masked(checks: Words) -> Words:
    """Return checksums as TFRecord stores them."""
    rotated = (checks >> np.uint32(15)) | (checks << np.uint32(17))
    return rotated + np.uint32(MASK_DELTA)


def crc32c(data: bytes) -> int:
    """Return the checksum of one text."""
    return int(google_crc32c.value(data))


def crc32c_each(records: Iterable[Bytes | bytes]) -> Words:
    """Return the checksum of each record, `(records,)`."""
    return np.fromiter(map(google_crc32c.value, records), np.uint32)


def checksum_changes(changes: Bytes, distance: int) -> Words:
    """Return `(rows,)` what to xor to a checksum of the template.

    Args:
        changes: `(rows, width)` the bits in which neighbouring bytes differ from the template's.
        distance: From the first of them to the end of the record; 1 is the last byte.
    """
    width = changes.shape[1]
    tables = np.arange(0, 256 * width, 256)[:, None]
    places = np.add(changes.T, tables, order="C")
    return np.bitwise_xor.reduce(_change_tables(distance, width).take(places), axis=0)


# 1 KiB a byte; less than 28 MiB, since no layout that is checked so varies in more than 112.
@lru_cache(maxsize=256)
def _change_tables(distance: int, width: int) -> Words:
    """Return `(width * 256,)`: what each value of each byte adds."""
    effects = _effects_within(1 << distance.bit_length())[distance - width : distance][::-1]
    tables = np.zeros((width, 256), np.uint32)
    for bit in range(8):
        tables[:, 1 << bit : 2 << bit] = tables[:, : 1 << bit] ^ effects[:, bit : bit + 1]
    return tables.reshape(-1)


@lru_cache(maxsize=8)
def _effects_within(limit: int) -> Words:
    """Return `(limit, 8)`: what each bit of a byte adds, for bytes 1 to `limit` from the end."""
    effects = np.zeros((limit, 8), np.uint32)
    effects[0] = [_shifted(1 << bit) for bit in range(8)]
    bytes_ = np.array([_shifted(byte) for byte in range(256)], np.uint32)
    for place in range(1, limit):
        before = effects[place - 1]
        effects[place] = bytes_[before & np.uint32(0xFF)] ^ before >> np.uint32(8)
    return effects


def _shifted(byte: int) -> int:
    """Return what is left of a byte after its eight bits are shifted out."""
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte
