"""How long the light command takes to start: --help, and a check of a thousand rows.

    python benchmarks/check_start.py [--repeats 9]

A fresh environment gets the package as its users install it, without TensorFlow and with its
bytecode compiled. Whole processes, one after the other, in turns; a check is held against the
import of pandera, which any check of a pandera schema pays. Exit 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from workload import write_job

ROOT = Path(__file__).parent.parent
HELP_SECONDS = 0.6
CHECK_OVER_IMPORT_SECONDS = 0.7


def make_environment(folder: Path) -> Path:
    """Install the light core in its locked versions; return the folder of its commands."""
    venv.create(folder, with_pip=True)
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(line.split(" \\")[0] for line in locked if "==" in line))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--constraint", str(constraints), str(ROOT)], check=True)
    return folder / "bin"


def time_command(command: Sequence[str], folder: Path) -> float:
    """Return the wall seconds of a command that ends well."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    start = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    seconds = time.perf_counter() - start
    if ended.returncode:
        sys.exit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr}")
    return seconds


def time_in_turns(
    commands: Mapping[str, Sequence[str]], repeats: int, folder: Path
) -> dict[str, list[float]]:
    """Return each command's seconds; one turn before the first is not counted."""
    turns = [
        {name: time_command(command, folder) for name, command in commands.items()}
        for _ in range(repeats + 1)
    ]
    return {name: [turn[name] for turn in turns[1:]] for name in commands}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nanproof-bench-") as name:
        folder = Path(name)
        job = write_job(folder / "job", 1000)
        with job.open("a") as file:  # broken cells or not, the command is to end with 0
            file.write("[check]\nmax_broken_ratio = 1.0\n")
        commands = make_environment(folder / "venv")
        nanproof = str(commands / "nanproof")
        measured = time_in_turns(
            {
                "import pandera.pandas": [str(commands / "python"), "-c", "import pandera.pandas"],
                "nanproof --help": [nanproof, "--help"],
                "nanproof check": [nanproof, "check", str(job)],
            },
            asked.repeats,
            folder,
        )
    middle = {name: statistics.median(seconds) for name, seconds in measured.items()}
    print(f"{'':24s} {'median':>7s} (spread)")
    for name, seconds in measured.items():
        print(f"{name:24s} {middle[name]:5.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    over = middle["nanproof check"] - middle["import pandera.pandas"]
    limits = [
        ("help", middle["nanproof --help"], HELP_SECONDS),
        ("check over the import", over, CHECK_OVER_IMPORT_SECONDS),
    ]
    for name, seconds, most in limits:
        print(f"{name}: {seconds:.2f} s of at most {most} s")
    sys.exit(any(seconds > most for _, seconds, most in limits))


if __name__ == "__main__":
    main()
