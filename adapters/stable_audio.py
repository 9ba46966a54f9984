"""Stable Audio Open and Stable Audio 3: blocks of self-attention, cross-attention and MLP.

Evans et al., 2407.14358.
"""

from forecastcache.adapter import Adapter, Trunk

STABLE_AUDIO = Adapter(
    name="stable-audio",
    models=("diffusers.StableAudioDiTModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    tail="proj_out",
    modulated="timestep_proj",
    guidance="batched",
)
STABLE_AUDIO_3 = Adapter(
    name="stable-audio-3",
    models=("diffusers.StableAudio3DiTModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("self_attn", "cross_attn", "ff"),
        ),
    ),
    tail="proj_out",
    modulated="global_cond_embedder",
    guidance="batched",
)
