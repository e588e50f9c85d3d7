"""Where reports may go: to a new file, an empty one, or an earlier report of the same kind."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.errors import SettingsError

# Enough for an XML declaration and the root's name, and for the first two keys of a log.
START_BYTES = 1024
STARTS = {
    "JUnit report": re.compile(rb"(<\?xml[^>]*\?>\s*)?<testsuites?[\s/>]"),
    "SARIF log": re.compile(rb'\s*\{\s*"\$schema"\s*:\s*"[^"]*sarif[^"]*"\s*,\s*"version"\s*:'),
}


def require_writable(*, junit: Path | None = None, sarif: Path | None = None) -> None:
    """Refuse reports that cannot be written, before anything is read; make their folders.

    Nothing but a report is overwritten: not the job, its schema or what it reads, nor any other
    file.

    Raises:
        SettingsError: A path cannot be written, is no file, holds anything but a report of the
            same kind, or is given twice.
    """
    if junit and sarif and os.path.realpath(junit) == os.path.realpath(sarif):
        raise SettingsError(
            f"two reports go to {junit}.", fix="give each report a file of its own."
        )
    for path, kind in ((junit, "JUnit report"), (sarif, "SARIF log")):
        if path is not None:
            _require_target(path, kind)


def _require_target(path: Path, kind: str) -> None:
    start = b""
    try:
        reason = _find_obstacle(path)
        start = b"" if reason else _read_start(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    if reason:
        raise SettingsError(
            f"the report {path} cannot be written: {reason}.",
            fix="give the path of a file in a folder that can be written.",
            file=str(path),
        )
    if start and not STARTS[kind].match(start):
        raise SettingsError(
            f"the report {path} would overwrite a file that is no {kind}.",
            expected=f"a new file, an empty one or an earlier {kind}",
            got="a file that does not start as one",
            fix="give the report a file of its own.",
            file=str(path),
        )


def _find_obstacle(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        return "its folder is not writable"
    return "it is no file" if path.exists() and not path.is_file() else ""


def _read_start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except FileNotFoundError:
        return b""
