"""What a few prompts teach of a model: recordings, rows, schedules, in one file."""

if __name__ != "forecastcache.calibration":
    raise ImportError("import this folder as forecastcache.calibration (pip install .)")
