"""Verdicts as CI wants them; values of the data are in them only where they are asked for.

places.py   where rules are broken
junit.py    JUnit
sarif.py    SARIF 2.1.0
github.py   GitHub's annotations
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import SettingsError
from pipeline.findings.github import MAX_ANNOTATIONS, list_annotations
from pipeline.findings.junit import write_junit
from pipeline.findings.sarif import write_sarif

if TYPE_CHECKING:
    from pipeline.run import CheckResult

__all__ = ["MAX_ANNOTATIONS", "list_annotations", "require_writable", "write_reports"]


def require_writable(job: Path, *paths: Path | None) -> None:
    """Refuse reports that cannot be written, before anything is read; make their folders.

    Args:
        job: The job file, which no report may overwrite.
        *paths: Of the reports; None for one that is not asked for.

    Raises:
        SettingsError: A path cannot be written, is no file, is the job's, or is given twice.
    """
    given = [path for path in paths if path is not None]
    _refuse_inputs(given, [job])
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


def _refuse_inputs(reports: Sequence[Path], inputs: Iterable[Path]) -> None:
    known = {path.resolve() for path in inputs}
    for report in reports:
        if report.resolve() in known:
            raise SettingsError(
                f"the report {report} would overwrite what the job reads.",
                fix="give it a file of its own.",
                file=str(report),
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
        SettingsError: A path is that of a raw file.
        EnvironmentFailure: A file cannot be written.
    """
    local = (Path(file.path) for file in result.files.values() if "://" not in file.path)
    _refuse_inputs([path for path in (junit, sarif) if path is not None], local)
    if junit is not None:
        write_junit(result, junit, show_values=show_values)
    if sarif is not None:
        write_sarif(result, sarif, show_values=show_values)
