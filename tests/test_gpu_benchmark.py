"""The GPU benchmark, as far as it runs without a GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import util
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType
from zipfile import ZipFile

import pytest
import torch

from .test_architecture import ROOT

FOLDER = ROOT / "benchmarks" / "gpu"
RUN = (sys.executable, str(FOLDER / "run.py"))
QUESTIONS = {
    "flux", "combine", "syncs", "zoo_bf16", "hunyuan", "compiled", "offload", "calibrate_big",
}  # fmt: skip
# What a CPU or a test's size cannot show.
SKIPPED = {"compiled": 2, "calibrate_big": 1}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def answers(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def run(*arguments: object) -> None:
    command = [*RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_question_is_answered_on_a_cpu(tmp_path):
    run("--device", "cpu", "--tiny", "--out", tmp_path)
    found = answers(tmp_path)
    assert found.keys() == QUESTIONS
    for name, answer in found.items():
        assert answer["failed"] == [], answer["failed"]
        assert answer["finished"]
        assert answer["rows"]
        assert len(answer["skipped"]) == SKIPPED.get(name, 0), answer["skipped"]
        assert answer["versions"]["torch"] == torch.__version__
    ways = {row["way"]: row for row in found["flux"]["rows"]}
    ours = ways["ours, module, Taylor 1"]
    assert ours["computed"] == 3  # 0 1 2 of 8
    assert ours["cache_bytes"] == ours["cache_bytes_planned"] > 0
    assert all(row["finite"] for row in ways.values() if "finite" in row)
    compiled = found["compiled"]["rows"]
    assert {row["graphs_more_attached"] for row in compiled} == {0}
    assert {row["apart"] for row in compiled} == {0}  # the backend of a test compiles nothing


def test_a_run_that_is_killed_keeps_what_it_has(tmp_path):
    arguments = ("--device", "cpu", "--tiny", "--only", "c", "--out", str(tmp_path))
    killed = subprocess.Popen(
        [*RUN, *arguments],
        start_new_session=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    given_up, file = monotonic() + 120, tmp_path / "combine.json"
    while not (file.exists() and json.loads(file.read_text())["rows"]):
        assert killed.poll() is None
        assert monotonic() < given_up
        sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert answers(tmp_path)["combine"]["rows"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_every_answer_says_so(tmp_path):
    run("--device", "cuda", "--out", tmp_path)
    found = answers(tmp_path)
    assert found.keys() == QUESTIONS
    for name, answer in found.items():
        assert answer["rows"] == answer["failed"] == []
        assert answer["skipped"] == [{"what": name, "reason": "no CUDA: torch sees no GPU here"}]


def test_no_question_is_begun_without_time(tmp_path):
    run("--device", "cpu", "--tiny", "--only", "d", "--minutes", "0", "--out", tmp_path)
    answer = answers(tmp_path)["syncs"]
    assert answer["skipped"] == [{"what": "syncs", "reason": "time used up"}]
    assert answer["command"].endswith("--device cpu --tiny --only d --minutes 0")


@pytest.fixture
def pack(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    spec = util.spec_from_file_location("pack", FOLDER / "pack.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, *needs: str) -> Path:
    path = folder / f"{name}-1-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", *(f"Requires-Dist: {it}" for it in needs)]
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.dist-info/METADATA", "\n".join(lines))
    return path


def test_a_pack_holds_what_is_needed_and_not_present(pack, tmp_path, monkeypatch):
    shelf = {
        "diffusers": ("Importlib_Metadata", "numpy>=1", "jax; extra == 'flax'"),
        "cache-dit": ("diffusers", "colorama; sys_platform == 'win32'"),
        "importlib-metadata": ("zipp>=3", "tomli; python_version < '3.11'"),
        "zipp": (),
    }
    fetched = []

    def downloaded(requirement: str, folder: Path) -> Path:
        fetched.append(requirement)
        name = requirement.partition(">")[0]
        return wheel(folder, name.replace("-", "_"), *shelf[name])

    def build(folder: Path) -> Path:
        needs = ("torch>=2.7", "diffusers>=0.40", "cache-dit; extra == 'peers'")
        return wheel(folder, "forecastcache", *needs, "mypy; extra == 'dev'")

    monkeypatch.setattr(pack, "downloaded", downloaded)
    monkeypatch.setattr(pack, "build", build)
    pack.gather(tmp_path)
    assert sorted(fetched) == ["cache-dit", "diffusers>=0.40", "importlib-metadata", "zipp>=3"]


def test_a_pack_that_is_too_large_is_refused_with_its_sizes(pack, tmp_path):
    (tmp_path / "small.whl").write_bytes(bytes(1000))
    (tmp_path / "large.whl").write_bytes(bytes(3_000_000))
    assert "3.00 MB  in all" in pack.checked(tmp_path, limit=4e6)
    with pytest.raises(SystemExit, match=r"3\.00 MB  large\.whl(?s:.*)above 2 MB: leave"):
        pack.checked(tmp_path, limit=2e6)


def test_a_pack_replaces_a_pack_and_nothing_else(pack, tmp_path):
    (tmp_path / "install.sh").touch()  # anybody's may be called so
    with pytest.raises(SystemExit, match="holds something else than a pack"):
        pack.emptied(tmp_path)
    (tmp_path / "README").write_text(pack.README)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SystemExit, match="holds something else than a pack"):
        pack.emptied(tmp_path)
    (tmp_path / "thesis.tex").unlink()
    assert not pack.emptied(tmp_path).exists()
