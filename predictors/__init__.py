"""The forecasters that come with forecastcache, one a file."""

if __name__ != "forecastcache.predictors":
    raise ImportError("import this folder as forecastcache.predictors (pip install .)")
