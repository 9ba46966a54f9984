"""Recipe of `zoo:flux-emoji`: emoji as FLUX.1-dev would paint them, made small but not easy.

A stock `FluxPipeline`: 64x64 RGB, 4 latent channels of 16x16, packed into 64 tokens; 2 double and
8 single blocks of width 192; CLIP and T5 for the captions; flow matching, noise levels shifted.
One network serves both kinds of guidance: distilled, by its embedding, and true, at an embedded
scale of 1 against a negative prompt. The prompt is padded to 12 tokens (the original: 512).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from forecastcache import zoo
from forecastcache.zoo import text
from forecastcache.zoo.autoencoder import (
    autoencoder_stage,
    decoder_stage,
    fully_convolutional_autoencoder_kl,
    latents_of,
)
from forecastcache.zoo.emoji import captions, pictures, reading
from forecastcache.zoo.emoji.judge import EmojiJudge, asked_emoji
from forecastcache.zoo.emoji.names import known
from forecastcache.zoo.flow import FlowMatching, start_at_zero
from forecastcache.zoo.muon import muon
from forecastcache.zoo.training import Stage

READING_STEPS, VAE_STEPS, STEPS, GUIDANCE_STEPS = 1200, 2000, 10_812, 1500
TEXT_TOKENS = zoo.entry("flux-emoji").call["max_sequence_length"]
WIDTH = 96  # of the text encoders
DECODER_STEPS = 3000
BATCH, PARTS, WHOLES = 128, 8, 8
PART = 32  # pixels: the autoencoder learns on squares of this width
POOL = 65_536  # pictures that are drawn and encoded once: each combination about three times
MEASURED = 2048  # of them, for the scaling of the latents
CHANNELS = 4
RATE = 2e-3
STRONGEST = 8.0  # guidance scale that is distilled
PREVIEWED = "flux-emoji-true"  # true guidance needs not be distilled
SHIFT = math.exp(0.5)  # at 64 tokens, as the scheduler below has it

COMBINATION = "emoji, background and tilt"
DATA = f"""{len(known()):,} of Google's Noto Emoji (Apache-2.0), as the npm package
  {pictures.PACKAGE} {pictures.VERSION} carries them, 64 pixels wide, with the short names of
  Unicode's CLDR (Unicode licence): without country flags, skin tones, genders beside a neutral
  picture, and near doubles. Upright or leaning, on seven backgrounds; a little turned, shifted,
  larger or smaller, and some mirrored, without a word."""

asked = asked_emoji
reader = EmojiJudge.load


def pipeline() -> FluxPipeline:
    """The pipeline, untrained."""
    vae = fully_convolutional_autoencoder_kl(CHANNELS, pictures.SIZE)
    words = captions.emoji_words()
    encoders = *text.clip(words, WIDTH), *text.t5(words, WIDTH)
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_image_seq_len=64, max_image_seq_len=256
    )
    return FluxPipeline(scheduler, vae, *encoders, _transformer())


def stages(pipe: FluxPipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training.

    Raises:
        MissingDataError: the package with the pictures is missing.
    """
    encode = partial(_encode, pipe)
    taught = (
        ("clip", pipe.text_encoder, partial(_pooled, pipe)),
        ("t5", pipe.text_encoder_2, lambda it: encode(it)[0].mean(1)),
    )
    yield autoencoder_stage(pipe.vae, _parts, VAE_STEPS)
    for name, encoder, summary in taught:
        yield reading.teach_emoji(name, encoder, summary, WIDTH, READING_STEPS)

    flow = FlowMatching(
        pipe.transformer,
        text.remembered(lambda captions: tuple(it.half() for it in encode(captions))),
        _arguments,
        _batches(pipe.vae),
        SHIFT,
        strongest=STRONGEST,
        unguided=0.1,
    )
    # Not compiled: measured at this width, it is no faster.
    yield replace(flow.match(STEPS), rate=RATE, optimiser=muon, open_ended=True, compiled=())
    yield replace(flow.distil(GUIDANCE_STEPS), compiled=())
    yield decoder_stage(pipe.vae, _wholes, DECODER_STEPS)


