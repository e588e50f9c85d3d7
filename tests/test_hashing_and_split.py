"""Every row has one split and one place, whatever comes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrow import strings
from pipeline.batch import INF, MISSING, NAN, OK, TYPE, Batch, Column
from pipeline.hashing import bucket_of, derive_key, hash_cells, hash_ids
from pipeline.job import SplitSettings
from pipeline.manifest import SPLITS
from pipeline.split import count_buckets, order_rows, place_rows, plan_shards

DEFAULT = SplitSettings()
quick = settings(deadline=None)


def floats(values: Sequence[float], states: Sequence[int] | None = None) -> Column:
    return Column(
        "float", np.array(values, float), None if states is None else np.array(states, np.uint8)
    )


def ints(values: Sequence[int]) -> Column:
    return Column("int", np.array(values, np.int64))


def texts(values: Sequence[str | None]) -> Column:
    states = np.array([MISSING if v is None else OK for v in values], np.uint8)
    return Column("string", strings(values), states if states.any() else None)


def batch_of(
    columns: Mapping[str, Column], first_id: int = 0, carried: Mapping[str, pa.Array] | None = None
) -> Batch:
    num_rows = len(next(iter(columns.values())))
    return Batch(
        source="a.csv",
        row_ids=np.arange(first_id, first_id + num_rows, dtype=np.int64),
        rows=np.arange(2, num_rows + 2, dtype=np.int64),
        columns=columns,
        carried=pa.table(dict(carried or {})),
        read_texts=lambda positions: {},
    )


def splits_of(batch: Batch, group: str | None = None, share: SplitSettings = DEFAULT) -> list[int]:
    return place_rows(batch, share, group, 4).splits.tolist()


@pytest.mark.parametrize(
    "shares", [(0.8, 0.1, 0.1), (0.5, 0.3, 0.2), (0.9, 0.0, 0.1), (0.7, 0.3, 0.0), (1.0, 0.0, 0.0)]
)
def test_each_split_gets_its_share(shares: tuple[float, float, float]) -> None:
    num_rows = 40_000
    split = SplitSettings(train=shares[0], validation=shares[1], test=shares[2])
    found = np.bincount(splits_of(batch_of({"x": ints(range(num_rows))}), share=split), minlength=3)
    for share, count in zip(shares, found, strict=True):
        spread = (share * (1 - share) / num_rows) ** 0.5  # of a binomial share
        assert abs(count / num_rows - share) <= 5 * spread


def test_another_seed_splits_otherwise() -> None:
    batch = batch_of({"x": ints(range(1000))})
    assert splits_of(batch) != splits_of(batch, share=SplitSettings(seed=8))


def test_equal_rows_share_a_split_wherever_they_stand() -> None:
    columns = {"x": floats(range(500)), "w": texts([f"w{i % 7}" for i in range(500)])}
    again = {name: column.take(np.arange(500)[::-1]) for name, column in columns.items()}
    assert splits_of(batch_of(columns)) == splits_of(batch_of(again, first_id=1 << 40))[::-1]


def test_rows_that_differ_only_in_a_carried_column_may_part() -> None:
    names = [f"n{i}" for i in range(200)]
    batch = batch_of({"x": ints([1] * 200)}, carried={"name": strings(names)})
    assert len(set(splits_of(batch))) == 3


@quick
@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40),
    cut=st.integers(0, 40),
)
def test_a_row_s_place_does_not_depend_on_its_company(values: list[int], cut: int) -> None:
    cut = min(cut, len(values) - 1)
    whole = place_rows(batch_of({"x": ints(values)}), DEFAULT, None, 5)
    tail = place_rows(batch_of({"x": ints(values[cut:])}, first_id=cut), DEFAULT, None, 5)
    assert whole.splits[cut:].tolist() == tail.splits.tolist()
    assert whole.buckets[cut:].tolist() == tail.buckets.tolist()
    assert whole.groups[cut:].tolist() == tail.groups.tolist()


def test_a_new_file_with_a_column_of_its_own_moves_no_row() -> None:
    x = ints(range(300))
    before = batch_of({"x": x})
    after = batch_of({"x": x, "new": texts([None] * 300)}, carried={"more": pa.nulls(300)})
    assert splits_of(before) == splits_of(after)


def test_the_order_of_the_columns_moves_no_row() -> None:
    x, y = ints(range(300)), ints(range(300, 0, -1))
    assert splits_of(batch_of({"x": x, "y": y})) == splits_of(batch_of({"y": y, "x": x}))
    assert splits_of(batch_of({"x": x, "y": y})) != splits_of(batch_of({"y": x, "x": y}))


def test_groups_stay_together() -> None:
    stations = [f"s{i % 11}" for i in range(600)]
    columns = {"station": texts(stations), "x": ints(range(600))}
    found = splits_of(batch_of(columns), group="station")
    assert len(set(zip(stations, found, strict=True))) == 11
    assert len(set(found)) > 1


def test_a_group_s_value_decides_and_not_its_rows() -> None:
    stations = texts([f"s{i}" for i in range(100)])
    one = batch_of({"station": stations, "x": ints(range(100))})
    other = batch_of({"station": stations, "x": ints(range(100, 200))}, first_id=7 << 40)
    assert splits_of(one, group="station") == splits_of(other, group="station")


def nested() -> dict[str, pa.Array]:
    return {
        "list": pa.array([[1, 2], [1, 3], None, [1, 2]]),
        "struct": pa.array([{"a": 1}, {"a": 2}, None, {"a": 1}]),
        "bytes": pa.array([b"\xff\x00", b"\xfe", None, b"\xff\x00"]),
        "two bytes": pa.array([b"\xff\x00", b"ab", None, b"\xff\x00"], pa.binary(2)),
        "map": pa.array(
            [[("k", 1)], [("k", 2)], None, [("k", 1)]], pa.map_(pa.string(), pa.int64())
        ),
        "codes": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "time": pa.array([1, 2, None, 1], pa.timestamp("us", "UTC")),
        "half": pa.array([1.5, 2.5, None, 1.5], pa.float16()),
    }


@pytest.mark.parametrize("name", list(nested()))
def test_a_carried_cell_of_any_type_is_hashed_by_its_value(name: str) -> None:
    hashes = hash_cells({name: nested()[name]}, 4, 1)
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 3
    assert hashes[2] == hash_cells({}, 1, 1)[0]


def test_bytes_hash_alike_in_any_company() -> None:
    alone, beside = pa.array([b"ab"]), pa.array([b"ab", b"\xff"])
    assert hash_cells({"x": alone}, 1, 1)[0] == hash_cells({"x": beside}, 2, 1)[0]


def test_equal_values_hash_alike_and_states_apart() -> None:
    column = floats([0.0, -0.0, np.nan, np.nan, np.inf, -np.inf], [OK, OK, NAN, TYPE, INF, INF])
    hashes = hash_cells({"x": column}, 6, 3).tolist()
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5


def test_a_missing_cell_hashes_like_an_absent_column() -> None:
    present = {"x": ints([4])}
    blank = {**present, "y": floats([np.nan], [MISSING]), "z": texts([None])}
    assert hash_cells(present, 1, 9) == hash_cells(blank, 1, 9)


def test_a_value_is_told_apart_from_the_same_value_in_another_column() -> None:
    assert hash_cells({"x": ints([4])}, 1, 9) != hash_cells({"y": ints([4])}, 1, 9)


def test_a_slice_hashes_as_its_cells_do() -> None:
    words = strings(["a", None, "b", "ü", "a"])
    whole = hash_cells({"w": words}, 5, 2)
    assert hash_cells({"w": words.slice(2)}, 3, 2).tolist() == whole[2:].tolist()
    chunked = pa.chunked_array([words.slice(0, 2), words.slice(2)])
    assert hash_cells({"w": chunked}, 5, 2).tolist() == whole.tolist()


def test_hashes_are_the_same_on_every_machine() -> None:
    assert derive_key(7, "split") == 0x594C52E297B99093
    columns = {"x": floats([1.5]), "w": texts(["ä"])}
    assert hash_cells(columns, 1, 1).tolist() == [12280858890511921956]


def test_the_split_says_nothing_of_the_order() -> None:
    batch = batch_of({"x": ints(range(20_000))})
    place = place_rows(batch, SplitSettings(train=0.5, validation=0.5, test=0.0), None, 2)
    both = np.mean((place.splits == 0) & (place.buckets == 0))
    assert abs(both - 0.25) < 0.02


@quick
@given(st.lists(st.integers(0, 2**62), unique=True, min_size=2, max_size=50))
def test_distinct_rows_never_tie_in_the_order(row_ids: list[int]) -> None:
    assert len(np.unique(order_rows(np.array(row_ids, np.int64), 7))) == len(row_ids)


@quick
@given(
    hashes=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30),
    num_buckets=st.integers(1, 1 << 20),
)
def test_buckets_ascend_with_the_hash_and_none_lies_outside(
    hashes: list[int], num_buckets: int
) -> None:
    buckets = bucket_of(np.array(sorted(hashes), np.uint64), num_buckets)
    assert (np.diff(buckets) >= 0).all()
    assert buckets.min() >= 0
    assert buckets.max() < num_buckets


def test_buckets_are_about_equal() -> None:
    counts = np.bincount(bucket_of(hash_ids(np.arange(80_000), 5), 8))
    assert abs(counts / 10_000 - 1).max() < 0.05


@pytest.mark.parametrize(
    ("sizes", "buckets"),
    [
        ([], 1),
        ([0], 1),
        ([33_554_431], 1),
        ([33_554_432], 1),
        ([67_108_864], 2),
        ([40 << 20] * 8, 10),
    ],
)
def test_there_is_a_bucket_for_every_32_mebibytes(sizes: list[int], buckets: int) -> None:
    assert count_buckets(sizes) == buckets


@quick
@given(
    counts=st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=1, max_size=12),
    aim=st.integers(1, 60),
)
def test_a_plan_of_shards_covers_every_row_once_and_leaves_no_shard_empty(
    counts: list[list[int]], aim: int
) -> None:
    table = np.array(counts, np.int64).T
    groups = plan_shards(table, aim)
    covered = np.zeros_like(table)
    for group in groups:
        stretch = slice(group.first_bucket, group.last_bucket + 1)
        covered[SPLITS.index(group.split), stretch] += 1
        assert group.rows == table[SPLITS.index(group.split), stretch].sum()
        assert 1 <= group.num_shards <= group.rows
        filled = (table[SPLITS.index(group.split), stretch] > 0).sum()
        assert filled == 1 or group.rows <= aim
    assert (covered <= 1).all()
    assert (covered[table > 0] == 1).all()


def test_one_large_bucket_is_cut_into_shards_of_about_the_length_asked_for() -> None:
    (group,) = plan_shards(np.array([[1000], [0], [0]]), 300)
    assert (group.split, group.rows, group.num_shards) == ("train", 1000, 3)


def test_placing_leaves_the_batch_as_it_was() -> None:
    batch = batch_of({"x": floats([1.0, -0.0])})
    kept = replace(batch, columns={"x": floats([1.0, -0.0])})
    place_rows(batch, DEFAULT, None, 3)
    assert batch.columns["x"].values.tobytes() == kept.columns["x"].values.tobytes()
