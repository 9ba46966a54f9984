"""Stock pipelines of the newer image models, tiny, and a request to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch

from .pipelines import HEIGHT, WIDTH, Case, awake, image_vae, picture, quiet, rand, without
from .tiny import make
from .tiny.newer_image import FLUX_LIKE

PROMPT = {"prompt_embeds": rand(1, 5, 12), "negative_prompt_embeds": -rand(1, 5, 12)}
MASKS = {
    "prompt_embeds_mask": torch.tensor([[1, 1, 1, 1, 0]]).bool(),
    "negative_prompt_embeds_mask": torch.tensor([[1, 1, 1, 0, 0]]).bool(),
}
LARGE = {"height": 32, "width": 48}  # where there is no autoencoder, and so one of eight is meant


def shifted() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def bria() -> Case:
    pipe = diffusers.BriaPipeline(
        scheduler=shifted(),
        vae=image_vae(),
        transformer=make("bria").model,
        **without("text_encoder", "tokenizer"),
    )
    size = {"height": HEIGHT, "width": WIDTH}
    request = PROMPT | size | {"guidance_scale": 4.0, "num_inference_steps": 8}
    return Case(quiet(pipe), request, steps=8)


def ovis_image() -> Case:
    pipe = diffusers.OvisImagePipeline(
        scheduler=shifted(),
        transformer=make("ovis_image").model,
        **without("vae", "text_encoder", "tokenizer"),
    )
    request = PROMPT | LARGE | {
        "negative_prompt": None, "guidance_scale": 4.0, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def longcat_image() -> Case:
    torch.manual_seed(0)
    # The pipeline draws latents of 16 channels, whatever the model has.
    model = diffusers.LongCatImageTransformer2DModel(**FLUX_LIKE | {"in_channels": 64})
    pipe = diffusers.LongCatImagePipeline(
        scheduler=shifted(),
        transformer=awake(model),
        **without("vae", "text_encoder", "tokenizer", "text_processor"),
    )
    # It asks for the number of prompts even where they come embedded.
    embedded = {"yes": PROMPT["prompt_embeds"], "no": PROMPT["negative_prompt_embeds"]}
    pipe._encode_prompt = lambda prompts: torch.cat([embedded[prompt] for prompt in prompts])
    request = LARGE | {
        "prompt": "yes", "negative_prompt": "no", "enable_prompt_rewrite": False,
        "guidance_scale": 4.0, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def krea2() -> Case:
    pipe = diffusers.Krea2Pipeline(
        scheduler=shifted(),
        transformer=make("krea2").model,
        **without("vae", "text_encoder", "tokenizer"),
    )
    layers = {name: embeds[:, :, None].repeat(1, 1, 2, 1) for name, embeds in PROMPT.items()}
    request = layers | MASKS | LARGE | {"guidance_scale": 3.0, "num_inference_steps": 8}
    return Case(quiet(pipe), request, steps=8, branches=2)


def prx() -> Case:
    pipe = diffusers.PRXPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        transformer=make("prx").model,
        **without("vae", "text_encoder", "tokenizer"),
    )
    masks = {
        "prompt_attention_mask": MASKS["prompt_embeds_mask"],
        "negative_prompt_attention_mask": MASKS["negative_prompt_embeds_mask"],
    }
    request = PROMPT | masks | LARGE | {
        "use_resolution_binning": False, "guidance_scale": 4.0, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


def ernie_image() -> Case:
    pipe = diffusers.ErnieImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        transformer=make("ernie_image").model,
        **without("vae", "text_encoder", "tokenizer"),
    )
    # One for each prompt, each of its own length.
    embedded = {"prompt_embeds": [rand(5, 12)], "negative_prompt_embeds": [-rand(3, 12)]}
    request = embedded | {"height": 64, "width": 96, "guidance_scale": 4.0}
    return Case(quiet(pipe), request | {"num_inference_steps": 8}, steps=8)


def nucleusmoe_image() -> Case:
    pipe = diffusers.NucleusMoEImagePipeline(
        scheduler=shifted(),
        transformer=make("nucleusmoe_image").model,
        **without("vae", "text_encoder", "processor"),
    )
    request = PROMPT | MASKS | LARGE | {"guidance_scale": 4.0, "num_inference_steps": 8}
    return Case(quiet(pipe), request, steps=8, branches=2)


def bria_fibo2() -> Case:
    pipe = diffusers.BriaFibo2Pipeline(
        scheduler=shifted(),
        transformer=make("bria_fibo2").model,
        **without("vae", "text_encoder", "processor"),
    )
    layers = {name: embeds[:, None].repeat(1, 2, 1, 1) for name, embeds in PROMPT.items()}
    request = layers | MASKS | LARGE | {"guidance_scale": 4.0, "num_inference_steps": 8}
    return Case(quiet(pipe), request, steps=8, branches=2)


def glm_image() -> Case:
    pipe = diffusers.GlmImagePipeline(
        scheduler=shifted(),
        transformer=make("glm_image").model,
        vae=image_vae(latent_channels=4, latents_mean=[0.1] * 4, latents_std=[1.5] * 4),
        **without("tokenizer", "processor", "text_encoder", "vision_language_encoder"),
    )
    request = PROMPT | {
        "height": HEIGHT, "width": WIDTH, "guidance_scale": 3.0, "num_inference_steps": 8,
        "prior_token_ids": torch.arange(24)[None] % 20,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def glm_image_edited() -> Case:
    """The picture goes through the transformer before the loop, which keeps keys and values."""
    case = glm_image()
    request = case.request | {
        "image": [picture()],
        "prior_token_image_ids": [torch.arange(24) % 20],
        "source_image_grid_thw": [torch.tensor([[1, 4, 6]])],
    }
    return case._replace(request=request)


CASES: dict[str, Callable[[], Case]] = {
    each.__name__: each
    for each in (
        bria, ovis_image, longcat_image, krea2, prx, ernie_image, nucleusmoe_image, bria_fibo2,
        glm_image, glm_image_edited,
    )
}  # fmt: skip
