"""The documentation says what is so: its code runs, its links lead on, its options exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import forecastcache as fc
from forecastcache.cli.app import app
from forecastcache.evaluation.tables import COLUMNS
from forecastcache.registry import ADAPTERS, PREDICTORS

from .adapters.test_sweep import exported, left_out

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Their blocks run one after another, as a reader would type them.
EXECUTED = [
    "index.md",
    "quickstart.md",
    "concepts.md",
    "schedules.md",
    "evaluate.md",
    "moving.md",
    "reference/memory.md",
]
FENCE = re.compile(r"^```(\w*) *(?:title=\"([^\"\n]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(
    r"^((predictors|models|notebooks)/(?!index)[\w.-]+|contributing|changelog)\.md$"
)
NOTEBOOKS = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def fences(page: Path, language: str) -> list[tuple[str, str]]:
    """Title and text of the page's blocks in a language; a title names whose code it is."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(title, text) for kind, title, text in found if kind == language]


def runs(title: str) -> bool:
    """Whether a block can be run here: ours, or that of a peer that is installed."""
    return not title or (
        title == "cache-dit" and importlib.util.find_spec("cache_dit") is not None
    )


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs")
    path = DOCS / "hooks" / "generate.py"
    sys.path.insert(0, str(path.parent))  # as mkdocs does
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(path.parent))
    return module


def output_here(code: str) -> str:
    with redirect_stdout(StringIO()) as out:
        exec(compile(code, "page", "exec"), {"__name__": "page"})
    return out.getvalue()


