"""Recipe of `zoo:qwen-digits`: text to image as Qwen-Image does it, made small.

A stock `QwenImagePipeline`: 32x32 RGB, its own (video) autoencoder to 4 channels of 8x8, packed
into 16 tokens; 8 double-stream blocks of width 96; Qwen2.5-VL inside the pipeline's chat template
for the captions; flow matching with shifted noise levels; true classifier-free guidance against a
negative prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
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

from forecastcache.zoo import captions, data, judge, scores, text
from forecastcache.zoo.autoencoder import autoencoder_stage, latents_of, normalised
from forecastcache.zoo.flat import flattened
from forecastcache.zoo.flow import FlowMatching, start_at_zero
from forecastcache.zoo.pictures import Subjects, captioned, subjects_of
from forecastcache.zoo.training import Stage

VAE_STEPS, STEPS = 1500, 3000
TEXT_TOKENS = 20  # the longest caption and what the template puts behind it
BATCH = 96
CHANNELS = 4
SHIFT = math.exp(0.5)  # at 16 tokens, as the scheduler below has it

asked = judge.asked
reader = judge.Judge.load
real = scores.real_pictures


def pipeline() -> QwenImagePipeline:
    """The pipeline, untrained."""
    vae, transformer = _vae(), _transformer()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_image_seq_len=16,
        max_image_seq_len=64,
        max_shift=0.9,
        shift_terminal=0.02,
    )
    pipe = QwenImagePipeline(scheduler, vae, None, None, transformer)
    qwen, tokenizer = text.qwen(pipe.prompt_template_encode, captions.vocabulary())
    pipe.register_modules(text_encoder=qwen, tokenizer=tokenizer)
    return pipe


def stages(pipe: QwenImagePipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training."""
    said = partial(encode, pipe)
    yield text.teach("qwen", pipe.text_encoder, lambda it: text.mean_word(*said(it)))

    subjects = subjects_of(data.scans("train"))
    with flattened(pipe.vae):
        yield autoencoder_stage(
            pipe.vae,
            lambda generator: subjects.sample(32, generator).draw()[:, :, None],
            VAE_STEPS,
        )

    flow = FlowMatching(
        pipe.transformer,
        text.remembered(said),
        arguments,
        captioned(latents_as_seen(pipe.vae, subjects), subjects, BATCH),
        SHIFT,
        empty=" ",
    )
    yield flow.match(STEPS)


def encode(pipe: QwenImagePipeline, captions: list[str]) -> tuple[Tensor, Tensor]:
    """The words of captions, `(n, 20, width)`, and where there are some, `(n, 20)`."""
    words, mask = pipe.encode_prompt(captions)
    if mask is None:
        mask = torch.ones(words.shape[:2], dtype=torch.int64)
    missing = TEXT_TOKENS - words.shape[1]
    return F.pad(words, (0, 0, 0, missing)), F.pad(mask, (0, missing))


def latents_as_seen(vae: Any, subjects: Subjects) -> Tensor:
    """Every subject as the transformer sees it, `(n, 16, 16)`; sets the autoencoder's scaling."""
    frames = (pictures[:, :, None] for pictures in subjects.batches(256))
    scaled = normalised(vae, latents_of(vae, frames)[:, :, 0])
    packed: Tensor = QwenImagePipeline._pack_latents(scaled, *scaled.shape)
    return packed


def arguments(sigma: Tensor, scale: Tensor, words: Tensor, mask: Tensor) -> dict[str, Any]:
    """The arguments of the transformer's call beside the noisy latents; it is told no scale."""
    side = data.SIZE // 8
    return {
        "encoder_hidden_states": words,
        "encoder_hidden_states_mask": mask,
        "timestep": sigma,
        "img_shapes": [[(1, side, side)]] * len(words),
    }


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
    start_at_zero(transformer)
    return transformer
