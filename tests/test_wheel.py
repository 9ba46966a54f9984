"""What people install: every module, every model, and types that checkers see."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from .conftest import shell
from .test_architecture import ROOT, modules

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # Of a copy: setuptools leaves build/lib behind, and what lies there would end up in the wheel.
    source = tmp_path_factory.mktemp("wheel") / "source"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    shell(sys.executable, "-m", "build", "--wheel", "--no-isolation", ".", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel installed, and what else this one has."""
    root = tmp_path_factory.mktemp("fresh")
    venv.create(root, with_pip=False, symlinks=True)
    (site,) = root.glob("lib/python*/site-packages")
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    shell(*install, "--target", site, wheel, cwd=root)
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return root / "bin" / "python"


def test_it_stays_small(wheel):
    assert wheel.stat().st_size < 64e6, "give the newest zoo models a package of their own"


def test_it_holds_every_module_and_model(python, tmp_path):
    names = [name.removesuffix(".__init__") for name in modules() if "__main__" not in name]
    program = f"""
import importlib, pathlib, sys
for name in {names!r}:
    module = importlib.import_module(name)
    place = pathlib.Path(module.__file__)
    assert place.is_relative_to({str(python.parents[1])!r}), place
from diffusers import DiffusionPipeline
import forecastcache as fc
from forecastcache import zoo
from forecastcache.evaluation.page import Page
assert "sortable" in Page("title", "summary").html()
from forecastcache.registry import PREDICTORS
from forecastcache.zoo.judge import Judge
DiffusionPipeline.from_pretrained(zoo.folder("dit-digits"))
Judge.load()
inside = pathlib.Path(fc.__file__).parent
for name in "py.typed", "engine/README.md", "calibration/README.md", "memory/published":
    assert (inside / name).exists(), name
print(len(PREDICTORS.names()))
"""
    assert int(shell(python, "-c", program, cwd=tmp_path)) >= 9


USER = """import forecastcache as fc


def accelerate(pipe: object) -> fc.Session:
    session = fc.attach(pipe, fc.Every(5, last=2), fc.Taylor(1), site="block")
    schedule, predictor = fc.Calibration.load("zoo:flux-digits").choose(9)
    reveal_type(predictor)
    reveal_type(fc.evaluate(pipe, fc.Request(), fc.Sweep()).rows[0].latent_psnr_db)
    reveal_type(session.report().cache_bytes_planned)
    return session


class Mine(fc.Schedule):
    threshold: float = 0.1

    def compute(self, step: fc.Step, state: fc.State) -> bool:
        return not state.computed or step.index > 3


Mine(0.2)
Mine(threshold=0.2)
fc.Every("often")
fc.Taylor(order=1, sigma=2)
fc.nonsense
"""
REVEALED = ("LinearPredictor", r"float \| None", r"int \| None")
MISTAKES = {22: "often|str", 23: "sigma", 24: "nonsense"}  # by line


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_users_file_sees_the_types(python, tmp_path, checker):
    """A mistake is found where it is, and nowhere else."""
    pytest.importorskip(checker)
    (tmp_path / "user.py").write_text(USER)
    interpreter = {"mypy": "--python-executable", "pyright": "--pythonpath"}[checker]
    done = subprocess.run(
        [sys.executable, "-m", checker, interpreter, str(python), "user.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    said = done.stdout
    assert "stub" not in said, said
    errors = re.findall(r"user\.py:(\d+):(?:\d+)?(?: -)? error: (.*)", said)
    assert {int(line) for line, _ in errors} == {*MISTAKES}, said
    for line, message in errors:
        assert re.search(MISTAKES[int(line)], message), said
    for kind in REVEALED:
        assert re.search(kind, said), f"{kind} is not revealed: {said}"
