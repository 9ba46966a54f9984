"""GLM-Image: the blocks of CogView4, with one MLP that runs for the image and for the text."""

from dataclasses import replace

from forecastcache.adapters.cogview import COGVIEW4

GLM_IMAGE = replace(COGVIEW4, name="glm-image", models=("diffusers.GlmImageTransformer2DModel",))
