"""TFRecord shards: every byte accounted for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ShardError
from pipeline.write.crc32c import crc32c, masked
from pipeline.write.decode import decode_examples
from pipeline.write.tfrecord import encode_examples

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32)


def write(path: Path, examples: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(chunk.tobytes() for chunk in encode_examples(examples)))
    return path


def small() -> dict[str, Any]:
    return {
        "x": np.array([1.5, -2.0, 0.0], np.float32),
        "n": np.array([1, -1, 300]),
        "row_id": np.array([0, 1, 2**41]),
    }


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(FLOAT32, INT64, st.integers(0, 300)), min_size=1, max_size=9))
def test_what_is_written_is_read_back_bit_for_bit(rows: Any, tmp_path_factory: Any) -> None:
    floats, ints, small_ints = (np.array(column) for column in zip(*rows, strict=True))
    examples = {
        "a": floats.astype(np.float32), "n" * 200: ints.astype(np.int64), "ü": small_ints,
        "pair": np.stack([floats, -floats], axis=1).astype(np.float32),
    }  # fmt: skip
    path = write(tmp_path_factory.mktemp("shard") / "s.tfrecord", examples)
    (read,) = decode_examples(path)
    for name, values in examples.items():
        assert read[name].tobytes() == values.tobytes()


def test_more_rows_than_a_chunk_come_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tfrecord", {"n": np.arange(10_000)})
    read = np.concatenate([part["n"] for part in decode_examples(path)])
    assert read[:, 0].tolist() == list(range(10_000))


@pytest.mark.parametrize(
    ("text", "check"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"", 0)],
)
def test_the_checksum_is_that_of_rfc_3720(text: bytes, check: int) -> None:
    assert crc32c(text) == check


def test_checksums_are_masked_as_tensorflow_does() -> None:
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    expected = (rotated + 0xA282EAD8) & 0xFFFFFFFF
    assert masked(np.array([0xE3069283], np.uint32)).tolist() == [expected]


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tfrecord", small())
    whole = path.read_bytes()
    for place in range(len(whole)):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << (place % 8)
        path.write_bytes(spoiled)
        with pytest.raises(ShardError):
            list(decode_examples(path))


@pytest.mark.parametrize("length", [1, 11, 12, 40, 100])
def test_a_shard_that_is_cut_short_is_found(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "s.tfrecord", small())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ShardError, match="cut short"):
        list(decode_examples(path))


@pytest.mark.parametrize("stretch_bytes", [1, 13, 200, 1000])
def test_records_are_found_however_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch_bytes: int
) -> None:
    monkeypatch.setattr("pipeline.write.decode.STRETCH_BYTES", stretch_bytes)
    path = write(tmp_path / "s.tfrecord", {"n": np.arange(40), "x": np.ones(40, np.float32)})
    parts = list(decode_examples(path))
    assert np.concatenate([part["n"] for part in parts])[:, 0].tolist() == list(range(40))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"record 39 .* cut short"):
        list(decode_examples(path))


def test_lists_without_a_value_are_read_back(tmp_path: Path) -> None:
    examples = {"i": np.zeros((3, 0), np.int64), "x": np.zeros((3, 0), np.float32)}
    path = write(tmp_path / "s.tfrecord", examples | {"n": np.arange(3)})
    (read,) = decode_examples(path)
    assert (read["i"].shape, read["x"].shape) == ((3, 0), (3, 0))
    assert read["n"][:, 0].tolist() == [0, 1, 2]


def test_a_length_without_an_end_is_told_at_once(tmp_path: Path) -> None:
    record = b"\n" + b"\xff" * 300_000
    path = tmp_path / "s.tfrecord"
    path.write_bytes(len(record).to_bytes(8, "little") + bytes(4) + record + bytes(4))
    start = time.process_time()
    with pytest.raises(ShardError, match=r"no tf\.train\.Example of ours"):
        list(decode_examples(path))
    assert time.process_time() - start < 1


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.tfrecord"
    path.write_bytes(b"PAR1" * 100)
    with pytest.raises(ShardError, match=r"s\.tfrecord"):
        list(decode_examples(path))
