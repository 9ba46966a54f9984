"""Conformance, public: what is written passes its suite, or is told why not."""

from forecastcache.testing.adapters import check_adapter
from forecastcache.testing.metrics import check_metric
from forecastcache.testing.predictors import check_predictor
from forecastcache.testing.schedules import check_schedule

__all__ = ["check_adapter", "check_metric", "check_predictor", "check_schedule"]
