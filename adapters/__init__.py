"""What is known about each model family, one a file."""

if __name__ != "forecastcache.adapters":
    raise ImportError("import this folder as forecastcache.adapters (pip install .)")
