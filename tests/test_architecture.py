"""The house: who may import whom, what the wheel holds, what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import shell

ROOT = Path(__file__).parents[1]
# Folders at the top of the project, which are in the namespace of forecastcache all the same.
PLUGINS = {name: ROOT / name for name in ("predictors", "adapters", "calibration")}
ROOMS = {path.parent.name: path.parent for path in (ROOT / "forecastcache").glob("*/__init__.py")}
FOLDERS = {
    "forecastcache": ROOT / "forecastcache",
    **{f"forecastcache.{name}": folder for name, folder in {**ROOMS, **PLUGINS}.items()},
}
# From the ground up. A module imports modules of lower floors, or of its own room; a module that
# stands on a floor of its own is named with its room.
FLOORS = (
    ("step", "errors", "_moved", "engine.noise_levels"),
    ("bounds",),
    ("_util", "engine.times"),
    (
        "options",
        "history",
        "memory.input_size",
        "memory.autocast",
        "memory.known_values",
        "engine.patch",
        "engine.token_shards",
        "engine.attention_scores",
        "sampling.trajectory",
    ),
    ("schedule", "granularity", "engine.clock", "memory.shapes"),
    ("predictor", "presets", "trunk", "memory.without_data"),
    ("adapter", "engine.streams"),
    ("registry", "engine.stand_ins", "memory.twin"),
    ("engine.taps",),
    ("spec", "memory.dry_run", "engine.probe", "metrics.metric"),
    ("predictors", "adapters", "schedules"),
    ("memory.budget", "engine.call", "engine.report"),
    ("memory.accountant", "config"),
    ("engine",),
    ("zoo",),
    ("sampling",),
    ("memory",),
    ("calibration", "testing"),
    ("accelerated",),
    ("evaluation.method",),
    ("baselines", "metrics"),
    ("evaluation",),
    ("cli", "zoo.train"),
    ("__init__", "__main__"),
)
NAME_PLUGINS = (
    "__init__", "__main__", "accelerated", "cli", "evaluation", "baselines", "metrics",
    "schedules", "testing", "zoo",
)  # fmt: skip
REGISTERED = ("predictors", "adapters", "schedules")  # found by name
LONGEST_FILE, LONGEST_FUNCTION = 300, 40  # lines; those of a docstring do not count in a function
PUBLIC = {"attach": "forecastcache.accelerated.attach"}  # it stands on the engine's of that name
RECIPES = (
    "dit_digits",
    "flux_digits",
    "flux_emoji",
    "hunyuan_digits",
    "qwen_digits",
    "qwen_lightning",
    "wan_digits",
)  # of the zoo


def floor(name: str) -> int:
    return next(level for level, names in enumerate(FLOORS) if name in names)


def modules() -> dict[str, Path]:
    """Every module by its import name; `x.__init__` for a package's own file."""
    return {
        f"{package}.{path.stem}": path
        for package, folder in FOLDERS.items()
        for path in folder.glob("*.py")
    }


def part(module: str) -> str:
    """The room a module belongs to: a core module, the folder it lies in, or itself if placed."""
    inside = module.removeprefix("forecastcache.")
    placed = any(inside in names for names in FLOORS)
    return inside if placed else inside.split(".")[0]


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports confuse type checkers here"
            package = node.module or ""
            found |= {f"{package}.{a.name}" if package in FOLDERS else package for a in node.names}
    known = modules()
    packages = {name for name in FOLDERS if name != "forecastcache"}
    ours = {name for name in found if name.startswith("forecastcache")}
    return {
        name if name in known or name in packages else name.rpartition(".")[0] for name in ours
    } - {"forecastcache"}


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module):
    here = part(module)
    for other in imported(modules()[module]):
        there = part(other)
        if here == there and module.count(".") == 2:
            continue  # within one folder
        assert floor(there) < floor(here), f"{module} imports {other}"


@pytest.mark.parametrize("module", modules())
def test_the_engine_names_no_plugin(module):
    """What is found by name is found, not known: contracts and engine work for anybody's."""
    room = module.removeprefix("forecastcache.").split(".")[0]
    if room in (*NAME_PLUGINS, *PLUGINS):
        return
    source = modules()[module].read_text()
    code = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    texts = {node.value for node in code if isinstance(node.value, str)}
    folders = [FOLDERS[f"forecastcache.{name}"] for name in REGISTERED]
    built_in = {path.stem for folder in folders for path in folder.glob("[a-z]*.py")}
    assert not texts & built_in
    assert not {part(other) for other in imported(modules()[module])} & {*PLUGINS, *REGISTERED}


@pytest.mark.parametrize("module", modules())
def test_files_and_functions_are_short(module):
    source = modules()[module].read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    if module.rpartition(".")[2] in (*RECIPES, "charts"):
        return
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {
        node.name: lines
        for node in ast.walk(ast.parse(source))
        if isinstance(node, functions) and (lines := length(node)) > LONGEST_FUNCTION
    }
    assert long == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without those of the docstring."""
    assert function.end_lineno is not None
    first, lines = function.body[0], function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    assert first.end_lineno is not None
    return lines - (first.end_lineno - first.lineno + 1)


def test_a_name_is_used_for_one_thing():
    """No two classes or functions that other modules may import have the same name.

    The recipes of the zoo have the same functions, as `zoo.recipe` expects of them.
    """
    owners: dict[str, list[str]] = {}
    for module, path in modules().items():
        if module.rpartition(".")[2] in RECIPES:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != "_":
                if PUBLIC.get(node.name) == module:
                    continue
                owners.setdefault(node.name, []).append(module)
    assert {name: places for name, places in owners.items() if len(places) > 1} == {}


def test_importing_costs_little_beyond_torch():
    program = """
import sys, torch, numpy, pydantic
before = set(sys.modules)
import forecastcache
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new & {"diffusers", "transformers", "accelerate", "matplotlib", "scipy", "typer",
                     "rich", "sklearn", "torchmetrics", "PIL"}))
print("forecastcache.adapters" in sys.modules)
"""
    assert shell(sys.executable, "-c", program, cwd=ROOT).split() == ["False"]


def test_a_command_line_is_read_before_the_large_libraries_come():
    program = (
        "import sys, forecastcache.cli.app; print({'diffusers', 'transformers'} & {*sys.modules})"
    )
    assert shell(sys.executable, "-c", program, cwd=ROOT).strip() == "set()"


def test_a_folder_is_not_imported_twice():
    done = subprocess.run(
        [sys.executable, "-c", "import predictors"], cwd=ROOT, capture_output=True, text=True
    )
    assert "import this folder as forecastcache.predictors" in done.stderr
