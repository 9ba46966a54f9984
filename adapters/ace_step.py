"""ACE-Step 1.5: blocks of self-attention, cross-attention and MLP, of music."""

from forecastcache.adapter import Adapter, Trunk

ACE_STEP = Adapter(
    name="ace-step",
    models=("diffusers.AceStepTransformer1DModel",),
    trunk=(
        Trunk(
            path="layers",
            streams=("hidden_states",),
            modules=("self_attn", "cross_attn", "mlp"),
        ),
    ),
    tail="norm_out",
    modulated="time_embed",
    guidance="batched",
)
