"""Conformance, public: a predictor or adapter of yours passes its suite, or is told why not."""

from forecastcache.testing.adapters import check_adapter
from forecastcache.testing.predictors import check_predictor

__all__ = ["check_adapter", "check_predictor"]
