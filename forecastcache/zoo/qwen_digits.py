"""Recipe of `zoo:qwen-digits`: text to image as Qwen-Image does it, made small.

A stock `QwenImagePipeline`: 32x32 RGB, its own (video) autoencoder to 4 channels of 8x8, packed
into 16 tokens; 8 double-stream blocks of width 96; Qwen2.5-VL inside the pipeline's chat template
for the captions; flow matching with shifted noise levels; true classifier-free guidance against a
negative prompt.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from torch import Tensor
from torch.nn import functional as F

from forecastcache.zoo import appraisal, data, flow, judge, text
from forecastcache.zoo.flat import flattened
from forecastcache.zoo.pictures import Subjects, autoencoding, captioned, trained_on
from forecastcache.zoo.training import fit

BATCH = 96
CHANNELS = 4
TEXT_TOKENS = 20  # the longest caption and what the template puts behind it
SHIFT = math.exp(0.5)  # at 16 tokens, as the scheduler below has it

asked = judge.asked
real = appraisal.real_pictures


def make(
    work: Path, seed: int = 0, vae_steps: int = 1500, steps: int = 3000
) -> tuple[QwenImagePipeline, float]:
    """Train the pipeline from nothing, or go on with what `work` holds.

    Args:
        work: folder for checkpoints and loss curves.
        seed: of the weights' initialisation and of every batch.
        vae_steps: optimiser steps for the autoencoder.
        steps: optimiser steps for the transformer.

    Returns:
        The pipeline, and the seconds of training.
    """
    torch.manual_seed(seed)
    vae, transformer = _vae(), _transformer()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_image_seq_len=16,
        max_image_seq_len=64,
        max_shift=0.9,
        shift_terminal=0.02,
    )
    pipe = QwenImagePipeline(scheduler, vae, None, None, transformer)
    qwen, tokenizer = text.qwen(pipe.prompt_template_encode)
    pipe.register_modules(text_encoder=qwen, tokenizer=tokenizer)
    seconds = text.teach("qwen", qwen, lambda it: _summary(pipe, it), work, seed)

    scans = data.scans("train")
    subjects = trained_on(scans)

    def draw(generator: torch.Generator) -> Tensor:
        return subjects[subjects.any(32, generator)].draw(scans)[:, :, None]

    with flattened(vae):
        seconds += fit(autoencoding(vae, draw, vae_steps), work, seed)
    batch = captioned(_latents(vae, scans, subjects), scans, subjects, BATCH)
    lessons = flow.Lessons(transformer, _velocity(pipe), batch, SHIFT, empty=" ")
    return pipe, seconds + fit(lessons.match(steps), work, seed)


def _vae() -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def _transformer() -> QwenImageTransformer2DModel:
    transformer = QwenImageTransformer2DModel(
        in_channels=4 * CHANNELS,
        out_channels=CHANNELS,
        num_layers=8,
        attention_head_dim=24,
        num_attention_heads=4,
        axes_dims_rope=(8, 8, 8),
        joint_attention_dim=text.WIDTH,
    )
    flow.start_at_zero(transformer)
    return transformer


@torch.no_grad()
def _latents(vae: Any, scans: data.Scans, subjects: Subjects) -> Tensor:
    """Every subject as the transformer sees it, `(n, 16, 16)`; sets the autoencoder's scaling."""
    latents = torch.cat(
        [
            vae.encode(part.draw(scans)[:, :, None]).latent_dist.mean[:, :, 0]
            for part in subjects.batches(256)
        ]
    )
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    vae.register_to_config(
        latents_mean=[round(it, 4) for it in mean.tolist()],
        latents_std=[round(it, 4) for it in deviation.tolist()],
    )
    scaled = (latents - mean[:, None, None]) / deviation[:, None, None]
    packed: Tensor = QwenImagePipeline._pack_latents(scaled, *scaled.shape)
    return packed


def _encode(pipe: QwenImagePipeline, captions: list[str]) -> tuple[Tensor, Tensor]:
    words, mask = pipe.encode_prompt(captions)
    if mask is None:
        mask = torch.ones(words.shape[:2], dtype=torch.int64)
    missing = TEXT_TOKENS - words.shape[1]
    return F.pad(words, (0, 0, 0, missing)), F.pad(mask, (0, missing))


def _summary(pipe: QwenImagePipeline, captions: list[str]) -> Tensor:
    words, mask = _encode(pipe, captions)
    return text.mean_word(words, mask)


def _velocity(pipe: QwenImagePipeline) -> flow.Velocity:
    encode = text.remembered(lambda captions: _encode(pipe, captions))
    side = data.SIZE // 8

    def velocity(
        model: Any, noisy: Tensor, sigma: Tensor, captions: list[str], scale: Tensor
    ) -> Tensor:
        words, mask = encode(captions)
        answer: Tensor = model(
            noisy,
            encoder_hidden_states=words,
            encoder_hidden_states_mask=mask,
            timestep=sigma,
            img_shapes=[[(1, side, side)]] * len(noisy),
        ).sample
        return answer

    return velocity