def real() -> None:
    """Nothing: the judge carries features of real pictures, which need not be there."""


def _transformer() -> FluxTransformer2DModel:
    transformer = FluxTransformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=2,
        num_single_layers=8,
        attention_head_dim=32,
        num_attention_heads=6,
        axes_dims_rope=(8, 12, 12),
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
    )
    start_at_zero(transformer)
    return transformer


def _encode(pipe: FluxPipeline, captions: list[str]) -> tuple[Tensor, Tensor]:
    words, pooled, _ = pipe.encode_prompt(captions, None, max_sequence_length=TEXT_TOKENS)
    return words, pooled


def _pooled(pipe: FluxPipeline, captions: list[str]) -> Tensor:
    """What CLIP says of whole captions, without the padding that the pipeline adds to them."""
    ids = pipe.tokenizer(captions, padding=True, return_tensors="pt").input_ids
    pooled: Tensor = pipe.text_encoder(ids).pooler_output
    return pooled


def _parts(generator: torch.Generator) -> Tensor:
    """Squares out of pictures, `(n, 3, 32, 32)`."""
    whole = pictures.drawings_of("train", PARTS, generator).draw()
    corners = torch.randint(pictures.SIZE - PART + 1, (PARTS, 2), generator=generator)
    return torch.stack(
        [it[:, y : y + PART, x : x + PART] for it, (y, x) in zip(whole, corners.tolist())]
    )


def _wholes(generator: torch.Generator) -> Tensor:
    """Whole pictures, `(n, 3, 64, 64)`."""
    return pictures.drawings_of("train", WHOLES, generator).draw()


def _batches(vae: Any) -> Callable[[torch.Generator], tuple[Tensor, list[str]]]:
    """Draws latents and captions from a pool; sets the autoencoder's scaling.

    A picture of the pool is drawn and encoded when it is first asked for; where there is a GPU,
    which would wait for each, all of them are at once.
    """
    encoder = deepcopy(vae).to("cuda" if torch.cuda.is_available() else "cpu")
    pool = pictures.drawings_of("train", POOL, torch.Generator().manual_seed(0))
    rows = torch.tensor(pool.scenes())
    latents = latents_of(encoder, pool[:MEASURED].batches(128))
    shift, factor = round(latents.mean().item(), 4), round(1 / latents.std().item(), 4)
    vae.register_to_config(shift_factor=shift, scaling_factor=factor)
    packed = torch.zeros(len(pool), pictures.SIZE // 4 * pictures.SIZE // 4 // 4, 4 * CHANNELS)
    there = torch.zeros(len(pool), dtype=torch.bool)

    def fill(new: Tensor) -> None:
        scaled = (latents_of(encoder, pool[new].batches(128)) - shift) * factor
        packed[new] = FluxPipeline._pack_latents(scaled, *scaled.shape)
        there[new] = True

    if encoder.device.type == "cuda":
        fill(torch.arange(len(pool)))

    def draw(generator: torch.Generator) -> tuple[Tensor, list[str]]:
        pick = torch.randint(len(pool), (BATCH,), generator=generator)
        new = pick[~there[pick]].unique()
        if len(new):
            fill(new)
        return packed[pick], reading.said(rows[pick], generator)

    return draw


def _arguments(sigma: Tensor, scale: Tensor, words: Tensor, pooled: Tensor) -> dict[str, Any]:
    side = pictures.SIZE // 8
    return {
        "encoder_hidden_states": words.float(),
        "pooled_projections": pooled.float(),
        "timestep": sigma,
        "guidance": scale,
        "img_ids": FluxPipeline._prepare_latent_image_ids(1, side, side, "cpu", torch.float32),
        "txt_ids": torch.zeros(words.shape[1], 3),
    }
