"""What docs/guard.md says of settings, incidents and the letters on raw pixels is so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.guard import BadRow, GuardSettings, Incident
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "guard.md").read_text("utf-8")
SCRIPT = "data/letters/raw_pixels.py"


def read_section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def list_rows(text: str) -> Iterator[list[str]]:
    """Give the cells of each line of a table whose first cell is code."""
    for line in re.findall(r"^\| (`.+) \|$", text, flags=re.M):
        yield line.split(" | ")


def test_every_setting_is_in_the_table_with_its_default_and_why() -> None:
    rows = list(list_rows(read_section("The ladder")))
    assert [name for name, *_ in rows] == [f"`{field.name}`" for field in fields(GuardSettings)]
    for (_, default, what, why), field in zip(rows, fields(GuardSettings), strict=True):
        assert eval(default.strip("`")) == field.default
        assert len(what) > 10
        assert len(why) > 10


def test_every_field_of_an_incident_and_of_a_row_is_named() -> None:
    incident, row = read_section("An incident").split("Each of `rows` is")
    first_cells = " ".join(cells[0] for cells in list_rows(incident))
    for text, kind in ((first_cells, Incident), (row, BadRow)):
        named = set(re.findall(r"`(\w+)`", text))
        assert named >= {field.name for field in fields(kind)}


@pytest.mark.parametrize("kind", ["rows", "batch", "explosion", "state", "budget"])
def test_every_kind_of_incident_is_described(kind: str) -> None:
    assert f"`{kind}`" in read_section("An incident")


def build_model() -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.ones((8, 2), "float32")
    x[3, 1] = np.nan
    names = {"my_model": build_model(), "build_model": build_model, "x": x, "y": np.ones((8, 1))}
    for example in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S):
        exec(compile(example, "docs/guard.md", "exec"), names)
    (again,) = names["incident"].rows
    assert (again.position, again.columns) == (3, ("input[1]",))


def test_the_letters_on_raw_pixels_fare_as_the_page_says() -> None:
    # One test, since every worker that has a share of several would run the script anew.
    ended = subprocess.run([sys.executable, SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = read_section("Letters on raw pixels").split("```")[1]
    assert list_texts(ended.stdout) == list_texts(shown)
    for story in (shown, ended.stdout):
        check_the_advice(*read_fits(story)[:4])
        check_the_guard(*read_fits(story)[4:])


def check_the_advice(as_it_is: str, searched: str, replaced: str, lower_rate: str) -> None:
    """Every weight is NaN, whatever is shown; by hand the rate is mended."""
    for fit in (as_it_is, searched, replaced):
        bad, of = count_bad(fit)
        assert bad == of > 10_000
        assert is_a_constant(fit)
    assert np.isnan(read_losses(as_it_is)).all()
    assert "shows   0 of " in searched
    assert np.isfinite(read_losses(replaced)).all()
    assert set(read_losses(replaced)[1:]) == {0.0}
    assert is_trained(lower_rate)


def check_the_guard(raw: str, rescaled: str, relu: str) -> None:
    """The guard comes to the rate found by hand, rescaling needs none, a dead net is not seen."""
    assert is_trained(raw)
    assert raw.index("explosion") < raw.index("rolled back")
    assert raw.endswith("; rate 0.001")
    assert is_trained(rescaled)
    for fit in (rescaled, relu):
        assert "no incident" in fit
        assert fit.endswith("; rate 0.01")
    assert count_bad(relu)[0] == 0
    assert is_a_constant(relu)


def list_texts(story: str) -> list[str]:
    """Return the titles, and what each fit hides."""
    return re.findall(r"^(?:\d\.|   hides) .*", story, flags=re.M)


def read_fits(story: str) -> list[str]:
    return [fit.strip() for fit in re.split(r"^\d\. ", story, flags=re.M)[1:]]


def read_losses(fit: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"by epoch (.*)", fit)[0].split(", ")]


def count_bad(fit: str) -> list[int]:
    counts = re.findall(r"([\d,]+) of ([\d,]+) weights are NaN", fit)[0]
    return [int(count.replace(",", "")) for count in counts]


def read_accuracies(fit: str) -> list[float]:
    """Return the network's and a constant's."""
    found = re.findall(r"accuracy ([\d.]+), a constant has ([\d.]+)", fit)[0]
    return [float(accuracy) for accuracy in found]


def is_a_constant(fit: str) -> bool:
    return len(set(read_accuracies(fit))) == 1


def is_trained(fit: str) -> bool:
    ours, constant = read_accuracies(fit)
    return (
        count_bad(fit)[0] == 0
        and bool(np.isfinite(read_losses(fit)).all())
        and ours > constant + 0.7
    )
