"""LTX-Video and LTX-2, whose blocks carry sound beside the video (HaCohen et al., 2501.00103)."""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    return given["num_frames"], given["height"], given["width"]


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
)
