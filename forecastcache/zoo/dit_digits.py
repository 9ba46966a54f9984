"""Recipe of `zoo:dit-digits`: a class-conditional DiT of 60 classes, ten digits in six inks.

A stock `DiTPipeline`, made small: 32x32 RGB, 8x8x4 latents, 16 tokens of width 120, 8 blocks.
Trained as the original (Peebles and Xie, 2212.09748): noise prediction, 1,000 linear betas,
labels dropped for classifier-free guidance. The loss is weighted by min-SNR (2303.09556): with all
noise levels alike, fewer samples were judged as asked and guidance of 4 was further from smooth.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from torch import Tensor

from forecastcache.zoo import data
from forecastcache.zoo.captions import UNSAID
from forecastcache.zoo.judge import Verdict
from forecastcache.zoo.pictures import autoencoding
from forecastcache.zoo.training import Stage, fit

PALETTES = (
    ("red", "cream"),
    ("blue", "yellow"),
    ("black", "pink"),
    ("green", "mint"),
    ("orange", "navy"),
    ("white", "plum"),
)
NULL_CLASS = 1000  # what DiTPipeline passes for "no class"
LABEL_DROPOUT = 0.15
SNR_CEILING = 5.0


def make(
    work: Path, seed: int = 0, vae_steps: int = 2000, steps: int = 4500
) -> tuple[DiTPipeline, float]:
    """Train the pipeline from nothing, or go on with what `work` holds.

    Args:
        work: folder for checkpoints and loss curves.
        seed: of the weights' initialisation and of every batch.
        vae_steps: optimiser steps for the autoencoder.
        steps: optimiser steps for the transformer.

    Returns:
        The pipeline, and the seconds of training.
    """
    torch.manual_seed(seed)
    vae, transformer = _vae(), _transformer()
    scans = data.scans("train")

    def draw(generator: torch.Generator) -> Tensor:
        return _any(scans, 32, generator)

    seconds = fit(autoencoding(vae, draw, vae_steps), work, seed)
    latents, classes = _latents(vae)
    scheduler = DDIMScheduler(
        beta_schedule="linear", timestep_spacing="trailing", clip_sample=False
    )
    seconds += fit(_transformer_stage(transformer, scheduler, latents, classes, steps), work, seed)
    _clear_unused_classes(transformer)

    labels = {str(i): label for i, label in enumerate(_labels())}
    pipe = DiTPipeline(transformer, vae, scheduler, id2label=labels)
    pipe.register_to_config(id2label=labels)
    return pipe, seconds


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


def _labels() -> list[str]:
    return [f"{ink} {digit}" for ink, _ in PALETTES for digit in data.DIGITS]


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=data.SIZE,
    )


def _transformer() -> DiTTransformer2DModel:
    transformer = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=30,
        in_channels=4,
        out_channels=4,
        num_layers=8,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=NULL_CLASS,
    )
    for block in transformer.transformer_blocks:
        # diffusers drops labels block by block; a sample's label must go in all blocks or none.
        block.norm1.emb.class_embedder.dropout_prob = 0
        # adaLN-Zero: every block starts as the identity (section 3.2 of the paper).
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
    torch.nn.init.zeros_(transformer.proj_out_2.weight)
    torch.nn.init.zeros_(transformer.proj_out_2.bias)
    return transformer


@torch.no_grad()
def _latents(vae: AutoencoderKL) -> tuple[Tensor, Tensor]:
    """Every training scan in every palette: scaled latents `(n, 4, 8, 8)` and classes `(n,)`.

    Sets the autoencoder's scaling factor so that the latents have unit deviation.
    """
    scans = data.scans("train")
    means = []
    for palette in PALETTES:
        for pictures in _painted(scans, *palette).split(256):
            means.append(vae.encode(pictures).latent_dist.mean)
    latents = torch.cat(means)
    factor = round(1 / latents.std().item(), 4)
    vae.register_to_config(scaling_factor=factor)
    classes = torch.cat([scans.digit + 10 * i for i in range(len(PALETTES))])
    return latents * factor, classes


def _any(scans: data.Scans, count: int, generator: torch.Generator) -> Tensor:
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


def _transformer_stage(
    transformer: DiTTransformer2DModel,
    scheduler: DDIMScheduler,
    latents: Tensor,
    classes: Tensor,
    steps: int,
) -> Stage:
    signal = scheduler.alphas_cumprod
    snr = signal / (1 - signal)
    weight = snr.clamp(max=SNR_CEILING) / snr

    def loss(generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(latents), (128,), generator=generator)
        time = torch.randint(len(signal), (128,), generator=generator)
        dropped = torch.rand(128, generator=generator) < LABEL_DROPOUT
        noise = torch.randn(128, *latents.shape[1:], generator=generator)
        noisy = scheduler.add_noise(latents[pick], noise, time)
        label = classes[pick].masked_fill(dropped, NULL_CLASS)
        guess = transformer(noisy, timestep=time, class_labels=label).sample
        error = (guess - noise).square().mean((1, 2, 3))
        weighted: Tensor = weight[time] * error
        return weighted.mean()

    return Stage("transformer", transformer, loss, steps, rate=2e-3)


def _clear_unused_classes(transformer: DiTTransformer2DModel) -> None:
    """Zero the embedding rows between the last class and the null class: they compress away."""
    for block in transformer.transformer_blocks:
        block.norm1.emb.class_embedder.embedding_table.weight[len(_labels()) : NULL_CLASS] = 0
