"""Pages that a benchmark writes show the results that are recorded."""

from __future__ import annotations

import json
import sys
from importlib import util
from types import ModuleType

from .test_architecture import ROOT

BENCHMARKS = ROOT / "benchmarks"


def benchmark(path: str, monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = util.spec_from_file_location("the_benchmark", BENCHMARKS / path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "the_benchmark", module)
    spec.loader.exec_module(module)
    return module


def recorded(name: str) -> list[dict]:
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())["rows"]


def test_the_ablation_of_every_model(monkeypatch):
    ablation = benchmark("ablation.py", monkeypatch)
    page, found = ablation.DOCUMENT.read_text(), recorded("ablation")
    assert {row["model"] for row in found} == set(ablation.MODELS)
    for model in ablation.MODELS:
        own = [row for row in found if row["model"] == model]
        assert f"<!-- {model} -->\n\n{ablation.inside(own)}\n\n" in page


def test_other_media(monkeypatch):
    media = benchmark("media/run.py", monkeypatch)
    found = recorded("media")
    assert {row["medium"] for row in found} == set(media.MEDIA)
    assert f"<!-- tables -->\n\n{media.inside(found)}\n\n" in media.PAGE.read_text()
    for name in media.MEDIA:
        assert (media.PAGE.parent / f"{name}.png").is_file()


def test_the_field_of_every_model(monkeypatch):
    field_page = benchmark("field_page.py", monkeypatch)
    page, found = field_page.DOCUMENT.read_text(), recorded("field")
    assert {row["model"] for row in found} == set(field_page.MODELS)
    for model in field_page.MODELS:
        assert f"### `{model}`\n\n{field_page.table(found, model)}\n\n" in page
    assert field_page.DOCUMENT.with_suffix(".png").is_file()


def test_the_peers_of_every_model(monkeypatch):
    standings = benchmark("standings.py", monkeypatch)
    page, every = standings.DOCUMENT.read_text(), standings.recorded()
    assert f"<!-- tables -->\n\n{standings.headline(every)}\n\n" in page
    assert f"<!-- peers -->\n\n{standings.headline(every)}\n\n" in standings.README.read_text()
    for model, found in every.items():
        assert f"### `{model}`\n\n{standings.by_budget(found)}\n\n" in page
