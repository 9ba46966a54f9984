"""Recipe of `zoo:dit-digits`: a class-conditional DiT of 60 classes, ten digits in six inks.

A stock `DiTPipeline`, made small: 32x32 RGB, 8x8x4 latents, 16 tokens of width 120, 8 blocks.
Trained as the original (Peebles and Xie, 2212.09748): noise prediction, 1,000 linear betas,
labels dropped for classifier-free guidance. The loss is weighted by min-SNR (2303.09556): with all
noise levels alike, fewer samples were judged as asked and guidance of 4 was further from smooth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from torch import Tensor

from forecastcache.zoo import data
from forecastcache.zoo.autoencoder import autoencoder_stage, latents_of, small_autoencoder_kl
from forecastcache.zoo.captions import UNSAID
from forecastcache.zoo.flow import start_at_zero
from forecastcache.zoo.judge import Judge, Verdict
from forecastcache.zoo.training import Stage

PALETTES = (
    ("red", "cream"),
    ("blue", "yellow"),
    ("black", "pink"),
    ("green", "mint"),
    ("orange", "navy"),
    ("white", "plum"),
)
LABELS = [f"{ink} {digit}" for ink, _ in PALETTES for digit in data.DIGITS]
NULL_CLASS = 1000  # what DiTPipeline passes for "no class"
VAE_STEPS, STEPS = 2000, 4500
BATCH = 128
CHANNELS = 4
LABEL_DROPOUT = 0.15
SNR_CEILING = 5.0


def pipeline() -> DiTPipeline:
    """The pipeline, untrained."""
    vae, transformer = small_autoencoder_kl(CHANNELS), _transformer()
    scheduler = DDIMScheduler(
        beta_schedule="linear", timestep_spacing="trailing", clip_sample=False
    )
    labels = {str(i): label for i, label in enumerate(LABELS)}
    pipe = DiTPipeline(transformer, vae, scheduler, id2label=labels)
    pipe.register_to_config(id2label=labels)
    return pipe


def stages(pipe: DiTPipeline, seed: int) -> Iterator[Stage]:
    """The stages of its training."""
    scans = data.scans("train")
    yield autoencoder_stage(pipe.vae, lambda generator: _random(scans, 32, generator), VAE_STEPS)
    yield _noise_prediction(pipe, _latents(pipe.vae, scans), scans)
    _clear_unused_classes(pipe.transformer)


reader = Judge.load


def asked(classes: list[int]) -> Verdict:
    """What the judge must read on pictures of `classes`."""
    ids = torch.tensor(classes)
    palettes = [PALETTES[i] for i in (ids // 10).tolist()]
    inks, backgrounds = list(data.INKS), list(data.BACKGROUNDS)
    return Verdict(
        ids % 10,
        torch.tensor([inks.index(ink) for ink, _ in palettes]),
        torch.tensor([backgrounds.index(background) for _, background in palettes]),
        torch.full_like(ids, UNSAID),
    )


def real() -> Tensor:
    """Held-out scans in every palette, `(n, 3, 32, 32)` in [-1, 1]."""
    scans = data.scans("held-out")
    return torch.cat([_painted(scans, *palette) for palette in PALETTES])


def _transformer() -> DiTTransformer2DModel:
    transformer = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=30,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=8,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=NULL_CLASS,
    )
    for block in transformer.transformer_blocks:
        # diffusers drops labels block by block; a sample's label must go in all blocks or none.
        block.norm1.emb.class_embedder.dropout_prob = 0
    start_at_zero(transformer)
    torch.nn.init.zeros_(transformer.proj_out_2.weight)
    torch.nn.init.zeros_(transformer.proj_out_2.bias)
    return transformer


def _noise_prediction(pipe: DiTPipeline, latents: Tensor, scans: data.Scans) -> Stage:
    signal = pipe.scheduler.alphas_cumprod
    snr = signal / (1 - signal)
    weight = snr.clamp(max=SNR_CEILING) / snr
    classes = torch.cat([scans.digit + 10 * i for i in range(len(PALETTES))])

    def loss(generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(latents), (BATCH,), generator=generator)
        time = torch.randint(len(signal), (BATCH,), generator=generator)
        dropped = torch.rand(BATCH, generator=generator) < LABEL_DROPOUT
        noise = torch.randn(BATCH, *latents.shape[1:], generator=generator)
        noisy = pipe.scheduler.add_noise(latents[pick], noise, time)
        label = classes[pick].masked_fill(dropped, NULL_CLASS)
        guess = pipe.transformer(noisy, timestep=time, class_labels=label).sample
        error = (guess - noise).square().mean((1, 2, 3))
        weighted: Tensor = weight[time] * error
        return weighted.mean()

    return Stage("transformer", pipe.transformer, loss, STEPS, rate=2e-3)


def _latents(vae: Any, scans: data.Scans) -> Tensor:
    """Every scan in every palette, `(n, 4, 8, 8)`; sets the autoencoder's scaling."""
    batches = (part for palette in PALETTES for part in _painted(scans, *palette).split(256))
    latents = latents_of(vae, batches)
    factor = round(1 / latents.std().item(), 4)
    vae.register_to_config(scaling_factor=factor)
    return latents * factor


def _random(scans: data.Scans, count: int, generator: torch.Generator) -> Tensor:
    """Random scans in random colours: the autoencoder sees more palettes than the classes have."""
    pick = torch.randint(len(scans), (count,), generator=generator)
    ink = torch.randint(len(data.INKS), (count,), generator=generator)
    background = torch.randint(len(PALETTES), (count,), generator=generator)
    inks, backgrounds = data.colours(data.INKS), data.colours(data.BACKGROUNDS)
    return data.paint(scans.ink[pick], inks[ink], backgrounds[background])


def _painted(scans: data.Scans, ink: str, background: str) -> Tensor:
    colour = torch.tensor([data.INKS[ink]]).expand(len(scans), 3)
    behind = torch.tensor([data.BACKGROUNDS[background]]).expand(len(scans), 3)
    return data.paint(scans.ink, colour, behind)


def _clear_unused_classes(transformer: DiTTransformer2DModel) -> None:
    """Zero the embedding rows between the last class and the null class: they compress away."""
    for block in transformer.transformer_blocks:
        block.norm1.emb.class_embedder.embedding_table.weight[len(LABELS) : NULL_CLASS] = 0
