"""HunyuanVideo and FramePack: double-stream blocks of video and text, then single-stream ones.

Kong et al., 2412.03603; Zhang and Agrawala, 2504.12626. HunyuanVideo 1.5 has double-stream blocks
alone (2511.18870).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

import torch

from forecastcache.adapter import Adapter, Skip, Trunk
from forecastcache.adapters.layout import video_grid
from forecastcache.errors import SizeError
from forecastcache.memory.input_size import InputSize


def _latent(config: Any, size: InputSize, height: int, width: int, frames: int) -> torch.Tensor:
    patch = config.patch_size
    rows, columns = size.pixels(height, width, patch=size.squeeze * patch)
    latents = size.latent_frames(frames, every=4)
    return torch.empty(size.batch, config.in_channels, latents, rows * patch, columns * patch)


def _text(config: Any, size: InputSize) -> dict[str, Any]:
    tokens = size.text(256)
    return {
        "encoder_hidden_states": torch.empty(size.batch, tokens, config.text_embed_dim),
        "encoder_attention_mask": torch.empty(size.batch, tokens, dtype=torch.int64),
        "pooled_projections": torch.empty(size.batch, config.pooled_projection_dim),
        "guidance": torch.empty(size.batch) if config.guidance_embeds else None,
    }


def _inputs(config: Any, size: InputSize) -> dict[str, Any]:
    latent = _latent(config, size, height=720, width=1280, frames=129)
    return {"hidden_states": latent, **_text(config, size)}


def _section_inputs(config: Any, size: InputSize) -> dict[str, Any]:
    """One section of FramePack's loop: nine latent frames and what they look back on."""
    if size.frames not in (None, 33):
        raise SizeError(
            f"frames={size.frames}, but FramePack makes videos of any length in sections of 33: "
            "leave frames out"
        )
    latent = _latent(config, size, height=640, width=640, frames=33)

    def history(frames: int) -> torch.Tensor:
        return latent[:, :, :1].expand(-1, -1, frames, -1, -1)

    return {
        "hidden_states": latent,
        **_text(config, size),
        "image_embeds": torch.empty(size.batch, 729, config.image_proj_dim),
        "indices_latents": torch.empty(latent.shape[2], dtype=torch.int64),
        "latents_clean": history(2),
        "indices_latents_clean": torch.empty(2, dtype=torch.int64),
        "latents_history_2x": history(2),
        "indices_latents_history_2x": torch.empty(2, dtype=torch.int64),
        "latents_history_4x": history(16),
        "indices_latents_history_4x": torch.empty(16, dtype=torch.int64),
    }


HUNYUAN_VIDEO = Adapter(
    name="hunyuan-video",
    models=("diffusers.HunyuanVideoTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn", "ff", "ff_context"),
        ),
        Trunk(
            path="single_transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("proj_out",),
            skipped=(
                Skip("attn", ("hidden_states", "encoder_hidden_states")),
                Skip("proj_mlp"),
                Skip("act_mlp"),
            ),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=video_grid,
    guidance="embedded",
    inputs=_inputs,
)


def _trim(given: Mapping[str, Any]) -> dict[str, Any]:
    """A single video's text without its padding, which the model cuts off."""
    if len(given["hidden_states"]) > 1:
        return {}
    mask = given["encoder_attention_mask"]
    length = int(mask.sum())
    return {
        "encoder_hidden_states": given["encoder_hidden_states"][:, :length],
        "encoder_attention_mask": mask[:, :length],
    }


FRAMEPACK = replace(
    HUNYUAN_VIDEO,
    name="framepack",
    models=("diffusers.HunyuanVideoFramepackTransformer3DModel",),
    inputs=_section_inputs,
    trim=_trim,
)


def _inputs_15(config: Any, size: InputSize) -> dict[str, Any]:
    """Of text to video: the image's channels and tokens are there, and empty."""
    height, width = (480, 848) if config.target_size == 640 else (720, 1280)
    squeeze = size.latent_pixels or 16
    rows, columns = size.pixels(height, width, patch=squeeze * config.patch_size)
    frames = size.latent_frames(121, every=4)
    patch, tokens = config.patch_size, size.text(1000)
    masks = torch.empty(size.batch, tokens + 256)
    return {
        "hidden_states": torch.empty(
            size.batch, config.in_channels, frames, rows * patch, columns * patch
        ),
        "encoder_hidden_states": torch.empty(size.batch, tokens, config.text_embed_dim),
        "encoder_attention_mask": masks[:, :tokens],
        "encoder_hidden_states_2": torch.empty(size.batch, 256, config.text_embed_2_dim),
        "encoder_attention_mask_2": masks[:, tokens:],
        "image_embeds": torch.empty(size.batch, 729, config.image_embed_dim),
    }


def _read_no_masks(model: Any) -> None:
    """Mask nothing: the model sorts its texts by the masks, and keeps all of their tokens."""
    forward = model.forward

    @wraps(forward)
    def with_whole_texts(**given: Any) -> Any:
        for name in ("encoder_attention_mask", "encoder_attention_mask_2"):
            given[name] = torch.ones_like(given[name], dtype=torch.int64)
        return forward(**given)

    model.forward = with_whole_texts


HUNYUAN_VIDEO_15 = Adapter(
    name="hunyuan-video-1.5",
    models=("diffusers.HunyuanVideo15Transformer3DModel",),
    trunk=HUNYUAN_VIDEO.trunk[:1],
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    grid=video_grid,
    inputs=_inputs_15,
    without_data=_read_no_masks,
)
