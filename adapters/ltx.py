"""LTX-Video and LTX-2, whose blocks carry sound beside the video (HaCohen et al., 2501.00103)."""

from collections.abc import Mapping
from typing import Any

import torch

from forecastcache.adapter import Adapter, Trunk
from forecastcache.memory.input_size import InputSize

FRAMES_PER_SECOND = 24  # unless the pipeline is asked for others


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    return given["num_frames"], given["height"], given["width"]


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    """Those of guidance by text alone; by other blocks and by one modality is a call each."""
    every, squeeze, _ = config.vae_scale_factors
    rows, columns = size.pixels(512, 768, patch=size.latent_pixels or squeeze)
    frames = size.latent_frames(121, every=every)
    rate = config.audio_sampling_rate / config.audio_hop_length / config.audio_scale_factor
    sounds = round((size.frames or 121) / FRAMES_PER_SECOND * rate)
    text = size.text(1024)
    caption = torch.empty(size.batch, text, config.caption_channels)
    mask = torch.empty(size.batch, text, dtype=torch.int64)
    return {
        "hidden_states": torch.empty(size.batch, frames * rows * columns, config.in_channels),
        "audio_hidden_states": torch.empty(size.batch, sounds, config.audio_in_channels),
        "encoder_hidden_states": caption,
        "audio_encoder_hidden_states": caption,
        "encoder_attention_mask": mask,
        "audio_encoder_attention_mask": mask,
        "num_frames": frames,
        "height": rows,
        "width": columns,
        "audio_num_frames": sounds,
    }


LTX_VIDEO = Adapter(
    name="ltx-video",
    models=("diffusers.LTXVideoTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="time_embed",
    grid=_grid,
    guidance="batched",
)

LTX2 = Adapter(
    name="ltx2",
    models=("diffusers.LTX2VideoTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "audio_hidden_states"),
            modules=(
                "attn1",
                "audio_attn1",
                "attn2",
                "audio_attn2",
                "audio_to_video_attn",
                "video_to_audio_attn",
                "ff",
                "audio_ff",
            ),
        ),
    ),
    tail=("norm_out", "audio_norm_out"),
    modulated="time_embed",
    guidance="batched",
    inputs=_inputs,
)
