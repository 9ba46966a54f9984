"""Fitting of the predictors that learn; the README says what is here and what is not yet."""

if __name__ != "forecastcache.calibration":
    raise ImportError("import this folder as forecastcache.calibration (pip install -e .)")
