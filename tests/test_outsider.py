"""What somebody else brings, in a package of its own, next to an installed forecastcache."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forecastcache as fc
from forecastcache.testing import check_predictor, check_schedule

from .conftest import shell

MODULE = '''import numpy as np
import forecastcache as fc


class Mine(fc.LinearPredictor):
    """The mean of the newest computed features."""

    count: int = 2

    @property
    def depth(self):
        return self.count

    def weights(self, computed, target):
        return np.full(len(computed), 1 / len(computed))
'''

SCHEDULE = '''import forecastcache as fc


class FirstBlock(fc.Schedule):
    """Computes once the first block adds something else than at the newest computed step.

    Args:
        threshold: relative change of the residual, in the mean of absolute values.
    """

    threshold: float = 0.08

    @property
    def needs(self):
        return frozenset({"first_block"})

    def compute(self, step, state):
        residual = state.first_block_residual()
        known = state.memory.get("residual")
        if known is not None:
            change = (residual - known).abs().mean() / known.abs().mean()
            if change < self.threshold:
                return False
        state.memory["residual"] = residual
        return True
'''

BASELINE = '''from contextlib import contextmanager

import forecastcache as fc


class Unguided(fc.Baseline):
    """The model without guidance, which spares half of the work."""

    scale: float = 1.0

    @contextmanager
    def apply(self, pipe, request):
        yield fc.Applied({"guidance_scale": self.scale})
'''

METRIC = '''def contrast(samples, plain):
    """Standard deviation of the samples by that of the plain ones."""
    return samples.std() / plain.std()
'''

PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "outsider"
version = "1.0"

[project.entry-points."forecastcache.predictors"]
mine = "outsider:Mine"

[project.entry-points."forecastcache.schedules"]
first-block = "outsider_schedule:FirstBlock"

[project.entry-points."forecastcache.baselines"]
unguided = "outsider_baseline:Unguided"

[project.entry-points."forecastcache.metrics"]
contrast = "outsider_metric:contrast"

[tool.setuptools]
py-modules = ["outsider", "outsider_schedule", "outsider_baseline", "outsider_metric"]
"""

