"""LongCat-AudioDiT: blocks of self-attention, cross-attention and MLP, of speech."""

from forecastcache.adapter import Adapter, Trunk

LONGCAT_AUDIO = Adapter(
    name="longcat-audio",
    models=("diffusers.LongCatAudioDiTTransformer",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("hidden_states",),
            modules=("self_attn", "cross_attn", "ffn"),
        ),
    ),
    tail="norm_out",
    modulated="time_embed",
)
