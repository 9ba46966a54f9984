"""EasyAnimate: double-stream blocks of video and text (Xu et al., 2405.18991).

Where later blocks run one MLP for both streams (`mmdit_layers` fewer than `num_layers`), `module`
fails: that would be one site for two features.
"""

from collections.abc import Mapping
from typing import Any

from forecastcache.adapter import Adapter, Trunk


def _grid(given: Mapping[str, Any], config: Any) -> tuple[int, ...]:
    frames, height, width = given["hidden_states"].shape[-3:]
    return frames, height // config.patch_size, width // config.patch_size


EASYANIMATE = Adapter(
    name="easyanimate",
    models=("diffusers.EasyAnimateTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn1", "ff", "txt_ff"),
        ),
    ),
    tail="norm_final",
    modulated="transformer_blocks.0.norm1",
    grid=_grid,
    guidance="batched",
)
