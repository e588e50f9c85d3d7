"""A command as a whole: wall seconds and peak memory, of itself and its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# A peak between two looks is missed; a look costs a millisecond.
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """What a command cost."""

    seconds: float
    peak_mib: float
    output: str


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end.

    Bytecode is cached, as it is for anybody who runs a command twice.

    Memory is the sum over the processes of their proportional share of pages (PSS), so that what
    they share counts once; 0 where there is no /proc.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["TF_CPP_MIN_LOG_LEVEL"] = "3"
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(_share_mib(pid) for pid in _family(process.pid)))
        time.sleep(LOOK_SECONDS)
    seconds = time.perf_counter() - start
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    return Measured(seconds, peak, output)


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
