"""Rows on disk: they are of the code that made them, wherever in a method it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import pytest

import forecastcache as fc
from forecastcache.baselines.baseline import BaselineMethod
from forecastcache.evaluation.measurement import Measurement
from forecastcache.evaluation.method import Forecast, Method
from forecastcache.evaluation.provenance import model_in_titles
from forecastcache.evaluation.store import Store
from forecastcache.options import Options
from forecastcache.spec import AnyPredictor

MEMBERS = {
    "method": "def own(self): return {}",
    "classmethod": "@classmethod\n def own(cls): return {}",
    "staticmethod": "@staticmethod\n def own(): return {}",
    "property": "@property\n def own(self): return {}",
    "cached_property": "@cached_property\n def own(self): return {}",
    "context manager": "@contextmanager\n def own(self): yield {}",
    "function within": "def own(self): return lambda: {}",
}


def edited(base: type[Options], number: int, member: str = MEMBERS["method"]) -> type[Options]:
    """A class of the same name each time, as a file that was edited gives it."""
    names = {"base": base, "cached_property": cached_property, "contextmanager": contextmanager}
    exec(f"class Edited(base):\n {member.format(number)}", names)
    return names["Edited"]


class Several(fc.Reuse):
    parts: tuple[AnyPredictor, ...]


class Adaptive(fc.Schedule):
    def compute(self, step, state):
        return True


class Guided(fc.Baseline):
    @contextmanager
    def apply(self, pipe, request):
        yield fc.Applied()


@dataclass(frozen=True, slots=True)
class Outsider:
    """A method of somebody else's, without `__dict__`."""

    options: tuple[Options, ...]
    name: str = "outsider"
    line: str = "outsider"
    kind: str = "baseline"


def forecast(predictor: fc.Predictor, schedule: fc.Schedule | None = None) -> Method:
    return Forecast(predictor, schedule or fc.Every(2), "output", "own", "every:2")


PLACES: dict[str, tuple[type[Options], Callable[[Options], Method]]] = {
    "predictor": (fc.Reuse, forecast),
    "schedule": (Adaptive, lambda own: forecast(fc.Reuse(), own)),
    "within bands": (fc.Reuse, lambda own: forecast(fc.Bands("reuse", own))),
    "within a blend": (fc.Reuse, lambda own: forecast(fc.Blend(fc.Blend(own, "reuse"), "reuse"))),
    "within a tuple": (fc.Reuse, lambda own: forecast(Several(("reuse", own)))),
    "baseline": (Guided, lambda own: BaselineMethod("guided", own)),
    "outsider's method": (fc.Reuse, lambda own: Outsider((own,))),
}


def is_served(folder, method: Method, kept: Method) -> bool:
    """Whether a method gets the row that another one left in the folder."""
    Store(folder, {}).add(kept, Measurement.of(kept))
    return Store(folder, {}).get(method) is not None


@pytest.mark.parametrize("place", PLACES)
def test_a_row_is_of_the_code_at_every_place(tmp_path, place):
    base, method = PLACES[place]
    old, same, new = (method(edited(base, number)()) for number in (1, 1, 2))
    assert repr(old) == repr(new)
    assert is_served(tmp_path, same, old)
    assert not is_served(tmp_path, new, old)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_row_is_of_the_code_of_every_member(tmp_path, member):
    old, same, new = (
        forecast(edited(fc.Reuse, number, MEMBERS[member])()) for number in (1, 1, 2)
    )
    assert is_served(tmp_path, same, old)
    assert not is_served(tmp_path, new, old)


def test_a_row_is_found_after_a_property_was_computed(tmp_path):
    method = forecast(edited(fc.Reuse, 1, MEMBERS["cached_property"])())
    Store(tmp_path, {}).add(method, Measurement.of(method))
    assert method.predictor.own == 1
    assert Store(tmp_path, {}).get(method) is not None


def test_titles_name_a_folder_by_its_last_part(tmp_path):
    """And so show no path of one machine."""
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert model_in_titles({"model": str(folder)}) == "my-model"
    assert model_in_titles({"model": "owner/name"}) == "owner/name"
