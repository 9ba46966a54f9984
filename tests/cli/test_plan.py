"""forecastcache plan: how long it takes, and how often it plans."""

from __future__ import annotations

import json
from time import process_time

from forecastcache.calibration import foretelling as module
from forecastcache.calibration.calibration import Calibration

SECONDS = 3  # of the processor; it takes 0.7 on an idle one, and took 8


def test_all_counts_of_a_shipped_calibration_are_planned_at_once(forecastcache):
    Calibration.load("zoo:dit-digits").frontier()  # the first call loads libraries
    began = process_time()
    code, out, _ = forecastcache("plan", "zoo:flux-digits", "--json")
    assert process_time() - began < SECONDS
    assert (code, json.loads(out)["steps"]) == (0, 50)


def test_plans_are_made_once(monkeypatch):
    calibration = Calibration.load("zoo:flux-digits")
    first, offers = calibration.frontier(), calibration.offers()
    monkeypatch.setattr(module, "simulate", None)
    monkeypatch.setattr(module.schedule_dp, "cheapest_with_costs", None)
    assert calibration.frontier() == first
    assert calibration.offers() == offers
