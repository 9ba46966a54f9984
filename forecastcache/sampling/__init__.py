"""A pipeline loaded by name, asked for the same samples again and again, and observed."""

from forecastcache._moved import name_new_places

name_new_places(__name__)
