"""The command line: one command a file. All work is done elsewhere."""

from forecastcache._moved import name_new_places

name_new_places(__name__)
