"""The errors that forecastcache raises, and the categories of its warnings.

Each error names what was found and what to do instead.
"""

from __future__ import annotations


class ForecastCacheError(Exception):
    """Base of every error raised here."""


class ForecastCacheWarning(UserWarning):
    """Category of every warning given here."""


class ForecastCacheDeprecationWarning(ForecastCacheWarning, DeprecationWarning):
    """An old way of calling still works, and will not for long."""


class OptionError(ForecastCacheError, ValueError):
    """An option of a predictor, schedule or baseline is unknown or out of range."""


class ScheduleError(ForecastCacheError, ValueError):
    """A schedule does not fit the trajectory, its answer is no bool, or it wrote to its state."""


class UnknownNameError(ForecastCacheError, LookupError):
    """No predictor, schedule, adapter, baseline or model is known by this name."""


class UnknownScheduleError(ScheduleError, UnknownNameError):
    """A text is neither a list of steps nor the name of a schedule."""


class NameTakenError(ForecastCacheError, ValueError):
    """Two owners claim one name."""


class TrajectoryError(ForecastCacheError, ValueError):
    """A trajectory is not one that a predictor was fitted on."""


class AttachError(ForecastCacheError, ValueError):
    """The model cannot be attached to as asked."""


class BudgetError(ForecastCacheError, ValueError):
    """A planned cache does not fit into the bytes allowed."""


class PlanError(ForecastCacheError, ValueError):
    """The memory of a cache cannot be planned from what is known."""


class SizeError(ForecastCacheError, ValueError):
    """A model cannot be asked for pictures or videos of this size."""


class HistoryError(ForecastCacheError, ValueError):
    """A history is too short for what is asked of it, or a row or forecast does not fit it."""


class RequestError(ForecastCacheError, ValueError):
    """A pipeline cannot be loaded, or does not take what is asked of it."""


class CalibrationError(ForecastCacheError, ValueError):
    """A calibration cannot be made, or does not fit the pipeline that it is used with."""


class CheckpointError(ForecastCacheError, ValueError):
    """A checkpoint belongs to another training than the one asked for."""


class MissingDataError(ForecastCacheError, FileNotFoundError):
    """A recipe of the zoo lacks the pictures that it trains on."""


class ConformanceError(ForecastCacheError, AssertionError):
    """A predictor, schedule or adapter breaks its contract."""


class NotFiniteError(ForecastCacheError, ArithmeticError):
    """A forecast holds NaN or infinity."""
