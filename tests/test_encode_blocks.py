"""Block shards: cut as the spec says, every byte of them accounted for."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrow import binaries
from pipeline.errors import ShardError
from pipeline.manifest import Feature, Label, Spec
from pipeline.write import decode_shard, write_shard
from pipeline.write.decode import decode_examples

SPEC = Spec(
    features=(
        Feature(name="x", kind="float", dtype="float32"),
        Feature(name="n", kind="int", dtype="int64"),
        Feature(name="image", kind="tensor", dtype="float32", shape=(2,), stored="uint16"),
    ),
    label=Label(name="y", kind="float", task="regression"),
    weight="w",
    training_dtype="float32",
    layout="block",
    block_rows=4,
)


def rows_of(num_rows: int) -> dict[str, Any]:
    rows = np.arange(num_rows)
    return {
        "x": (rows / 4).astype(np.float32),
        "n": rows - 3,
        "image": binaries([struct.pack("<2H", row, 7 * row) for row in range(num_rows)]),
        "y": (rows * 2).astype(np.float32),
        "w": np.ones(num_rows, np.float32),
        "row_id": rows << 40,
    }


def write(path: Path, spec: Spec, examples: dict[str, Any]) -> Path:
    table = pa.table({"row_id": examples["row_id"]})
    write_shard(path / "s", table, examples, ("tfrecord",), spec)
    return path / "s.tfrecord"


def as_lists(columns: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        name: values.to_pylist() if isinstance(values, pa.Array) else values.reshape(-1).tolist()
        for name, values in columns.items()
    }


def read(path: Path, spec: Spec) -> dict[str, list[Any]]:
    parts = [as_lists(columns) for columns in decode_shard(path, spec)]
    return {name: [cell for part in parts for cell in part[name]] for name in parts[0]}


@pytest.mark.parametrize("layout", ["row", "block"])
@pytest.mark.parametrize("num_rows", [1, 3, 4, 5, 8, 23])
def test_rows_come_back_whatever_the_layout(tmp_path: Path, layout: str, num_rows: int) -> None:
    spec = SPEC.model_copy(update={"layout": layout})
    examples = rows_of(num_rows)
    path = write(tmp_path, spec, examples)
    assert read(path, spec) == as_lists(examples)


def test_an_example_is_one_byte_string_a_feature_of_block_rows_rows(tmp_path: Path) -> None:
    (blocks,) = decode_examples(write(tmp_path, SPEC, rows_of(6)))
    assert set(blocks) == {"x", "n", "image", "y", "w", "row_id"}
    assert blocks["x"].to_pylist() == [
        struct.pack("<4f", 0, 0.25, 0.5, 0.75),
        struct.pack("<2f", 1, 1.25),
    ]
    assert blocks["n"].to_pylist() == [struct.pack("<4q", -3, -2, -1, 0), struct.pack("<2q", 1, 2)]
    assert blocks["image"].to_pylist()[1] == struct.pack("<4H", 4, 28, 5, 35)


def test_blocks_in_many_stretches_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, SPEC, rows_of(43))
    monkeypatch.setattr("pipeline.write.decode.STRETCH_BYTES", 300)
    assert len(list(decode_shard(path, SPEC))) > 3
    assert read(path, SPEC) == as_lists(rows_of(43))


def test_every_flipped_byte_is_found_in_a_block_shard(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC, rows_of(6))
    whole = path.read_bytes()
    for place in range(len(whole)):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        path.write_bytes(spoiled)
        with pytest.raises(ShardError):
            list(decode_shard(path, SPEC))


OTHER = {
    "blocks of another size": {"block_rows": 5},
    "blocks that are not full": {"block_rows": 8},
    "another shape": {"features": (*SPEC.features[:2], SPEC.features[2].model_copy(update={"shape": (3,)}))},
    "another dtype": {"features": (SPEC.features[0], SPEC.features[0].model_copy(update={"name": "n"}), SPEC.features[2])},
    "a feature less": {"features": SPEC.features[1:]},
}  # fmt: skip


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_a_shard_of_another_spec_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write(tmp_path, SPEC, rows_of(12))
    with pytest.raises(ShardError, match=r"s\.tfrecord: not as it was written"):
        list(decode_shard(path, SPEC.model_copy(update=change)))


def test_a_row_shard_is_no_block_shard(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC.model_copy(update={"layout": "row"}), rows_of(4))
    with pytest.raises(ShardError, match="'x' is no block"):
        list(decode_shard(path, SPEC))


def test_two_shards_are_no_shard_if_the_first_ends_within_a_block(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC, rows_of(3))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ShardError, match="a block has not 4 rows"):
        list(decode_shard(path, SPEC))


def test_a_block_that_is_not_full_is_the_last_however_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, SPEC, rows_of(3))
    path.write_bytes(path.read_bytes() * 2)
    monkeypatch.setattr("pipeline.write.decode.STRETCH_BYTES", 1)
    with pytest.raises(ShardError, match="a block follows one that is not full"):
        list(decode_shard(path, SPEC))


def test_a_single_block_is_no_longer_than_the_spec_says(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC.model_copy(update={"block_rows": 8}), rows_of(6))
    with pytest.raises(ShardError, match="a block has not 4 rows"):
        list(decode_shard(path, SPEC))


def test_a_block_is_whole_rows(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC, rows_of(1) | {"image": binaries([b"five!"])})
    with pytest.raises(ShardError, match="'image' has a block of another length"):
        list(decode_shard(path, SPEC))


def test_byte_strings_of_several_lengths_make_no_block(tmp_path: Path) -> None:
    examples = rows_of(2) | {"image": binaries([b"abcd", b"efg"])}
    with pytest.raises(ShardError, match="column 'image': byte strings of several lengths"):
        write(tmp_path, SPEC, examples)


@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(st.binary(max_size=300), st.integers(-9, 2**63 - 1)), min_size=1),
    names=st.lists(st.text(max_size=200), min_size=2, max_size=2, unique=True),
)
def test_ragged_byte_strings_are_read_back(
    rows: list[tuple[bytes, int]], names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    blobs, ints = zip(*rows, strict=True)
    first, second = names
    examples = {first: binaries(blobs), second: np.array(ints), "row_id": binaries(blobs[::-1])}
    path = tmp_path_factory.mktemp("shard")
    spec = SPEC.model_copy(update={"layout": "row"})
    write_shard(path / "s", pa.table({"n": ints}), examples, ("tfrecord",), spec)
    if "row_id" not in names:
        assert read(path / "s.tfrecord", spec) == as_lists(examples)


def test_every_flipped_byte_is_found_beside_ragged_byte_strings(tmp_path: Path) -> None:
    examples = {
        "a": binaries([b"", b"x" * 130, b"yy"]), "n": np.array([1, -1, 300]),
        "b": binaries([b"12", b"", b"3"]), "row_id": np.arange(3),
    }  # fmt: skip
    path = write(tmp_path, SPEC.model_copy(update={"layout": "row"}), examples)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for change in (0x80, 0x01):
            spoiled = bytearray(whole)
            spoiled[place] ^= change
            path.write_bytes(spoiled)
            with pytest.raises(ShardError):
                list(decode_examples(path))
