"""The errors that forecastcache raises; each names what was found and what to do instead."""

from __future__ import annotations


class ForecastCacheError(Exception):
    """Base of every error raised here."""


class OptionError(ForecastCacheError, ValueError):
    """An option of a predictor or schedule is unknown or out of range."""


class ScheduleError(ForecastCacheError, ValueError):
    """A schedule does not fit the trajectory."""


class UnknownNameError(ForecastCacheError, LookupError):
    """No predictor, schedule, adapter or model is known by this name."""


class NameTakenError(ForecastCacheError, ValueError):
    """Two owners claim one name."""


class TrajectoryError(ForecastCacheError, ValueError):
    """A trajectory is not one that a predictor was fitted on."""


class AttachError(ForecastCacheError, ValueError):
    """The model cannot be attached to as asked."""


class BudgetError(ForecastCacheError, ValueError):
    """A planned cache does not fit into the bytes allowed."""


class PlanError(ForecastCacheError, ValueError):
    """A cache cannot be planned from what is known."""


class SizeError(ForecastCacheError, ValueError):
    """A model cannot be asked for pictures or videos of this size."""


class HistoryError(ForecastCacheError, ValueError):
    """A history is too short for what is asked of it, or a row does not fit it."""


class CalibrationError(ForecastCacheError, ValueError):
    """A calibration cannot be made, or does not fit what it is to be used for."""


class ConformanceError(ForecastCacheError, AssertionError):
    """A predictor or adapter breaks its contract."""


class NotFiniteError(ForecastCacheError, ArithmeticError):
    """A forecast holds NaN or infinity."""
