"""Recipe of `zoo:flux-digits`: text to image as FLUX.1-dev does it, made small.

A stock `FluxPipeline`: 32x32 RGB, 4 latent channels of 8x8, packed into 16 tokens; 3 double and 6
single blocks of width 96; CLIP and T5 for the captions; flow matching with shifted noise levels;
guidance distilled into the network. The prompt is padded to 12 tokens (the original: 512).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import captions, data, judge, scores, text
from forecastcache.zoo.autoencoder import autoencoder_stage, latents_of, small_autoencoder_kl
from forecastcache.zoo.flow import FlowMatching, start_at_zero
from forecastcache.zoo.pictures import Subjects, captioned, subjects_of
from forecastcache.zoo.training import Stage

VAE_STEPS, STEPS, GUIDANCE_STEPS = 2000, 5000, 700
TEXT_TOKENS = zoo.entry("flux-digits").call["max_sequence_length"]
BATCH = 96
CHANNELS = 4  # with the original's 16, so small a network learns the digits far more slowly
SHIFT = math.exp(0.5)  # at 16 tokens, as the scheduler below has it

asked = judge.asked
reader = judge.Judge.load
real = scores.real_pictures


def pipeline() -> FluxPipeline:
    """The pipeline, untrained."""
    vae = small_autoencoder_kl(CHANNELS, use_quant_conv=False, use_post_quant_conv=False)
    transformer = _transformer()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_image_seq_len=16, max_image_seq_len=64
    )
    words = captions.vocabulary()
    return FluxPipeline(scheduler, vae, *text.clip(words), *text.t5(words), transformer)


def stages(pipe: FluxPipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training."""
    encode = partial(_encode, pipe)
    yield text.teach("clip", pipe.text_encoder, lambda it: encode(it)[1])
    yield text.teach("t5", pipe.text_encoder_2, lambda it: encode(it)[0].mean(1))

    subjects = subjects_of(data.scans("train"))
    yield autoencoder_stage(
        pipe.vae, lambda generator: subjects.sample(32, generator).draw(), VAE_STEPS
    )

    flow = FlowMatching(
        pipe.transformer,
        text.remembered(encode),
        _arguments,
        captioned(_latents(pipe.vae, subjects), subjects, BATCH),
        SHIFT,
        middle=0,
    )
    yield flow.match(STEPS)
    yield flow.distil(GUIDANCE_STEPS)


def _transformer() -> FluxTransformer2DModel:
    transformer = FluxTransformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=3,
        num_single_layers=6,
        attention_head_dim=24,
        num_attention_heads=4,
        axes_dims_rope=(8, 8, 8),
        joint_attention_dim=text.WIDTH,
        pooled_projection_dim=text.WIDTH,
        guidance_embeds=True,
    )
    start_at_zero(transformer)
    return transformer


def _encode(pipe: FluxPipeline, captions: list[str]) -> tuple[Tensor, Tensor]:
    words, pooled, _ = pipe.encode_prompt(captions, None, max_sequence_length=TEXT_TOKENS)
    return words, pooled


def _latents(vae: Any, subjects: Subjects) -> Tensor:
    """Every subject as the transformer sees it, `(n, 16, 16)`; sets the autoencoder's scaling."""
    latents = latents_of(vae, subjects.batches(256))
    shift, factor = round(latents.mean().item(), 4), round(1 / latents.std().item(), 4)
    vae.register_to_config(shift_factor=shift, scaling_factor=factor)
    scaled = (latents - shift) * factor
    packed: Tensor = FluxPipeline._pack_latents(scaled, *scaled.shape)
    return packed


def _arguments(sigma: Tensor, scale: Tensor, words: Tensor, pooled: Tensor) -> dict[str, Any]:
    side = data.SIZE // 8
    return {
        "encoder_hidden_states": words,
        "pooled_projections": pooled,
        "timestep": sigma,
        "guidance": scale,
        "img_ids": FluxPipeline._prepare_latent_image_ids(1, side, side, "cpu", torch.float32),
        "txt_ids": torch.zeros(words.shape[1], 3),
    }
