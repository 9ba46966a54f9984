"""SANA-Video: blocks of linear attention, cross-attention and convolutional MLP (2509.24695)."""

from dataclasses import replace

from forecastcache.adapters.cosmos import COSMOS

SANA_VIDEO = replace(
    COSMOS,
    name="sana-video",
    models=("diffusers.SanaVideoTransformer3DModel",),
    modulated="time_embed",
    guidance="batched",
)
