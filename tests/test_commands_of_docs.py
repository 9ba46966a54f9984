"""The commands that the documentation prints can be typed: they parse, and they run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from forecastcache.cli.app import app

from .conftest import EVERYTHING
from .test_docs import DOCS, PAGES, ROOT, fences

README = ROOT / "README.md"
# A model or weights of the reader, a schedule of the page.
ELSEWHERE = ("MODEL", "lpips", "first-block")
FIRST = ("README", "quickstart")  # pages whose commands always run
MINUTES = ("evaluate", "tune", "claims")  # but for these; all others do with EVERYTHING=1
CALIBRATIONS = ROOT / "forecastcache" / "zoo" / "calibrations"
COUNTED = ("run", "compare", "evaluate", "tune")


def printed(page: Path) -> Iterator[list[str]]:
    """The arguments of each command of ours in a page's shell blocks."""
    for _, text in fences(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "forecastcache" in words and "pip" not in words:
                yield words[words.index("forecastcache") + 1 :]


WITH_COMMANDS = [page for page in [*PAGES, README] if any(printed(page))]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_they_parse(page):
    group = typer.main.get_command(app)
    for name, *arguments in printed(page):
        command = group.commands[name]
        command.make_context(name, arguments, parent=typer.Context(group))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "page",
    [it for it in WITH_COMMANDS if EVERYTHING or it.stem in FIRST],
    ids=lambda page: page.stem,
)
def test_they_run_on_one_sample(page, forecastcache, tmp_path, monkeypatch):
    """As they are printed, one after another, but for what takes minutes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORECASTCACHE_HOME", str(tmp_path / "cache"))
    Path("prompts.txt").write_text("a bold red seven on a white background\n")
    for _, text in fences(DOCS / "evaluate.md", "yaml"):
        Path("sweep.yaml").write_text(text)
    for arguments in printed(page):
        name = arguments[0]
        if name in MINUTES and not EVERYTHING:
            continue
        if any(it in " ".join(arguments) for it in ELSEWHERE):
            continue
        extra = ["--count", "1"] if name in COUNTED and "--prompts" not in arguments else []
        if name == "calibrate":  # the file that it would make ships
            extra = ["--dry-run"]
            made = re.search(r"--out (\S+)", " ".join(arguments))
            shutil.copy(CALIBRATIONS / f"{arguments[1][4:]}.safetensors", made[1])
        code, _, error = forecastcache(*arguments, *extra)
        assert code == 0, f"{' '.join(arguments)}: {error}"
