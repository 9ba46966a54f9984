"""Video pipelines with tiny components and random weights, and a request to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers.guiders import ClassifierFreeGuidance

from .pipelines import WAN_REQUEST, Case, awake, quiet, rand, unipc, without
from .tiny import make
from .tiny.video import WAN, ltx2_model

TEXT = ("text_encoder", "tokenizer")
MASK = torch.tensor([[1, 1, 1, 1, 0]])
NEGATIVE_MASK = torch.tensor([[1, 1, 1, 0, 0]])
PROMPT = {"prompt_embeds": rand(1, 5, 12), "negative_prompt_embeds": -rand(1, 5, 12)}
MASKED_PROMPT = PROMPT | {
    "prompt_attention_mask": MASK.bool(),
    "negative_prompt_attention_mask": NEGATIVE_MASK.bool(),
}


def flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)


def wan_vace() -> Case:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        latents_mean=[0.1] * 4, latents_std=[1.5] * 4,
    )  # fmt: skip
    # Two latents of the video, and of a mask as many channels as a latent element has pixels.
    model = diffusers.WanVACETransformer3DModel(**WAN, vace_layers=[0, 2], vace_in_channels=72)
    pipe = diffusers.WanVACEPipeline(
        scheduler=unipc(), transformer=awake(model), vae=vae.eval(), **without(*TEXT)
    )
    return Case(quiet(pipe), WAN_REQUEST | {"num_frames": 9}, steps=8, branches=2)


def hunyuan_video_15() -> Case:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=4, block_out_channels=(32,) * 5, layers_per_block=1
    )
    pipe = diffusers.HunyuanVideo15Pipeline(
        scheduler=flow(),
        transformer=make("hunyuan_video_15").model,
        vae=vae.eval(),
        guider=ClassifierFreeGuidance(4.0),
        **without(*TEXT, "text_encoder_2", "tokenizer_2"),
    )
    pipe.vision_num_semantic_tokens = 3
    request = PROMPT | {
        "prompt_embeds_mask": MASK,
        "negative_prompt_embeds_mask": NEGATIVE_MASK,
        "prompt_embeds_2": rand(1, 4, 10),
        "prompt_embeds_mask_2": torch.tensor([[1, 1, 0, 0]]),
        "negative_prompt_embeds_2": torch.zeros(1, 4, 10),
        "negative_prompt_embeds_mask_2": torch.zeros(1, 4, dtype=torch.int64),
        "height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def ltx() -> Case:
    pipe = diffusers.LTXPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        transformer=make("ltx").model,
        **without("vae", *TEXT),
    )
    request = MASKED_PROMPT | {
        "height": 64, "width": 96, "num_frames": 17, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


def ltx2() -> Case:
    """Guided by text in one batch, by a block left out, and by each modality alone."""
    torch.manual_seed(0)
    connectors = diffusers.pipelines.ltx2.connectors.LTX2TextConnectors(
        caption_channels=12, text_proj_in_factor=2, video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=6, video_connector_num_layers=1,
        video_connector_num_learnable_registers=5, audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=6, audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=5, rope_double_precision=False,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8),
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 4,
    )  # fmt: skip
    audio_vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=8, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=2, mel_bins=16
    )
    pipe = diffusers.LTX2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        transformer=awake(ltx2_model(perturbed_attn=True, audio_in_channels=8)),
        connectors=connectors.eval(),
        vae=vae.eval(),
        audio_vae=audio_vae.eval(),
        **without("vocoder", *TEXT),
    )
    request = {
        "prompt_embeds": rand(1, 5, 24),
        "negative_prompt_embeds": -rand(1, 5, 24),
        "prompt_attention_mask": MASK.flip(1),  # padded on the left
        "negative_prompt_attention_mask": NEGATIVE_MASK.flip(1),
        "spatio_temporal_guidance_blocks": [1],
        "height": 128, "width": 192, "num_frames": 33, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=3)


def kandinsky5() -> Case:
    pipe = diffusers.Kandinsky5T2VPipeline(
        scheduler=flow(),
        transformer=make("kandinsky5").model,
        **without("vae", *TEXT, "text_encoder_2", "tokenizer_2"),
    )
    request = {
        "prompt_embeds_qwen": rand(1, 5, 12),
        "prompt_embeds_clip": rand(1, 10),
        "prompt_cu_seqlens": torch.tensor([0, 5]),
        "negative_prompt_embeds_qwen": -rand(1, 3, 12),
        "negative_prompt_embeds_clip": -rand(1, 10),
        "negative_prompt_cu_seqlens": torch.tensor([0, 3]),
        "height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8, branches=2)


def cogvideox() -> Case:
    pipe = diffusers.CogVideoXPipeline(
        scheduler=diffusers.CogVideoXDDIMScheduler(),
        transformer=make("cogvideox").model,
        **without("vae", *TEXT),
    )
    request = PROMPT | {"height": 64, "width": 64, "num_frames": 9, "num_inference_steps": 8}
    return Case(quiet(pipe), request, steps=8)


def skyreels_v2() -> Case:
    pipe = diffusers.SkyReelsV2Pipeline(
        scheduler=unipc(), transformer=make("skyreels_v2").model, **without("vae", *TEXT)
    )
    return Case(quiet(pipe), WAN_REQUEST | {"num_frames": 9}, steps=8, branches=2)


def mochi() -> Case:
    pipe = diffusers.MochiPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        transformer=make("mochi").model,
        **without("vae", *TEXT),
    )
    request = MASKED_PROMPT | {
        "prompt_embeds": rand(1, 5, 16), "negative_prompt_embeds": -rand(1, 5, 16),
        "height": 32, "width": 32, "num_frames": 7, "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


def allegro() -> Case:
    pipe = diffusers.AllegroPipeline(
        scheduler=diffusers.EulerAncestralDiscreteScheduler(),
        transformer=make("allegro").model,
        **without("vae", *TEXT),
    )
    request = MASKED_PROMPT | {
        "negative_prompt": None, "height": 32, "width": 48, "num_frames": 12,
        "num_inference_steps": 8,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


def latte() -> Case:
    pipe = diffusers.LattePipeline(
        scheduler=diffusers.DDIMScheduler(),
        transformer=make("latte").model,
        **without("vae", *TEXT),
    )
    request = PROMPT | {
        "height": 64, "width": 64, "video_length": 3, "num_inference_steps": 8,
        "negative_prompt": None,
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


CASES: dict[str, Callable[[], Case]] = {
    each.__name__: each
    for each in (
        wan_vace, hunyuan_video_15, ltx, ltx2, kandinsky5, cogvideox, skyreels_v2, mochi, allegro,
        latte,
    )
}  # fmt: skip
