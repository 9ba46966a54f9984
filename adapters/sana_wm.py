"""SANA-WM and its refiner: blocks of self-attention, cross-attention and MLP.

The refiner has no `hidden` site: it asks how many blocks it has. It is called once more before and
after each run, at a time of 0, to keep keys and values. Attach its pipeline, whose scheduler tells
such a call from a step: of a bare model it would be forecast.
"""

from forecastcache.adapter import Adapter, Trunk

SANA_WM = Adapter(
    name="sana-wm",
    models=("diffusers.SanaWMTransformer3DModel",),
    trunk=(
        Trunk(
            path="blocks",
            streams=("x",),
            modules=("attn", "cross_attn", "mlp"),
        ),
    ),
    tail="final_layer",
    modulated="t_block",
    guidance="batched",
)
SANA_WM_REFINER = Adapter(
    name="sana-wm-refiner",
    models=("diffusers.SanaWMLTX2RefinerTransformer3DModel",),
    trunk=(
        Trunk(
            path="transformer_blocks",
            streams=("hidden_states",),
            modules=("attn1", "attn2", "ff"),
        ),
    ),
    modulated="time_embed",
)
