"""Conformance, public: a predictor of your own passes check_predictor, or is told why not."""

from forecastcache.testing.predictors import check_predictor

__all__ = ["check_predictor"]
