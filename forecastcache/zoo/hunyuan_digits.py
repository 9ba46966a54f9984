"""Recipe of `zoo:hunyuan-digits`: text to video as HunyuanVideo does it, made small.

A stock `HunyuanVideoPipeline`: 9 frames of 32x32 RGB, a causal 3D autoencoder to 3 latent frames
of 8x8 with 4 channels, patched over time as well into 16 tokens; 3 double and 6 single blocks of
width 96; Llama inside the pipeline's chat template and CLIP for the captions; flow matching with
shifted noise levels; guidance distilled into the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import captions, data, judge, scores, text
from forecastcache.zoo.autoencoder import autoencoder_stage, latents_of
from forecastcache.zoo.flat import flattened
from forecastcache.zoo.flow import FlowMatching, start_at_zero
from forecastcache.zoo.pictures import (
    Subjects,
    captioned,
    clips_or_stills,
    set_in_motion,
    subjects_of,
)
from forecastcache.zoo.training import Stage

VAE_STEPS, STEPS, GUIDANCE_STEPS = 3600, 7000, 500
TEXT_TOKENS = zoo.entry("hunyuan-digits").call["max_sequence_length"]
BATCH = 64
CHANNELS = 4  # with the original's 16, so small a network learns the digits far more slowly
LATENT_FRAMES = 3
CLIPS = 16_000
INK_WEIGHT = 4.0
# A third of the other recipes': on single frames, repeated at the edge of time, the three slices
# of a kernel get the same gradient, and Adam moves their sum three times as far.
VAE_RATE = 7e-4
SHIFT = 3.0  # the original's 7 is for thousands of tokens

asked = judge.asked
reader = judge.Judge.load
real = scores.real_clips


def pipeline() -> HunyuanVideoPipeline:
    """The pipeline, untrained."""
    vae, transformer = _vae(), _transformer()
    words = captions.vocabulary(moving=True)
    llama = text.llama(DEFAULT_PROMPT_TEMPLATE["template"], words)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    return HunyuanVideoPipeline(*llama, transformer, vae, scheduler, *text.clip(words))


def stages(pipe: HunyuanVideoPipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training."""
    encode = partial(_encode, pipe)
    yield text.teach(
        "llama", pipe.text_encoder, lambda it: text.mean_word(*encode(it)[:2]), moving=True
    )
    yield text.teach("clip", pipe.text_encoder_2, lambda it: encode(it)[2], moving=True)

    subjects = set_in_motion(subjects_of(data.scans("train")), CLIPS, seed)
    with flattened(pipe.vae):
        yield autoencoder_stage(
            pipe.vae, partial(clips_or_stills, subjects), VAE_STEPS, INK_WEIGHT, VAE_RATE
        )

    flow = FlowMatching(
        pipe.transformer,
        text.remembered(encode),
        _arguments,
        captioned(_latents(pipe.vae, subjects), subjects, BATCH),
        SHIFT,
    )
    yield flow.match(STEPS)
    yield flow.distil(GUIDANCE_STEPS)


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
    start_at_zero(transformer)
    return transformer


def _encode(pipe: HunyuanVideoPipeline, captions: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    words, pooled, mask = pipe.encode_prompt(captions, max_sequence_length=TEXT_TOKENS)
    return words, mask, pooled


def _latents(vae: Any, subjects: Subjects) -> Tensor:
    """Every clip as the transformer sees it, `(n, 4, 3, 8, 8)`; sets the scaling."""
    latents = latents_of(vae, subjects.batches(64))
    factor = round(1 / latents.std().item(), 4)
    vae.register_to_config(scaling_factor=factor)
    return latents * factor


def _arguments(
    sigma: Tensor, scale: Tensor, words: Tensor, mask: Tensor, pooled: Tensor
) -> dict[str, Any]:
    return {
        "timestep": 1000 * sigma,
        "encoder_hidden_states": words,
        "encoder_attention_mask": mask.float(),
        "pooled_projections": pooled,
        "guidance": 1000 * scale,
    }
