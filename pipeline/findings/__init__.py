"""Verdicts as CI wants them; values of the data are in them only where they are asked for.

targets.py  where reports may go
places.py   where rules are broken
junit.py    JUnit
sarif.py    SARIF 2.1.0
github.py   GitHub's annotations
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.findings.github import MAX_ANNOTATIONS, list_annotations
from pipeline.findings.junit import write_junit
from pipeline.findings.sarif import write_sarif
from pipeline.findings.targets import require_writable

if TYPE_CHECKING:
    from pipeline.run import CheckResult

__all__ = ["MAX_ANNOTATIONS", "list_annotations", "require_writable", "write_reports"]


def write_reports(
    result: CheckResult,
    *,
    junit: Path | None = None,
    sarif: Path | None = None,
    show_values: bool = False,
) -> None:
    """Write the reports that have a path, over whatever is there: see `require_writable`.

    Raises:
        EnvironmentFailure: A file cannot be written.
    """
    if junit is not None:
        write_junit(result, junit, show_values=show_values)
    if sarif is not None:
        write_sarif(result, sarif, show_values=show_values)
