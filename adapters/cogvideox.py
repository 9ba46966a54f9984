"""CogVideoX, and ConsisID, which attends to a face between its blocks.

Yang et al., 2408.06072; Yuan et al., 2411.17440.

A ConsisID with `is_train_face=False` has no attentions to the face; its other sites are served.
"""

from dataclasses import replace

from forecastcache.adapter import Adapter, Trunk

COGVIDEOX = Adapter(
    name="cogvideox",
    models=("diffusers.CogVideoXTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn1", "ff"),
        ),
    ),
    tail="norm_out",
    modulated="transformer_blocks.0.norm1",
    guidance="batched",
)

CONSISID = replace(
    COGVIDEOX,
    name="consisid",
    models=("diffusers.ConsisIDTransformer3DModel",),
    trunk=(
        replace(COGVIDEOX.trunk[0], chained=False),
        Trunk(path="perceiver_cross_attention", streams=(None,), modules=("",), optional=True),
    ),
)
