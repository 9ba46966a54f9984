"""The command line as a whole: what is listed, and what is refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from forecastcache import zoo

FLUX = "zoo:flux-digits"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("explain", "exponential", "--computed", "0,1", "--target", 2), "has no row to explain"),
        (
            ("explain", "taylor", "--computed", "0,x", "--target", 2),
            "--computed 0,x is no list of steps",
        ),
        (
            ("explain", "taylor", "--computed", "0,3", "--target", 2),
            "each must be above the one before",
        ),
        (
            ("explain", "newton:coordinate=time", "--computed", "0,1", "--target", 2),
            "step 0 does not tell its time",
        ),
        (
            ("explain", "taylor", "--computed", "0,1", "--target", 2, "--times", "1,2"),
            "--times 1,2 is no list of 3 finite numbers",
        ),
        (("memory", "nope"), "no model is called 'nope': write one of chroma1-hd"),
        (("memory", "hunyuanvideo", "--height", 481), "write 480 or 496"),
        (("memory", "wan2.1-1.3b", "--frames", 80), "write 77 or 81"),
        (("memory", "flux.1-dev", "--site", "blocks"), "--site blocks is not known"),
        (("memory", "flux.1-dev", "--order", 9), "order=9"),
        (("memory", "flux.1-dev", "--depth", 0), "--depth"),
        (("memory", "flux.1-dev", "--batch", 0), "--batch"),
        (("memory", "flux.1-dev", "--dtype", "int8"), "--dtype int8 is not known"),
        (("memory", "flux.1-dev", "--storage-dtype", "x"), "--storage-dtype x is not known"),
        (("memory", "flux.1-dev", "--gpu", "24potatoes"), "--gpu 24potatoes is no number of"),
        (("memory", "flux.1-dev", "--gpu", 0), "write such as 24GiB"),
        (("memory", "flux.1-dev", "--computed", 9), "give --calibration, or say --depth"),
        (("memory", "flux.1-dev", "--predictor", "learned"), "give --calibration, a file or zoo:"),
        (("memory", FLUX, "--calibration", FLUX, "--depth", 3), "--depth and --calibration both"),
        (("memory", FLUX, "--calibration", FLUX, "--order", 1), "and --order a formula: leave"),
        (
            ("memory", FLUX, "--calibration", FLUX, "--predictor", "taylor"),
            "--calibration gives rows, and --predictor a formula: leave one out",
        ),
        (
            ("memory", FLUX, "--calibration", FLUX, "--site", "block"),
            "none of --site block",
        ),
        (("memory", FLUX, "--calibration", FLUX, "--computed", 60), "ask for 50 at most"),
        (("memory", FLUX, "--calibration", "zoo:dit-digits"), "is of the model DiTTransformer2D"),
        (("memory", "flux.1-dev", "--calibration", FLUX), "of another configuration: calibrate"),
        (("memory", "flux.1-dev", "--calibration", "nope.st"), "nope.st is no file: make one"),
    ],
)
def test_explain_and_memory_refuse_in_one_line(forecastcache, arguments, complaint):
    code, out, err = forecastcache(*arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_list_names_everything(forecastcache):
    _, out, _ = forecastcache("list", "--json")
    found = json.loads(out)
    assert {"reuse", "taylor"} <= set(found["predictors"])
    assert "from 0 to 4" in found["predictors"]["taylor"]
    assert {"every", "listed"} <= set(found["schedules"])
    assert found["adapters"]["dit"].endswith("output, hidden, block, module, tokens")
    assert list(found["zoo"]) == [zoo.PREFIX + name for name in zoo.MODELS]
    code, out, _ = forecastcache("list")
    assert code == 0
    assert "taylor" in out


def test_no_command_shows_the_help(forecastcache):
    code, out, err = forecastcache()
    assert "run" in out + err
    assert "forecastcache: " not in err
    assert code == 2


def test_the_module_runs_and_says_when_extras_are_missing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torchmetrics' else find(name, *a)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "forecastcache", "list"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "needs torchmetrics: pip install 'forecastcache[cli]'" in done.stderr
