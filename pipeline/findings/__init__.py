"""Verdicts as CI wants them; values of the data are in them only where they are asked for.

places.py   where rules are broken
junit.py    JUnit
sarif.py    SARIF 2.1.0
github.py   GitHub's annotations
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import SettingsError
from pipeline.findings.github import MAX_ANNOTATIONS, list_annotations
from pipeline.findings.junit import write_junit
from pipeline.findings.sarif import write_sarif

if TYPE_CHECKING:
    from pipeline.run import CheckResult

__all__ = ["MAX_ANNOTATIONS", "list_annotations", "require_writable", "write_reports"]


def require_writable(*paths: Path | None) -> None:
    """Refuse reports that cannot be written, before anything is read; make their folders.

    Raises:
        SettingsError: A path cannot be written, is no file, or is given twice.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            usable = path.is_file() or not path.exists()
            reason = "" if usable else "it is no file"
            if not os.access(path.parent, os.W_OK):
                reason = "its folder is not writable"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        if reason:
            raise SettingsError(
                f"the report {path} cannot be written: {reason}.",
                fix="give the path of a file in a folder that can be written.",
                file=str(path),
            )
    if len({path.resolve() for path in given}) < len(given):
        raise SettingsError(
            f"two reports go to {given[0]}.", fix="give each report a file of its own."
        )


def write_reports(
    result: CheckResult,
    *,
    junit: Path | None = None,
    sarif: Path | None = None,
    show_values: bool = False,
) -> None:
    """Write the reports that have a path.

    Raises:
        EnvironmentFailure: A file cannot be written.
    """
    if junit is not None:
        write_junit(result, junit, show_values=show_values)
    if sarif is not None:
        write_sarif(result, sarif, show_values=show_values)
