"""The public face: what `import forecastcache as fc` offers, and where old names went."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from importlib.metadata import version

import pytest

import forecastcache as fc
from forecastcache._moved import MOVED
from forecastcache._util.deprecation import renamed_argument

from .test_architecture import ROOT, modules

LIST = ROOT / "docs" / "reference" / "index.md"


def test_the_docs_list_every_public_name_and_no_other():
    listed = re.findall(r"^\| \[?`([\w.]+)`", LIST.read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(fc.__all__)


def test_dir_shows_the_public_names_and_each_is_there():
    assert dir(fc) == sorted(fc.__all__)
    for name in fc.__all__:
        assert getattr(fc, name) is not None
    assert fc.__version__ == version("forecastcache")
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        fc.nonsense  # noqa: B018


def test_public_classes_and_functions_are_documented():
    for name in fc.__all__:
        thing = getattr(fc, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{name} has no docstring"


def public(module: str) -> dict[str, object]:
    return vars(importlib.import_module(module))


def test_every_error_has_one_base_and_every_warning_one_category():
    for module in modules():
        if module.endswith("__main__"):
            continue
        for name, thing in public(module.removesuffix(".__init__")).items():
            ours = inspect.isclass(thing) and thing.__module__.startswith("forecastcache")
            if ours and issubclass(thing, Exception) and not name.startswith("_"):
                base = fc.ForecastCacheWarning if issubclass(thing, Warning) else None
                assert issubclass(thing, base or fc.ForecastCacheError), f"{module}.{name}"


@pytest.mark.parametrize("path", modules().values(), ids=str)
def test_warnings_are_of_our_category_and_nothing_prints_but_commands(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "warnings.warn":
                category = ast.unparse(node.args[1])
                assert issubclass(getattr(fc.errors, category), fc.ForecastCacheWarning)
            assert called != "print" or path.parent.name in ("cli", "zoo")


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_told_its_new_place(old):
    """`a.b` was a module, or a name in one; what took its place is there."""
    new = f"forecastcache.{MOVED[old]}"
    package, _, name = f"forecastcache.{old}".rpartition(".")
    with pytest.raises(ImportError) as told:
        exec(f"from {package} import {name}", {})
    assert re.search(rf"{re.escape(name)} is (now )?{re.escape(new)}\b", str(told.value))
    assert there(new), f"{new} is not there"


def there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True


def test_an_old_module_names_what_was_in_it():
    with pytest.raises(ImportError, match=r"Size is forecastcache\.memory\.input_size\.InputSize"):
        importlib.import_module("forecastcache.size")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("forecastcache.never_was")


def test_a_package_names_what_was_in_it_by_its_whole_path():
    with pytest.raises(ImportError) as told:
        importlib.import_module("forecastcache.rivals")
    renamed = str(told.value).partition("; ")[2].split(", ")
    assert "rival is forecastcache.baselines.baseline" in renamed
    assert "spec.rival is forecastcache.baselines.baseline.baseline_method" in renamed
    names = [each.partition(" is ")[0] for each in renamed]
    assert len(names) == len({*names})


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [
        ("calibration.file", "read", "calibration.io.read_file"),
        ("calibration.wanted", "Cost", "calibration.targets.Effort"),
        ("console", "decibels", "cli.console.format_decibels"),
        ("evaluation.standing", "measured", "evaluation.compare.with_fidelity"),
        ("rivals.rival", "RivalOptions", "baselines.baseline.Baseline"),
        ("spec", "parse", "spec.parse_predictor"),
    ],
)
def test_a_name_that_changed_is_told_whether_or_not_its_module_moved(module, name, new):
    with pytest.raises(ImportError, match=rf"{name} is (now )?forecastcache\.{re.escape(new)}\b"):
        exec(f"from forecastcache.{module} import {name}", {})


def test_a_renamed_argument_still_works_and_says_so():
    @renamed_argument("computed", "count", since="0.2")
    def choose(count: int) -> int:
        """Choose."""
        return count

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose(3) == choose(count=3) == 3
    with pytest.warns(fc.ForecastCacheWarning, match=r"choose\(computed=...\) is deprecated"):
        assert choose(computed=4) == 4
    with pytest.raises(TypeError, match="both computed and count"):
        choose(computed=4, count=4)
    assert (choose.__name__, choose.__doc__) == ("choose", "Choose.")
