"""Our shards, read by TensorFlow: the same values, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.write.tfrecord import encode_examples

INTS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-2, 300), st.sampled_from([2**63 - 1, -(2**63)])
)
FLOATS = st.floats(width=32)
NAMES = ["x", "pair", "n", "two", "row_id"]


def write(path: Path, examples: dict[str, Any]) -> tf.data.Dataset:
    path.write_bytes(b"".join(chunk.tobytes() for chunk in encode_examples(examples)))
    return tf.data.TFRecordDataset(str(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards") / "s.tfrecord"


def columns_of(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    x, pair, n, two = zip(*rows, strict=True)
    return {
        "x": np.array(x, np.float32),
        "pair": np.array(pair, np.float32).reshape(-1, 2),
        "n": np.array(n, np.int64),
        "two": np.array(two, np.int64).reshape(-1, 2),
        "row_id": (np.arange(len(rows)) << 40) | 5,
        "long name " * 20 + "ü": np.array(n, np.int64),
    }


ROWS = st.lists(
    st.tuples(FLOATS, st.tuples(FLOATS, FLOATS), INTS, st.tuples(INTS, INTS)),
    min_size=1,
    max_size=6,
)
few = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(rows=ROWS)
def test_parse_example_gives_the_same_values_bit_for_bit(
    path: Path, rows: list[tuple[Any, ...]]
) -> None:
    examples = columns_of(rows)
    features = {
        name: tf.io.FixedLenFeature(values.shape[1:] or [1], values.dtype)
        for name, values in examples.items()
    }
    (batch,) = write(path, examples).batch(len(rows))
    parsed = tf.io.parse_example(batch, features)
    for name, values in examples.items():
        assert parsed[name].numpy().tobytes() == values.tobytes()


@few
@given(rows=ROWS)
def test_protobuf_gives_the_same_values_bit_for_bit(
    path: Path, rows: list[tuple[Any, ...]]
) -> None:
    examples = columns_of(rows)
    records = list(write(path, examples).as_numpy_iterator())
    assert len(records) == len(rows)
    for index, record in enumerate(records):
        features = tf.train.Example.FromString(record).features.feature
        assert set(features) == set(examples)
        for name, values in examples.items():
            kind = "float_list" if values.dtype == np.float32 else "int64_list"
            assert features[name].WhichOneof("kind") == kind
            found = np.array(getattr(features[name], kind).value, values.dtype)
            assert found.tobytes() == values[index].tobytes()


def test_tensorflow_checks_our_checksums_and_misses_a_flipped_bit_no_more_than_we_do(
    path: Path,
) -> None:
    data = bytearray(b"".join(c.tobytes() for c in encode_examples({"n": np.arange(3)})))
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(path)))


def test_more_rows_than_a_chunk_come_in_order(path: Path) -> None:
    (batch,) = write(path, {"n": np.arange(5000)}).batch(5000)
    parsed = tf.io.parse_example(batch, {"n": tf.io.FixedLenFeature([], tf.int64)})
    assert (parsed["n"].numpy() == np.arange(5000)).all()
