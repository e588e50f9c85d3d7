"""What is written is what is read back, by us and by others, and nothing foreign passes for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.arrow import strings
from pipeline.errors import EnvironmentFailure, ShardError
from pipeline.manifest import Label, Spec
from pipeline.write import nest_reasons, source_names, write_parquet, write_repairs, write_shard
from pipeline.write.crc32c import checksum_changes, crc32c, masked
from pipeline.write.decode import decode_examples
from pipeline.write.files import HashingFile
from pipeline.write.tfrecord import encode_examples

SPEC = Spec(
    features=(),
    label=Label(name="y", kind="int", task="classification", classes=(0, 1)),
    training_dtype="float32",
    layout="row",
    block_rows=1024,
)


def encode(examples: dict[str, Any]) -> bytes:
    return b"".join(chunk.tobytes() for chunk in encode_examples(examples))


def decode(path: Path, data: bytes) -> dict[str, list[Any]]:
    path.write_bytes(data)
    (columns,) = decode_examples(path)
    return {name: values.tolist() for name, values in columns.items()}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def nested(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def record(data: bytes) -> bytes:
    """Frame a record as record_writer.h does."""
    length = len(data).to_bytes(8, "little")
    checks = masked(np.array([crc32c(length), crc32c(data)], np.uint32)).astype("<u4")
    return length + checks[:1].tobytes() + data + checks[1:].tobytes()


def one_feature(number: int, values: bytes) -> bytes:
    """Serialize one feature "n" of that list: 1 bytes, 2 floats, 3 ints."""
    return nested(1, nested(1, nested(1, b"n") + nested(2, nested(number, values))))


def example(name: str, values: list[int]) -> bytes:
    """Serialize one int64 feature as protobuf itself does, varints as short as can be."""
    packed = nested(1, b"".join(varint(value % 2**64) for value in values))
    return nested(1, nested(1, nested(1, name.encode()) + nested(2, nested(3, packed))))


@pytest.mark.parametrize(
    "values", [[0], [127], [128], [300], [-1], [2**63 - 1], [-(2**63)], [1, 2, 3]]
)
def test_one_row_has_the_bytes_that_protobuf_gives_it(values: list[int]) -> None:
    if len(values) == 1:
        assert encode({"n": np.array(values)}) == record(example("n", values))
    else:
        assert encode({"n": np.array([values])}) == record(example("n", values))


def test_floats_are_packed_little_endian_in_the_order_given() -> None:
    floats = np.array([[1.5, -0.0]], np.float32)
    entry = nested(1, b"x") + nested(2, nested(2, nested(1, floats.astype("<f4").tobytes())))
    assert encode({"x": floats}) == record(nested(1, nested(1, entry)))


def test_a_column_of_mixed_widths_is_padded_to_its_widest(tmp_path: Path) -> None:
    data = encode({"n": np.array([1, 300, -1])})
    assert len(data) % 3 == 0
    assert b"\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00" in data
    assert decode(tmp_path / "s", data) == {"n": [[1], [300], [-1]]}


def test_nothing_is_written_of_no_rows_and_nothing_read(tmp_path: Path) -> None:
    assert encode({"n": np.zeros(0, np.int64)}) == b""
    (tmp_path / "s").write_bytes(b"")
    assert list(decode_examples(tmp_path / "s")) == []


FOREIGN = {
    "varints of several widths": record(example("n", [5, 300])),
    "another order of widths": record(example("n", [300, 5])),
    "two layouts": encode({"n": np.array([1])}) + encode({"m": np.array([1])}),
    "two lengths": encode({"n": np.array([1])}) + encode({"n": np.array([300])}),
    "no feature": record(b""),
    "no example": record(b"hello"),
    "a feature without a value": record(nested(1, nested(1, nested(1, b"n")))),
    "a varint of eleven bytes": record(
        nested(1, nested(1, nested(1, b"n") + nested(2, nested(3, nested(1, b"\x80" * 10 + b"\0")))))
    ),
    "a varint beyond 64 bits": record(
        nested(1, nested(1, nested(1, b"n") + nested(2, nested(3, nested(1, b"\x80" * 9 + b"\x7f")))))
    ),
    "two byte strings in one": record(one_feature(1, nested(1, b"x") * 2)),
    "byte strings of two widths": record(one_feature(1, nested(1, b"x")))
    + record(one_feature(1, nested(1, b"x" * 200))),
    "a length of six bytes": record(one_feature(1, b"\x0a\x81\x80\x80\x80\x80\0x")),
    "a feature twice": record(nested(1, one_feature(1, nested(1, b"x"))[2:] * 2)),
    "a gap": encode({"n": np.array([1])}) + b"\0" + encode({"n": np.array([1])}),
    "zeros": bytes(64),
}  # fmt: skip


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_what_we_would_not_have_written_is_no_shard(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ShardError, match=r"s\.tfrecord: record \d"):
        decode(tmp_path / "s.tfrecord", data)


def test_every_flipped_byte_is_found_in_a_shard_of_several_values(tmp_path: Path) -> None:
    rows = {"n": np.array([[5, 300], [-1, 0]]), "x": np.array([[1.0, 2.0, 3.0]] * 2, np.float32)}
    data = encode(rows)
    for place in range(len(data)):
        for change in (0x80, 0x01, 0xFF):
            spoiled = bytearray(data)
            spoiled[place] ^= change
            with pytest.raises(ShardError):
                decode(tmp_path / "s", bytes(spoiled))


def test_two_exchanged_records_of_one_layout_are_still_sound(tmp_path: Path) -> None:
    data = encode({"n": np.array([1, 2])})
    half = len(data) // 2
    assert decode(tmp_path / "s", data[half:] + data[:half]) == {"n": [[2], [1]]}


@pytest.mark.parametrize("width", [1, 2, 3, 8])
@pytest.mark.parametrize("distance", [8, 9, 300])
def test_a_checksum_is_changed_as_if_it_were_made_anew(width: int, distance: int) -> None:
    blank = bytes(range(1, width + 1))
    cells = np.random.default_rng(width).integers(0, 256, (5, width)).astype(np.uint8)
    text = b"head" + blank + b"t" * (distance - width)
    checks = np.full(5, crc32c(text), np.uint32)
    checks ^= checksum_changes(cells ^ np.frombuffer(blank, np.uint8), distance)
    tail = text[4 + width :]
    assert checks.tolist() == [crc32c(b"head" + row.tobytes() + tail) for row in cells]


def test_parquet_is_read_by_pandas_as_it_was(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"f": [1.5, -0.0, 3e38], "n": [1, 2**62, -1], "s": ["a", "ü", ""], "b": [True, False, True]}
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    file = write_parquet(
        tmp_path / "deep" / "t.parquet", table, relative_to=tmp_path, metadata={"k": "v"}
    )
    path = tmp_path / file.path
    assert file.path == "deep/t.parquet"
    assert (file.bytes, file.sha256) == (
        path.stat().st_size,
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    assert pq.read_metadata(path).metadata[b"nanproof.k"] == b"v"


def test_parquet_holds_nulls_lists_and_no_rows(tmp_path: Path) -> None:
    table = pa.table({"l": pa.array([[1], None, []], pa.list_(pa.int64())), "n": pa.nulls(3)})
    for part in (table, table.slice(0, 0)):
        write_parquet(tmp_path / "t.parquet", part, relative_to=tmp_path)
        assert pq.read_table(tmp_path / "t.parquet").to_pylist() == part.to_pylist()


def test_row_groups_are_bounded_in_rows_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.write.parquet.ROW_GROUP_ROWS", 7)
    monkeypatch.setattr("pipeline.write.parquet.ROW_GROUP_BYTES", 10_000)
    images = pa.table({"image": [bytes(1_000)] * 25, "n": range(25)})
    small = pa.table({"n": range(25)})
    huge = pa.table({"image": [bytes(30_000)] * 3})
    for table, rows in ((small, [7, 7, 7, 4]), (images, [7, 7, 7, 4]), (huge, [1, 1, 1])):
        write_parquet(tmp_path / "t", table, relative_to=tmp_path)
        found = pq.read_metadata(tmp_path / "t")
        groups = [found.row_group(index) for index in range(found.num_row_groups)]
        assert [group.num_rows for group in groups] == rows
        assert pq.read_table(tmp_path / "t").equals(table)


def test_tensors_get_neither_dictionary_nor_statistics(tmp_path: Path) -> None:
    table = pa.table({"image": [b"abc"] * 9, "s": ["abc"] * 9})
    write_parquet(tmp_path / "t", table, relative_to=tmp_path)
    image, text = (pq.read_metadata(tmp_path / "t").row_group(0).column(i) for i in (0, 1))
    assert (image.has_dictionary_page, image.statistics) == (False, None)
    assert text.has_dictionary_page
    assert text.statistics.min == "abc"


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_parquet_is_read_by_others_as_it_was(tmp_path: Path, engine: str) -> None:
    library = pytest.importorskip(engine)
    table = pa.table(
        {"image": [b"\0a", b""], "x": pa.array([1.5, -0.0], pa.float32()), "s": ["ü", None]}
    )
    file = write_parquet(
        tmp_path / "t.parquet", table, relative_to=tmp_path, metadata={"spec": "{}"}
    )
    path = str(tmp_path / file.path)
    if engine == "polars":
        found = library.read_parquet(path).to_dicts()
    else:
        rows = library.read_parquet(path)
        found = [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]
    assert found == table.to_pylist()


def test_the_same_table_is_the_same_bytes(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, 2.0], "s": ["a", "b"]})
    first, second = (
        write_parquet(tmp_path / name, table, relative_to=tmp_path) for name in ("a", "b")
    )
    assert first.sha256 == second.sha256


def test_a_shard_is_the_same_rows_in_both_formats(tmp_path: Path) -> None:
    table = pa.table({"row_id": [3, 4], "x": [1.0, 2.0]})
    examples = {"x": np.array([1.0, 2.0], np.float32), "row_id": np.array([3, 4])}
    shard = write_shard(tmp_path / "part-0", table, examples, ("parquet", "tfrecord"), SPEC)
    assert shard.parquet is not None
    assert shard.tfrecord is not None
    assert (shard.rows, shard.parquet.path, shard.tfrecord.path) == (
        2, "part-0.parquet", "part-0.tfrecord",
    )  # fmt: skip
    (columns,) = decode_examples(tmp_path / "part-0.tfrecord")
    written = pq.read_table(tmp_path / "part-0.parquet")
    assert columns["row_id"][:, 0].tolist() == written["row_id"].to_pylist()
    assert Spec.model_validate_json(written.schema.metadata[b"nanproof.spec"]) == SPEC


@pytest.mark.parametrize("formats", [("parquet",), ("tfrecord",)])
def test_only_the_formats_asked_for_are_written(tmp_path: Path, formats: tuple[str, ...]) -> None:
    examples = {"row_id": np.array([3])}
    shard = write_shard(tmp_path / "p", pa.table({"row_id": [3]}), examples, formats, SPEC)
    assert [path.suffix for path in tmp_path.iterdir()] == ["." + formats[0]]
    assert (shard.parquet is None, shard.tfrecord is None) == (
        formats == ("tfrecord",),
        formats == ("parquet",),
    )


def fail_halfway(path: Path) -> NoReturn:
    with HashingFile(path) as file:
        file.write(b"new")
        raise ZeroDivisionError


def test_a_file_whose_writing_fails_is_not_there_and_the_old_one_is(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        fail_halfway(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("s.bin", b"old")]


def test_a_folder_that_cannot_be_made_is_the_environment_s_failure(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    table = pa.table({"x": [1]})
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        write_parquet(tmp_path / "taken" / "t.parquet", table, relative_to=tmp_path)


def test_repairs_are_sorted_by_row_and_name_their_source(tmp_path: Path) -> None:
    row_ids = np.array([(1 << 40) | 4, 7, 2])
    changes = [
        ("wind", np.array([0, 1]), ["nan", "fill"], strings(["nan", None]), strings(["1.5", "2.0"])),
        ("rain", np.array([1, 2]), ["le,ne", "inf"], strings(["9", "inf"]), strings(["0", "3"])),
    ]  # fmt: skip
    path = tmp_path / "repairs.parquet"
    file = write_repairs(path, row_ids, np.array([6, 9, 4]), changes, ["a.csv", "b.csv"])
    assert file.path == "repairs.parquet"
    rows = [tuple(row.values()) for row in pq.read_table(path).to_pylist()]
    assert pq.read_schema(path).names == ["row_id", "source", "row", "column", "old", "new", "rule"]
    assert rows == [
        (2, "a.csv", 4, "rain", "inf", "3", "inf"),
        (7, "a.csv", 9, "wind", None, "2.0", "fill"),
        (7, "a.csv", 9, "rain", "9", "0", "le,ne"),
        ((1 << 40) | 4, "b.csv", 6, "wind", "nan", "1.5", "nan"),
    ]


def test_a_row_id_leads_to_its_source() -> None:
    ids = np.array([5, (2 << 40) | 1, 1 << 40])
    assert source_names(ids, ["a", "b", "c"]).to_pylist() == ["a", "c", "b"]


def test_reasons_are_nested_under_their_rows_in_the_order_given() -> None:
    reasons = pa.table(
        {
            "row_id": [9, 2, 9, 5],
            "column": ["a", None, "b", "c"],
            "rule": ["nan", "malformed", "le", "type"],
            "value": ["nan", "3 fields", None, "x"],
        }
    )
    assert nest_reasons(np.array([2, 5, 9]), reasons).to_pylist() == [
        [{"column": None, "rule": "malformed", "value": "3 fields"}],
        [{"column": "c", "rule": "type", "value": "x"}],
        [
            {"column": "a", "rule": "nan", "value": "nan"},
            {"column": "b", "rule": "le", "value": None},
        ],
    ]
