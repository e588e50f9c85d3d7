"""Several processes give what one gives, in the same order, or say why not."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from pipeline.engine import open_engine
from pipeline.errors import EnvironmentFailure, UsageError


def wait_and_tell(seconds: float) -> tuple[float, int]:
    time.sleep(seconds)
    return seconds, os.getpid()


def divide(number: int) -> float:
    return 1 / number


def fail_late(item: tuple[int, float]) -> None:
    time.sleep(item[1])
    raise ValueError(f"item {item[0]}")


def die_elsewhere(parent: int) -> None:
    time.sleep(0.1)
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("num_items", [0, 1, 2, 7])
def test_results_come_in_the_items_order(workers: int, num_items: int) -> None:
    items = [0.05 if i % 3 == 0 else 0.001 * i for i in range(num_items)]
    with open_engine(workers, wait_and_tell, num_items) as engine:
        found = list(engine.map(wait_and_tell, items))
    assert [seconds for seconds, _ in found] == items
    assert len({pid for _, pid in found}) <= workers


def test_this_process_works_as_well() -> None:
    with open_engine(2, wait_and_tell, 12) as engine:
        list(engine.map(wait_and_tell, [0.0] * 2))  # the other one has started
        shares = Counter(pid for _, pid in engine.map(wait_and_tell, [0.05] * 12))
    assert len(shares) == 2
    assert shares[os.getpid()] >= 4


@pytest.mark.parametrize("place", range(5))
def test_an_error_comes_out_whoever_meets_it(place: int) -> None:
    items = [1, 1, 1, 1, 1]
    items[place] = 0
    with pytest.raises(ZeroDivisionError), open_engine(2, divide, 5) as engine:
        list(engine.map(divide, items))


def test_the_first_item_s_error_is_told_though_another_came_before_it() -> None:
    with pytest.raises(ValueError, match="item 0"), open_engine(2, fail_late, 4) as engine:
        list(engine.map(fail_late, [(0, 0.5), (1, 0.0), (2, 0.0), (3, 0.0)]))


def test_a_killed_worker_is_told() -> None:
    with (
        pytest.raises(EnvironmentFailure, match="a worker process died"),
        open_engine(2, die_elsewhere, 6) as engine,
    ):
        list(engine.map(die_elsewhere, [os.getpid()] * 6))


def test_there_is_one_worker_at_least() -> None:
    with pytest.raises(UsageError, match="workers = 0"), open_engine(0, divide, 1):
        pass
