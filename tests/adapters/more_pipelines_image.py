"""Stock image pipelines of more families, with tiny components, and a request to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers.guiders import AdaptiveProjectedMixGuidance
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from .pipelines import Case, awake, picture, quiet, rand, without
from .tiny import make
from .tiny.image import flux2_model

TEXT = {"prompt_embeds": rand(1, 5, 12), "negative_prompt_embeds": -rand(1, 5, 12)}
MASKS = {
    "prompt_attention_mask": torch.tensor([[1, 1, 1, 1, 0]]),
    "negative_prompt_attention_mask": torch.tensor([[1, 1, 1, 0, 0]]),
}
STEPS = {"num_inference_steps": 8}


def flow(**changes: Any) -> Any:
    config = {"shift": 3.0} | changes
    return diffusers.FlowMatchEulerDiscreteScheduler(**config)


def pipeline(name: str, transformer: Any, scheduler: Any, *missing: str, **others: Any) -> Any:
    """A pipeline without autoencoder and text encoder, which it is not asked for."""
    nothing = without("vae", "text_encoder", "tokenizer", *missing)
    parts = nothing | {"transformer": transformer, "scheduler": scheduler} | others
    return quiet(getattr(diffusers, name)(**parts))


def sized(height: int, width: int, **request: Any) -> dict[str, Any]:
    return {"height": height, "width": width} | STEPS | request


def flux2() -> Case:
    scheduler = flow(use_dynamic_shifting=True)
    pipe = pipeline("Flux2Pipeline", make("flux2").model, scheduler)
    request = sized(64, 48, prompt_embeds=TEXT["prompt_embeds"], guidance_scale=4.0)
    return Case(pipe, request, steps=8)


def flux2_klein() -> Case:
    """The base model, which is not distilled and so is called twice a step."""
    pipe = klein_pipeline("Flux2KleinPipeline")
    return Case(pipe, sized(64, 48, guidance_scale=4.0, **TEXT), steps=8, branches=2)


def flux2_klein_with_kept_keys() -> Case:
    """Keys and values of a picture to look at, which the first step keeps and the others read."""
    pipe = klein_pipeline("Flux2KleinKVPipeline")
    request = sized(64, 48, prompt_embeds=TEXT["prompt_embeds"], image=picture().resize((64, 64)))
    return Case(pipe, request, steps=8, begins=(0, 1))


def klein_pipeline(name: str) -> Any:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLFlux2(
        latent_channels=1, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    model = awake(flux2_model(guidance_embeds=False))
    return pipeline(name, model, flow(use_dynamic_shifting=True), vae=vae.eval())


def z_image() -> Case:
    """Two texts of different lengths, and guidance in the same batch."""
    torch.manual_seed(0)
    texts = [rand(5, 12), rand(40, 12)]
    pipe = pipeline("ZImagePipeline", make("z_image").model, flow())
    prompts = {"prompt_embeds": texts, "negative_prompt_embeds": [-text for text in texts]}
    return Case(pipe, sized(32, 48, guidance_scale=4.0, **prompts), steps=8)


def chroma() -> Case:
    pipe = pipeline("ChromaPipeline", make("chroma").model, flow(use_dynamic_shifting=True))
    masks = {name: mask.bool() for name, mask in MASKS.items()}
    return Case(pipe, sized(64, 48, guidance_scale=4.0, **TEXT, **masks), steps=8, branches=2)


def sd3() -> Case:
    others = ("text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    pipe = pipeline("StableDiffusion3Pipeline", make("sd3").model, flow(), *others)
    pooled = {
        "pooled_prompt_embeds": rand(1, 10),
        "negative_pooled_prompt_embeds": -rand(1, 10),
    }
    return Case(pipe, sized(64, 64, guidance_scale=4.0, **TEXT, **pooled), steps=8)


def sd3_without_some_layers() -> Case:
    """Skip-layer guidance: a third half, at a few steps, whose call leaves out a block."""
    case = sd3()
    request = case.request | {"skip_guidance_layers": [1], "skip_layer_guidance_stop": 0.6}
    return case._replace(request=request)


def qwen_image_edit() -> Case:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        latents_mean=[0.1] * 4, latents_std=[1.5] * 4,
    )  # fmt: skip
    # What is looked at is brought to this area, not to that of a megapixel.
    pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE = 32 * 32
    pipe = pipeline(
        "QwenImageEditPlusPipeline", make("qwen_image").model, flow(use_dynamic_shifting=True),
        "processor", vae=vae.eval(),
    )  # fmt: skip
    masks = {
        "prompt_embeds_mask": torch.tensor([[1, 1, 1, 1, 0]]),
        "negative_prompt_embeds_mask": torch.tensor([[1, 1, 1, 0, 0]]),
    }
    request = sized(32, 48, image=picture(), true_cfg_scale=3.0, **TEXT, **masks)
    return Case(pipe, request, steps=8, branches=2)


def hunyuan_image() -> Case:
    guider = AdaptiveProjectedMixGuidance(guidance_scale=3.5)
    pipe = pipeline(
        "HunyuanImagePipeline", make("hunyuan_image").model, flow(),
        "text_encoder_2", "tokenizer_2", guider=guider,
    )  # fmt: skip
    texts = {
        "prompt_embeds_mask": torch.tensor([[1, 1, 1, 1, 0]]),
        "negative_prompt_embeds_mask": torch.tensor([[1, 1, 1, 0, 0]]),
        "prompt_embeds_2": rand(1, 3, 10),
        "prompt_embeds_mask_2": torch.tensor([[1, 1, 0]]),
        "negative_prompt_embeds_2": torch.zeros(1, 3, 10),
        "negative_prompt_embeds_mask_2": torch.tensor([[0, 0, 0]]),
    }
    return Case(pipe, sized(128, 128, **TEXT, **texts), steps=8, branches=2)


def cogview4() -> Case:
    scheduler = flow(
        shift=1.0, use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75,
        time_shift_type="linear",
    )  # fmt: skip
    pipe = pipeline("CogView4Pipeline", make("cogview4").model, scheduler)
    return Case(pipe, sized(64, 48, guidance_scale=4.0, **TEXT), steps=8, branches=2)


def lumina2() -> Case:
    pipe = pipeline("Lumina2Pipeline", make("lumina2").model, flow(use_dynamic_shifting=True))
    request = sized(64, 48, guidance_scale=4.0, **TEXT, **MASKS)
    return Case(pipe, request, steps=8, branches=2)


def pixart_sigma() -> Case:
    scheduler = diffusers.DPMSolverMultistepScheduler()
    pipe = pipeline("PixArtSigmaPipeline", make("pixart").model, scheduler)
    request = sized(64, 64, guidance_scale=4.0, use_resolution_binning=False, **TEXT, **MASKS)
    # It reads a negative prompt that is not given as an empty one.
    return Case(pipe, request | {"negative_prompt": None}, steps=8)


def sana() -> Case:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    pipe = pipeline("SanaPipeline", make("sana").model, scheduler)
    request = sized(128, 192, guidance_scale=4.0, use_resolution_binning=False, **TEXT, **MASKS)
    return Case(pipe, request | {"negative_prompt": None}, steps=8)


def auraflow() -> Case:
    pipe = pipeline("AuraFlowPipeline", make("auraflow").model, flow(shift=1.73))
    return Case(pipe, sized(64, 64, guidance_scale=4.0, **TEXT, **MASKS), steps=8)


CASES: dict[str, Callable[[], Case]] = {
    each.__name__: each
    for each in (
        flux2, flux2_klein, z_image, chroma, sd3, sd3_without_some_layers, qwen_image_edit,
        hunyuan_image, cogview4, lumina2, pixart_sigma, sana, auraflow,
    )
}  # fmt: skip
