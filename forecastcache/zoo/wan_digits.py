"""Recipe of `zoo:wan-digits`: text to video as Wan 2.2 does it, made small.

A stock `WanPipeline`: 9 frames of 32x32 RGB, its causal 3D autoencoder to 3 latent frames of 8x8
with 4 channels, patched into 48 tokens; two networks of 6 blocks of width 96 that take turns, one
above and one below a noise level of 0.875; UMT5 for the captions; flow matching, sampled by UniPC;
true classifier-free guidance, with a scale for each network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import captions, data, judge, scores, text
from forecastcache.zoo.autoencoder import autoencoder_stage, latents_of, normalised
from forecastcache.zoo.flat import flattened
from forecastcache.zoo.flow import FlowMatching
from forecastcache.zoo.hunyuan_digits import CHANNELS, CLIPS, INK_WEIGHT
from forecastcache.zoo.pictures import (
    Subjects,
    captioned,
    clips_or_stills,
    set_in_motion,
    subjects_of,
)
from forecastcache.zoo.training import Stage

VAE_STEPS, STEPS, EXPERT_STEPS = 3000, 4500, 1000
TEXT_TOKENS = zoo.entry("wan-digits").call["max_sequence_length"]
BATCH = 48
BOUNDARY = 0.875  # noise level, of Wan2.2-T2V-A14B
SHIFT = 3.0  # its 5 to 12 are for thousands of tokens

asked = judge.asked
reader = judge.Judge.load
real = scores.real_clips


def pipeline() -> WanPipeline:
    """The pipeline, untrained."""
    umt5, tokenizer = text.umt5(captions.vocabulary(moving=True))
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )
    return WanPipeline(
        tokenizer, umt5, _vae(), scheduler, _transformer(), _transformer(), BOUNDARY
    )


def stages(pipe: WanPipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training: one network for all noise levels, then two for their own."""
    encode = partial(_encode, pipe)
    yield text.teach(
        "umt5", pipe.text_encoder, lambda it: text.mean_word(*encode(it)), moving=True
    )

    subjects = set_in_motion(subjects_of(data.scans("train")), CLIPS, seed)
    with flattened(pipe.vae):
        yield autoencoder_stage(
            pipe.vae, partial(clips_or_stills, subjects), VAE_STEPS, INK_WEIGHT
        )

    flow = FlowMatching(
        pipe.transformer,
        text.remembered(encode),
        _arguments,
        captioned(_latents(pipe.vae, subjects), subjects, BATCH),
        SHIFT,
    )
    yield flow.match(STEPS)
    pipe.transformer_2.load_state_dict(pipe.transformer.state_dict())
    experts = (pipe.transformer, (BOUNDARY, 1.0)), (pipe.transformer_2, (0.0, BOUNDARY))
    for name, (model, levels) in zip(("noisier", "cleaner"), experts):
        yield replace(replace(flow, model=model, levels=levels).match(EXPERT_STEPS), name=name)


def _vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=16,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
        scale_factor_temporal=4,
        scale_factor_spatial=4,
    )


def _transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=24,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=text.WIDTH,
        freq_dim=64,
        ffn_dim=256,
        num_layers=6,
        rope_max_seq_len=32,
    )


def _encode(pipe: WanPipeline, captions: list[str]) -> tuple[Tensor, Tensor]:
    """The words of captions, `(n, tokens, width)`, and where there are some, `(n, tokens)`."""
    words, _ = pipe.encode_prompt(
        captions, do_classifier_free_guidance=False, max_sequence_length=TEXT_TOKENS
    )
    return words, (words != 0).any(-1).float()


def _latents(vae: Any, subjects: Subjects) -> Tensor:
    """Every clip as the transformer sees it, `(n, 4, 3, 8, 8)`; sets the scaling."""
    return normalised(vae, latents_of(vae, subjects.batches(64)))


def _arguments(sigma: Tensor, scale: Tensor, words: Tensor, mask: Tensor) -> dict[str, Any]:
    return {"timestep": 1000 * sigma, "encoder_hidden_states": words}