def output_apart(code: str) -> str:
    command = [sys.executable, "-c", f"import torch; torch.set_num_threads(1)\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EXECUTED)
def test_the_code_of_a_page_runs_and_prints_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(text for title, text in fences(DOCS / name, "python") if runs(title))
    assert code
    # cache-dit leaves its mark on classes.
    output = output_apart(code) if "cache_dit" in code else output_here(code)
    printed = iter(output.splitlines())
    for line in re.findall(r"^ *print\(.*\)  # (.+)$", code, re.MULTILINE):
        assert line in printed, f"{line!r} was not printed, or not in this order: {output}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_is_python_and_names_what_there_is(page):
    for title, text in fences(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                known = node.value.id != "fc" or hasattr(fc, node.attr)
                assert known, f"forecastcache has no {node.attr}, in a block of {title or 'ours'}"
    inline = re.findall(r"`[^`\n]*\bfc\.(\w+)", page.read_text(encoding="utf-8"))
    assert [name for name in inline if not hasattr(fc, name)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "#")):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        assert path.is_relative_to(DOCS), target
        generated = GENERATED.match(path.relative_to(DOCS).as_posix())
        known = (
            *PREDICTORS.names(), *ADAPTERS.names(), *NOTEBOOKS, "contributing", "changelog"
        )  # fmt: skip
        assert path.is_file() or (generated and path.stem in known), f"{target} leads nowhere"


def options() -> dict[str, set[str]]:
    """The options of each command."""
    group: Any = typer.main.get_command(app)
    return {
        name: {
            "--help",
            *(it for each in command.params for it in each.opts + each.secondary_opts),
        }
        for name, command in group.commands.items()
    }


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands that a text names, in its blocks and between backticks, with their options."""
    shell = "\n".join(body for kind, _, body in FENCE.findall(text) if kind in ("sh", ""))
    inline = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    lines = [*shell.replace("\\\n", " ").splitlines(), *(" ".join(it.split()) for it in inline)]
    # What precedes it is a prompt, an environment's folder or `python -m`.
    found = [re.match(r"(?:.*[ /])?forecastcache ([a-z]+)\b([^#|]*)", line) for line in lines]
    return [(it[1], re.findall(r"--[a-z][a-z-]*", it[2])) for it in found if it]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_commands_and_options_exist(page):
    known = options()
    for command, named in commands(page.read_text(encoding="utf-8")):
        assert command in known, f"forecastcache has no command {command}"
        assert set(named) <= known[command], f"forecastcache {command} lacks {named}"


def test_commands_are_found_in_text():
    block = "```sh\nforecastcache run M \\\n    --site x\n```\n"
    text = f"Say `forecastcache plan\nFILE --psnr 3`.\n{block}"
    assert commands(text) == [("run", ["--site"]), ("plan", ["--psnr"])]
    assert commands("`python -m forecastcache list --json`") == [("list", ["--json"])]


def test_every_column_of_an_evaluation_is_explained():
    first_cells = re.findall(
        r"^\| ([^|]+) \|", (DOCS / "tables.md").read_text("utf-8"), re.MULTILINE
    )
    explained = " / ".join(first_cells)
    assert [title for title, _ in COLUMNS.values() if title not in explained] == []


def test_every_public_name_is_in_the_reference(hooks):
    reference = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    reference += "\n".join(hooks.pages().values())
    described = set(re.findall(r"^::: (?:\w+\.)*(\w+)$", reference, re.MULTILINE))
    # Modules and what lies in one of them are described together.
    together = {name for name in fc.__all__ if isinstance(getattr(fc, name), (ModuleType, str))}
    assert "::: forecastcache.errors" in reference
    assert {*fc.__all__} - together - {*vars(fc.errors)} <= described


def test_every_page_is_in_the_navigation():
    listed = set(
        re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    )
    written = set(map(name_of, PAGES))
    assert written <= listed
    assert {name for name in listed - written if not GENERATED.match(name)} == set()


def test_a_new_predictor_gets_its_page(hooks, monkeypatch):
    class Newest(fc.Reuse):
        """The newest, under another name."""

    Newest.__module__ = "forecastcache.predictors.newest"
    monkeypatch.setitem(PREDICTORS._added, "newest", Newest)
    page = hooks.pages()["predictors/newest.md"]
    assert "::: forecastcache.predictors.newest.Newest" in page
    assert "$ forecastcache explain newest --computed 0,6,12 --target 17" in page
    assert "noise gain 1; exact on constants" in page
    assert (
        "| [`newest`](newest.md) | The newest, under another name. | yes | 1 |"
        in hooks.predictors()
    )


def test_every_record_has_one_page_and_a_line_in_the_table(hooks):
    models = hooks.model_pages
    written = {page.stem for page in (DOCS / "models").glob("*.md")} - {"index", "others"}
    assert written.isdisjoint(models.generated())
    assert {*written, *models.generated(), "generic"} == {*models.records()}
    (section,) = models.navigation()
    listed = [path for place in section["Every other record"] for path in place.values()]
    assert listed == [f"models/{name}.md" for name in models.generated()]
    rows = [row for row in models.adapters().splitlines() if row.startswith("| [")]
    assert len(rows) == len(models.records())
    for name, row in zip(models.records(), rows, strict=True):
        assert row.startswith(f"| [`{name}`]({models.path_of(name)}) |")


def test_no_class_with_a_time_lacks_a_site_in_the_table(hooks):
    table = hooks.model_pages.adapters()
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| [")]
    shown = {name: sites for _, _, names, sites, *_ in rows for name in re.findall(r"\w+", names)}
    assert [it for it in exported() if left_out(it) is None and it not in shown] == []
    assert all("`output`" in sites for sites in shown.values())
    inside = [name for name, sites in shown.items() if "`block`" in sites]
    assert len(inside) >= 30
    assert f"and {len(inside)} at sites inside" in table


def test_the_page_of_a_record_says_what_it_says(hooks):
    page = hooks.model_pages.model_page("consisid")
    for said in (
        "# `consisid`",
        "[2411.17440](https://arxiv.org/abs/2411.17440)",
        "Serves `diffusers.ConsisIDTransformer3DModel`.",
        "| `hidden` | what is given to `norm_out` |",
        "what is returned by each block of `perceiver_cross_attention` |",
        "| `module` | the outputs of `attn1`, `ff` in each block of `transformer_blocks`; ",
        "Both halves are one batch",
        "read `session.report().cache_bytes`",
        "`fc.Bands` serves it at `output` alone",
    ):
        assert said in page
    page = hooks.model_pages.model_page("sd3")
    assert "It is tested in `StableDiffusion3Pipeline`, with" in page
    assert "| | in all | | | **6,239** |" in page
    assert "- The last block returns no text, and some blocks of 3.5 Medium attend" in page
    assert "fc.Bands" not in page
    page = hooks.model_pages.model_page("prx")
    assert "`down_proj` (which makes `gate_proj`, `mlp_act`, `up_proj` needless) in each" in page
    lacking = hooks.model_pages.model_page("lumina-next")
    assert "| `module` |" not in lacking
    assert "Has no `module`: " in lacking


def test_what_pages_ask_for_is_generated(hooks):
    asked = [
        (page, line)
        for page in PAGES
        for line in re.findall(r"^<!-- generated: .*$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(asked) > 10
    for page, line in asked:
        assert hooks.ASKED.fullmatch(line), f"{name_of(page)}: {line}"
    assert "| `module` |" in hooks.on_page_markdown("<!-- generated: memory dit-xl-2 -->")
    assert "**126**" in hooks.on_page_markdown("<!-- generated: memory dit-xl-2 -->")
    # Each figure of a zoo model stands under its own name.
    sites = (DOCS / "sites.md").read_text("utf-8").splitlines()
    for model in ("zoo:dit-digits", "zoo:flux-digits", "zoo:qwen-digits", "zoo:hunyuan-digits"):
        start = next(
            i
            for i, line in enumerate(sites)
            if line.startswith(f"| `{model}`") and line.endswith("| | |")
        )
        shown = hooks.measured(model)
        assert all(line in shown for line in sites[start + 1 : start + 5])
        assert shown.count("| `output` |") == 1
