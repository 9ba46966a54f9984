"""Examples of everything that ships, by its name: what has none fails every suite at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

import forecastcache as fc
from forecastcache.registry import PREDICTORS, SCHEDULES, Registry
from forecastcache.schedules.adacache import AdaCache
from forecastcache.schedules.drift import Drift
from forecastcache.schedules.easycache import EasyCache
from forecastcache.schedules.firstblock import FirstBlockCache
from forecastcache.schedules.magcache import MagnitudeAware
from forecastcache.schedules.seacache import SeaCache
from forecastcache.schedules.teacache import TeaCache
from forecastcache.schedules.verified import Verified

COMPUTED = (0, 1, 4)
TIMES = [1 - i / 10 for i in range(10)]  # of the trajectory that learned rows serve


def learned(weights=(-0.7, 1.9), times=None) -> fc.Learned:
    rows = [
        {"target": t, "computed": [c for c in COMPUTED if c < t][-2:], "weights": weights}
        for t in set(range(2, 10)) - set(COMPUTED)
    ]
    return fc.Learned(rows, times)


PREDICTOR_EXAMPLES: Mapping[str, tuple[fc.Predictor, ...]] = {
    "reuse": (fc.Reuse(),),
    "taylor": tuple(fc.Taylor(order) for order in range(5)),
    "newton": (
        *(fc.Newton(order) for order in range(5)),
        fc.Newton(8),
        *(fc.Newton(2, coordinate) for coordinate in ("time", "logsnr")),
    ),
    "hermite": (*(fc.Hermite(order) for order in range(5)), fc.Hermite(2, 1.3)),
    "bdf": tuple(fc.BDF(order, corrected) for order in (1, 2) for corrected in (False, True)),
    "exponential": (*(fc.Exponential(rank) for rank in (1, 2, 3)), fc.Exponential(1, window=6)),
    "bands": (
        fc.Bands("reuse", "hermite"),
        fc.Bands(fc.Exponential(2), fc.Newton(2, "logsnr"), 0.6),
    ),
    "blend": (fc.Blend("reuse", "taylor:order=2", 0.8), fc.Blend(fc.Newton(2), fc.Newton(3), -1)),
    "learned": (learned(), learned(times=TIMES)),
    "meanvelocity": (fc.MeanVelocity(),),
    "repay": (fc.Repay(), fc.Repay(0), fc.Repay(0.9)),
    "resilphase": (
        *(fc.ResilPhase(order, axis) for order in (0, 1, 2) for axis in ("balanced", "chebyshev")),
        fc.ResilPhase(3, alpha=1.5),
    ),
    "tap": (fc.TAP(), fc.TAP((1,)), fc.TAP((0, 3))),
    "twoanchor": (fc.TwoAnchor(), fc.TwoAnchor(0, 3)),
    "variable-order": (fc.VariableOrder(), fc.VariableOrder((0, 2, 3))),
}
RATIOS = tuple(1 + 0.02 * (i % 3) for i in range(50))
SCHEDULE_EXAMPLES: Mapping[str, Sequence[fc.Schedule]] = {
    "adacache": (AdaCache(), AdaCache(3, codebook=((0.1, 9), (1, 2)))),
    "drift": (Drift(), Drift(0.01, order=1, growth=3)),
    "easycache": (EasyCache(), EasyCache(0.1, first=2)),
    "firstblock": (FirstBlockCache(), FirstBlockCache(0.2, first=3, last=2, in_a_row=4)),
    "magcache": (MagnitudeAware(ratios=RATIOS), MagnitudeAware(1, ratios=RATIOS[:9])),
    "seacache": (SeaCache(), SeaCache(0.1, power=3, of="sample")),
    "teacache": (TeaCache(), TeaCache(0.1, coefficients=(2, -0.5, 1, 0))),
    "verified": (Verified(), Verified(0.02, decay=1, floor=0.01, unchecked=2)),
    "warped": [fc.Warped(4), fc.Warped(3, a=0.8, b=1.7, last=2)],
    "every": (fc.Every(5), fc.Every(1), fc.Every(7, first=1, last=2)),
    "preset": (fc.Preset("flux.1-dev:9"), fc.Preset("qwen-image:10", "meancache")),
    "listed": (fc.Listed([0]), fc.Listed([0, 6, 12, 40])),
}


def shipped(registry: Registry[Any]) -> list[str]:
    """The names of what comes with the package, not with others that are installed."""
    return [
        point.name
        for point in entry_points(group=registry.group)
        if point.value.startswith("forecastcache.")
    ]


def predictors() -> list[fc.Predictor]:
    """Every example of every predictor that ships."""
    return [it for name in shipped(PREDICTORS) for it in PREDICTOR_EXAMPLES[name]]


def unfitted_rows() -> list[fc.LinearPredictor]:
    """Those whose forecast is a row of weights that needs no fitting."""
    return [it for it in predictors() if isinstance(it, fc.LinearPredictor) and not it.fitted]


def schedules() -> list[fc.Schedule]:
    """Every example of every schedule that ships."""
    return [it for name in shipped(SCHEDULES) for it in SCHEDULE_EXAMPLES[name]]
