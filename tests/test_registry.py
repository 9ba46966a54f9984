from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest

import forecastcache as fc
from forecastcache import registry
from forecastcache.errors import ForecastCacheError, NameTakenError, UnknownNameError


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for each in (registry.PREDICTORS, registry.SCHEDULES, registry.ADAPTERS):
        monkeypatch.setattr(each, "_added", {})


def make_mean():
    class Mean(fc.LinearPredictor):
        """The mean of the last two."""

        @property
        def depth(self) -> int:
            return 2

        def weights(self, computed, target):
            return np.full(len(computed), 1 / len(computed))

    return Mean


def test_built_ins_are_found_as_an_outsiders_would_be():
    assert registry.PREDICTORS.get("taylor") is fc.Taylor
    assert registry.PREDICTORS.get("reuse") is fc.Reuse
    assert registry.SCHEDULES.get("every") is fc.Every
    assert registry.ADAPTERS.get("dit").models == ("diffusers.DiTTransformer2DModel",)


def test_a_decorated_class_is_known_by_its_name():
    mean = fc.register_predictor("mean")(make_mean())
    assert registry.PREDICTORS.get("mean") is mean
    assert "mean" in registry.PREDICTORS.names()


def test_running_a_notebook_cell_again_is_no_quarrel():
    fc.register_predictor("mean")(make_mean())
    again = fc.register_predictor("mean")(make_mean())
    assert registry.PREDICTORS.get("mean") is again


def test_a_name_taken_twice_names_both_owners():
    with pytest.raises(NameTakenError, match=r"Mean is taken by forecastcache .*Taylor"):
        fc.register_predictor("taylor")(make_mean())
    fc.register_predictor("mean")(make_mean())
    with pytest.raises(NameTakenError, match=r"taylor.Taylor is taken by .*Mean"):
        fc.register_predictor("mean")(fc.Taylor)


def test_a_class_may_be_both_decorated_and_declared_by_its_package():
    assert fc.register_predictor("taylor")(fc.Taylor) is fc.Taylor
    assert registry.PREDICTORS.get("taylor") is fc.Taylor


def test_what_is_no_adapter_is_refused():
    with pytest.raises(ForecastCacheError, match="'flux' is registered as adapter, but is none"):
        fc.register_adapter("flux")


def test_two_packages_with_one_name_are_both_named(monkeypatch):
    points = [
        EntryPoint("mine", "one.module:One", "forecastcache.predictors"),
        EntryPoint("mine", "two.module:Two", "forecastcache.predictors"),
    ]
    monkeypatch.setattr(registry, "declared", lambda group: {"mine": points})
    with pytest.raises(NameTakenError, match=r"one\.module:One.*two\.module:Two"):
        registry.PREDICTORS.get("mine")


def test_a_package_that_cannot_be_loaded_is_named_and_harms_no_other(monkeypatch, pipe):
    broken = EntryPoint("broken", "no_such_module:X", "forecastcache.adapters")
    installed = registry.declared("forecastcache.adapters")
    monkeypatch.setattr(registry, "declared", lambda group: installed | {"broken": [broken]})
    with pytest.raises(ForecastCacheError, match="no_such_module.*repair or uninstall"):
        registry.ADAPTERS.get("broken")
    with pytest.warns(UserWarning, match="no_such_module"):
        assert registry.adapter_for(pipe.transformer).name == "dit"


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UnknownNameError, match="'tailor': write one of bands, .*taylor"):
        registry.PREDICTORS.get("tailor")


def test_only_things_of_the_kind_are_registered():
    with pytest.raises(ForecastCacheError, match="registered as predictor, but is none"):
        fc.register_predictor("every")(fc.Every)


def test_two_adapters_for_one_class_are_refused(pipe):
    fc.register_adapter(fc.Adapter(name="mine", models=("diffusers.DiTTransformer2DModel",)))
    with pytest.raises(fc.errors.AttachError, match="'dit' and 'mine': keep one, and take the"):
        fc.attach(pipe, fc.Every(2), fc.Reuse())
