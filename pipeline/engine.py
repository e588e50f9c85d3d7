"""`map(task, items)` over worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from pipeline.errors import EnvironmentFailure, UsageError

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its tasks are done, and how many there are."""

_MAX_HELD = 256
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """All that a pipeline asks of an engine: results in the items' order, as they come."""

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Run `task` on every item; both travel by pickle."""
        ...


class InProcess:
    """One item after another, here."""

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Run `task` on every item."""
        return map(task, items)


class Processes:
    """This process, and others beside it.

    The others are spawned, not forked: Arrow's and TensorFlow's threads do not survive a fork.

    Args:
        executor: Of the others.
        num_others: How many they are.
    """

    def __init__(self, executor: ProcessPoolExecutor, num_others: int) -> None:
        self._executor = executor
        self._num_others = num_others

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Run `task` on every item, several at once.

        Raises:
            EnvironmentFailure: A worker was killed.
        """
        results: deque[Future[Result]] = deque()
        try:
            for index, item in enumerate(items):
                results.append(self._start(task, item, results, len(items) - index))
                # A slow one holds up the others' results, though not without end.
                while results and (results[0].done() or len(results) > _MAX_HELD):
                    yield results.popleft().result()
            while results:
                yield results.popleft().result()
        except BrokenProcessPool as error:
            raise EnvironmentFailure(
                "a worker process died, most likely killed for want of memory.",
                fix="run again with fewer --workers, or a smaller data.partition_bytes.",
            ) from error

    def _start(
        self,
        task: Callable[[Item], Result],
        item: Item,
        started: Iterable[Future[Result]],
        num_left: int,
    ) -> Future[Result]:
        """Give an item to the others while they want any, or else do it here."""
        # Each has one at hand while it works, but for the last ones: none is to wait for another.
        wanted = self._num_others * (2 if num_left > self._num_others + 1 else 1)
        if sum(not result.done() for result in started) < wanted:
            return self._executor.submit(task, item)
        done: Future[Result] = Future()
        try:
            done.set_result(task(item))
        except Exception as error:  # told in its turn
            done.set_exception(error)
        return done


@contextmanager
def open_engine(workers: int | None, task: Callable[..., Any], num_tasks: int) -> Iterator[Engine]:
    """Open the local engine.

    Args:
        workers: How many processes, this one among them; None for one a core.
        task: The first to be mapped. Workers import its module while the caller still prepares.
        num_tasks: About how many items it will be mapped on; no more workers start early.

    Raises:
        UsageError: `workers` is below 1, or a worker is still importing the caller's script.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers = {workers} is not possible.", fix="give 1 or more.")
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise UsageError(
            "a job was started while a worker process was importing your script.",
            fix='put the call under `if __name__ == "__main__":`, or pass workers=1.',
        )
    count = workers or os.cpu_count() or 1
    if count == 1:
        yield InProcess()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count - 1, mp_context=context) as executor:
        try:
            for _ in range(min(count, num_tasks) - 1):
                executor.submit(_import_module_of, task)
            yield Processes(executor, count - 1)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _import_module_of(task: Callable[..., Any]) -> None:
    """Do nothing: the task has been imported to get here."""