# Answers one command a line: its exit code, standard output and errors.
LISTENER = """import contextlib, io, json, sys
from forecastcache.cli.app import run_app
for line in sys.stdin:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_app(json.loads(line))
        except SystemExit as end:
            code = int(end.code or 0)
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An environment of its own that has what this one has, and the outsider's package."""
    root = tmp_path_factory.mktemp("outsider")
    (root / "outsider.py").write_text(MODULE)
    (root / "outsider_schedule.py").write_text(SCHEDULE)
    (root / "outsider_baseline.py").write_text(BASELINE)
    (root / "outsider_metric.py").write_text(METRIC)
    (root / "pyproject.toml").write_text(PROJECT)
    venv.create(root / "fresh", with_pip=False, symlinks=True)
    python = root / "fresh" / "bin" / "python"
    (site,) = (root / "fresh").glob("lib/python*/site-packages")
    ours = sysconfig.get_paths()["purelib"]
    (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    shell(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-index", "--prefix", root / "fresh", root, cwd=root)  # fmt: skip
    return python


@pytest.fixture(scope="module")
def command(python, tmp_path_factory) -> Iterator[Command]:
    """The command line in that environment, in one process: each would import torch again."""
    listener = subprocess.Popen(
        [str(python), "-c", LISTENER], cwd=tmp_path_factory.mktemp("command"), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(*arguments: object) -> tuple[int, str, str]:
        print(json.dumps(list(map(str, arguments))), file=listener.stdin, flush=True)
        code, out, err = json.loads(listener.stdout.readline())
        return code, out, err

    yield ask
    listener.communicate()


def test_a_new_linear_predictor_takes_at_most_15_lines():
    lines = MODULE.partition("class ")[2].splitlines()
    assert len(lines) <= 15


def test_it_runs_from_the_command_line(command, tmp_path):
    code, out, err = command(
        "run", "zoo:dit-digits", "--predictor", "mine", "--set", "count=3", "--steps", 8,
        "--count", 1, "--out", tmp_path, "--json",
    )  # fmt: skip
    assert code == 0, err
    figures = json.loads(out)
    assert figures["predictor"] == "Mine(count=3)"
    assert figures["cache_bytes"] == figures["cache_bytes_planned"] > 0


def test_a_first_block_schedule_takes_at_most_30_lines():
    assert len(SCHEDULE.splitlines()) <= 30


@pytest.mark.slow
def test_a_schedule_runs_by_its_name(command, tmp_path):
    common = ("zoo:dit-digits", "--steps", 10, "--count", 1, "--json")
    asked = ("--schedule", "first-block:threshold=0.15")
    code, out, err = command("run", *common, *asked, "--out", tmp_path)
    assert code == 0, err
    run = json.loads(out)
    assert run["schedule"] == "FirstBlock(threshold=0.15)"
    assert run["computed"][0] == 0
    assert 1 < len(run["computed"]) < 10
    code, out, err = command(
        "evaluate", *common, *asked, "--predictor", "taylor",
        "--baseline", "unguided", "--baseline", "unguided:1.5", "--out", tmp_path,
        "--metrics", "contrast",
    )  # fmt: skip
    assert code == 0, err
    _, forecast, *unguided = json.loads(out)["rows"]
    assert forecast["name"] == "taylor first-block:threshold=0.15, output"
    assert forecast["computed"] == run["computed"]
    assert [row["kind"] for row in unguided] == ["baseline"] * 2
    assert unguided[0]["flops_ratio"] > 1.8
    assert forecast["metrics"]["contrast"] == pytest.approx(1, abs=0.3)


RUN = ("run", "zoo:dit-digits")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (
            (*RUN, "--schedule", "first-block:limit=1"),
            "first-block has no option 'limit'; it takes threshold: number",
        ),
        (
            (*RUN, "--schedule", "first-block:threshold=x"),
            "threshold='x', but input should be a valid number",
        ),
        (
            (*RUN, "--schedule", "second-block"),
            "'second-block' is no schedule: write every:7, .*first-block",
        ),
        (
            (*RUN, "--predictor", "mine", "--set", "count=many"),
            "count='many', but input should be a valid integer",
        ),
        (
            ("calibrate", "zoo:dit-digits", "--schedule", "first-block", "--out", "x.cal"),
            "decides as it runs",
        ),
    ],
)
def test_its_mistakes_are_named_in_one_line(command, asked, complaint):
    code, _, err = command(*asked)
    assert (code, err.count("\n")) == (2, 1)
    assert re.search(complaint, err)


def test_it_is_listed_explained_and_checked(python, command, monkeypatch):
    listed = json.loads(command("list", "--json")[1])
    assert listed["predictors"]["mine"].startswith("The mean of the newest computed features.")
    assert listed["schedules"]["first-block"].startswith("Computes once the first block adds")
    assert listed["baselines"]["unguided"].startswith("The model without guidance")
    assert listed["metrics"]["contrast"].startswith("Standard deviation of the samples")
    _, explained, _ = command("explain", "mine", "--computed", "0,1,2", "--target", 4, "--json")
    assert json.loads(explained)["row"] == [0.0, 0.5, 0.5]
    monkeypatch.syspath_prepend(python.parents[2])
    check_predictor(importlib.import_module("outsider").Mine(count=3))
    check_schedule(importlib.import_module("outsider_schedule").FirstBlock())


def test_the_same_from_a_notebook_cell(pipe):
    cell = MODULE.replace("class Mine", '@fc.register_predictor("cell")\nclass Mine')
    space: dict[str, object] = {"__name__": "__main__"}
    for _ in range(2):  # a cell is run again and again
        exec(compile(cell, "<cell>", "exec"), space)
    from forecastcache.registry import PREDICTORS

    try:
        with fc.attach(pipe, fc.Every(3, first=1), PREDICTORS.get("cell")(count=2)) as session:
            pipe([1], num_inference_steps=6, output_type="np")
        assert session.report().computed == (0, 3)
    finally:
        PREDICTORS._added.pop("cell")
