"""Recipe of `zoo:hunyuan-digits`: text to video as HunyuanVideo does it, made small.

A stock `HunyuanVideoPipeline`: 9 frames of 32x32 RGB, a causal 3D autoencoder to 3 latent frames
of 8x8 with 4 channels, patched over time as well into 16 tokens; 3 double and 6 single blocks of
width 96; Llama inside the pipeline's chat template and CLIP for the captions; flow matching with
shifted noise levels; guidance distilled into the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import appraisal, data, flow, judge, text
from forecastcache.zoo.flat import flattened
from forecastcache.zoo.motion import FRAMES
from forecastcache.zoo.pictures import (
    Subjects,
    autoencoding,
    captioned,
    set_in_motion,
    trained_on,
)
from forecastcache.zoo.training import fit

TEXT_TOKENS = zoo.entry("hunyuan-digits").call["max_sequence_length"]
BATCH = 64
CHANNELS = 4  # with the original's 16, so small a network learns the digits far more slowly
LATENT_FRAMES = 3
CLIPS = 16_000
STILL = 0.75  # share of the autoencoder's batches that are single frames: colours are learned so
INK_WEIGHT = 4.0
# A third of the other recipes': on single frames, repeated at the edge of time, the three slices
# of a kernel get the same gradient, and Adam moves their sum three times as far.
VAE_RATE = 7e-4
SHIFT = 3.0  # the original's 7 is for thousands of tokens

asked = judge.asked
real = appraisal.real_clips


def make(
    work: Path, seed: int = 0, vae_steps: int = 3600, steps: int = 7000, guidance_steps: int = 500
) -> tuple[HunyuanVideoPipeline, float]:
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
    llama, llama_tokenizer = text.llama(DEFAULT_PROMPT_TEMPLATE["template"], moving=True)
    clip, clip_tokenizer = text.clip(moving=True)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    pipe = HunyuanVideoPipeline(
        llama, llama_tokenizer, transformer, vae, scheduler, clip, clip_tokenizer
    )
    seconds = text.teach("llama", llama, lambda it: _summary(pipe, it), work, seed, moving=True)
    seconds += text.teach("clip", clip, lambda it: _encode(pipe, it)[1], work, seed, moving=True)

    scans = data.scans("train")
    subjects = set_in_motion(trained_on(scans), CLIPS, seed)

    def draw(generator: torch.Generator) -> Tensor:
        if torch.rand((), generator=generator) > STILL:
            return subjects[subjects.any(6, generator)].draw(scans)
        clips = subjects[subjects.any(32, generator)].draw(scans)
        return clips[:, :, int(torch.randint(FRAMES, (), generator=generator))][:, :, None]

    with flattened(vae):
        seconds += fit(autoencoding(vae, draw, vae_steps, INK_WEIGHT, VAE_RATE), work, seed)
    batch = captioned(_latents(vae, scans, subjects), scans, subjects, BATCH)
    lessons = flow.Lessons(transformer, _velocity(pipe), batch, SHIFT)
    seconds += fit(lessons.match(steps), work, seed)
    seconds += fit(lessons.distil(guidance_steps), work, seed)
    return pipe, seconds


def _vae() -> AutoencoderKLHunyuanVideo:
    return AutoencoderKLHunyuanVideo(
        latent_channels=CHANNELS,
        block_out_channels=(16, 32, 48),
        down_block_types=("HunyuanVideoDownBlock3D",) * 3,
        up_block_types=("HunyuanVideoUpBlock3D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
        mid_block_add_attention=False,
    )


def _transformer() -> HunyuanVideoTransformer3DModel:
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        patch_size_t=LATENT_FRAMES,
        num_attention_heads=4,
        attention_head_dim=24,
        num_layers=3,
        num_single_layers=6,
        num_refiner_layers=1,
        rope_axes_dim=(8, 8, 8),
        text_embed_dim=text.WIDTH,
        pooled_projection_dim=text.WIDTH,
    )
    flow.start_at_zero(transformer)
    return transformer


@torch.no_grad()
def _latents(vae: Any, scans: data.Scans, subjects: Subjects) -> Tensor:
    """Every clip as the transformer sees it, `(n, 4, 3, 8, 8)`; sets the scaling."""
    latents = torch.cat(
        [vae.encode(part.draw(scans)).latent_dist.mean for part in subjects.batches(64)]
    )
    factor = round(1 / latents.std().item(), 4)
    vae.register_to_config(scaling_factor=factor)
    return latents * factor


def _encode(pipe: HunyuanVideoPipeline, captions: list[str]) -> Any:
    return pipe.encode_prompt(captions, max_sequence_length=TEXT_TOKENS)


def _summary(pipe: HunyuanVideoPipeline, captions: list[str]) -> Tensor:
    words, _, mask = _encode(pipe, captions)
    return text.mean_word(words, mask)


def _velocity(pipe: HunyuanVideoPipeline) -> flow.Velocity:
    encode = text.remembered(lambda captions: _encode(pipe, captions))

    def velocity(
        model: Any, noisy: Tensor, sigma: Tensor, captions: list[str], scale: Tensor
    ) -> Tensor:
        words, pooled, mask = encode(captions)
        answer: Tensor = model(
            noisy,
            timestep=1000 * sigma,
            encoder_hidden_states=words,
            encoder_attention_mask=mask.float(),
            pooled_projections=pooled,
            guidance=1000 * scale,
        ).sample
        return answer

    return velocity
