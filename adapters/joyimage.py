"""JoyImage-Edit and its Plus: double-stream blocks of text and image, references among it."""

from dataclasses import replace

from forecastcache.adapter import Adapter, Trunk

JOYIMAGE_EDIT = Adapter(
    name="joyimage-edit",
    models=("diffusers.JoyImageEditTransformer3DModel",),
    trunk=(
        Trunk(
            path="double_blocks",
            streams=("hidden_states", "encoder_hidden_states"),
            modules=("attn", "img_mlp", "txt_mlp"),
        ),
    ),
    tail="norm_out",
    modulated="condition_embedder.time_proj",
)

JOYIMAGE_EDIT_PLUS = replace(
    JOYIMAGE_EDIT,
    name="joyimage-edit-plus",
    models=("diffusers.JoyImageEditPlusTransformer3DModel",),
    guidance="batched",
)
