"""Any model whose forward takes a time, at its output."""

from forecastcache.adapter import ANY_MODEL, Adapter

GENERIC = Adapter(
    name="generic",
    models=(ANY_MODEL,),
    time=(
        "timestep",
        "timesteps",
        "t",
        "timestep_ratio",  # Stable Cascade
        "timestep_img",  # UniDiffuser
        "timestep_text",
        "vision_timesteps",  # Cosmos 3
        "sound_timesteps",
        "action_timesteps",
        "bb_ca_time",  # RFD4-Proteina
        "local_latents_time",
        "decoder_noise_time",  # Spectrogram Diffusion
    ),
    sample=("vision_tokens",),  # behind the positions, which are real too
)
