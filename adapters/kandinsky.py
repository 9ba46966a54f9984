"""Kandinsky 5 and 6: blocks for the text, then blocks of video that attend to it (2511.14993)."""

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from forecastcache.adapter import Adapter, Trunk


def _attend_to_all(model: Any) -> None:
    """Attend to every block of tokens: which ones are left out depends on data."""
    for block in model.visual_transformer_blocks:
        block.self_attention.set_processor(_attention)


def _attention(attn: Any, hidden_states: Tensor, *_: Any) -> Tensor:
    query, key, value = (
        project(hidden_states).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
        for project in (attn.to_query, attn.to_key, attn.to_value)
    )
    found = scaled_dot_product_attention(query, key, value)
    joined: Tensor = attn.out_layer(found.transpose(1, 2).flatten(2))
    return joined


KANDINSKY5 = Adapter(
    name="kandinsky5",
    models=("diffusers.Kandinsky5Transformer3DModel",),
    trunk=(
        Trunk(
            path="visual_transformer_blocks",
            streams=("visual_embed",),
            modules=("self_attention", "cross_attention", "feed_forward"),
        ),
        Trunk(
            path="text_transformer_blocks",
            streams=("x",),
            modules=("self_attention", "feed_forward"),
        ),
    ),
    tail="out_layer",
    modulated="visual_transformer_blocks.0.visual_modulation",
)

KANDINSKY6 = Adapter(
    name="kandinsky6",
    models=("diffusers.Kandinsky6Transformer3DModel",),
    trunk=(
        Trunk(
            path="visual_transformer_blocks",
            streams=("vis", "aud"),
            modules=(
                "video_dec_block.self_attention",
                "video_dec_block.cross_attention",
                "audio_dec_block.self_attention",
                "audio_dec_block.cross_attention",
                "va_cross_attention",
                "av_cross_attention",
                "video_dec_block.feed_forward",
                "audio_dec_block.feed_forward",
            ),
        ),
        Trunk(
            path="video_text_transformer_blocks",
            streams=("x",),
            modules=("attn", "feed_forward"),
        ),
        Trunk(
            path="audio_text_transformer_blocks",
            streams=("x",),
            modules=("attn", "feed_forward"),
        ),
    ),
    tail=("out_layer", "audio_out_layer"),
    modulated="visual_transformer_blocks.0.video_dec_block.visual_modulation",
)

KANDINSKY6_SR = Adapter(
    name="kandinsky6-sr",
    models=("diffusers.Kandinsky6SRTransformer3DModel",),
    trunk=(
        Trunk(
            path="visual_transformer_blocks",
            streams=("hidden_states",),
            modules=("self_attention", "feed_forward"),
        ),
    ),
    tail="out_layer",
    modulated="visual_transformer_blocks.0.visual_modulation",
    without_data=_attend_to_all,
)
