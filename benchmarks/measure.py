"""A command as a whole: wall seconds and peak memory, of itself and its children."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# A peak between two looks is missed. A look takes a millisecond or more of a process's time, so
# that what is timed is looked at seldom or never.
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """What a command cost; `peak_mib` is 0 where nobody looked."""

    seconds: float
    peak_mib: float
    output: str


def measure(command: Sequence[str], look_seconds: float | None = None) -> Measured:
    """Run a command to its end.

    Bytecode is cached, as it is for anybody who runs a command twice.

    Memory is the sum over the processes of their proportional share of pages (PSS), so that what
    they share counts once; 0 where there is no /proc.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["TF_CPP_MIN_LOG_LEVEL"] = "3"
    ended = threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    with ThreadPoolExecutor(1) as watcher:
        peak = watcher.submit(_watch, process.pid, look_seconds, ended)
        output, _ = process.communicate()
        seconds = time.perf_counter() - start
        ended.set()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    return Measured(seconds, peak.result(), output)


def _watch(pid: int, look_seconds: float | None, ended: threading.Event) -> float:
    peak = 0.0
    while not ended.wait(look_seconds):
        peak = max(peak, sum(_share_mib(member) for member in _family(pid)))
    return peak


def _family(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in _family(child))]


def _share_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
