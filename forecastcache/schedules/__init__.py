"""Schedules that decide as they run, a method a file; `adaptive.py` has what they share."""
