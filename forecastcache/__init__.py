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
from forecastcache.predictors.newton import Newton
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.taylor import Taylor
from forecastcache.predictors.variable_order import VariableOrder
from forecastcache.presets import Preset
from forecastcache.registry import register_adapter, register_predictor, register_schedule
from forecastcache.schedule import Every, Listed, Schedule, State, Warped
from forecastcache.step import Step

if TYPE_CHECKING:
    from forecastcache import testing as testing
    from forecastcache import zoo as zoo
    from forecastcache.accelerated.accelerate import accelerate
    from forecastcache.accelerated.accelerated import Accelerated
    from forecastcache.baselines.baseline import Baseline, register_baseline
    from forecastcache.calibration.calibrate import calibrate
    from forecastcache.calibration.calibration import Calibration
    from forecastcache.calibration.offers import Offer
    from forecastcache.evaluation.evaluate import Evaluation, evaluate
    from forecastcache.evaluation.measurement import Measurement
    from forecastcache.evaluation.method import Applied
    from forecastcache.evaluation.sweep import Sweep
    from forecastcache.memory.plan import MemoryPlan, SiteMemory, plan_memory
    from forecastcache.sampling.loading import load
    from forecastcache.sampling.request import Request

    __version__: str

# Where they are used only, with what they need: scipy, diffusers, matplotlib.
_LAZY = {
    "Accelerated": "accelerated.accelerated",
    "Applied": "evaluation.method",
    "Baseline": "baselines.baseline",
    "Calibration": "calibration.calibration",
    "Evaluation": "evaluation.evaluate",
    "Measurement": "evaluation.measurement",
    "MemoryPlan": "memory.plan",
    "Offer": "calibration.offers",
    "Request": "sampling.request",
    "SiteMemory": "memory.plan",
    "Sweep": "evaluation.sweep",
    "accelerate": "accelerated.accelerate",
    "calibrate": "calibration.calibrate",
    "evaluate": "evaluation.evaluate",
    "load": "sampling.loading",
    "plan_memory": "memory.plan",
    "register_baseline": "baselines.baseline",
}

__all__ = [
    "BDF",
    "Accelerated",
    "Adapter",
    "Applied",
    "Bands",
    "Baseline",
    "Blend",
    "Blocks",
    "Calibration",
    "CallRecord",
    "Config",
    "Evaluation",
    "Every",
    "Explanation",
    "Exponential",
    "ForecastCacheError",
    "ForecastCacheWarning",
    "Hermite",
    "History",
    "InputSize",
    "Learned",
    "LinearPredictor",
    "Listed",
    "Measurement",
    "MemoryPlan",
    "Newton",
    "Offer",
    "Predictor",
    "Preset",
    "Report",
    "Request",
    "Reuse",
    "Schedule",
    "Session",
    "Site",
    "SiteMemory",
    "Skip",
    "State",
    "Step",
    "Sweep",
    "Taylor",
    "Tokens",
    "Tokenwise",
    "Trunk",
    "VariableOrder",
    "Warped",
    "__version__",
    "accelerate",
    "attach",
    "calibrate",
    "detach",
    "errors",
    "evaluate",
    "explain",
    "load",
    "plan_memory",
    "register_adapter",
    "register_baseline",
    "register_predictor",
    "register_schedule",
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
