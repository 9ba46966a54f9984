"""HunyuanVideo and FramePack: double-stream blocks of video and text, then single-stream ones.

Kong et al., 2412.03603; Zhang and Agrawala, 2504.12626.
"""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Skip, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["hidden_states"].shape[-3:]
    return (
        frames // config.patch_size_t,
        height // config.patch_size,
        width // config.patch_size,
    )


TRUNK = (
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
)

HUNYUAN_VIDEO = Adapter(
    name="hunyuan-video",
    models=("diffusers.HunyuanVideoTransformer3DModel",),
    trunk=TRUNK,
    tail="norm_out",
    grid=_grid,
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


FRAMEPACK = Adapter(
    name="framepack",
    models=("diffusers.HunyuanVideoFramepackTransformer3DModel",),
    trunk=TRUNK,
    tail="norm_out",
    grid=_grid,
    trim=_trim,
)
