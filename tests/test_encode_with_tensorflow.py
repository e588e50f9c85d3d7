"""Arrow tables as TFRecord: TensorFlow reads what its own Example would have said."""

from __future__ import annotations

import datetime as dt
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ShardError
from pipeline.manifest import Feature, Label, Spec
from pipeline.write import write_examples, write_shard

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FLOATS = st.floats(width=32)
TIMES = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
ZONED = TIMES.map(lambda time: time.replace(tzinfo=dt.UTC))
WORDS = st.one_of(st.just(""), st.text(max_size=20), st.text("aé", min_size=120, max_size=300))
BLOBS = st.one_of(st.binary(max_size=9), st.integers(100, 20_000).map(bytes))


def ints(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    high = min(high, 2**63 - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([low, high, 0, 1]))


def micros(time: dt.date) -> list[int]:
    if not isinstance(time, dt.datetime):
        time = dt.datetime(time.year, time.month, time.day)
    return [(time.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)]


def one(value: Any) -> list[Any]:
    return [value]


def text(value: str) -> list[bytes]:
    return [value.encode()]


# Arrow type, its values, the list of an Example that holds them, and one value as that list.
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any], str, Any]] = [
    (pa.float16(), st.floats(width=16).map(np.float16), "float", one),
    (pa.float32(), FLOATS, "float", one),
    (pa.float64(), st.one_of(FLOATS, st.floats(-1e30, 1e30)), "float", lambda v: [np.float32(v)]),
    *((pa.int8(), ints(8), "int64", one), (pa.int16(), ints(16), "int64", one)),
    *((pa.int32(), ints(32), "int64", one), (pa.int64(), ints(64), "int64", one)),
    (pa.uint8(), ints(8, signed=False), "int64", one),
    (pa.uint16(), ints(16, signed=False), "int64", one),
    (pa.uint32(), ints(32, signed=False), "int64", one),
    (pa.uint64(), ints(64, signed=False), "int64", one),
    (pa.int64(), st.integers(0, 300), "int64", one),
    (pa.bool_(), st.booleans(), "int64", lambda v: [int(v)]),
    (pa.timestamp("us"), TIMES, "int64", micros),
    (pa.timestamp("ns", "Europe/Berlin"), ZONED, "int64", micros),
    (pa.timestamp("s"), TIMES.map(lambda t: t.replace(microsecond=0)), "int64", micros),
    *((pa.date32(), st.dates(), "int64", micros), (pa.date64(), st.dates(), "int64", micros)),
    *((pa.string(), WORDS, "bytes", text), (pa.large_string(), WORDS, "bytes", text)),
    *((pa.string_view(), WORDS, "bytes", text), (pa.binary(), BLOBS, "bytes", one)),
    *((pa.large_binary(), BLOBS, "bytes", one), (pa.binary_view(), BLOBS, "bytes", one)),
    (pa.binary(3), st.binary(min_size=3, max_size=3), "bytes", one),
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "", "ü" * 99]), "bytes", text),
    (pa.dictionary(pa.int32(), pa.int64()), ints(64), "int64", one),
    (pa.list_(pa.float32(), 3), st.lists(FLOATS, min_size=3, max_size=3), "float", list),
    (pa.list_(pa.int8(), 2), st.lists(ints(8), min_size=2, max_size=2), "int64", list),
    (
        pa.list_(pa.bool_(), 2),
        st.tuples(st.booleans(), st.booleans()),
        "int64",
        lambda v: [*map(int, v)],
    ),
]
LISTS = {"float": tf.train.FloatList, "int64": tf.train.Int64List, "bytes": tf.train.BytesList}
DTYPES = {"float": tf.float32, "int64": tf.int64, "bytes": tf.string}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, dict[str, tuple[str, list[list[Any]]]]]:
    """Draw a table, and what each column's rows are in an Example."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
    names = st.lists(st.text(max_size=9), min_size=len(kinds), max_size=len(kinds), unique=True)
    num_rows = draw(st.integers(0, 6))
    columns, expected = {}, {}
    for name, (type_, values, kind, as_list) in zip(draw(names), kinds, strict=True):
        rows = draw(st.lists(values, min_size=num_rows + 2, max_size=num_rows + 2))
        # A slice: its offset is not 0.
        columns[name] = pa.array(rows, type_).slice(1, num_rows)
        expected[name] = kind, [as_list(row) for row in rows[1:-1]]
    table = pa.table(columns)
    cut = draw(st.integers(0, num_rows))
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)]), expected


@settings(deadline=None, max_examples=60)
@given(drawn=tables())
def test_any_table_is_what_tensorflow_s_own_examples_say(
    drawn: tuple[pa.Table, dict[str, tuple[str, list[list[Any]]]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    table, expected = drawn
    path = tmp_path_factory.mktemp("tables") / "t.tfrecord"
    write_examples(path, table, allow_nonfinite=True)
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert len(records) == table.num_rows
    for index, record in enumerate(records):
        features = {
            name: tf.train.Feature(**{f"{kind}_list": LISTS[kind](value=rows[index])})
            for name, (kind, rows) in expected.items()
        }
        ours = tf.train.Example.FromString(record)
        theirs = tf.train.Example(features=tf.train.Features(feature=features))
        assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
            deterministic=True
        )
    if records:
        check_parsed(records, expected)


def check_parsed(records: list[bytes], expected: dict[str, tuple[str, list[list[Any]]]]) -> None:
    """Hold what the vectorised parser gives, and that of single Examples, against the rows."""
    features = {
        name: tf.io.FixedLenFeature([len(rows[0])], DTYPES[kind])
        for name, (kind, rows) in expected.items()
    }
    parsed = tf.io.parse_example(records, features)
    single = tf.io.parse_single_example(records[0], features)
    for name, (kind, rows) in expected.items():
        found = parsed[name].numpy()
        assert single[name].numpy().tolist() == found[0].tolist() or kind == "float"
        if kind == "float":
            assert found.tobytes() == np.array(rows, np.float32).tobytes()
        else:
            assert found.tolist() == rows


def test_byte_strings_of_any_length_stand_beside_each_other(tmp_path: Path) -> None:
    lengths = [0, 1, 127, 128, 5_000_000, 0, 16_383, 16_384, 3]
    blobs = [bytes([index]) * length for index, length in enumerate(lengths)]
    table = pa.table({"a": blobs, "n": range(9), "b": blobs[::-1]})
    write_examples(tmp_path / "t", table, allow_nonfinite=True)
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in "ab"}
    records = list(tf.data.TFRecordDataset(str(tmp_path / "t")))
    parsed = tf.io.parse_example(records, features)
    assert parsed["a"].numpy().tolist() == blobs
    assert parsed["b"].numpy().tolist() == blobs[::-1]


# Where a record's length, or one within it, takes a byte more.
@pytest.mark.parametrize("around", [110, 16_370])
def test_lengths_are_as_wide_as_the_longest_record_needs(tmp_path: Path, around: int) -> None:
    for length in range(around - 25, around + 20):
        texts = ["x" * length, ""]
        write_examples(tmp_path / "t", pa.table({"s": texts}))
        records = list(tf.data.TFRecordDataset(str(tmp_path / "t")).as_numpy_iterator())
        found = [tf.train.Example.FromString(record).features.feature["s"] for record in records]
        assert [feature.bytes_list.value[0].decode() for feature in found] == texts
        assert len(records[0]) - len(records[1]) == length


# Among them numbers alone, whose checksums are made in another way than those of few columns.
@pytest.mark.parametrize("with_words", [True, False])
def test_hundreds_of_columns_and_more_rows_than_a_chunk_come_in_order(
    tmp_path: Path, with_words: bool
) -> None:
    rows = np.arange(9_000)
    table = pa.table({f"column {i}": (rows * i).astype(np.float32) for i in range(300)})
    if with_words:
        table = table.append_column("word", pa.array([f"word {row}" for row in rows]))
    reader = table.to_reader(max_chunksize=2_000)
    write_examples(tmp_path / "t", reader)
    features = {"column 7": tf.io.FixedLenFeature([], tf.float32)}
    if with_words:
        features["word"] = tf.io.FixedLenFeature([], tf.string)
    (batch,) = tf.data.TFRecordDataset(str(tmp_path / "t")).batch(len(rows))
    parsed = tf.io.parse_example(batch, features)
    assert parsed["column 7"].numpy().tolist() == (rows * 7.0).tolist()
    if with_words:
        assert parsed["word"].numpy()[[0, 8_999]].tolist() == [b"word 0", b"word 8999"]


def test_tensors_of_a_fixed_shape_are_lists_of_their_values(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    for name, array in (("whole", column), ("cut", column.slice(1, 2))):
        write_examples(tmp_path / name, pa.table({"t": array}))
        (batch,) = tf.data.TFRecordDataset(str(tmp_path / name)).batch(9)
        parsed = tf.io.parse_example(batch, {"t": tf.io.FixedLenFeature([2, 3], tf.float32)})
        assert parsed["t"].numpy().tolist() == (values if name == "whole" else values[1:3]).tolist()


@pytest.mark.parametrize("num_rows", [1, 5, 8, 11])
def test_a_block_is_read_by_decode_raw(tmp_path: Path, num_rows: int) -> None:
    rows = np.arange(num_rows)
    images = [struct.pack("<6h", *range(row, row + 6)) for row in rows]
    examples = {
        "x": (rows / 2).astype(np.float32),
        "image": pa.array(images, pa.binary()),
        "y": rows % 3,
        "row_id": rows << 40,
    }
    spec = Spec(
        features=(
            Feature(name="x", kind="float", dtype="float32"),
            Feature(name="image", kind="tensor", dtype="float32", shape=(2, 3), stored="int16"),
        ),
        label=Label(name="y", kind="int", task="classification", classes=(0, 1, 2)),
        training_dtype="float32",
        layout="block",
        block_rows=4,
    )
    write_shard(tmp_path / "s", pa.table({"row_id": rows}), examples, ("tfrecord",), spec)
    names = {"x": tf.float32, "image": tf.int16, "y": tf.int64, "row_id": tf.int64}
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    found: dict[str, list[Any]] = {name: [] for name in names}
    for record in tf.data.TFRecordDataset(str(tmp_path / "s.tfrecord")):
        parsed = tf.io.parse_single_example(record, features)
        for name, dtype in names.items():
            found[name].append(tf.io.decode_raw(parsed[name], dtype).numpy())
    assert [len(block) for block in found["x"]] == [4] * (num_rows // 4) + [num_rows % 4] * (
        num_rows % 4 > 0
    )
    for name in ("x", "y", "row_id"):
        assert np.concatenate(found[name]).tolist() == examples[name].tolist()
    assert np.concatenate(found["image"]).reshape(-1, 6).tolist() == [
        list(range(row, row + 6)) for row in rows
    ]


def test_tensorflow_misses_a_flipped_bit_of_a_byte_string_no_more_than_we_do(
    tmp_path: Path,
) -> None:
    write_examples(tmp_path / "t", pa.table({"s": ["a", "bc", "def"] * 9}))
    data = bytearray((tmp_path / "t").read_bytes())
    for place in range(0, len(data), 41):
        spoiled = data.copy()
        spoiled[place] ^= 4
        (tmp_path / "t").write_bytes(spoiled)
        with pytest.raises(tf.errors.DataLossError):
            list(tf.data.TFRecordDataset(str(tmp_path / "t")))


def test_no_rows_are_no_records(tmp_path: Path) -> None:
    file = write_examples(tmp_path / "t", pa.table({"s": pa.array([], pa.string())}))
    assert file.bytes == 0
    assert list(tf.data.TFRecordDataset(str(tmp_path / "t"))) == []
    with pytest.raises(ShardError):
        write_examples(tmp_path / "t", pa.table({"s": [None]}))
