"""FLUX.3 (Black Forest Labs): blocks of text, image and references apart, then of all together.

No time reaches the text and the references before they meet the image, so the image's own blocks
are named first: an adaptive schedule looks at the first of them.
"""

from dataclasses import replace

from forecastcache.adapter import Adapter, Trunk

IMAGE = Trunk(
    path="mode_blocks.image",
    streams=("hidden_states",),
    modules=("attn", "ff"),
)

FLUX3 = Adapter(
    name="flux3",
    models=("diffusers.Flux3Transformer2DModel",),
    trunk=(
        IMAGE,
        replace(IMAGE, path="txt_mode_blocks"),
        replace(IMAGE, path="mode_blocks.image_cond"),
        replace(
            IMAGE,
            path="single_transformer_blocks",
            streams=("encoder_hidden_states", "hidden_states"),
        ),
    ),
    tail="norm_out",
    modulated="early_stream_modulations.image",
    shared=("img_ids", "txt_ids", "image_cond_ids"),
)
