"""No environment variable that pandera reads changes a verdict."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pandera.config
import pandera.pandas as pa
import pytest

from pipeline.frame import validate_frame

SCRIPT = """
import pandas as pd, pandera.pandas as pa
from pipeline.frame import validate_frame
checks = [pa.Check.ge(0), pa.Check(lambda s: s != 1, name="mine")]
schema = pa.DataFrameSchema({"x": pa.Column(float, checks)})
print(validate_frame(pd.DataFrame({"x": [-1.0, 1.0, 2.0, None]}), schema).reasons["rule"].tolist())
"""


def test_an_environment_variable_cannot_switch_the_judge_off() -> None:
    switched_off = {
        "PANDERA_VALIDATION_ENABLED": "False",
        "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
        "PANDERA_USE_NARWHALS_BACKEND": "True",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **switched_off},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "['greater_than_or_equal_to', 'mine', 'nan']"


ASKS_PANDERA = """
import pandera.pandas as pa
Table = pa.DataFrameSchema(
    {
        "size": pa.Column(float, [pa.Check.ge(0, ignore_na=False), pa.Check(lambda s: s < 9)]),
        "colour": pa.Column(str, pa.Check.str_matches("(?=r)"), parsers=pa.Parser(lambda s: s)),
        "label": pa.Column(int, pa.Check.isin([0, 1])),
    },
    checks=pa.Check(lambda df: df["size"] != 3, name="row"),
)
"""
CHECK_JOB = "import sys; from pipeline.cli import run_app; sys.exit(run_app())"


@pytest.fixture(scope="module")
def asked_pandera(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, str]], Any]:
    """Check a small job in a process with these variables, and give how it ends."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "table.py").write_text(ASKS_PANDERA)
    settings = '[data]\nraw = ["a.csv"]\nschema = "table:Table"\nlabel = "label"\n'
    (folder / "job.toml").write_text(settings)
    (folder / "a.csv").write_text("size,colour,label\n1,red,0\n3,red,1\n-1,blue,0\n9,red,1\n")
    command = [sys.executable, "-c", CHECK_JOB, "check", str(folder / "job.toml"), "--workers", "1"]

    def run(variables: Mapping[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    return run


@pytest.fixture(scope="module")
def undisturbed(asked_pandera: Callable[[Mapping[str, str]], Any]) -> tuple[int, str]:
    ended: tuple[int, str] = asked_pandera({})
    return ended


@pytest.mark.parametrize("value", ["True", "False", "SCHEMA_ONLY", "nonsense"])
def test_none_of_pandera_s_variables_changes_a_verdict(
    value: str, asked_pandera: Callable[[Mapping[str, str]], Any], undisturbed: tuple[int, str]
) -> None:
    names = re.findall(r'"(PANDERA_[A-Z_]+)"', inspect.getsource(pandera.config))
    assert "PANDERA_VALIDATION_DEPTH" in names
    assert undisturbed[0] == 1
    for rule in ("<lambda>", "str_matches", "greater_than_or_equal_to", "row"):
        assert rule in undisturbed[1]
    assert asked_pandera(dict.fromkeys(names, value)) == undisturbed


@pytest.mark.parametrize(
    "switched_off", [{"validation_enabled": False}, {"validation_depth": "SCHEMA_ONLY"}]
)
def test_a_function_that_asks_pandera_about_another_schema_has_its_answer(
    switched_off: Any,
) -> None:
    small = pa.SeriesSchema(float, pa.Check.le(5))

    def is_small(cell: float) -> bool:
        try:
            small.validate(pd.Series([cell]))
        except pa.errors.SchemaError:
            return False
        return True

    check = pa.Check(is_small, element_wise=True, name="small")
    parser = pa.Parser(lambda s: small.validate(s))
    schema = pa.DataFrameSchema(
        {"x": pa.Column(float, check), "y": pa.Column(float, parsers=parser)}
    )
    with pandera.config.config_context(**switched_off):
        reasons = validate_frame(pd.DataFrame({"x": ["1", "7"], "y": ["9", "1"]}), schema).reasons
    found = reasons[["row", "column", "rule"]].values.tolist()
    assert found == [[0, "y", "type"], [1, "x", "small"]]
