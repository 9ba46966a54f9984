"""forecastcache: forecast the features of a diffusion model instead of computing them all.

with attach(pipe, Every(5, first=3), Taylor(order=1)):
    image = pipe(...).images[0]

Everything in `__all__` is the supported interface. Other modules may move without notice.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from forecastcache import _moved as _moved
from forecastcache import errors
from forecastcache.accelerated.attach import attach
from forecastcache.adapter import Adapter, Site, Skip, Tokenwise, Trunk
from forecastcache.config import Config
from forecastcache.engine.attach import detach
from forecastcache.engine.report import CallRecord, Report
from forecastcache.engine.session import Session
from forecastcache.errors import ForecastCacheError, ForecastCacheWarning
from forecastcache.granularity import Blocks, Tokens
from forecastcache.history import History
from forecastcache.memory.input_size import InputSize
from forecastcache.predictor import LinearPredictor, Predictor
from forecastcache.predictors.bands import Bands
from forecastcache.predictors.bdf import BDF
from forecastcache.predictors.blend import Blend
from forecastcache.predictors.explanation import Explanation, explain
from forecastcache.predictors.exponential import Exponential
from forecastcache.predictors.hermite import Hermite
from forecastcache.predictors.learned import Learned
from forecastcache.predictors.meanvelocity import MeanVelocity
from forecastcache.predictors.newton import Newton
from forecastcache.predictors.repay import Repay
from forecastcache.predictors.resilphase import ResilPhase
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.tap import TAP
from forecastcache.predictors.taylor import Taylor
from forecastcache.predictors.twoanchor import TwoAnchor
from forecastcache.predictors.variable_order import VariableOrder
from forecastcache.presets import Preset
from forecastcache.registry import register_adapter, register_predictor, register_schedule
from forecastcache.schedule import Every, Listed, Schedule, State, Warped
from forecastcache.schedules.adacache import AdaCache
from forecastcache.schedules.adaptive import Adaptive
from forecastcache.schedules.drift import Drift
from forecastcache.schedules.easycache import EasyCache
from forecastcache.schedules.firstblock import FirstBlockCache
from forecastcache.schedules.magcache import MagnitudeAware
from forecastcache.schedules.seacache import SeaCache
from forecastcache.schedules.teacache import TeaCache
from forecastcache.schedules.verified import Verified
from forecastcache.step import Step

if TYPE_CHECKING:
    from forecastcache import testing as testing
    from forecastcache import zoo as zoo
    from forecastcache.accelerated.accelerate import accelerate
    from forecastcache.accelerated.accelerated import Accelerated
    from forecastcache.baselines.baseline import Baseline, register_baseline
    from forecastcache.calibration.calibrate import calibrate
    from forecastcache.calibration.calibration import Calibration
    from forecastcache.calibration.distributed import process_group
    from forecastcache.calibration.offers import Offer
    from forecastcache.calibration.schedule_fit import fit_schedule
    from forecastcache.calibration.thresholds import solve_threshold
    from forecastcache.evaluation.evaluate import Evaluation, evaluate
    from forecastcache.evaluation.measurement import Measurement
    from forecastcache.evaluation.method import Applied
    from forecastcache.evaluation.sweep import Sweep
    from forecastcache.memory.plan import MemoryPlan, SiteMemory, plan_memory
    from forecastcache.metrics.metric import Compared, Metric, register_metric
    from forecastcache.sampling.loading import load
    from forecastcache.sampling.request import Request

    __version__: str

# Where they are used only, with what they need: scipy, diffusers, matplotlib.
_LAZY = {
    "Accelerated": "accelerated.accelerated",
    "Applied": "evaluation.method",
    "Baseline": "baselines.baseline",
    "Calibration": "calibration.calibration",
    "Compared": "metrics.metric",
    "Evaluation": "evaluation.evaluate",
    "Measurement": "evaluation.measurement",
    "MemoryPlan": "memory.plan",
    "Metric": "metrics.metric",
    "Offer": "calibration.offers",
    "Request": "sampling.request",
    "SiteMemory": "memory.plan",
    "Sweep": "evaluation.sweep",
    "accelerate": "accelerated.accelerate",
    "calibrate": "calibration.calibrate",
    "evaluate": "evaluation.evaluate",
    "fit_schedule": "calibration.schedule_fit",
    "load": "sampling.loading",
    "plan_memory": "memory.plan",
    "process_group": "calibration.distributed",
    "register_baseline": "baselines.baseline",
    "register_metric": "metrics.metric",
    "solve_threshold": "calibration.thresholds",
}

__all__ = [
    "BDF",
    "TAP",
    "Accelerated",
    "AdaCache",
    "Adapter",
    "Adaptive",
    "Applied",
    "Bands",
    "Baseline",
    "Blend",
    "Blocks",
    "Calibration",
    "CallRecord",
    "Compared",
    "Config",
    "Drift",
    "EasyCache",
    "Evaluation",
    "Every",
    "Explanation",
    "Exponential",
    "FirstBlockCache",
    "ForecastCacheError",
    "ForecastCacheWarning",
    "Hermite",
    "History",
    "InputSize",
    "Learned",
    "LinearPredictor",
    "Listed",
    "MagnitudeAware",
    "MeanVelocity",
    "Measurement",
    "MemoryPlan",
    "Metric",
    "Newton",
    "Offer",
    "Predictor",
    "Preset",
    "Repay",
    "Report",
    "Request",
    "ResilPhase",
    "Reuse",
    "Schedule",
    "SeaCache",
    "Session",
    "Site",
    "SiteMemory",
    "Skip",
    "State",
    "Step",
    "Sweep",
    "Taylor",
    "TeaCache",
    "Tokens",
    "Tokenwise",
    "Trunk",
    "TwoAnchor",
    "VariableOrder",
    "Verified",
    "Warped",
    "__version__",
    "accelerate",
    "attach",
    "calibrate",
    "detach",
    "errors",
    "evaluate",
    "explain",
    "fit_schedule",
    "load",
    "plan_memory",
    "process_group",
    "register_adapter",
    "register_baseline",
    "register_metric",
    "register_predictor",
    "register_schedule",
    "solve_threshold",
    "testing",
    "zoo",
]

if not TYPE_CHECKING:  # type checkers would take any name to be there

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("forecastcache")
        if name in _LAZY:
            return getattr(import_module(f"forecastcache.{_LAZY[name]}"), name)
        if name in ("testing", "zoo"):
            return import_module(f"forecastcache.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
