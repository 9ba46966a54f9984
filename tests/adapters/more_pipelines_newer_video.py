"""Stock pipelines of newer video and sound models, with tiny components and random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
from torch import nn

from .pipelines import (
    HEIGHT,
    WIDTH,
    Case,
    awake,
    picture,
    quiet,
    rand,
    unipc,
    wan_vae,
    without,
)
from .tiny import make
from .tiny.newer_video import ANYFLOW, motif_video_model

TEXT = ("text_encoder", "tokenizer")
PROMPT = {"prompt_embeds": rand(1, 5, 12), "negative_prompt_embeds": -rand(1, 5, 12)}
MASKS = {
    "prompt_attention_mask": torch.tensor([[1, 1, 1, 1, 0]]),
    "negative_prompt_attention_mask": torch.tensor([[1, 1, 1, 0, 0]]),
}
SIZE = {"height": 32, "width": 48}
GUIDED = {"guidance_scale": 4.0, "num_inference_steps": 8}


def encoded(pipe: Any, *prompt: torch.Tensor) -> Any:
    """Have a pipeline that takes texts only find them embedded."""
    pipe.encode_prompt = lambda *_, **__: prompt
    return pipe


class Harmless(nn.Module):
    """What the pipelines of Cosmos call a safety checker, without its models."""

    device = torch.device("cpu")


def cosmos() -> Case:
    pipe = diffusers.Cosmos2TextToImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        transformer=make("cosmos").model,
        safety_checker=Harmless(),
        **without("vae", *TEXT),
    )
    return Case(quiet(pipe), PROMPT | SIZE | GUIDED, steps=8, branches=2)


def sana_video() -> Case:
    pipe = diffusers.SanaVideoPipeline(
        scheduler=unipc(), transformer=make("sana_video").model, **without("vae", *TEXT)
    )
    size = {"height": 32, "width": 64, "frames": 9, "use_resolution_binning": False}
    request = PROMPT | MASKS | GUIDED | size | {"negative_prompt": None}
    return Case(quiet(pipe), request, steps=8)


def easyanimate() -> Case:
    pipe = diffusers.EasyAnimatePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
        transformer=make("easyanimate").model,
        **without("vae", *TEXT),
    )
    pipe.vae = SimpleNamespace(config=SimpleNamespace(latent_channels=4))
    return Case(quiet(pipe), PROMPT | MASKS | SIZE | GUIDED | {"num_frames": 9}, steps=8)


def helios() -> Case:
    """Two sections, each a trajectory of its own."""
    with warnings.catch_warnings():  # of NumPy, which the scheduler gives tensors
        warnings.simplefilter("ignore", DeprecationWarning)
        scheduler = diffusers.HeliosScheduler(stages=1, stage_range=[0, 1])
    pipe = diffusers.HeliosPipeline(
        scheduler=scheduler,
        transformer=make("helios").model,
        vae=wan_vae(),
        **without(*TEXT),
    )
    frames = {"num_frames": 18, "num_latent_frames_per_chunk": 3}
    return Case(quiet(pipe), PROMPT | SIZE | GUIDED | frames, steps=8, branches=2)


def anyflow() -> Case:
    pipe = diffusers.AnyFlowPipeline(
        scheduler=diffusers.FlowMapEulerDiscreteScheduler(shift=5.0),
        transformer=make("anyflow").model,
        **without("vae", *TEXT),
    )
    return Case(quiet(pipe), PROMPT | SIZE | GUIDED | {"num_frames": 9}, steps=8)


def anyflow_by_chunks() -> Case:
    """Three chunks, each a trajectory; its attention compiles itself, which a CPU may refuse."""
    torch.manual_seed(0)
    model = diffusers.AnyFlowFARTransformer3DModel(
        **ANYFLOW, full_chunk_limit=2, chunk_partition=[1, 1, 1]
    )
    pipe = diffusers.AnyFlowFARPipeline(
        scheduler=diffusers.FlowMapEulerDiscreteScheduler(shift=5.0),
        transformer=awake(model),
        vae=wan_vae(),
        **without(*TEXT),
    )
    size = {"height": 32, "width": 64, "num_frames": 9}
    return Case(quiet(pipe), PROMPT | GUIDED | size, steps=8)


def motif_video() -> Case:
    torch.manual_seed(0)
    pipe = diffusers.MotifVideoPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
        # Latent, that of a first frame and a mask, channel by channel.
        transformer=awake(motif_video_model(in_channels=9)),
        vae=wan_vae(),
        guider=ClassifierFreeGuidance(guidance_scale=4.0),
        **without(*TEXT),
    )
    request = PROMPT | MASKS | SIZE | {"num_frames": 9, "num_inference_steps": 8}
    return Case(quiet(pipe), request, steps=8, branches=2)


def sana_wm() -> Case:
    """The first frame is given: its tokens have a time of 0."""
    pipe = diffusers.SanaWMPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
        transformer=make("sana_wm").model,
        **without("vae", *TEXT),
    )
    pipe._encode_first_frame = lambda *_: rand(1, 4, 1, 2, 3)
    prompt = {name: embedded[:, None] for name, embedded in PROMPT.items()}
    request = GUIDED | {
        **prompt, **MASKS, "prompt": "", "image": picture(), "action": "w-17", "height": 64,
        "width": 96, "num_frames": 17, "intrinsics": [20.0, 20.0, WIDTH / 2, HEIGHT / 2],
    }  # fmt: skip
    return Case(quiet(pipe), request, steps=8)


def oobleck() -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():  # of torch, which has another weight norm by now
        warnings.simplefilter("ignore", FutureWarning)
        return diffusers.AutoencoderOobleck(
            encoder_hidden_size=4, downsampling_ratios=[1, 2], decoder_channels=2,
            decoder_input_channels=4, audio_channels=2, channel_multiples=[1, 2], sampling_rate=4,
        ).eval()  # fmt: skip


def stable_audio() -> Case:
    torch.manual_seed(0)
    model = diffusers.StableAudioDiTModel(
        sample_size=6, in_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        num_key_value_attention_heads=1, out_channels=4, cross_attention_dim=12,
        time_proj_dim=8, global_states_input_dim=24, cross_attention_input_dim=12,
    )  # fmt: skip
    pipe = diffusers.StableAudioPipeline(
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(),
        transformer=awake(model),
        projection_model=StableAudioProjectionModel(12, 12, min_value=0, max_value=8).eval(),
        vae=oobleck(),
        **without(*TEXT),
    )
    return Case(quiet(pipe), PROMPT | GUIDED | {"audio_end_in_s": 3.0}, steps=8)


def stable_audio_3() -> Case:
    """With noise anew at every step, as the distilled model is sampled."""
    torch.manual_seed(0)
    pipe = diffusers.StableAudio3Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
        transformer=make("stable_audio_3").model,
        duration_embedder=StableAudio3DurationEmbedder(output_dim=12, fourier_dim=8),
        **without("vae", *TEXT),
    )
    layout = {"sampling_rate": 4, "latent_dim": 4}
    pipe.vae = SimpleNamespace(config=SimpleNamespace(**layout), downsampling_ratio=2)
    return Case(quiet(pipe), PROMPT | GUIDED | {"duration": 3.0}, steps=8)


def ace_step() -> Case:
    torch.manual_seed(0)
    conditions = AceStepConditionEncoder(
        hidden_size=12, intermediate_size=16, text_hidden_dim=12, timbre_hidden_dim=4,
        num_lyric_encoder_hidden_layers=1, num_timbre_encoder_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    pipe = diffusers.AceStepPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
        transformer=make("ace_step").model,
        condition_encoder=conditions.eval(),
        **without("vae", *TEXT),
    )
    there = torch.ones(1, 5, dtype=torch.bool)
    encoded(pipe, PROMPT["prompt_embeds"], there, PROMPT["negative_prompt_embeds"], there)
    return Case(quiet(pipe), GUIDED | {"prompt": "", "audio_duration": 0.4}, steps=8)


def longcat_audio() -> Case:
    pipe = diffusers.LongCatAudioDiTPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        transformer=make("longcat_audio").model,
        vae=oobleck(),
        **without(*TEXT),
    )
    encoded(pipe, PROMPT["prompt_embeds"], torch.tensor([4]))
    request = GUIDED | {"prompt": "", "latents": rand(1, 6, 4)}
    return Case(quiet(pipe), request, steps=8, branches=2)


CASES: dict[str, Callable[[], Case]] = {
    each.__name__: each
    for each in (
        cosmos, sana_video, easyanimate, helios, anyflow, motif_video, sana_wm, stable_audio,
        stable_audio_3, ace_step, longcat_audio,
    )
}  # fmt: skip
