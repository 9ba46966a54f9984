"""Recipe of `zoo:flux-digits`: text to image as FLUX.1-dev does it, made small.

A stock `FluxPipeline`: 32x32 RGB, 4 latent channels of 8x8, packed into 16 tokens; 3 double and 6
single blocks of width 96; CLIP and T5 for the captions; flow matching with shifted noise levels;
guidance distilled into the network. The prompt is padded to 12 tokens (the original: 512).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import appraisal, data, flow, judge, text
from forecastcache.zoo.pictures import Subjects, autoencoding, captioned, trained_on
from forecastcache.zoo.training import fit

TEXT_TOKENS = zoo.entry("flux-digits").call["max_sequence_length"]
BATCH = 96
CHANNELS = 4  # with the original's 16, so small a network learns the digits far more slowly
SHIFT = math.exp(0.5)  # at 16 tokens, as the scheduler below has it

asked = judge.asked
real = appraisal.real_pictures


def make(
    work: Path, seed: int = 0, vae_steps: int = 2000, steps: int = 5000, guidance_steps: int = 700
) -> tuple[FluxPipeline, float]:
    """Train the pipeline from nothing, or go on with what `work` holds.

    Args:
        work: folder for checkpoints and loss curves.
        seed: of the weights' initialisation and of every batch.
        vae_steps: optimiser steps for the autoencoder.
        steps: optimiser steps for the transformer.
        guidance_steps: optimiser steps for its guidance.

    Returns:
        The pipeline, and the seconds of training.
    """
    torch.manual_seed(seed)
    vae, transformer = _vae(), _transformer()
    clip, clip_tokenizer = text.clip()
    t5, t5_tokenizer = text.t5()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_image_seq_len=16, max_image_seq_len=64
    )
    pipe = FluxPipeline(scheduler, vae, clip, clip_tokenizer, t5, t5_tokenizer, transformer)
    seconds = text.teach("clip", clip, lambda it: _encode(pipe, it)[1], work, seed)
    seconds += text.teach("t5", t5, lambda it: _encode(pipe, it)[0].mean(1), work, seed)

    scans = data.scans("train")
    subjects = trained_on(scans)

    def draw(generator: torch.Generator) -> Tensor:
        return subjects[subjects.any(32, generator)].draw(scans)

    seconds += fit(autoencoding(vae, draw, vae_steps), work, seed)
    batch = captioned(_latents(vae, scans, subjects), scans, subjects, BATCH)
    lessons = flow.Lessons(transformer, _velocity(pipe), batch, SHIFT, middle=0)
    seconds += fit(lessons.match(steps), work, seed)
    seconds += fit(lessons.distil(guidance_steps), work, seed)
    return pipe, seconds


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=data.SIZE,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


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
    flow.start_at_zero(transformer)
    return transformer


@torch.no_grad()
def _latents(vae: Any, scans: data.Scans, subjects: Subjects) -> Tensor:
    """Every subject as the transformer sees it, `(n, 16, 16)`; sets the autoencoder's scaling."""
    latents = torch.cat(
        [vae.encode(part.draw(scans)).latent_dist.mean for part in subjects.batches(256)]
    )
    shift, factor = round(latents.mean().item(), 4), round(1 / latents.std().item(), 4)
    vae.register_to_config(shift_factor=shift, scaling_factor=factor)
    scaled = (latents - shift) * factor
    packed: Tensor = FluxPipeline._pack_latents(scaled, *scaled.shape)
    return packed


def _encode(pipe: FluxPipeline, captions: list[str], tokens: int = TEXT_TOKENS) -> Any:
    return pipe.encode_prompt(captions, None, max_sequence_length=tokens)[:2]


def _velocity(pipe: FluxPipeline) -> flow.Velocity:
    side = data.SIZE // 8
    places = FluxPipeline._prepare_latent_image_ids(1, side, side, "cpu", torch.float32)
    encode = text.remembered(lambda captions: _encode(pipe, captions))

    def velocity(
        model: Any, noisy: Tensor, sigma: Tensor, captions: list[str], scale: Tensor
    ) -> Tensor:
        words, pooled = encode(captions)
        answer: Tensor = model(
            noisy,
            encoder_hidden_states=words,
            pooled_projections=pooled,
            timestep=sigma,
            guidance=scale,
            img_ids=places,
            txt_ids=torch.zeros(words.shape[1], 3),
        ).sample
        return answer

    return velocity
