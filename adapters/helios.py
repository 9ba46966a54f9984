"""Helios: the blocks of Wan, with tokens of the video so far before those of the section.

There is no grid, since the tokens that are forecast are those of the video so far too.
"""

from dataclasses import replace

from forecastcache.adapters.wan import WAN

HELIOS = replace(
    WAN,
    name="helios",
    models=("diffusers.HeliosTransformer3DModel",),
    modulated=None,  # the embedder runs twice, for the video so far with a time of 0
    grid=None,
    inputs=None,
)
